"""The state that all routes share: the batcher, the model files, and the number of active requests."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

import anyio
from fastapi import HTTPException

from mien.errors import ImageError
from mien.export.page import DETECTOR, describe_models
from mien.models.zoo import find_model, shipped_models
from mien.service.access import FAILURE, request_id
from mien.service.batching import Batcher, QueueFullError, RecognitionError
from mien.service.memory import memory_bytes
from mien.service.metrics import Metrics
from mien.service.process import WorkerProcess
from mien.service.settings import Settings
from mien.service.worker import Picture, WorkerSetup, recognizer_factory

MIN_IDLE_S = 3.0
"""A WebSocket that has sent no frame for so long gives its place to a new one if there are too many, seconds."""

logger = logging.getLogger("mien")


class ServiceState:
    """The state of one service.

    Attributes:
        settings: Settings of the service.
        metrics: Metrics of the service.
        batcher: The queue and its workers.
        model_name: Name of the model that recognises.
        active_requests: Number of requests and frames that are accepted but not answered yet.
        open_sockets: Number of open WebSockets.
        held_bytes: Size of the bodies and frames that are in memory for active requests, bytes.
        max_active: Maximum of `active_requests` and of `open_sockets`: as many as pictures fit in the queue and in the
            batches of all workers.
        is_closing: Whether the service is shutting down and rejects new requests.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.model_name = find_model(settings.model).stem
        setup = WorkerSetup(
            recognizer_factory(settings.model, settings.detector, settings.min_score, settings.device),
            settings.limits.pixels,
            settings.worker_bytes,
        )
        self.batcher = Batcher(
            functools.partial(WorkerProcess, setup),
            settings.limits,
            settings.workers,
            settings.worker_pictures,
            settings.batch,
            settings.wait_ms,
            self.metrics.batches.observe,
        )
        self.metrics.queue_length.set_function(lambda: self.batcher.queue_length)
        self.metrics.held_bytes.set_function(lambda: self.held_bytes)
        self.metrics.memory.set_function(lambda: memory_bytes((os.getpid(), *self.batcher.worker_pids)))
        self.metrics.active_requests.set_function(lambda: self.active_requests)
        self.active_requests = self.open_sockets = self.held_bytes = 0
        self._idle_sockets: dict[anyio.CancelScope, float] = {}
        self.max_active = settings.limits.queue + settings.workers * settings.batch
        self.is_closing = False

    @cached_property
    def models(self) -> dict[str, Path]:
        """The models that a browser may fetch: name -> file."""
        return shipped_models() | {self.model_name: find_model(self.settings.model)}

    @cached_property
    def model_files(self) -> dict[str, Path]:
        """All model files that a browser may fetch, including the detector: file name -> file."""
        detector = {path.name: path for path in DETECTOR}
        return {f"{name}.onnx": path for name, path in self.models.items()} | detector

    @cached_property
    def model_list(self) -> dict[str, Any]:
        """The answer of /v1/models."""
        described = describe_models(self.models)
        on_service = {
            kind: [each | {"file": f"/{each['file']}"} for each in described[kind]] for kind in ("models", "detector")
        }
        return {"default": self.model_name, **on_service}

    @cached_property
    def digests(self) -> dict[str, str]:
        """The SHA-256 of each model file that a browser may fetch: file name -> hexadecimal digits."""
        return {name: hashlib.sha256(path.read_bytes()).hexdigest() for name, path in self.model_files.items()}

    @contextmanager
    def accept_request(self) -> Iterator[Callable[[int], None]]:
        """Counts a request or frame as active while the block runs, and cancels the block at the time limit.

        Yields:
            A function that adds to the bytes that the request holds in memory until the block ends. It raises an
            HTTPException if the requests of all callers would hold too many.

        Raises:
            HTTPException: The service is shutting down or overloaded, or the time limit is reached.
        """
        if self.is_closing:
            raise HTTPException(503, "the service is shutting down: try again in a second", {"Retry-After": "1"})
        if self.batcher.is_full or self.active_requests >= self.max_active:  # checked before its pictures fill memory
            raise _overloaded(f"{self.active_requests} requests are active already: try again in a second")
        limits, held = self.settings.limits, 0

        def hold(count: int) -> None:
            nonlocal held
            if self.held_bytes + count > max(limits.held_bytes, limits.request_bytes):
                raise _overloaded(f"other requests hold {self.held_bytes:,} bytes already: try again in a second")
            held += count
            self.held_bytes += count

        self.active_requests += 1
        try:
            with anyio.fail_after(limits.seconds):
                yield hold
        except TimeoutError:
            raise HTTPException(504, f"the request exceeded its limit of {limits.seconds:g} s: send less") from None
        finally:
            self.active_requests -= 1
            self.held_bytes -= held

    @contextmanager
    def open_socket(self) -> Iterator[None]:
        """Counts a WebSocket as open while the block runs."""
        self.open_sockets += 1
        try:
            yield
        finally:
            self.open_sockets -= 1

    @contextmanager
    def idle_socket(self, seconds: float) -> Iterator[anyio.CancelScope]:
        """Counts a WebSocket as idle while the block runs, and cancels the block after some seconds.

        Yields:
            The scope of the block. It is cancelled early by `close_idle_socket`.
        """
        with anyio.CancelScope(deadline=anyio.current_time() + seconds) as scope:
            self._idle_sockets[scope] = anyio.current_time()
            try:
                yield scope
            finally:
                del self._idle_sockets[scope]

    def close_idle_socket(self) -> bool:
        """Ends the wait of the WebSocket that has been idle longest; returns whether one was idle for MIN_IDLE_S."""
        waiting = {scope: since_s for scope, since_s in self._idle_sockets.items() if not scope.cancel_called}
        scope = min(waiting, key=waiting.__getitem__, default=None)
        if scope is None or anyio.current_time() - waiting[scope] < MIN_IDLE_S:
            return False
        scope.cancel()
        return True

    async def recognize(self, pictures: Sequence[Picture]) -> list[dict[str, Any]]:
        """Returns the answer to each picture: its record, or its name and error if it cannot be read.

        Raises:
            HTTPException: The queue is full, the only picture cannot be read, or a worker failed at a picture.
        """
        try:
            futures = self.batcher.submit(pictures)
        except QueueFullError as error:
            raise _overloaded(str(error)) from None
        results = await asyncio.gather(*map(asyncio.wrap_future, futures), return_exceptions=True)
        answers = []
        for picture, result in zip(pictures, results, strict=True):
            if isinstance(result, ImageError):
                result = {"name": picture.name, "error": str(result)}
            elif isinstance(result, RecognitionError):
                logger.error("request %s: %s", request_id.get(), result)
                raise HTTPException(500, FAILURE.format(request_id.get()))
            elif isinstance(result, BaseException):
                raise result
            answers.append(result)
            self.metrics.pictures.labels("unreadable" if "error" in result else "recognised").inc()
            self.metrics.faces.inc(len(result.get("faces", ())))
        if len(answers) == 1 and "error" in answers[0]:
            raise HTTPException(422, answers[0]["error"])
        return answers


def _overloaded(sentence: str) -> HTTPException:
    return HTTPException(503, sentence, {"Retry-After": "1"})
