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
from mien.errors import ConfigError, TrainingError
from mien.files import write_text
from mien.interrupt import interruptible
from mien.models.build import preprocessing_for
from mien.models.checkpoint import BEST, LAST
from mien.networks import registry
from mien.training.log import Log
from mien.training.loop import CONFIG, Trainer
from mien.training.start import start_from


def train(config: Config, folder: Path, resume: bool, console: Console) -> bool:
    """Trains into a folder.

    Args:
        config: What to do.
        folder: Is made; must hold no other run unless `resume`, and no run whose last checkpoint is gone.
        resume: Go on from the folder's last checkpoint, if it has one.
        console: Where progress is shown.

    Returns:
        Whether training is done; False after an interruption.

    Raises:
        ConfigError: The folder holds a run and `resume` is not set, it was trained with another config, or another
            process trains into it.
        DataError: The data cannot be read.
        WeightsError: What training starts from, or a teacher, cannot be had.
        TrainingError: It diverged, or the memory is too small.
    """
    begun = (folder / LAST).exists()
    if begun and not resume:
        raise ConfigError(f"{folder} already holds a run: go on with --resume, or choose another folder with --run")
    if not begun and (folder / BEST).exists():
        raise ConfigError(
            f"{folder} holds the {BEST} of a run and no {LAST} to go on from: choose another folder with --run, or "
            f"remove {BEST} to train anew"
        )
    ferplus = config.data.ferplus if config.loss.ferplus else None
    dataset = load(config.data.path, ferplus, preprocessing_for(config).size)
    with Log(folder, config.training.epochs, console) as log, interruptible() as interrupt, ExitStack() as alone:
        trainer = Trainer(config, dataset, folder, log)
        if begun:
            trainer.resume()
        elif config.network.weights:
            spec = registry.find(config.network.name, config.network.variant)
            faces = dataset.split("training").images
            some = faces[:: math.ceil(len(faces) / trainer.preprocessing.batch_size)]
            images = torch.from_numpy(trainer.preprocessing(some)).to(trainer.fabric.device)
            start_from(trainer.network, spec, config.network.weights, dataset.classes, images)
        folder.mkdir(parents=True, exist_ok=True)  # not before: what cannot be trained leaves nothing behind
        if trainer.fabric.is_global_zero:
            alone.enter_context(_alone_in(folder))
        if not begun:
            write_text(folder / CONFIG, tomli_w.dumps(configs.to_dict(config)))
        try:
            return trainer.fit(interrupt)
        except (RuntimeError, MemoryError) as error:
            if not _out_of_memory(error):
                raise
            raise TrainingError(
                f"the memory is too small to train {config.network.name}: lower training.batch_size, now "
                f"{config.training.batch_size}, or network.size, now {trainer.preprocessing.size}"
            ) from None


def lock_of(folder: Path) -> FileLock:
    """What whoever trains into a folder holds; taken twice by one process it is still one."""
    place = folder.resolve()  # a link to a folder is that folder
    if not place.name:
        raise ConfigError(f"a run cannot be in {place} itself: name a folder below it with --run")
    return FileLock(place.with_name(f"{place.name}.lock"), is_singleton=True)


def _out_of_memory(error: Exception) -> bool:
    """Whether torch could not allocate: of a GPU's memory it has an error of its own, of the machine's a text."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


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
