"""A training run from its config to its last checkpoint."""

from __future__ import annotations

import math
from pathlib import Path

import tomli_w
import torch
from rich.console import Console

from mien import config as configs
from mien.config import Config
from mien.data import load
from mien.errors import ConfigError
from mien.files import write_text
from mien.interrupt import interruptible
from mien.networks import registry
from mien.training.log import Log
from mien.training.loop import CONFIG, Trainer
from mien.training.start import start_from
from mien.training.trained import LAST, preprocessing_of


def train(config: Config, folder: Path, resume: bool, console: Console) -> bool:
    """Trains into a folder.

    Args:
        config: What to do.
        folder: Is made; must hold no other run unless `resume`.
        resume: Go on from the folder's last checkpoint, if it has one.
        console: Where progress is shown.

    Returns:
        Whether training is done; False after an interruption.

    Raises:
        ConfigError: The folder holds a run and `resume` is not set, or it was trained with another config.
        DataError: The data cannot be read.
        WeightsError: What training starts from, or a teacher, cannot be had.
        TrainingError: It diverged.
    """
    begun = (folder / LAST).exists()
    if begun and not resume:
        raise ConfigError(f"{folder} already holds a run: go on with --resume, or choose another folder with --run")
    ferplus = config.data.ferplus if config.loss.ferplus else None
    dataset = load(config.data.path, ferplus, preprocessing_of(config).size)
    with Log(folder, config.training.epochs, console) as log, interruptible() as interrupt:
        trainer = Trainer(config, dataset, folder, log)
        if begun:
            trainer.resume()
        else:
            if config.network.weights:
                spec = registry.find(config.network.name, config.network.variant)
                faces = dataset.split("training").images
                some = faces[:: math.ceil(len(faces) / trainer.preprocessing.at_once)]
                images = torch.from_numpy(trainer.preprocessing(some)).to(trainer.fabric.device)
                start_from(trainer.network, spec, config.network.weights, dataset.classes, images)
            folder.mkdir(parents=True, exist_ok=True)  # not before: what cannot be trained leaves nothing behind
            write_text(folder / CONFIG, tomli_w.dumps(configs.to_dict(config)))
        return trainer.fit(interrupt)
