from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

import mien.detection.base
from mien.detection import DEFAULT_DETECTOR, registry
from mien.detection.base import Detection, detector_for_video
from mien.detection.blazeface import MODEL, BlazeFace, BlazeFaceVideo
from mien.detection.registry import DETECTORS, create_detector
from mien.detection.whole_image import WholeImage
from mien.detection.yunet import YuNet
from mien.errors import ConfigError, ImageError, WeightsError
from mien.types import Box
from tests.conftest import Mien


def test_create_detector_by_name_or_path(yunet_file: Path) -> None:
    assert isinstance(create_detector("blazeface", threads=1), BlazeFace)
    assert isinstance(create_detector(str(yunet_file), threads=1), YuNet)
    assert isinstance(create_detector("none"), WholeImage)


def test_default_detector_is_registered() -> None:
    assert DEFAULT_DETECTOR in DETECTORS


def test_create_detector_of_unknown_name_suggests_names() -> None:
    with pytest.raises(ConfigError, match=r"unknown detector blazface: did you mean blazeface\?"):
        create_detector("blazface")
    with pytest.raises(ConfigError, match="known are blazeface, none, yunet"):
        create_detector("qqq")


def test_create_detector_of_missing_or_other_onnx_file_fails(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"missing\.onnx, but there is no such file"):
        create_detector(str(tmp_path / "missing.onnx"))
    with pytest.raises(WeightsError, match="is not YuNet for images of any size"):
        create_detector(str(MODEL))


def test_whole_image_is_one_face() -> None:
    (face,) = WholeImage()(np.zeros((48, 40, 3), np.uint8))
    assert face.box.xyxy == (0, 0, 40, 48)
    assert (face.score, dict(face.landmarks)) == (1.0, {})


@pytest.mark.parametrize(
    "array",
    [np.zeros((48, 48), np.uint8), np.zeros((48, 48, 4), np.uint8), np.zeros((0, 5, 3), np.uint8), np.zeros((4, 4, 3))],
    ids=["gray", "four channels", "no pixels", "floats"],
)
@pytest.mark.parametrize("name", ["blazeface", "yunet", "none"])
def test_every_detector_rejects_what_is_not_rgb(
    name: str, array: NDArray[np.uint8], yunet_file: Path, request: pytest.FixtureRequest
) -> None:
    detector = create_detector(str(yunet_file) if name == "yunet" else name, threads=1)
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


def test_detector_with_its_own_row_works_by_name(
    by_brightness: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mien: Mien
) -> None:
    """A new detector needs a row of DETECTORS and no other change, also on the command line."""

    class CornerDetector:
        def __call__(self, image_rgb: NDArray[np.uint8]) -> tuple[Detection, ...]:
            return (Detection(Box(0, 0, 20, 20), {}, 0.9),)

    monkeypatch.setitem(registry.DETECTORS, "corner", lambda threads: CornerDetector())
    Image.new("RGB", (40, 40)).save(tmp_path / "dark.png")
    code, out, err = mien(
        "recognize", tmp_path / "dark.png", "--detector", "corner", "--model", by_brightness, "--json"
    )
    assert (code, err) == (0, "")
    ((face,),) = (picture["faces"] for picture in json.loads(out))
    assert (face["box"], face["expression"]) == ([0, 0, 20, 20], "sad")
    with pytest.raises(ConfigError, match="did you mean corner"):
        create_detector("corne")
