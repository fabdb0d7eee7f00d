"""Batches of pictures from many callers, recognised by a few worker processes."""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from typing import Any

from mien.errors import ImageError, MienError, error_text, shortened
from mien.service.process import EXIT_S, WorkerDiedError, WorkerProcess
from mien.service.settings import Limits
from mien.service.worker import Picture

RESTART_WAIT_S = 1.0
"""Wait before another try to start a worker that could not start, seconds; each failure in a row adds this much."""
MAX_RESTART_WAIT_S = 30.0
"""Longest such wait, seconds."""

logger = logging.getLogger("mien")


class QueueFullError(MienError):
    """The queue has no room for the pictures of a request."""


class RecognitionError(MienError):
    """A worker failed at a picture, or died of it; the picture may be the reason."""


@dataclass(frozen=True)
class _QueuedPicture:
    picture: Picture
    is_suspect: bool = False
    """Whether a worker died of a batch with this picture. A suspect is recognised alone."""
    answer: Future[dict[str, Any]] = field(default_factory=Future)
    queued_at_s: float = field(default_factory=time.monotonic)

    def resolve(self, result: dict[str, Any] | Exception) -> None:
        """Sets the answer, unless the caller has left."""
        with contextlib.suppress(InvalidStateError):
            if isinstance(result, Exception):
                self.answer.set_exception(result)
            else:
                self.answer.set_result(result)


