from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from mien.detection.base import Detection
from mien.preprocess import crop
from mien.recognition import crops
from mien.recognition.crops import crop_face, crop_faces
from mien.recognition.photo import to_gray
from mien.types import Box


def detection(*box: float) -> Detection:
    return Detection(Box(*box), {}, 0.9)


@pytest.fixture
def image_rgb() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)


def test_crop_faces_are_gray_squares_in_order(image_rgb: NDArray[np.uint8]) -> None:
    faces = [detection(30, 10, 50, 30), detection(0, 0, 10, 20)]
    first, second = crop_faces(image_rgb, faces)
    assert np.array_equal(first, to_gray(image_rgb)[10:30, 30:50])
    assert second.shape == (20, 20)


def test_crop_faces_without_faces_does_not_convert_the_image(
    image_rgb: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crops, "to_gray", None)
    assert crop_faces(image_rgb, []) == []


@pytest.mark.parametrize("box", [(5, 5, 25, 25), (-8, -4, 12, 10), (50, 20, 90, 60), (0, 0, 4500, 4500)])
def test_crop_face_of_colours_is_the_crop_of_each_channel(box: tuple[float, ...], image_rgb: NDArray[np.uint8]) -> None:
    face = detection(*box)
    channels = [crop(np.ascontiguousarray(image_rgb[:, :, i]), face.box) for i in range(3)]
    assert np.array_equal(crop_face(image_rgb, face), np.stack(channels, axis=2))
