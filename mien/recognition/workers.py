"""Runs a function on many tasks in several processes; a process that dies costs its task, not the run."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, Protocol, TypeVar

from mien.errors import MienError, error_text

T = TypeVar("T")
R = TypeVar("R")

ATTEMPTS = 3
"""How often a task is tried before it counts as failed."""
LARGE_BLOCK_BYTES = 1 << 20
"""Memory of this size is returned when it is freed; a picture of 640 x 480 pixels takes less."""
_M_MMAP_THRESHOLD = -3  # from glibc's malloc.h
GRACE_S = 10
"""How long a process that is told to end may take."""


@dataclass(frozen=True)
class Outcome(Generic[T, R]):
    """What became of a task.

    Attributes:
        task: The task.
        result: What the function returned; None if the task failed ATTEMPTS times.
        error: Why it failed the last time; empty if it did not.
    """

    task: T
    result: R | None
    error: str = ""


class Worker(Protocol):
    """A process, here or elsewhere, that starts a function and then applies it to one task at a time."""

    @property
    def is_alive(self) -> bool:
        """Whether it can take another task."""

    def send(self, task: Any) -> None:
        """Gives it a task."""

    def receive(self) -> tuple[Any, str]:
        """Returns the result and the error of what it was doing: of its start, and then of each task."""

    def stop(self) -> None:
        """Ends it at once."""


W = TypeVar("W", bound=Worker)


def in_processes(start: Callable[[], Callable[[T], R]], tasks: Iterable[T], workers: int) -> Iterator[Outcome[T, R]]:
    """Runs a function on tasks in several processes, and yields each outcome as soon as it is known.

    When the generator is closed, or the calling process ends in whatever way, the processes end too. A script that
    calls this needs `if __name__ == "__main__":`.

    Args:
        start: Called once in each process; returns the function. It must be picklable, such as a class or a partial.
        tasks: Picklable values. They are taken one by one, when there is a process for them.
        workers: The number of processes; no more are started than there are tasks.

    Yields:
        The outcomes, in the order in which they end.

    Raises:
        MienError: No process can start.
    """

    def ready(processes: Sequence[_Process]) -> list[_Process]:
        connections = wait([process.connection for process in processes])
        return [process for process in processes if process.connection in connections]

    return run(lambda: _Process(start), ready, tasks, workers)


def run(
    create: Callable[[], W], ready: Callable[[Sequence[W]], Sequence[W]], tasks: Iterable[T], workers: int
) -> Iterator[Outcome[T, Any]]:
    """Runs tasks on workers of any kind; see `in_processes`.

    A worker has one task at a time, so that a task which ends its worker harms no other. It is tried ATTEMPTS times.

    Args:
        create: Creates a worker, which starts meanwhile.
        ready: Waits until at least one of the workers has something to receive, and returns those that do.
        tasks: The tasks.
        workers: The greatest number of workers.
    """
    pending = iter(tasks)
    waiting: deque[tuple[T, int]] = deque()  # tasks and the numbers of their attempts
    starting: list[W] = []
    idle: list[W] = []
    busy: dict[W, tuple[T, int]] = {}
    failed_starts = 0
    try:
        while True:
            waiting.extend((task, 1) for task in islice(pending, workers - len(waiting) - len(busy)))
            while waiting and idle:
                worker = idle.pop()
                busy[worker] = waiting.popleft()
                worker.send(busy[worker][0])
            starting += [create() for _ in range(len(waiting) - len(starting))]
            if not waiting and not busy:
                return
            for worker in ready([*starting, *busy]):
                result, error = worker.receive()
                if worker in starting:
                    starting.remove(worker)
                    failed_starts = failed_starts + 1 if error else 0
                    if failed_starts == ATTEMPTS:
                        raise MienError(f"a worker cannot start: {error}")
                if worker.is_alive:
                    idle.append(worker)
                if worker not in busy:
                    continue
                task, attempt = busy.pop(worker)
                if error and attempt < ATTEMPTS:
                    waiting.append((task, attempt + 1))
                else:
                    yield Outcome(task, result, error)
    finally:
        for worker in (*starting, *idle, *busy):
            worker.stop()


def attempt(function: Callable[[T], R], task: T) -> tuple[R | None, str]:
    """Returns what a function returns for a task and an empty error, or None and the error that it raised."""
    try:
        return function(task), ""
    except Exception as error:  # whatever it is, it is about this task
        return None, f"{type(error).__name__}: {error_text(error)}"


class _Process:
    """A worker process of this machine; see `Worker`."""

    def __init__(self, start: Callable[[], Callable[[Any], Any]]) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would copy ONNX Runtime's locks but not its threads
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(start, theirs), daemon=True)
        with _interrupts_blocked():
            self._process.start()
        theirs.close()  # so that the end of the process ends the connection
        self.is_alive = True

    def send(self, task: Any) -> None:
        """Gives it a task."""
        with suppress(BrokenPipeError):  # it has died; `receive` reports it
            self.connection.send(task)

    def receive(self) -> tuple[Any, str]:
        """Returns the result and the error of what it was doing."""
        try:
            message: tuple[Any, str] = self.connection.recv()
        except (EOFError, ConnectionResetError):
            self.is_alive = False
            self.stop()
            return None, _how_it_ended(self._process.exitcode)
        return message

    def stop(self) -> None:
        """Ends it; it has GRACE_S to finish its files if it takes SIGTERM as a request to do so."""
        self.connection.close()
        self._process.terminate()
        self._process.join(GRACE_S)
        self._process.kill()
        self._process.join()


def _how_it_ended(exit_code: int | None) -> str:
    if exit_code is not None and exit_code < 0:
        return f"its process ended with signal {-exit_code} ({signal.strsignal(-exit_code)})"
    return f"its process ended with exit code {exit_code}"


@contextmanager
def _interrupts_blocked() -> Iterator[None]:
    """Lets a process that is started meanwhile ignore Ctrl-C, which a terminal sends to it too: its parent decides."""
    if not hasattr(signal, "pthread_sigmask"):  # Windows
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(start: Callable[[], Callable[[T], Any]], connection: Connection) -> None:
    """Runs in the process: starts the function and applies it to each task that comes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # for systems where it could not be blocked
    _return_large_blocks()
    threading.Thread(target=_end_with_parent, daemon=True).start()
    function = start()
    with suppress(BrokenPipeError, ConnectionResetError):
        connection.send((None, ""))
    while True:
        try:
            task = connection.recv()
        except (EOFError, ConnectionResetError):  # the parent has closed its end, or has been killed
            return
        with suppress(BrokenPipeError, ConnectionResetError):  # likewise; so the loop ends
            connection.send(attempt(function, task))


def _return_large_blocks() -> None:
    """Makes glibc return memory of a large picture to the system, instead of keeping it for the next one."""
    if sys.platform == "linux" and (mallopt := getattr(ctypes.CDLL(None), "mallopt", None)):
        mallopt(_M_MMAP_THRESHOLD, LARGE_BLOCK_BYTES)


def _end_with_parent() -> None:
    """Ends this process when its parent has been killed, so that no orphan goes on working."""
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)
