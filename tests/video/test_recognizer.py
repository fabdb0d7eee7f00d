"""The faces of a video: who is who, where they are between two looks, and what they show."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mien.detection.base import Detection
from mien.errors import ConfigError, ImageError, VideoError
from mien.models.onnx_model import OnnxModel
from mien.recognition.crops import crop_faces
from mien.recognition.recognizer import Recognizer
from mien.types import Box
from mien.video import source as video_source
from mien.video.recognizer import VideoFrame, VideoRecognizer
from mien.video.track import Smoothing
from tests.video import films
from tests.waiting import until

STEP_PX = 4
"""How far the face goes from picture to picture."""


@pytest.fixture(scope="module")
def recognizer() -> VideoRecognizer:
    return VideoRecognizer(threads=1)


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """31 pictures in which a face goes from left to right."""
    pictures = [films.face_at((10 + STEP_PX * i, 60)) for i in range(31)]
    return films.write(tmp_path_factory.mktemp("films") / "walk.mp4", pictures)


@pytest.fixture(scope="module")
def walked(recognizer: VideoRecognizer, walk: Path) -> list[VideoFrame]:
    return list(recognizer(walk))


def test_one_face_is_one_track_in_every_picture(walked: list[VideoFrame]) -> None:
    assert [frame.number for frame in walked] == list(range(31))
    assert [[face.track for face in frame.faces] for frame in walked] == [[1]] * 31


def test_between_two_looks_it_is_where_it_was_going(walked: list[VideoFrame]) -> None:
    lefts = np.array([frame.faces[0].face.box.x0 for frame in walked])
    expected = lefts[0] + STEP_PX * np.arange(31)
    assert np.abs(lefts - expected).max() < 6
    noses = np.array([frame.faces[0].face.landmarks["nose"][0] for frame in walked])
    assert np.abs(noses - (noses[0] + STEP_PX * np.arange(31))).max() < 6


def test_what_a_picture_shows_is_what_a_photograph_would(walked: list[VideoFrame], recognizer: VideoRecognizer) -> None:
    for frame in walked[::7]:
        (tracked,) = frame.faces
        alone = recognizer.recognizer.classify_crops(crop_faces(frame.image_rgb, [tracked.face]))
        assert tracked.face.expression.probabilities == pytest.approx(dict(alone[0].probabilities), abs=1e-5)
        assert tracked.face.expression.held == ""


def test_what_it_shows_over_time_is_the_average(walked: list[VideoFrame]) -> None:
    assert walked[0].faces[0].steady.probabilities == walked[0].faces[0].face.expression.probabilities
    raw = np.array([list(frame.faces[0].face.expression.probabilities.values()) for frame in walked])
    steady = np.array([list(frame.faces[0].steady.probabilities.values()) for frame in walked])
    share, average = -np.expm1(-0.04 / Smoothing().seconds), raw[0]
    for now, expected in zip(raw[1:], steady[1:], strict=True):
        average = average + share * (now - average)
        assert average == pytest.approx(expected, abs=1e-3)
    assert walked[0].faces[0].steady_face.expression is walked[0].faces[0].steady


def test_faces_from_one_look_to_the_next_go_through_the_network_together(
    recognizer: VideoRecognizer, walk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    logits = OnnxModel.logits
    monkeypatch.setattr(OnnxModel, "logits", lambda self, crops: sizes.append(len(crops)) or logits(self, crops))
    list(recognizer(walk))
    assert [size for size in sizes if size] == [3] * 10 + [1]


class Script:
    """A detector that finds, at its n-th look, what it was told."""

    def __init__(self, looks: list[list[Box]]) -> None:
        self.looks = iter(looks)

    def __call__(self, image_rgb: NDArray[np.uint8]) -> tuple[Detection, ...]:
        return tuple(Detection(box, {}, 0.9) for box in next(self.looks))


def test_an_error_of_the_detector_ends_the_video(walk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_source, "MOST_AHEAD", 2)  # or all would be decoded before the error
    before = set(threading.enumerate())
    looks = iter([[A], [A]])

    def detector(image_rgb: NDArray[np.uint8]) -> tuple[Detection, ...]:
        for boxes in looks:
            return tuple(Detection(box, {}, 0.9) for box in boxes)
        raise ImageError("the detector has had enough")

    numbers = []
    with pytest.raises(ImageError, match="had enough"):
        numbers.extend(f.number for f in VideoRecognizer(detector=detector, threads=1, detect_every=2)(walk))
    assert numbers == [0, 1]
    until(lambda: set(threading.enumerate()) <= before, "the thread that decodes to end")


A, B = Box(10, 10, 70, 70), Box(200, 100, 260, 160)


def tracks(looks: list[list[Box]], film: Path, every: int = 2) -> list[list[int | None]]:
    recognizer = VideoRecognizer(detector=Script(looks), threads=1, detect_every=every)
    return [[face.track for face in frame.faces] for frame in recognizer(film)]


@pytest.fixture(scope="module")
def eight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return films.write(tmp_path_factory.mktemp("films") / "eight.mkv", [films.face_at()] * 8)


def test_a_face_has_its_number_from_the_first_picture_and_none_where_it_is_seen_once(eight: Path) -> None:
    assert tracks([[A], [A], [A], [A]], eight) == [[1]] * 8
    assert tracks([[A, B], [A], [A], [A]], eight) == [[1, None], [1], [1], [1], [1], [1], [1], [1]]
    assert tracks([[A], [A, B], [B, A], [A, B]], eight) == [[1]] * 2 + [[1, 2]] * 6


def test_one_that_goes_is_gone_at_once_and_keeps_its_number_when_it_comes_back(eight: Path) -> None:
    assert tracks([[A], [A], [], [A]], eight) == [[1], [1], [1], [], [], [], [1], [1]]


def test_looks_at_every_picture(eight: Path) -> None:
    assert tracks([[A]] * 8, eight, every=1) == [[1]] * 8


def test_more_pictures_than_the_film_has_between_two_looks(eight: Path) -> None:
    assert tracks([[A]], eight, every=100) == [[None]] + [[]] * 7


def test_a_small_face_is_followed(tmp_path: Path, recognizer: VideoRecognizer) -> None:
    around = ((240, 240), (480, 480), (0, 0))
    pictures = [np.pad(films.face_at((100 + n, 80), face_px=70), around, constant_values=110) for n in range(25)]
    frames = list(recognizer(films.write(tmp_path / "far.mp4", pictures)))
    assert [[face.track for face in frame.faces] for frame in frames] == [[1]] * 25


def test_a_film_of_one_picture(tmp_path: Path, recognizer: VideoRecognizer) -> None:
    (frame,) = recognizer(films.write(tmp_path / "one.mp4", [films.face_at((80, 60))]))
    (face,) = frame.faces
    assert face.track is None
    assert face.steady == face.face.expression == Recognizer(threads=1)(frame.image_rgb)[0].expression


def test_what_could_be_read_comes_before_the_error(tmp_path: Path, recognizer: VideoRecognizer) -> None:
    random = np.random.default_rng(0)
    pictures = [random.integers(0, 256, (*films.SIZE, 3), dtype=np.uint8) for _ in range(76)]
    path = films.write(tmp_path / "cut.mkv", pictures)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    numbers = []
    with pytest.raises(VideoError, match="after"):
        numbers.extend(frame.number for frame in recognizer(path))
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > 15


def test_looks_of_no_picture_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"every picture \(1\) or fewer .*, got 0$"):
        VideoRecognizer(detect_every=0)
