"""Runs a function on many tasks in several processes; a process that dies costs its task, not the run."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from typing import Any, Generic, TypeVar

from mien.errors import MienError, error_text

T = TypeVar("T")
R = TypeVar("R")

ATTEMPTS = 3
"""How often a task is tried before it counts as failed."""
_READY = "ready"


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


def in_processes(start: Callable[[], Callable[[T], R]], tasks: Iterable[T], workers: int) -> Iterator[Outcome[T, R]]:
    """Runs a function on tasks in several processes, and yields each outcome as soon as it is known.

    Each process takes one task at a time, and tasks are taken from the iterable only when a process is free. A process
    that dies is replaced, and its task is tried again. When the generator is closed, or the calling process ends in
    whatever way, the processes end too. A script that calls this needs `if __name__ == "__main__":`.

    Args:
        start: Called once in each process; returns the function. It must be picklable, such as a class or a partial.
        tasks: Picklable values.
        workers: The number of processes; no more are started than there are tasks.

    Yields:
        The outcomes, in the order in which they end.

    Raises:
        MienError: A process ended before it took its first task.
    """
    pending = iter(tasks)
    retries: deque[tuple[T, int]] = deque()
    busy: dict[Connection, _Worker[T]] = {}
    idle: list[_Worker[T]] = []
    try:
        while True:
            while len(busy) < workers and (following := _next(retries, pending)):
                worker = idle.pop() if idle else _Worker(start)
                worker.send(*following)
                busy[worker.connection] = worker
            if not busy:
                return
            ready = wait(list(busy))
            for worker in [worker for connection, worker in busy.items() if connection in ready]:
                message = worker.receive()
                if message == _READY:  # the task is in the pipe already
                    continue
                del busy[worker.connection]
                result, error = message
                if worker.is_alive:
                    idle.append(worker)
                task, attempt = worker.task
                if not error:
                    yield Outcome(task, result)
                elif attempt < ATTEMPTS:
                    retries.append((task, attempt + 1))
                else:
                    yield Outcome(task, None, error)
    finally:
        for worker in (*idle, *busy.values()):
            worker.stop()


def _next(retries: deque[tuple[T, int]], pending: Iterator[T]) -> tuple[T, int] | None:
    """Returns the next task and the number of its attempt; None if there is no more."""
    if retries:
        return retries.popleft()
    for task in pending:
        return task, 1
    return None


class _Worker(Generic[T]):
    """A process, as its parent sees it."""

    def __init__(self, start: Callable[[], Callable[[T], Any]]) -> None:
        context = multiprocessing.get_context("spawn")  # a fork would copy ONNX Runtime's locks but not its threads
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=_work, args=(start, theirs), daemon=True)
        with _interrupts_blocked():
            self._process.start()
        theirs.close()  # so that the end of the process ends the connection
        self._is_ready = False
        self.is_alive = True

    def send(self, task: T, attempt: int) -> None:
        """Gives the process a task."""
        self.task = task, attempt
        with suppress(BrokenPipeError):  # it has died; `receive` reports it
            self.connection.send(task)

    def receive(self) -> Any:
        """Returns the next message of the process: _READY, or a result and an error, of which one is empty."""
        try:
            message = self.connection.recv()
        except (EOFError, ConnectionResetError):
            self.stop()
            self.is_alive = False
            message = None, _how_it_ended(self._process.exitcode)
            if not self._is_ready:
                raise MienError(f"a process for recognition could not start: {message[1]}") from None
        self._is_ready = True
        return message

    def stop(self) -> None:
        """Ends the process at once; what it was writing is not there, since files appear whole or not at all."""
        self.connection.close()
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
    threading.Thread(target=_end_with_parent, daemon=True).start()
    function = start()
    connection.send(_READY)
    while True:
        try:
            task = connection.recv()
        except EOFError:
            return
        try:
            message = function(task), ""
        except Exception as error:  # whatever it is, it is about this task
            message = None, f"{type(error).__name__}: {error_text(error)}"
        connection.send(message)


def _end_with_parent() -> None:
    """Ends this process when its parent has been killed, so that no orphan goes on working."""
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)
