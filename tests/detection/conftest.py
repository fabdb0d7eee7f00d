"""Fixtures of the detectors: the astronaut, photographs and open detectors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray
from PIL import Image, ImageOps

from mien.detection.blazeface import BlazeFace
from mien.detection.yunet import YuNet


@pytest.fixture(scope="session")
def blazeface() -> BlazeFace:
    return BlazeFace(threads=1)


@pytest.fixture(scope="session")
def yunet() -> YuNet:
    return YuNet(threads=1)


@pytest.fixture(scope="session")
def astronaut() -> NDArray[np.uint8]:
    return np.asarray(skimage.data.astronaut())


@pytest.fixture
def photograph(photographs: Path) -> Callable[[str], NDArray[np.uint8]]:
    """Reads a photograph by its file name."""

    def read(name: str) -> NDArray[np.uint8]:
        with Image.open(photographs / name) as picture:
            return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))

    return read
