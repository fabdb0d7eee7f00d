"""Batches: pictures of many callers are recognised together, and one caller cannot fail another."""

import io
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from mien.detection.whole_image import WholeImage
from mien.errors import ImageError
from mien.recognition.recognizer import Recognizer
from mien.service import Limits, batching
from mien.service.batching import Batcher, Picture, QueueFullError, decode
from tests.service.conftest import PICTURE
from tests.waiting import LONG_S, until


def png(colour, size=(32, 32)):
    stream = io.BytesIO()
    Image.new("RGB", size, colour).save(stream, "PNG")
    return stream.getvalue()


GRAY = Picture("gray", png("gray"))


@pytest.fixture
def make_batcher():
    """Makes a batcher that takes each picture as one face, and a list of its batch sizes; closes it after the test."""
    batchers = []

    def make(detector=None, workers=1, batch_size=4, wait_ms=200.0, limits=None):
        sizes = []
        recognizer = Recognizer(detector=detector or WholeImage(), threads=1)
        batchers.append(Batcher(recognizer, limits or Limits(), workers, batch_size, wait_ms, sizes.append))
        return batchers[-1], sizes

    yield make
    for batcher in batchers:
        batcher.close()


class PausedDetector:
    """A detector that sets `started` at its first image and answers after `resume`."""

    def __init__(self, pauses_at=lambda image_rgb: True):
        self.pauses_at = pauses_at
        self.started, self.resume = threading.Event(), threading.Event()

    def __call__(self, image_rgb):
        if self.pauses_at(image_rgb):
            self.started.set()
            self.resume.wait(2 * LONG_S)
        return WholeImage()(image_rgb)


def test_full_batch_does_not_wait(make_batcher):
    batcher, sizes = make_batcher(batch_size=3, wait_ms=600_000)
    futures = [batcher.submit([Picture(f"{level}.png", png((level,) * 3))])[0] for level in (10, 20, 30)]
    assert [future.result(LONG_S)["name"] for future in futures] == ["10.png", "20.png", "30.png"]
    assert sizes == [3]


def test_single_picture_waits_at_most_wait_ms(make_batcher):
    batcher, sizes = make_batcher(wait_ms=50)
    batcher.submit([GRAY])[0].result(LONG_S)
    started = time.monotonic()
    batcher.submit([GRAY])[0].result(LONG_S)
    assert 0.05 <= time.monotonic() - started < 1
    assert sizes == [1, 1]


def test_queued_pictures_are_divided_among_idle_workers(make_batcher):
    both_workers = threading.Barrier(2)

    class MeetingDetector:
        """Returns only when two workers run it at the same time."""

        def __call__(self, image_rgb):
            both_workers.wait(LONG_S)
            return WholeImage()(image_rgb)

    batcher, sizes = make_batcher(MeetingDetector(), workers=2, wait_ms=0)
    until(lambda: batcher._idle_workers == 2, "both workers to be idle")
    for future in batcher.submit([GRAY, GRAY]):
        assert len(future.result(LONG_S)["faces"]) == 1
    assert sizes == [1, 1]


def test_bad_picture_does_not_fail_its_batch(make_batcher):
    class FailsOnGreen:
        def __call__(self, image_rgb):
            if (image_rgb[0, 0] == (0, 128, 0)).all():
                raise ZeroDivisionError("green")
            return WholeImage()(image_rgb)

    batcher, sizes = make_batcher(FailsOnGreen())
    pictures = {"gray": png("gray"), "green": png("green"), "text": b"not a picture", "red": png("red")}
    gray, green, text, red = batcher.submit([Picture(*picture) for picture in pictures.items()])
    assert [len(future.result(LONG_S)["faces"]) for future in (gray, red)] == [1, 1]
    assert isinstance(green.exception(LONG_S), ZeroDivisionError)
    assert isinstance(text.exception(LONG_S), ImageError)
    assert sizes == [4]


def test_submit_queues_all_pictures_of_a_request_or_none(make_batcher):
    detector = PausedDetector()
    batcher, _ = make_batcher(detector, batch_size=1, wait_ms=0, limits=Limits(pictures=2, queue=3))
    futures = batcher.submit([GRAY])
    assert detector.started.wait(LONG_S)
    futures += batcher.submit([GRAY] * 2)
    with pytest.raises(QueueFullError, match="2 of at most 3 pictures are waiting"):
        batcher.submit([GRAY] * 2)
    assert batcher.queue_length == 2
    assert not batcher.is_full
    futures += batcher.submit([GRAY])
    assert batcher.is_full
    assert futures.pop().cancel()
    detector.resume.set()
    assert all(future.result(LONG_S) for future in futures)


def test_close_answers_every_queued_picture(make_batcher):
    batcher, _ = make_batcher(batch_size=2, wait_ms=10_000)
    futures = batcher.submit([Picture(str(number), png("gray")) for number in range(5)])
    batcher.close()
    assert [future.result(0)["name"] for future in futures] == ["0", "1", "2", "3", "4"]


def test_close_does_not_wait_for_a_stuck_worker(make_batcher, monkeypatch):
    detector = PausedDetector()
    batcher, _ = make_batcher(detector, wait_ms=0, limits=Limits(seconds=0.2))
    (future,) = batcher.submit([GRAY])
    assert detector.started.wait(LONG_S)
    (started_s,) = batcher._batch_started_s
    with monkeypatch.context() as patch:
        for after_s, stuck in [(0.19, False), (0.21, True)]:
            patch.setattr(batching, "time", SimpleNamespace(monotonic=lambda now_s=started_s + after_s: now_s))
            assert batcher.is_stuck == stuck
    closed_s = time.monotonic()
    batcher.close()
    assert 0.2 <= time.monotonic() - closed_s < 5
    assert batcher.is_stuck
    detector.resume.set()
    assert future.result(LONG_S)
    until(lambda: not batcher.is_stuck, "the worker to be idle again")


def test_batcher_is_not_stuck_while_one_worker_runs(make_batcher):
    detector = PausedDetector(pauses_at=lambda image_rgb: not image_rgb.any())
    batcher, _ = make_batcher(detector, workers=2, batch_size=1, wait_ms=0, limits=Limits(seconds=0.05))
    batcher.submit([Picture("black", png("black"))])
    assert detector.started.wait(LONG_S)
    started_s = min(batcher._batch_started_s)
    until(lambda: time.monotonic() - started_s > 0.05, "the first worker to exceed the limit")
    assert not batcher.is_stuck
    batcher.submit([GRAY])[0].result(LONG_S)
    detector.resume.set()


def test_decode_gives_the_pixels_of_pillow():
    assert (decode(Picture("astronaut", PICTURE), 10**6) == np.asarray(Image.open(io.BytesIO(PICTURE)))).all()


@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        (b"", "it is empty, or its format is not one of JPEG, PNG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "it is empty, or its format is not one of JPEG, PNG"),
        (PICTURE[:2000], "truncated"),
        (png("gray", (200, 100)), "it has 200 x 100 pixels and 19,999 are allowed"),
    ],
    ids=["empty", "postscript", "truncated", "large"],
)
def test_unreadable_picture_raises_image_error_with_reason(encoded, reason):
    limit = 19_999 if reason.startswith("it has") else 10**6
    with pytest.raises(ImageError, match=f"face.jpg cannot be read as a picture: .*{reason}"):
        decode(Picture("face.jpg", encoded), limit)


def test_long_name_is_shortened_in_the_error():
    with pytest.raises(ImageError) as error:
        decode(Picture("x" * 1000, b""), 10**6)
    assert str(error.value).startswith("x" * 80 + "... cannot")
