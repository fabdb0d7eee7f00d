"""A worker process as the service sees it: it starts, answers batches of pictures, and ends."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from mien import errors
from mien.errors import MienError
from mien.service.memory import MMAP_THRESHOLD_BYTES, TRIM_THRESHOLD_BYTES
from mien.service.worker import Picture, WorkerSetup

PIPE_BYTES = 2**20
"""Size of the pipes to and from a worker: a photograph passes in a few pieces."""
EXIT_S = 5.0
"""Longest wait for a worker to end after its pipe is closed, seconds."""
_ALLOCATOR = {
    "MALLOC_ARENA_MAX": "1",
    "MALLOC_MMAP_THRESHOLD_": str(MMAP_THRESHOLD_BYTES),
    "MALLOC_TRIM_THRESHOLD_": str(TRIM_THRESHOLD_BYTES),
}
"""Settings of glibc with which a worker returns the memory of a photograph as soon as it is recognised."""


class WorkerDiedError(MienError):
    """A worker process ended before it had answered its pictures."""


class WorkerProcess:
    """A process that decodes and recognises pictures, so that a crash of a decoder cannot end the service.

    It is started with `subprocess` and not with `multiprocessing`, which would run the main module of the program
    again in each worker; `create_app` is often called there.

    Attributes:
        device: The name of the device that the model runs on, once the worker is ready.

    Args:
        setup: What the worker needs. The process starts at once; `wait_until_ready` reports whether it could.
    """

    def __init__(self, setup: WorkerSetup) -> None:
        # -I: no module in the current folder may replace one of the worker's.
        program = f"import sys; sys.path[:] = {sys.path!r}; from mien.service.worker import main; main()"
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-c", program],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | _ALLOCATOR,
            pipesize=PIPE_BYTES,
        )
        self._kill_reason, self._is_ready, self.device = "", False, ""
        with contextlib.suppress(BrokenPipeError):  # wait_until_ready reports it
            self._send(setup)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def wait_until_ready(self) -> None:
        """Waits until the worker has loaded the model and the detector.

        Raises:
            WeightsError: The model or the detector is missing or damaged.
            ConfigError: The detector is unknown.
            WorkerDiedError: The worker ended for another reason.
        """
        if self._is_ready:
            return
        message = self._receive()
        if "error" in message:
            kind = getattr(errors, message["kind"], MienError)
            raise kind(message["error"])
        self._is_ready, self.device = True, message["device"]

    def recognize(self, pictures: Sequence[Picture]) -> Iterator[dict[str, Any]]:
        """Sends a batch to the worker and yields its answers as they come; see `mien.service.worker.answers`.

        Raises:
            WorkerDiedError: The worker ended before it had answered all pictures.
        """
        try:
            self._send(list(pictures))
        except OSError:
            raise self._death() from None
        for _ in pictures:
            yield self._receive()

    def kill(self, reason: str) -> None:
        """Ends the process at once. The thread that waits for an answer gets a WorkerDiedError with this reason."""
        self._kill_reason = reason
        self._process.kill()

    def close(self) -> None:
        """Lets the process end, or ends it if it does not."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with contextlib.suppress(OSError):  # what could not be sent to a worker that ended
            self._process.stdin.close()
        self._exit_code()
        self._process.stdout.close()

    def _exit_code(self) -> int:
        """Waits until the process has ended, and ends it if it does not by itself."""
        try:
            return self._process.wait(EXIT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return self._process.wait()

    def _send(self, message: WorkerSetup | list[Picture]) -> None:
        assert self._process.stdin is not None
        pickle.dump(message, self._process.stdin)
        self._process.stdin.flush()

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        try:
            message = json.loads(line)
        except ValueError:  # it ended, perhaps within a line
            raise self._death() from None
        assert isinstance(message, dict)
        return message

    def _death(self) -> WorkerDiedError:
        code = self._exit_code()
        if self._kill_reason:
            return WorkerDiedError(self._kill_reason)
        if code < 0:
            with contextlib.suppress(ValueError):
                return WorkerDiedError(f"a worker process ended by signal {signal.Signals(-code).name}")
        return WorkerDiedError(f"a worker process ended with exit code {code}")