class Batcher:
    """A queue of pictures and the worker processes that recognise them in batches.

    A worker recognises up to `batch_size` pictures at once. It waits at most `wait_ms` for a full batch, counted from
    the arrival of the oldest picture. Queued pictures are divided evenly among idle workers.

    A worker that dies is replaced. If it had one picture, that picture fails; if it had several, each is tried again
    alone, so that only the picture that it died of fails. A worker is also replaced after `worker_pictures` pictures,
    and killed when a batch takes longer than a request may take.

    Attributes:
        device: The name of the device that the first worker's model runs on.

    Args:
        start_worker: Starts a worker process.
        limits: `queue` applies here; `seconds` limits the time that a batch or `close` may take.
        workers: Number of worker processes.
        worker_pictures: Number of pictures after which a worker is replaced.
        batch_size: Maximum number of pictures in a batch.
        wait_ms: Maximum time to wait for a full batch, milliseconds.
        on_batch: Called with the number of pictures in each batch.

    Raises:
        WeightsError: The model or the detector is missing or damaged.
        ConfigError: The detector is unknown.
        WorkerDiedError: The first worker could not start for another reason.
    """

    def __init__(
        self,
        start_worker: Callable[[], WorkerProcess],
        limits: Limits,
        workers: int,
        worker_pictures: int,
        batch_size: int,
        wait_ms: float,
        on_batch: Callable[[int], object],
    ) -> None:
        self._start_worker, self._limits, self._on_batch = start_worker, limits, on_batch
        self._worker_pictures, self._batch_size, self._wait_s = worker_pictures, batch_size, wait_ms / 1000
        self._changed = threading.Condition()
        self._queue: deque[_QueuedPicture] = deque()
        self._idle_workers = 0
        self._closed, self._ended = threading.Event(), False
        self._batch_started_s = [math.inf] * workers
        self._workers: list[WorkerProcess | None] = [None] * workers
        self._failed_starts = [0] * workers
        first, *others = [start_worker() for _ in range(workers)]
        try:
            first.wait_until_ready()
        except MienError:
            for worker in (first, *others):
                worker.kill("another worker could not start")
                worker.close()
            raise
        self.device = first.device
        self._threads = [
            threading.Thread(target=self._run_worker, args=(n, worker), name=f"mien-{n}", daemon=True)
            for n, worker in enumerate((first, *others))
        ]
        self._threads.append(threading.Thread(target=self._kill_slow_workers, name="mien-watch", daemon=True))
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
    def is_broken(self) -> bool:
        """Whether no worker can start; further tries follow."""
        return all(self._failed_starts)

    @property
    def worker_pids(self) -> list[int]:
        """Process ids of the workers that are ready or at work."""
        return [worker.pid for worker in self._workers if worker]

    def submit(self, pictures: Sequence[Picture]) -> list[Future[dict[str, Any]]]:
        """Queues all pictures of a request, or none of them.

        Returns:
            A future per picture. Its result is a dictionary of name, width, height and faces, as in
            `mien.recognition.records`; its exception is an ImageError for an unreadable picture, and a RecognitionError
            if a worker failed at it. A picture whose future is cancelled before a worker starts on it is not
            recognised.

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

        A worker that needs more time than a request may take is killed.
        """
        with self._changed:
            self._closed.set()
            self._changed.notify_all()
        end_s = time.monotonic() + self._limits.seconds
        for thread in self._threads:
            thread.join(max(0.0, end_s - time.monotonic()))
        with self._changed:
            self._ended = True
            for queued in self._queue:
                queued.resolve(_ended_error())
            self._queue.clear()
        for worker in self._workers:
            if worker:
                worker.kill("a worker process did not end in time and was ended")
        for thread in self._threads:
            thread.join(EXIT_S)

    def _run_worker(self, n: int, worker: WorkerProcess | None) -> None:
        # The workers' first lives end at different times, so that they are not all replaced together.
        left = math.ceil(self._worker_pictures * (n + 1) / len(self._workers))
        while True:
            try:
                worker = worker or self._start_worker()
                worker.wait_until_ready()
                self._workers[n], self._failed_starts[n] = worker, 0
                is_done = self._use_worker(n, worker, left)
            except (MienError, OSError) as error:
                logger.error("a worker process cannot start: %s", error_text(error))
                self._failed_starts[n] += 1
                is_done = self._closed.wait(min(RESTART_WAIT_S * self._failed_starts[n], MAX_RESTART_WAIT_S))
            finally:
                self._workers[n] = None
                if worker:
                    worker.close()
            if is_done or self._ended:
                return
            worker, left = None, self._worker_pictures

    def _use_worker(self, n: int, worker: WorkerProcess, left: int) -> bool:
        """Gives batches to a worker until it has died, or has had `left` pictures, or the batcher is closed.

        Returns:
            Whether the batcher is closed and the queue is empty.
        """
        while left > 0:
            batch = self._next_batch()
            if not batch:
                return True
            left -= len(batch)
            wanted = [each for each in batch if not each.answer.cancelled()]
            if not wanted:
                continue
            self._on_batch(len(wanted))
            self._batch_started_s[n] = time.monotonic()
            try:
                is_alive = self._recognize(worker, wanted)
            finally:
                self._batch_started_s[n] = math.inf
            if not is_alive:
                return False
        return False

    def _next_batch(self) -> list[_QueuedPicture]:
        """Waits for a batch. Returns an empty one once the batcher is closed and the queue is empty."""
        with self._changed:
            self._idle_workers += 1
            while True:
                if not self._queue:
                    if self._closed.is_set():
                        self._idle_workers -= 1
                        return []
                    self._changed.wait()
                    continue
                left_s = self._queue[0].queued_at_s + self._wait_s - time.monotonic()
                enough = len(self._queue) >= self._batch_size * self._idle_workers or self._queue[0].is_suspect
                if enough or left_s <= 0 or self._closed.is_set():
                    break
                self._changed.wait(left_s)
            size = min(self._batch_size, math.ceil(len(self._queue) / self._idle_workers))
            self._idle_workers -= 1
            batch = [self._queue.popleft()]
            while len(batch) < size and not (batch[0].is_suspect or self._queue[0].is_suspect):
                batch.append(self._queue.popleft())
            if self._queue:
                self._changed.notify()
            return batch

    def _recognize(self, worker: WorkerProcess, batch: Sequence[_QueuedPicture]) -> bool:
        """Sets the answer of every picture in a batch, or queues pictures again if the worker dies.

        Returns:
            Whether the worker is alive.
        """
        unanswered = dict(enumerate(batch))
        try:
            for answer in worker.recognize([each.picture for each in batch]):
                unanswered.pop(answer["picture"]).resolve(_result(answer))
        except WorkerDiedError as error:
            logger.error("%s; another one replaces it", error)
            suspects = [each for each in unanswered.values() if not each.answer.cancelled()]
            if len(batch) == 1:
                for each in suspects:
                    each.resolve(RecognitionError(f"{error} at {shortened(each.picture.name)}"))
            else:
                self._try_again_alone(suspects)
            return False
        return True

    def _try_again_alone(self, suspects: Sequence[_QueuedPicture]) -> None:
        again = [_QueuedPicture(each.picture, True, each.answer, each.queued_at_s) for each in suspects]
        with self._changed:
            if self._ended:
                for each in again:
                    each.resolve(_ended_error())
                return
            self._queue.extendleft(reversed(again))
            self._changed.notify(len(again))

    def _kill_slow_workers(self) -> None:
        limit_s = self._limits.seconds
        while not self._closed.wait(min(1.0, limit_s / 4)):
            for worker, started_s in zip(tuple(self._workers), tuple(self._batch_started_s), strict=True):
                if worker and time.monotonic() - started_s > limit_s:
                    worker.kill(f"a worker process exceeded its limit of {limit_s:g} s and was ended")


def _ended_error() -> RecognitionError:
    return RecognitionError("the service ended before it could recognise the picture")


def _result(answer: dict[str, Any]) -> dict[str, Any] | Exception:
    if "unreadable" in answer:
        return ImageError(answer["unreadable"])
    if "failed" in answer:
        return RecognitionError(f"a worker process failed with {shortened(answer['failed'])}")
    record: dict[str, Any] = answer["record"]
    return record
