"""Trains for 20 steps and prints, as JSON, the loss of each step and a digest of the weights at the end.

    torchrun --nproc-per-node 2 -m tests.training.steps 64 float32 0.0001

The arguments are the number of images per step in each process, the precision and the learning rate. Every kind of
layer, loss and augmentation takes part whose result could depend on how the images are shared. Dropout does not: it
draws other units in each process.
"""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import torch
from rich.console import Console
from torch import nn

from mien.config import AugmentConfig, LossConfig
from mien.training.log import Log
from mien.training.loop import Trainer
from tests.training.small_run import CONFIG, made_up_faces

STEPS = 20


def main() -> None:
    images, dtype = int(sys.argv[1]), getattr(torch, sys.argv[2])
    network = replace(CONFIG.network, dropout=0.0)
    if dtype == torch.float32:  # of the masks and the margin, rounding grows a hundredfold with each step
        network = replace(network, name="resnet18", variant="mini")
    loss = LossConfig(label_smoothing=0.1, class_weights="balanced")
    config = replace(
        CONFIG,
        network=network,
        loss=loss if dtype == torch.float32 else replace(loss, reconstruction=0.5, margin=0.3),
        augment=AugmentConfig(
            flip=0.5, rotation_deg=10, shift=0.1, contrast=0.2, erase=0.5, noise=0.1, coarse=0.3, mixup=0.2
        ),
        training=replace(CONFIG.training, batch_size=images, epochs=1, learning_rate=float(sys.argv[3])),
    )
    trainer = Trainer(config, made_up_faces(128 * STEPS), Path(), Log(Path(), 1, Console(quiet=True)))
    assert len(trainer.batches) == STEPS
    trainer.network.to(dtype).train()
    trainer.averaged.to(dtype)
    losses = []
    for batch in trainer.batches.epoch(0, 0, trainer.fabric.device):
        batch = batch._replace(images=batch.images.to(dtype), distributions=batch.distributions.to(dtype))
        parts, _ = trainer.train_step(batch)
        losses.append(trainer._sum([parts.total.item() / trainer.fabric.world_size])[0])
    norms = [module for module in trainer.network.modules() if isinstance(module, nn.BatchNorm2d)]
    if trainer.fabric.is_global_zero:
        weights = torch.cat([value.flatten().float() for value in trainer.averaged.state_dict().values()])
        print(json.dumps({"losses": losses, "weights": weights.tolist(), "batch norms": len(norms)}))


if __name__ == "__main__":
    main()
