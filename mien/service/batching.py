"""Pictures of many callers, recognised together by a few threads."""

from __future__ import annotations

import io
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien import pixels
from mien.errors import ConfigError, ImageError, MienError
from mien.recognition import records
from mien.recognition.recognizer import Recognizer
from mien.types import Face

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF")
"""What a stranger may send, as Pillow names it: some of its other readers start programs or are rarely looked after."""


@dataclass(frozen=True)
class Limits:
    """What callers may ask for; beyond it they get a sentence in place of an answer.

    Attributes:
        request_bytes: Most bytes of one request's body, or of one frame.
        pixels: Most pixels of one picture, width times height. A worker holds as many decoded pictures as a batch has,
            of three bytes a pixel.
        pictures: Most pictures of one request.
        queue: Most pictures that wait for a worker; there must be room for those of one request.
        seconds: Most time of one request, from its first byte to its answer.
    """

    request_bytes: int = 32 * 2**20
    pixels: int = 25_000_000
    pictures: int = 16
    queue: int = 64
    seconds: float = 30.0

    def __post_init__(self) -> None:
        for each in fields(self):
            if not 0 < getattr(self, each.name) < math.inf:
                raise ConfigError(f"the limit {each.name} must be above 0 and finite, got {getattr(self, each.name)}")
        if self.queue < self.pictures:
            raise ConfigError(
                f"the queue must have room for one request: {self.pictures} pictures are allowed in one, and "
                f"{self.queue} may wait; raise the queue or lower the pictures"
            )


class QueueFullError(MienError):
    """So many pictures wait that more are not taken in."""


@dataclass(frozen=True)
class Picture:
    """One picture as it was sent.

    Attributes:
        name: What answers and sentences call it.
        encoded: The bytes of a picture file.
    """

    name: str
    encoded: bytes


@dataclass(frozen=True)
class _Waiting:
    picture: Picture
    answer: Future[dict[str, Any]] = field(default_factory=Future)
    since_s: float = field(default_factory=time.monotonic)


