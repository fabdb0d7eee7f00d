"""Recognising the faces in a video: tracks, interpolation between detections and expressions."""

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
from tests.video import samples
from tests.waiting import until

STEP_PX = 4
"""How far the face moves per frame."""


@pytest.fixture(scope="module")
def recognizer() -> VideoRecognizer:
    return VideoRecognizer(threads=1)


@pytest.fixture(scope="module")
def walk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """31 frames in which a face moves from left to right."""
    frames = [samples.face_at((10 + STEP_PX * i, 60)) for i in range(31)]
    return samples.write(tmp_path_factory.mktemp("samples") / "walk.mp4", frames)


@pytest.fixture(scope="module")
def walked(recognizer: VideoRecognizer, walk: Path) -> list[VideoFrame]:
    return list(recognizer(walk))


def test_one_face_has_one_track_in_every_frame(walked: list[VideoFrame]) -> None:
    assert [frame.number for frame in walked] == list(range(31))
    assert [[face.track for face in frame.faces] for frame in walked] == [[1]] * 31


def test_face_is_interpolated_between_detections(walked: list[VideoFrame]) -> None:
    lefts = np.array([frame.faces[0].face.box.x0 for frame in walked])
    expected = lefts[0] + STEP_PX * np.arange(31)
    assert np.abs(lefts - expected).max() < 6
    noses = np.array([frame.faces[0].face.landmarks["nose"][0] for frame in walked])
    assert np.abs(noses - (noses[0] + STEP_PX * np.arange(31))).max() < 6


def test_expression_of_a_frame_is_that_of_its_crop(walked: list[VideoFrame], recognizer: VideoRecognizer) -> None:
    for frame in walked[::7]:
        (tracked,) = frame.faces
        alone = recognizer.recognizer.classify_crops(crop_faces(frame.image_rgb, [tracked.face]))
        assert tracked.face.expression.probabilities == pytest.approx(dict(alone[0].probabilities), abs=1e-5)
        assert tracked.face.expression.held == ""


def test_steady_expression_is_the_average_over_time(walked: list[VideoFrame]) -> None:
    assert walked[0].faces[0].steady.probabilities == walked[0].faces[0].face.expression.probabilities
    raw = np.array([list(frame.faces[0].face.expression.probabilities.values()) for frame in walked])
    steady = np.array([list(frame.faces[0].steady.probabilities.values()) for frame in walked])
    weight, average = -np.expm1(-0.04 / Smoothing().seconds), raw[0]
    for now, expected in zip(raw[1:], steady[1:], strict=True):
        average = average + weight * (now - average)
        assert average == pytest.approx(expected, abs=1e-3)
    assert walked[0].faces[0].steady_face.expression is walked[0].faces[0].steady


def test_faces_between_two_detections_are_classified_in_one_batch(
    recognizer: VideoRecognizer, walk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes: list[int] = []
    logits = OnnxModel.logits
    monkeypatch.setattr(OnnxModel, "logits", lambda self, crops: sizes.append(len(crops)) or logits(self, crops))
    list(recognizer(walk))
    assert [size for size in sizes if size] == [3] * 10 + [1]


class FixedDetector:
    """A detector that returns given boxes, one list per call."""

    def __init__(self, boxes: list[list[Box]]) -> None:
        self.boxes = iter(boxes)

    def __call__(self, image_rgb: NDArray[np.uint8]) -> tuple[Detection, ...]:
        return tuple(Detection(box, {}, 0.9) for box in next(self.boxes))


def test_error_of_the_detector_is_raised_and_ends_the_threads(walk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video_source, "MAX_QUEUE_FRAMES", 2)  # otherwise the thread ends before the error
    before = set(threading.enumerate())
    results = iter([[A], [A]])

    def detector(image_rgb: NDArray[np.uint8]) -> tuple[Detection, ...]:
        for boxes in results:
            return tuple(Detection(box, {}, 0.9) for box in boxes)
        raise ImageError("the detector failed")

    numbers = []
    with pytest.raises(ImageError, match="detector failed"):
        numbers.extend(f.number for f in VideoRecognizer(detector=detector, threads=1, detect_every=2)(walk))
    assert numbers == [0, 1]
    until(lambda: set(threading.enumerate()) <= before, "the decoding thread to end")


A, B = Box(10, 10, 70, 70), Box(200, 100, 260, 160)


def tracks(boxes: list[list[Box]], video: Path, every: int = 2) -> list[list[int | None]]:
    recognizer = VideoRecognizer(detector=FixedDetector(boxes), threads=1, detect_every=every)
    return [[face.track for face in frame.faces] for frame in recognizer(video)]


@pytest.fixture(scope="module")
def eight_frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return samples.write(tmp_path_factory.mktemp("samples") / "eight.mkv", [samples.face_at()] * 8)


def test_face_has_its_track_from_the_first_detection_and_none_if_detected_once(eight_frames: Path) -> None:
    assert tracks([[A], [A], [A], [A]], eight_frames) == [[1]] * 8
    assert tracks([[A, B], [A], [A], [A]], eight_frames) == [[1, None], [1], [1], [1], [1], [1], [1], [1]]
    assert tracks([[A], [A, B], [B, A], [A, B]], eight_frames) == [[1]] * 2 + [[1, 2]] * 6


def test_face_that_leaves_is_gone_at_once_and_keeps_its_track_when_it_returns(eight_frames: Path) -> None:
    assert tracks([[A], [A], [], [A]], eight_frames) == [[1], [1], [1], [], [], [], [1], [1]]


def test_detection_in_every_frame(eight_frames: Path) -> None:
    assert tracks([[A]] * 8, eight_frames, every=1) == [[1]] * 8


def test_detect_every_longer_than_the_video(eight_frames: Path) -> None:
    assert tracks([[A]], eight_frames, every=100) == [[None]] + [[]] * 7


def test_small_face_is_tracked(tmp_path: Path, recognizer: VideoRecognizer) -> None:
    around = ((240, 240), (480, 480), (0, 0))
    frames = [np.pad(samples.face_at((100 + n, 80), face_px=70), around, constant_values=110) for n in range(25)]
    recognized = list(recognizer(samples.write(tmp_path / "far.mp4", frames)))
    assert [[face.track for face in frame.faces] for frame in recognized] == [[1]] * 25


def test_face_in_a_video_with_one_frame_has_no_track(tmp_path: Path, recognizer: VideoRecognizer) -> None:
    (frame,) = recognizer(samples.write(tmp_path / "one.mp4", [samples.face_at((80, 60))]))
    (face,) = frame.faces
    assert face.track is None
    assert face.steady == face.face.expression == Recognizer(threads=1)(frame.image_rgb)[0].expression


def test_readable_frames_come_before_the_error(tmp_path: Path, recognizer: VideoRecognizer) -> None:
    random = np.random.default_rng(0)
    frames = [random.integers(0, 256, (*samples.SIZE, 3), dtype=np.uint8) for _ in range(76)]
    path = samples.write(tmp_path / "cut.mkv", frames)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 3])
    numbers = []
    with pytest.raises(VideoError, match="after"):
        numbers.extend(frame.number for frame in recognizer(path))
    assert numbers == list(range(len(numbers)))
    assert len(numbers) > 15


def test_detect_every_zero_is_an_error() -> None:
    with pytest.raises(ConfigError, match=r"detect_every must be at least 1 .*, got 0$"):
        VideoRecognizer(detect_every=0)
