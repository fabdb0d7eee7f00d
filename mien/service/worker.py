"""The program of a worker process: decodes and recognises pictures that the service sends through a pipe."""

from __future__ import annotations

import functools
import json
import os
import pickle
import signal
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from mien.errors import ImageError, MienError, error_text, shortened

if TYPE_CHECKING:  # the service imports this module too, and must stay small
    import numpy as np
    from numpy.typing import NDArray

    from mien.recognition.recognizer import Recognizer

FORMATS = ("JPEG", "PNG", "WEBP", "AVIF", "GIF", "BMP", "TIFF")
"""Allowed formats, as Pillow names them. Other readers of Pillow start programs or are rarely maintained."""
MAX_BATCH_PIXELS = 4_000_000
"""Decoded pictures are recognised as soon as they have this many pixels, so that large ones are in memory alone."""


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
class WorkerSetup:
    """What a worker needs before its first picture.

    Attributes:
        create_recognizer: Makes the recogniser, of one thread.
        max_pixels: Maximum width times height of a picture.
        memory_bytes: Most memory of the worker; beyond it, an allocation fails. Linux only.
    """

    create_recognizer: Callable[[], Recognizer]
    max_pixels: int
    memory_bytes: int


def recognizer_factory(
    model: str | os.PathLike[str], detector: str, min_score: float | None = None, device: str | None = None
) -> Callable[[], Recognizer]:
    """Returns a function that makes a recogniser of one thread, and that can be sent to a worker."""
    return functools.partial(_create_recognizer, model, detector, min_score, device)


def _create_recognizer(
    model: str | os.PathLike[str], detector: str, min_score: float | None, device: str | None
) -> Recognizer:
    from mien.recognition.recognizer import Recognizer

    return Recognizer(os.fspath(model), detector, threads=1, min_score=min_score, device=device)


def main() -> None:
    """Answers batches of pictures until the service closes the pipe.

    Standard input carries pickles of the service: a WorkerSetup, then one list of Picture per batch. Standard output
    carries one JSON object per line, since pictures of strangers are decoded here and the service must not have to
    trust a pickle of this process: `{"ready": true, "device": NAME}` or `{"error": SENTENCE, "kind": CLASS}`, then one
    object of `answers` for each picture of a batch.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # sent to all processes of a terminal or a supervisor's group
        signal.signal(number, signal.SIG_IGN)
    batches: BinaryIO = os.fdopen(os.dup(0), "rb")
    lines: BinaryIO = os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(2, 1)  # what a library prints must not get between the answers

    def send(message: dict[str, Any]) -> None:
        lines.write(json.dumps(message).encode() + b"\n")
        lines.flush()

    try:
        setup: WorkerSetup = pickle.load(batches)
        from mien.models.session import return_freed_memory

        _limit_memory(setup.memory_bytes)
        return_freed_memory()
        recognizer = setup.create_recognizer()
        from mien.recognition import photo, records  # noqa: F401 - not while the first picture waits

        send({"ready": True, "device": recognizer.device})
        while True:
            for answer in answers(pickle.load(batches), recognizer, setup.max_pixels):
                send(answer)
    except MienError as error:  # the recogniser cannot be made
        send({"error": str(error), "kind": type(error).__name__})
    except (EOFError, BrokenPipeError, pickle.UnpicklingError):  # the service has ended
        os._exit(0)  # without flushing a pipe that nobody reads


def answers(pictures: Sequence[Picture], recognizer: Recognizer, max_pixels: int) -> Iterator[dict[str, Any]]:
    """Recognises a batch of pictures.

    Yields:
        One dictionary per picture, in the order in which they are finished: `picture`, its index, and one of `record`
        (name, width, height and faces, as in `mien.recognition.records`), `unreadable` (the reason, one sentence) and
        `failed` (the text of an unexpected error).
    """
    decoded: list[tuple[int, NDArray[np.uint8]]] = []
    pixels = 0
    for index, picture in enumerate(pictures):
        try:
            decoded.append((index, decode(picture, max_pixels)))
        except ImageError as error:
            yield {"picture": index, "unreadable": str(error)}
            continue
        except Exception as error:  # one picture may fail, for lack of memory say: the worker must go on
            yield _failure(index, error)
            continue
        height, width = decoded[-1][1].shape[:2]
        pixels += height * width
        if pixels >= MAX_BATCH_PIXELS:
            yield from _recognize(decoded, pictures, recognizer)
            decoded, pixels = [], 0
    yield from _recognize(decoded, pictures, recognizer)


def decode(picture: Picture, max_pixels: int) -> NDArray[np.uint8]:
    """Decodes an uploaded picture. Its size is checked before its pixels are decompressed.

    Returns:
        (H, W, 3) RGB, values 0..255.

    Raises:
        ImageError: The picture is not in FORMATS, is damaged, or has more than `max_pixels` pixels.
    """
    from mien.recognition import photo

    raised_by = "start mien serve with --max-pixels"
    return photo.read(picture.encoded, shortened(picture.name), FORMATS, max_pixels, raised_by)


def _recognize(
    decoded: Sequence[tuple[int, NDArray[np.uint8]]], pictures: Sequence[Picture], recognizer: Recognizer
) -> Iterator[dict[str, Any]]:
    """Recognises decoded pictures together. If that fails, each is tried alone, so that one cannot fail the others."""
    from mien.recognition import records

    try:
        results = recognizer.recognize_batch([image_rgb for _, image_rgb in decoded])
    except Exception as error:
        if len(decoded) == 1:
            yield _failure(decoded[0][0], error)
            return
        for one in decoded:
            yield from _recognize([one], pictures, recognizer)
        return
    for (index, image_rgb), faces in zip(decoded, results, strict=True):
        record = records.to_record(pictures[index].name, image_rgb, faces)
        yield {"picture": index, "record": {"name": record.pop("path"), **record}}


def _failure(index: int, error: Exception) -> dict[str, Any]:
    traceback.print_exception(error)  # the service's log is the only place that has the worker's stack
    return {"picture": index, "failed": f"{type(error).__name__}: {error_text(error)}"}


def _limit_memory(limit_bytes: int) -> None:
    if sys.platform == "linux":  # other systems do not enforce this limit
        import resource

        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        wanted = limit_bytes if hard == resource.RLIM_INFINITY else min(limit_bytes, hard)
        resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))
