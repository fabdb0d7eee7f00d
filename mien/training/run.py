"""A training run in a folder: checks, lock, setup, training."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import tomli_w
import torch
from filelock import FileLock, Timeout
from rich.console import Console
from torch import distributed

from mien import config as configs
from mien.config import Config
from mien.data import FaceDataset, load_configured
from mien.errors import ConfigError, TrainingError, WeightsError, error_text, shortened_path
from mien.files import check_folder, is_replaceable, remove_temporary_files, write_text
from mien.interrupt import Interrupt, interruptible
from mien.models.build import preprocessing_for
from mien.models.checkpoint import BEST, LAST
from mien.networks import registry
from mien.training.log import CSV, Log
from mien.training.loop import CONFIG, Trainer, images_per_step
from mien.training.processes import launch, leave_unless_first, on_first, shared_errors
from mien.training.start import load_initial_weights
from mien.training.state import load_state


def train(config: Config, folder: Path, resume: bool, console: Console) -> bool:
    """Trains a network, and writes its config, log and checkpoints into a folder.

    Several processes train together if torchrun or srun started them, or if `training.devices` asks for them. Process 0
    alone writes and prints; the others end when the training ends.

    Args:
        config: All settings.
        folder: The run's folder; created unless the training cannot start.
        resume: Whether to continue from the folder's last checkpoint, if there is one.
        console: Where progress is shown.

    Returns:
        False if the training was interrupted.

    Raises:
        ConfigError: The folder holds a run but `resume` is False, its run has another config, or another process
            trains into it.
        DataError: The data cannot be read.
        WeightsError: The initial weights or a teacher cannot be used.
        TrainingError: The training diverged or the memory is too small.
    """
    fabric = launch(config.training)
    if not fabric.is_global_zero:
        console = Console(quiet=True)
    resumed = on_first(fabric, lambda: _check_folder(folder, resume))
    images = on_first(fabric, lambda: _saved_images_per_step(folder, fabric.world_size)) if resumed else None
    with Log(folder, config.training.epochs, console) as log, interruptible() as interrupt, ExitStack() as stack:
        with shared_errors(fabric):
            dataset = load_configured(config.data, preprocessing_for(config).size, votes=config.loss.ferplus > 0)
            for note in dataset.notes:
                console.print(note, highlight=False, markup=False)
            trainer = Trainer(config, dataset, folder, log, fabric, images)
            if config.network.weights and not resumed:
                _load_initial_weights(trainer, dataset)

        def claim() -> bool:
            folder.mkdir(parents=True, exist_ok=True)  # not before, so that a training that cannot start leaves none
            stack.enter_context(_sole_process(folder))
            return _check_folder(folder, resume)  # again, for another process may have trained into it during the setup

        if on_first(fabric, claim):
            trainer.resume()
        if fabric.is_global_zero:  # a resumed run may have more epochs
            write_text(folder / CONFIG, tomli_w.dumps(configs.to_dict(config)))
        finished = _fit(trainer, interrupt)
    if distributed.is_initialized():
        distributed.destroy_process_group()
    leave_unless_first(fabric)
    return finished


def run_lock(folder: Path) -> FileLock:
    """Returns the lock of a run's folder, which the process that trains into it holds.

    A process that holds the lock can acquire it again. The lock is released when the object is collected, so keep a
    reference to it.

    Raises:
        ConfigError: The folder is the root of a file system.
    """
    folder = folder.resolve()  # a link has the lock of its target
    if not folder.name:
        raise ConfigError(f"a run's folder must not be the root of a file system, got {folder}: choose one with --run")
    return FileLock(folder.with_name(f"{folder.name}.lock"), is_singleton=True)


def _check_folder(folder: Path, resume: bool) -> bool:
    """Returns whether the folder holds a run to resume.

    Raises:
        ConfigError: It holds a run but `resume` is False, or its run cannot be resumed.
    """
    if (folder / LAST).exists():
        if resume:
            return True
        raise ConfigError(
            f"{folder} already holds a run: continue it with --resume, or choose another folder with --run"
        )
    if (folder / BEST).exists():
        raise ConfigError(
            f"{folder} holds the {BEST} of a run but no {LAST} to resume from: choose another folder with --run, or "
            f"remove {BEST} to train anew"
        )
    _check_files(folder)
    return False


def _check_files(folder: Path) -> None:
    """Checks that a new run can be written to a folder and replaces only files of a run that ended early.

    Raises:
        ConfigError: It cannot, or would replace another file.
    """
    check_folder(folder)
    if not (is_replaceable(folder / CONFIG) or _is_written_config(folder / CONFIG)):
        foreign = CONFIG
    elif not is_replaceable(folder / CSV, "epoch,learning_rate,"):
        foreign = CSV
    else:
        return
    raise ConfigError(
        f"{shortened_path(folder)} holds {foreign} and mien has not written it: choose another folder with --run"
    )


def _is_written_config(path: Path) -> bool:
    """Returns whether a run has written a config: a person's own may have comments, which would be lost."""
    try:
        return tomli_w.dumps(configs.to_dict(configs.load(path))) == path.read_text(encoding="utf-8")
    except (ConfigError, OSError, UnicodeDecodeError):
        return False


def _saved_images_per_step(folder: Path, world_size: int) -> int:
    """Returns the images of each step of a run, which stay the same for any number of processes.

    Raises:
        ConfigError: So many processes cannot share them equally.
        WeightsError: The run's last checkpoint is damaged.
    """
    try:
        images = images_per_step(load_state(folder / LAST))
    except (KeyError, TypeError, ValueError) as error:
        raise WeightsError(
            f"{folder / LAST} is damaged or not the last checkpoint of a run ({error_text(error)}): restore it from a "
            "backup, or train into another folder"
        ) from None
    if images % world_size or images // world_size < 2:
        raise ConfigError(
            f"{folder} was trained with {images} images per step, which {world_size} processes cannot share equally, "
            "at least 2 each: start another number of processes"
        )
    return images


def _load_initial_weights(trainer: Trainer, dataset: FaceDataset) -> None:
    network, preprocessing = trainer.config.network, trainer.preprocessing
    spec = registry.find(network.name, network.variant)
    faces = dataset.split("training").images
    sample = faces[:: math.ceil(len(faces) / preprocessing.batch_size)]
    images = torch.from_numpy(preprocessing(sample)).to(trainer.fabric.device)
    load_initial_weights(trainer.network, spec, network.weights, dataset.classes, images)


@contextmanager
def _sole_process(folder: Path) -> Iterator[None]:
    """Locks a run's folder, and removes files that a killed process left half-written.

    Raises:
        ConfigError: Another process trains into the folder.
    """
    lock = run_lock(folder)
    try:
        held = lock.acquire(blocking=False)
    except Timeout:
        raise ConfigError(
            f"another process is training into {folder}: wait until it ends, or choose another folder with --run"
        ) from None
    with held:
        remove_temporary_files(folder)
        yield


def _fit(trainer: Trainer, interrupt: Interrupt) -> bool:
    try:
        return trainer.fit(interrupt)
    except (RuntimeError, MemoryError) as error:
        if not _is_out_of_memory(error):
            raise
        config = trainer.config
        raise TrainingError(
            f"there is not enough memory to train {config.network.name}: lower training.batch_size, now "
            f"{config.training.batch_size}, or network.size, now {trainer.preprocessing.size}"
        ) from None


def _is_out_of_memory(error: Exception) -> bool:
    # torch has a class of its own for the memory of a GPU, but only a text for that of the CPU.
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)
