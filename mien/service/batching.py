"""Batches of pictures from many callers, recognised by a few threads."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import MienError, shortened
from mien.recognition import photo, records
from mien.recognition.recognizer import Recognizer
from mien.service.settings import Limits
from mien.types import Face

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF")
"""Allowed formats, as Pillow names them. Other readers of Pillow start programs or are rarely maintained."""


class QueueFullError(MienError):
    """The queue has no room for the pictures of a request."""


@dataclass(frozen=True)
class Picture:
    """One uploaded picture.

    Attributes:
        name: The name that answers and errors use for it.
        encoded: The bytes of a picture file.
    """

    name: str
    encoded: bytes


@dataclass(frozen=True)
class _QueuedPicture:
    picture: Picture
    answer: Future[dict[str, Any]] = field(default_factory=Future)
    queued_at_s: float = field(default_factory=time.monotonic)


class Batcher:
    """A queue of pictures and the worker threads that recognise them in batches.

    A worker recognises up to `batch_size` pictures at once. It waits at most `wait_ms` for a full batch, counted from
    the arrival of the oldest picture. Queued pictures are divided evenly among idle workers.

    Several workers of one thread are faster than one worker of several threads, because detection runs a small network
    many times, and several cores cannot share such short runs well. On two cores that had other work too
    (benchmarks/service.py --requests 96 --rounds 6 --compare, median of 6) two workers of one thread recognised 69
    pictures/s in batches of 4, one worker of two threads 26; in batches of 1 the two recognised 58, in batches of 16
    70.

    Args:
        recognizer: A recogniser of one thread. All workers use it, since ONNX Runtime sessions are thread-safe.
        limits: `pixels` and `queue` apply here; `seconds` limits the time that a batch or `close` may take.
        workers: Number of worker threads.
        batch_size: Maximum number of pictures in a batch.
        wait_ms: Maximum time to wait for a full batch, milliseconds.
        on_batch: Called by a worker with the number of pictures in each batch.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        limits: Limits,
        workers: int,
        batch_size: int,
        wait_ms: float,
        on_batch: Callable[[int], object],
    ) -> None:
        self._recognizer, self._limits, self._on_batch = recognizer, limits, on_batch
        self._batch_size, self._wait_s = batch_size, wait_ms / 1000
        self._changed = threading.Condition()
        self._queue: deque[_QueuedPicture] = deque()
        self._idle_workers = 0
        self._closed = False
        self._batch_started_s = [math.inf] * workers
        self._threads = [
            threading.Thread(target=self._run_worker, args=(n,), name=f"mien-{n}", daemon=True) for n in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def queue_length(self) -> int:
        """Number of pictures that wait for a worker."""
        return len(self._queue)

    @property
    def is_full(self) -> bool:
        """Whether the queue has no room for another picture."""
        return self.queue_length >= self._limits.queue

    @property
    def is_stuck(self) -> bool:
        """Whether every worker has spent more time on its batch than a request may take."""
        return time.monotonic() - max(self._batch_started_s) > self._limits.seconds

    def submit(self, pictures: Sequence[Picture]) -> list[Future[dict[str, Any]]]:
        """Queues all pictures of a request, or none of them.

        Returns:
            A future per picture. Its result is a dictionary of name, width, height and faces, as in
            `mien.recognition.records`; its exception is an ImageError for an unreadable picture. A picture whose future
            is cancelled before a worker starts on it is not recognised.

        Raises:
            QueueFullError: The queue has no room for all of them.
        """
        queued = [_QueuedPicture(picture) for picture in pictures]
        with self._changed:
            if len(self._queue) + len(queued) > self._limits.queue:
                raise QueueFullError(
                    f"{len(self._queue)} of at most {self._limits.queue} pictures are waiting already: try again in a "
                    "second"
                )
            self._queue.extend(queued)
            self._changed.notify(len(queued))
        return [each.answer for each in queued]

    def close(self) -> None:
        """Ends the workers once they have answered every queued picture.

        A worker that needs more time than a request may take is left behind; its thread ends with the process.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        end_s = time.monotonic() + self._limits.seconds
        for thread in self._threads:
            thread.join(max(0.0, end_s - time.monotonic()))

    def _run_worker(self, worker: int) -> None:
        while batch := self._next_batch():
            self._batch_started_s[worker] = time.monotonic()
            self._answer([each for each in batch if each.answer.set_running_or_notify_cancel()])
            self._batch_started_s[worker] = math.inf

    def _next_batch(self) -> list[_QueuedPicture]:
        """Waits for a batch. Returns an empty one once the batcher is closed and the queue is empty."""
        with self._changed:
            self._idle_workers += 1
            while True:
                if not self._queue:
                    if self._closed:
                        return []
                    self._changed.wait()
                    continue
                left_s = self._queue[0].queued_at_s + self._wait_s - time.monotonic()
                if len(self._queue) >= self._batch_size * self._idle_workers or left_s <= 0 or self._closed:
                    break
                self._changed.wait(left_s)
            size = min(self._batch_size, math.ceil(len(self._queue) / self._idle_workers))
            self._idle_workers -= 1
            if len(self._queue) > size:
                self._changed.notify()
            return [self._queue.popleft() for _ in range(size)]

    def _answer(self, batch: Sequence[_QueuedPicture]) -> None:
        """Sets the answer of every picture in a batch."""
        self._on_batch(len(batch))
        decoded = []
        for queued in batch:
            try:
                decoded.append((queued, decode(queued.picture, self._limits.pixels)))
            except Exception as error:  # one picture may fail, for lack of memory say: the worker must go on
                queued.answer.set_exception(error)
        results = self._recognize([image_rgb for _, image_rgb in decoded])
        for (queued, image_rgb), faces in zip(decoded, results, strict=True):
            if isinstance(faces, Exception):
                queued.answer.set_exception(faces)
                continue
            record = records.to_record(queued.picture.name, image_rgb, faces)
            queued.answer.set_result({"name": record.pop("path"), **record})

    def _recognize(self, images_rgb: Sequence[NDArray[np.uint8]]) -> Sequence[tuple[Face, ...] | Exception]:
        """Returns the faces of each image.

        If the batch fails, each image is tried alone, so that one image cannot fail the others.
        """
        try:
            return self._recognizer.recognize_batch(images_rgb)
        except Exception as error:
            if len(images_rgb) == 1:
                return [error]
            return [faces for image_rgb in images_rgb for faces in self._recognize([image_rgb])]


def decode(picture: Picture, max_pixels: int) -> NDArray[np.uint8]:
    """Decodes an uploaded picture. Its size is checked before its pixels are decompressed.

    Returns:
        (H, W, 3) RGB, values 0..255.

    Raises:
        ImageError: The picture is not in FORMATS, is damaged, or has more than `max_pixels` pixels.
    """
    return photo.read(picture.encoded, shortened(picture.name), FORMATS, max_pixels)
