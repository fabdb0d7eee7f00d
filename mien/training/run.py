"""A training run from its config to its last checkpoint."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import tomli_w
import torch
from filelock import FileLock, Timeout
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
        ConfigError: The folder holds a run and `resume` is not set, it was trained with another config, or another
            process trains into it.
        DataError: The data cannot be read.
        WeightsError: What training starts from, or a teacher, cannot be had.
        TrainingError: It diverged.
    """
    begun = (folder / LAST).exists()
    if begun and not resume:
        raise ConfigError(f"{folder} already holds a run: go on with --resume, or choose another folder with --run")
    ferplus = config.data.ferplus if config.loss.ferplus else None
    dataset = load(config.data.path, ferplus, preprocessing_of(config).size)
    with Log(folder, config.training.epochs, console) as log, interruptible() as interrupt, ExitStack() as alone:
        trainer = Trainer(config, dataset, folder, log)
        if begun:
            trainer.resume()
        elif config.network.weights:
            spec = registry.find(config.network.name, config.network.variant)
            faces = dataset.split("training").images
            some = faces[:: math.ceil(len(faces) / trainer.preprocessing.at_once)]
            images = torch.from_numpy(trainer.preprocessing(some)).to(trainer.fabric.device)
            start_from(trainer.network, spec, config.network.weights, dataset.classes, images)
        folder.mkdir(parents=True, exist_ok=True)  # not before: what cannot be trained leaves nothing behind
        if trainer.fabric.is_global_zero:
            alone.enter_context(_alone_in(folder))
        if not begun:
            write_text(folder / CONFIG, tomli_w.dumps(configs.to_dict(config)))
        return trainer.fit(interrupt)


def lock_of(folder: Path) -> FileLock:
    """What whoever trains into a folder holds; taken twice by one process it is still one."""
    return FileLock(folder.with_name(f"{folder.name}.lock"), is_singleton=True)


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    try:
        lock_of(folder).acquire(blocking=False)
    except Timeout:
        raise ConfigError(
            f"another process is training into {folder}: wait for it, or choose another folder with --run"
        ) from None
    try:
        yield
    finally:
        lock_of(folder).release()
