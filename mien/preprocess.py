"""The only path from a picture to a network's input, for training, evaluation, serving and export parity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.types import Box, from_numbers

Numbers = TypeVar("Numbers", bound=Any)

MOST_AT_ONCE = 256
"""Faces that go through a network together, to be recognised."""
PIXELS_AT_ONCE = 48 * 224 * 224
"""Most pixels of theirs: as many as one step of a full-size training has."""
MOST_SIDE = 4096
"""Side of a square that is cut out at full resolution, pixels: else a picture of 30,000 x 1 would take a gigabyte."""


@dataclass(frozen=True)
class Preprocessing:
    """How gray faces become a network's input. It is stored in every model file and read back from there.

    Attributes:
        size: Height and width of the input, pixels.
        channels: Channels of the input: 1, or 3 with the gray face repeated.
        mean: Taken from pixel values in [0, 1].
        std: Divides what is left.
    """

    size: int = 48
    channels: int = 1
    mean: float = 0.5077
    std: float = 0.2551

    def __post_init__(self) -> None:
        if not (isinstance(self.size, int) and self.size > 0 and self.channels in (1, 3) and self.std > 0):
            raise ValueError(f"preprocessing needs a whole size above 0, 1 or 3 channels and std above 0, got {self}")

    @property
    def batch_size(self) -> int:
        """Faces that go through a network together: fewer where they are large, since their maps would fill memory."""
        return max(1, min(MOST_AT_ONCE, PIXELS_AT_ONCE // self.size**2))

    @classmethod
    def from_dict(cls, stored: object) -> Preprocessing:
        """What `to_dict` gave, read back.

        Raises:
            ValueError: It is anything else.
        """
        return from_numbers(cls, stored)

    def resize(self, faces: Sequence[NDArray[np.uint8]] | NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Gray faces of any sizes, each (h, w) -> (N, size, size), values 0..255."""
        shape = (self.size, self.size)
        if isinstance(faces, np.ndarray) and faces.shape[1:] == shape:
            return faces
        resized = np.empty((len(faces), *shape), np.uint8)
        for row, face in zip(resized, faces, strict=True):
            # Reducing by a box filter first keeps large faces from aliasing; Pillow's bilinear does that by itself.
            same = face.shape == shape
            row[:] = face if same else np.asarray(Image.fromarray(face).resize(shape, Image.Resampling.BILINEAR))
        return resized

    def normalise(self, images: Numbers) -> Numbers:
        """Pixel values in [0, 1] -> network input. Takes arrays and tensors alike, so that both take this path."""
        return cast(Numbers, (images - self.mean) / self.std)

    def __call__(self, faces: Sequence[NDArray[np.uint8]] | NDArray[np.uint8]) -> NDArray[np.float32]:
        """Gray faces, each (h, w), values 0..255 -> (N, channels, size, size) network input."""
        images = self.normalise(self.resize(faces)[:, None].astype(np.float32) / np.float32(255))
        return np.repeat(images, self.channels, axis=1) if self.channels > 1 else images

    def to_dict(self) -> dict[str, float]:
        """The fields by name, for a model file's metadata."""
        return asdict(self)


def crop(gray: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
    """Cuts the square around a box out of a gray picture.

    Args:
        gray: (H, W), values 0..255.
        box: The face, pixels, framed as `mien.detection.base.Detection` says; it may reach over the picture's
            edge. The square has its longer side.

    Returns:
        (side, side): what lies outside the picture repeats its edge. A face of more than MOST_SIDE pixels is reduced by
        a whole number first.
    """
    side = max(1, round(max(box.width, box.height)))
    if side > MOST_SIDE:
        times = -(-side // MOST_SIDE)
        reduced = np.asarray(Image.fromarray(gray).reduce(times))
        return crop(reduced, Box(*(each / times for each in box.xyxy)))
    x0 = round((box.x0 + box.x1 - side) / 2)
    y0 = round((box.y0 + box.y1 - side) / 2)
    rows = np.clip(np.arange(y0, y0 + side), 0, gray.shape[0] - 1)
    columns = np.clip(np.arange(x0, x0 + side), 0, gray.shape[1] - 1)
    return gray[rows[:, None], columns]
