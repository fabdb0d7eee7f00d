"""Test images made of the astronaut, and checks of where her face is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mien.detection.base import Detection

EYES_PX = {"right_eye": (202, 102), "left_eye": (246, 104)}
"""The astronaut's eyes, measured by hand."""


def resized(image_rgb: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(image_rgb).resize((width, height)))


def small_face(astronaut: NDArray[np.uint8], side: int = 96) -> NDArray[np.uint8]:
    """Returns a square of `side` pixels around the astronaut's head; her face is 40 % of its width."""
    return resized(astronaut[:260, 90:350], side, side)


def collage(patch: NDArray[np.uint8], width: int, height: int, places: Sequence[tuple[int, int]]) -> NDArray[np.uint8]:
    """Pastes copies of a patch on gray, with their top left corners at `places` (x, y)."""
    canvas = np.full((height, width, 3), 90, np.uint8)
    for x, y in places:
        canvas[y : y + patch.shape[0], x : x + patch.shape[1]] = patch
    return canvas


def assert_astronaut(detections: tuple[Detection, ...], scale: float = 1, dx: float = 0, dy: float = 0) -> None:
    """Checks that the only detection is the astronaut, scaled by `scale` and then moved by `dx` and `dy` pixels."""
    assert len(detections) == 1
    (detection,) = detections
    for name, (x, y) in EYES_PX.items():
        assert detection.landmarks[name] == pytest.approx((x * scale + dx, y * scale + dy), abs=7 * scale)
    centre = (detection.box.x0 + detection.box.x1) / 2, (detection.box.y0 + detection.box.y1) / 2
    assert centre == pytest.approx((225 * scale + dx, 122 * scale + dy), abs=16 * scale)
    assert 85 * scale < detection.box.height < 140 * scale
