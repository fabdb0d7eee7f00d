from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from mien.detection.blazeface import BlazeFace
from mien.detection.boxes import iou
from mien.detection.yunet import LANDMARKS, YuNet
from tests.detection.images import assert_astronaut, resized

COUNTS = {
    "single_face.jpg": 1,
    "multi_face.jpg": 5,
    "couple.jpg": 2,
    "selfie-many-people.jpg": 6,
    "free-mountain-vector-01.jpg": 0,
}


@pytest.mark.parametrize("name", COUNTS)
def test_finds_all_faces_in_photographs(
    name: str, yunet: YuNet, photograph: Callable[[str], NDArray[np.uint8]]
) -> None:
    assert len(yunet(photograph(name))) == COUNTS[name]


def test_finds_the_astronaut_at_any_size(yunet: YuNet, astronaut: NDArray[np.uint8]) -> None:
    assert_astronaut(yunet(astronaut))
    assert_astronaut(yunet(resized(astronaut, 333, 333)), scale=333 / 512)
    assert_astronaut(yunet(resized(astronaut, 2000, 2000)), scale=2000 / 512)


def test_landmarks_are_named_in_order(yunet: YuNet, astronaut: NDArray[np.uint8]) -> None:
    (face,) = yunet(astronaut)
    assert tuple(face.landmarks) == LANDMARKS


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 4000, 3)])
def test_finds_nothing_in_extreme_shapes(shape: tuple[int, int, int], yunet: YuNet) -> None:
    assert yunet(np.zeros(shape, np.uint8)) == ()


def test_boxes_are_square(yunet: YuNet, astronaut: NDArray[np.uint8]) -> None:
    (face,) = yunet(resized(astronaut, 512, 700))  # stretched, and so is the network's own box
    assert face.box.width == pytest.approx(face.box.height)


def test_agrees_with_blazeface(
    yunet: YuNet, blazeface: BlazeFace, photograph: Callable[[str], NDArray[np.uint8]]
) -> None:
    image = photograph("multi_face.jpg")
    faces = blazeface(image)
    boxes = np.array([face.box.xyxy for face in yunet(image)])
    assert len(faces) == len(boxes) == COUNTS["multi_face.jpg"]
    for face in faces:
        assert iou(boxes, np.array(face.box.xyxy)).max() > 0.5