class Batcher:
    """One queue of pictures, and threads that take from it.

    A thread takes up to `batch` pictures at once and waits `wait_ms` for them at most, counted from the arrival of the
    oldest. What waits is shared among the threads that are free, so that none idles while another has a batch to do.

    Threads of one core each are better than one thread of all cores: finding faces is many short runs of a small
    network, which several cores cannot share well. On two cores that had other work too (benchmarks/service.py
    --requests 96 --rounds 6 --compare, median of 6) two workers of one thread recognised 69 pictures/s in batches of 4,
    one worker of two threads 26; in batches of 1 the two recognised 58, in batches of 16 70.

    Args:
        recognizer: Of one thread; all workers use it, since ONNX Runtime may be called by several at once.
        limits: `pixels` and `queue` are kept here; `seconds` is how long a batch or `close` may take.
        workers: Threads.
        batch: Most pictures at once.
        wait_ms: Longest wait for more of them.
        tell: Called by a worker with the number of pictures that it has taken.
    """

    def __init__(
        self,
        recognizer: Recognizer,
        limits: Limits,
        workers: int,
        batch: int,
        wait_ms: float,
        tell: Callable[[int], object],
    ) -> None:
        self._recognizer, self._limits, self._tell = recognizer, limits, tell
        self._batch, self._wait_s = batch, wait_ms / 1000
        self._changed = threading.Condition()
        self._waiting: deque[_Waiting] = deque()
        self._free = 0
        self._closed = False
        self._began_s = [math.inf] * workers
        self._threads = [
            threading.Thread(target=self._work, args=(n,), name=f"mien-{n}", daemon=True) for n in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def waiting(self) -> int:
        """Pictures that no worker has taken yet."""
        return len(self._waiting)

    @property
    def full(self) -> bool:
        """Whether not even one picture more would be taken in."""
        return self.waiting >= self._limits.queue

    @property
    def stuck(self) -> bool:
        """Whether each worker has been at one batch for longer than a request may take."""
        return time.monotonic() - max(self._began_s) > self._limits.seconds

    def submit(self, pictures: Sequence[Picture]) -> list[Future[dict[str, Any]]]:
        """Takes in all pictures of a request or none.

        Returns:
            For each picture what will be its answer: name, width, height and faces as `mien.recognition.records` has
            them, or an ImageError. One that is cancelled before a worker has taken it is not recognised.

        Raises:
            QueueFullError: They would be too many.
        """
        arrived = [_Waiting(picture) for picture in pictures]
        with self._changed:
            if len(self._waiting) + len(arrived) > self._limits.queue:
                raise QueueFullError(
                    f"{len(self._waiting)} pictures are waiting and {self._limits.queue} may: try again in a second"
                )
            self._waiting.extend(arrived)
            self._changed.notify(len(arrived))
        return [each.answer for each in arrived]

    def close(self) -> None:
        """Ends the threads when they have answered everything that was taken in.

        One that takes longer for that than a request may is left behind; it ends with the process.
        """
        with self._changed:
            self._closed = True
            self._changed.notify_all()
        end_s = time.monotonic() + self._limits.seconds
        for thread in self._threads:
            thread.join(max(0.0, end_s - time.monotonic()))

    def _work(self, worker: int) -> None:
        while taken := self._take():
            self._began_s[worker] = time.monotonic()
            self._answer([each for each in taken if each.answer.set_running_or_notify_cancel()])
            self._began_s[worker] = math.inf

    def _take(self) -> list[_Waiting]:
        """The next batch; empty when there will be none."""
        with self._changed:
            self._free += 1
            while True:
                if not self._waiting:
                    if self._closed:
                        return []
                    self._changed.wait()
                    continue
                left_s = self._waiting[0].since_s + self._wait_s - time.monotonic()
                if len(self._waiting) >= self._batch * self._free or left_s <= 0 or self._closed:
                    break
                self._changed.wait(left_s)
            share = min(self._batch, math.ceil(len(self._waiting) / self._free))
            self._free -= 1
            if len(self._waiting) > share:
                self._changed.notify()
            return [self._waiting.popleft() for _ in range(share)]

    def _answer(self, taken: Sequence[_Waiting]) -> None:
        self._tell(len(taken))
        decoded = []
        for each in taken:
            try:
                decoded.append((each, decode(each.picture, self._limits.pixels)))
            except Exception as error:  # of one picture, such as too little memory: the worker goes on
                each.answer.set_exception(error)
        found = self._recognized([image_rgb for _, image_rgb in decoded])
        for (each, image_rgb), faces in zip(decoded, found, strict=True):
            if isinstance(faces, Exception):
                each.answer.set_exception(faces)
                continue
            record = records.to_record(each.picture.name, image_rgb, faces)
            each.answer.set_result({"name": record.pop("path"), **record})

    def _recognized(self, images_rgb: Sequence[NDArray[np.uint8]]) -> Sequence[tuple[Face, ...] | Exception]:
        """The faces of each picture; where one cannot be recognised, the others still are."""
        try:
            return self._recognizer.recognize_batch(images_rgb)
        except Exception as error:
            if len(images_rgb) == 1:
                return [error]
            return [faces for image_rgb in images_rgb for faces in self._recognized([image_rgb])]


def decode(picture: Picture, max_pixels: int) -> NDArray[np.uint8]:
    """A picture as it was sent -> (H, W, 3), values 0..255. Its size is looked at before it is unpacked.

    Raises:
        ImageError: It is in none of FORMATS, is damaged, or has too many pixels; the sentence names it.
    """
    try:
        return np.array(pixels.read(io.BytesIO(picture.encoded), FORMATS, max_pixels).convert("RGB"))
    except ImageError as error:
        raise ImageError(f"{picture.name} cannot be read as a picture: {error}") from None
