"""Functions that the tests of worker processes run there; a process imports them by name."""

import os
import signal
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pyarrow

from mien.errors import ConfigError
from mien.recognition.batch import FaceRecognizer


def process_of_each() -> Callable[[int], tuple[int, int]]:
    """Starts a function that returns its argument and the number of its process."""
    return lambda task: (task, os.getpid())


def killed_once(folder: Path) -> Callable[[int], int]:
    """Starts a function whose process is killed at the first attempt of every task."""
    return partial(_killed_once, folder)


def _killed_once(folder: Path, task: int) -> int:
    attempt = folder / str(task)
    if not attempt.exists():
        attempt.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return task


def failing() -> Callable[[str], str]:
    """Starts a function that does what its argument says."""
    return _fail


def _fail(task: str) -> str:
    if task == "raise":
        raise ValueError("this task is wrong")
    if task == "exit":
        os._exit(7)
    if task == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    return task


def unable_to_start() -> Callable[[int], int]:
    """Fails to start."""
    raise SystemExit(3)


def refusing_to_start() -> Callable[[int], int]:
    """Ends with an error that is meant for users."""
    raise ConfigError("there is no such model")


def write_process_and_wait(folder: Path) -> Callable[[int], int]:
    """Starts a function that writes the number of its process and then does nothing for long."""
    return partial(_write_process_and_wait, folder)


def _write_process_and_wait(folder: Path, task: int) -> int:
    (folder / f"{os.getpid()}.pid").touch()
    time.sleep(600)
    return task


class CrashingRecognizer(FaceRecognizer):
    """Ends its process at pictures named crash.jpg, as a decoder's segmentation fault would."""

    def table(self, paths):
        if any(Path(path).name == "crash.jpg" for path in paths):
            os.kill(os.getpid(), signal.SIGSEGV)
        return super().table(paths)


class NullRecognizer(FaceRecognizer):
    """Finds no face in any picture, and reads none."""

    def table(self, paths):
        columns = {"path": pyarrow.array(paths, pyarrow.string())}
        empty = {field.name: pyarrow.nulls(len(paths), field.type) for field in self.schema if field.name != "path"}
        return pyarrow.table(columns | empty, self.schema)
