"""Pictures of many callers are recognised together, and none spoils another's answer."""

import io
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image

from mien.detection.whole_image import WholeImage
from mien.errors import ConfigError, ImageError
from mien.recognition.recognizer import Recognizer
from mien.service import batching as module
from mien.service.batching import Batcher, Limits, Picture, QueueFullError, decode
from tests.waiting import LONG_S, until

ASTRONAUT = (Path(__file__).parents[2] / "examples" / "astronaut.jpg").read_bytes()


def png(colour, size=(32, 32)):
    stream = io.BytesIO()
    Image.new("RGB", size, colour).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def batcher():
    """Makes batchers whose pictures are one face each, and closes them; gives what they told too."""
    made = []

    def make(detector=None, workers=1, batch=4, wait_ms=200.0, limits=None):
        taken = []
        recognizer = Recognizer(detector=detector or WholeImage(), threads=1)
        made.append(Batcher(recognizer, limits or Limits(), workers, batch, wait_ms, taken.append))
        return made[-1], taken

    yield make
    for each in made:
        each.close()


def test_pictures_that_come_within_the_wait_are_one_batch(batcher):
    batching, taken = batcher(batch=3, wait_ms=600_000)  # full, it does not wait
    answers = [batching.submit([Picture(f"{level}.png", png((level,) * 3))])[0] for level in (10, 20, 30)]
    found = [answer.result(LONG_S) for answer in answers]
    assert [record["name"] for record in found] == ["10.png", "20.png", "30.png"]
    assert taken == [3]


def test_a_lone_picture_waits_no_longer_than_stated(batcher):
    batching, taken = batcher(wait_ms=50)
    batching.submit([Picture("first", png("gray"))])[0].result(LONG_S)
    started = time.monotonic()
    batching.submit([Picture("second", png("gray"))])[0].result(LONG_S)
    assert 0.05 <= time.monotonic() - started < 1
    assert taken == [1, 1]


def test_what_waits_is_shared_among_free_workers(batcher):
    both = threading.Barrier(2)

    class Meeting:
        """Finds a face only when two workers look for one at the same time."""

        def __call__(self, image_rgb):
            both.wait(LONG_S)
            return WholeImage()(image_rgb)

    batching, taken = batcher(Meeting(), workers=2, wait_ms=0)
    until(lambda: batching._free == 2, "both workers to be free")
    for answer in batching.submit([Picture(str(number), png("gray")) for number in range(2)]):
        assert len(answer.result(LONG_S)["faces"]) == 1
    assert taken == [1, 1]


def test_a_bad_picture_does_not_fail_its_batch(batcher):
    class NoGreen:
        """A detector that has a bug with green pictures."""

        def __call__(self, image_rgb):
            if (image_rgb[0, 0] == (0, 128, 0)).all():
                raise ZeroDivisionError("green")
            return WholeImage()(image_rgb)

    batching, taken = batcher(NoGreen())
    sent = {"gray": png("gray"), "green": png("green"), "text": b"no picture at all", "red": png("red")}
    gray, green, text, red = batching.submit([Picture(*each) for each in sent.items()])
    assert [len(answer.result(LONG_S)["faces"]) for answer in (gray, red)] == [1, 1]
    assert isinstance(green.exception(LONG_S), ZeroDivisionError)
    assert isinstance(text.exception(LONG_S), ImageError)
    assert taken == [4]


class Held:
    """A detector that says when it is looking, and has no answer before it may go on."""

    def __init__(self):
        self.looking, self.go = threading.Event(), threading.Event()

    def __call__(self, image_rgb):
        self.looking.set()
        self.go.wait(2 * LONG_S)
        return WholeImage()(image_rgb)


def test_all_of_a_request_is_taken_in_or_nothing(batcher):
    held = Held()
    batching, _ = batcher(held, batch=1, wait_ms=0, limits=Limits(pictures=2, queue=3))
    picture = Picture("gray", png("gray"))
    answers = batching.submit([picture])
    assert held.looking.wait(LONG_S)
    answers += batching.submit([picture] * 2)
    with pytest.raises(QueueFullError, match="2 pictures are waiting and 3 may"):
        batching.submit([picture] * 2)
    assert batching.waiting == 2
    assert not batching.full
    answers += batching.submit([picture])
    assert batching.full
    given_up = answers.pop()
    assert given_up.cancel()
    held.go.set()
    assert all(answer.result(LONG_S) for answer in answers)


def test_closing_answers_what_was_taken_in(batcher):
    batching, _ = batcher(batch=2, wait_ms=10_000)
    answers = batching.submit([Picture(str(number), png("gray")) for number in range(5)])
    batching.close()
    assert [answer.result(0)["name"] for answer in answers] == ["0", "1", "2", "3", "4"]


def test_a_worker_that_never_ends_is_seen_and_not_waited_for(batcher, monkeypatch):
    held = Held()
    batching, _ = batcher(held, wait_ms=0, limits=Limits(seconds=0.2))
    (answer,) = batching.submit([Picture("gray", png("gray"))])
    assert held.looking.wait(LONG_S)
    (began_s,) = batching._began_s
    with monkeypatch.context() as patch:
        for after_s, stuck in [(0.19, False), (0.21, True)]:
            patch.setattr(module, "time", SimpleNamespace(monotonic=lambda now_s=began_s + after_s: now_s))
            assert batching.stuck == stuck
    started = time.monotonic()
    batching.close()
    assert 0.2 <= time.monotonic() - started < 5
    assert batching.stuck
    held.go.set()
    assert answer.result(LONG_S)
    until(lambda: not batching.stuck, "the worker to be free again")


def test_one_worker_that_gets_on_is_enough(batcher):
    looking, go = threading.Event(), threading.Event()

    class EndlessWhereBlack:
        def __call__(self, image_rgb):
            if not image_rgb.any():
                looking.set()
                go.wait(2 * LONG_S)
            return WholeImage()(image_rgb)

    batching, _ = batcher(EndlessWhereBlack(), workers=2, batch=1, wait_ms=0, limits=Limits(seconds=0.05))
    batching.submit([Picture("black", png("black"))])
    assert looking.wait(LONG_S)
    began_s = min(batching._began_s)
    until(lambda: time.monotonic() - began_s > 0.05, "longer than a request may take")
    assert not batching.stuck
    batching.submit([Picture("gray", png("gray"))])[0].result(LONG_S)
    go.set()


def test_decoding_is_the_one_of_every_other_way():
    assert (decode(Picture("astronaut", ASTRONAUT), 10**6) == np.asarray(Image.open(io.BytesIO(ASTRONAUT)))).all()


@pytest.mark.parametrize(
    ("encoded", "reason"),
    [
        (b"", "it is empty or in none of JPEG, PNG"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "it is empty or in none of JPEG, PNG"),
        (ASTRONAUT[:2000], "truncated"),
        (png("gray", (200, 100)), "it has 200 x 100 pixels and 19,999 are allowed"),
    ],
    ids=["empty", "a program", "cut off", "large"],
)
def test_what_cannot_be_read_has_its_reason(encoded, reason):
    limit = 19_999 if reason.startswith("it has") else 10**6
    with pytest.raises(ImageError, match=f"face.jpg cannot be read as a picture: .*{reason}"):
        decode(Picture("face.jpg", encoded), limit)


@pytest.mark.parametrize("limits", [{"seconds": 0}, {"pixels": -1}, {"seconds": float("nan")}, {"queue": 3}])
def test_limits_that_allow_nothing_are_refused(limits):
    with pytest.raises(ConfigError, match=r"must be above 0|must have room"):
        Limits(**limits)
