"""A training of seconds for tests: small faces that are easy to classify, and a tiny network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from rich.console import Console

from mien.config import AugmentConfig, Config, LossConfig, NetworkConfig, TrainingConfig
from mien.data.dataset import FaceDataset
from mien.interrupt import Interrupt
from mien.training.log import Log
from mien.training.loop import Trainer

CONFIG = Config(
    network=NetworkConfig(variant="tiny", size=24, dropout=0.3),
    loss=LossConfig(label_smoothing=0.1),
    augment=AugmentConfig(flip=0.5, rotation_deg=10, shift=0.1, brightness=0.1, contrast=0.1, erase=0.5, mixup=0.2),
    training=TrainingConfig(epochs=3, batch_size=16, learning_rate=0.02, ema_decay=0.9, threads=1),
)


def made_up_faces(n_training: int = 56, n_public: int = 14, seed: int = 0) -> FaceDataset:
    """Images of noise with a bright horizontal band, whose height is the class."""
    random = np.random.default_rng(seed)
    n = n_training + n_public
    targets = np.arange(n) % 7
    images = random.integers(0, 80, (n, 24, 24), np.uint8)
    for image, target in zip(images, targets, strict=True):
        image[3 * target : 3 * target + 4] += 150
    splits = np.array([0] * n_training + [1] * n_public, np.int8)
    return FaceDataset(images, targets.astype(np.int64), splits, np.arange(n))


def trainer_in(folder: Path, config: Config = CONFIG, dataset: FaceDataset | None = None) -> Trainer:
    folder.mkdir(exist_ok=True)
    log = Log(folder, config.training.epochs, Console(quiet=True))
    return Trainer(config, made_up_faces() if dataset is None else dataset, folder, log)


class StopAfter(Interrupt):
    """An interruption that comes after a number of checks for one."""

    def __init__(self, checks: int) -> None:
        self.checks = checks

    @property
    def requested(self) -> bool:
        self.checks -= 1
        return self.checks < 0

    @requested.setter
    def requested(self, value: bool) -> None:
        pass
