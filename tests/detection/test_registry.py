from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import mien.detection.base
from mien.detection import DEFAULT_DETECTOR, yunet
from mien.detection.base import Detection, detector_for_video
from mien.detection.blazeface import MODEL, BlazeFace, BlazeFaceVideo
from mien.detection.registry import DETECTORS, DetectorOptions, create_detector
from mien.detection.whole_image import WholeImage
from mien.detection.yunet import YuNet, YuNetVideo
from mien.errors import ConfigError, ImageError, WeightsError


def test_create_detector_by_name_or_path() -> None:
    assert isinstance(create_detector("blazeface"), BlazeFace)
    assert isinstance(create_detector(str(yunet.MODEL)), YuNet)
    assert isinstance(create_detector("none"), WholeImage)


def test_default_detector_is_registered() -> None:
    assert DEFAULT_DETECTOR in DETECTORS


def test_create_detector_of_unknown_name_suggests_names() -> None:
    with pytest.raises(ConfigError, match=r"unknown detector blazface: did you mean blazeface\?"):
        create_detector("blazface")
    with pytest.raises(ConfigError, match="known are auto, blazeface, none, yunet"):
        create_detector("qqq")


def test_create_detector_of_missing_or_other_onnx_file_fails(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"missing\.onnx, but there is no such file"):
        create_detector(str(tmp_path / "missing.onnx"))
    with pytest.raises(WeightsError, match="is not YuNet for images of any size"):
        create_detector(str(MODEL))


def test_whole_image_is_one_face_whose_score_says_whether_it_shows_one(astronaut: NDArray[np.uint8]) -> None:
    whole_image = WholeImage(threads=1)
    (black,) = whole_image(np.zeros((48, 40, 3), np.uint8))
    assert black.box.xyxy == (0, 0, 40, 48)
    assert dict(black.landmarks) == {}
    (face,) = whole_image(np.ascontiguousarray(astronaut[70:176, 172:278]))
    (flag,) = whole_image(np.ascontiguousarray(astronaut[20:90, 20:90]))
    assert max(black.score, flag.score) < 0.5 < 0.9 < face.score


@pytest.mark.parametrize(
    "array",
    [np.zeros((48, 48), np.uint8), np.zeros((48, 48, 4), np.uint8), np.zeros((0, 5, 3), np.uint8), np.zeros((4, 4, 3))],
    ids=["gray", "four channels", "no pixels", "floats"],
)
@pytest.mark.parametrize("name", ["blazeface", "yunet", "auto", "none"])
def test_every_detector_rejects_what_is_not_rgb(name: str, array: NDArray[np.uint8]) -> None:
    detector = create_detector(name, DetectorOptions(threads=1))
    with pytest.raises(ImageError, match=r"expected an image of shape \(height, width, 3\) and type uint8"):
        detector(array)


def test_detector_for_video_has_its_own_state_if_the_detector_supports_it(blazeface: BlazeFace) -> None:
    first, second = detector_for_video(blazeface), detector_for_video(blazeface)
    assert isinstance(first, BlazeFaceVideo)
    assert first is not second


def test_detector_for_video_is_the_detector_itself_otherwise() -> None:
    def detector(image_rgb: NDArray[np.uint8]) -> tuple[Detection, ...]:
        return ()

    assert detector_for_video(detector) is detector


@pytest.mark.parametrize("name", ["DETECTORS", "create_detector", "WholePicture"])
def test_old_names_in_base_warn(name: str) -> None:
    with pytest.warns(DeprecationWarning, match=rf"mien\.detection\.base\.{name} is deprecated"):
        assert getattr(mien.detection.base, name)
    with pytest.raises(AttributeError, match="has no attribute 'other'"):
        _ = mien.detection.base.other


@pytest.mark.parametrize(("side", "taken"), [(48, True), (200, True), (400, False)])
def test_auto_takes_a_small_square_image_without_a_face_as_one_face(side: int, taken: bool) -> None:
    faces = create_detector("auto", DetectorOptions(threads=1))(np.full((side, side, 3), 90, np.uint8))
    assert [face.box.xyxy for face in faces] == [(0, 0, side, side)] * taken
    assert all(face.score < 0.5 for face in faces)


def test_auto_prefers_detected_faces_and_leaves_narrow_images(astronaut: NDArray[np.uint8]) -> None:
    auto = create_detector("auto", DetectorOptions(threads=1))
    (face,) = auto(np.ascontiguousarray(astronaut[:256, 100:356]))
    assert face.score > 0.5
    assert auto(np.zeros((48, 100, 3), np.uint8)) == ()
    assert isinstance(detector_for_video(auto), YuNetVideo)


@pytest.mark.parametrize("score", [-0.1, 1.1])
def test_min_score_outside_its_range_is_refused(score: float) -> None:
    with pytest.raises(ConfigError, match=r"must be 0 to 1, got"):
        DetectorOptions(min_score=score)
