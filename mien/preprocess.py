"""From a gray image to a network's input: the crop of a face, its size and its normalisation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar, cast

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.types import Box, from_numbers

Numbers = TypeVar("Numbers", bound=Any)

MAX_BATCH_SIZE = 256
"""Most faces in one inference batch."""
MAX_BATCH_PIXELS = 48 * 224 * 224
"""Most pixels in one inference batch: those of a training batch of 48 faces of 224x224 pixels."""
MAX_STATISTIC = 1e6
"""Largest mean and standard deviation of pixel values, which are in [0, 1]."""
MAX_SIDE_PX = 4096
"""Largest side of a crop at full resolution, pixels; without a limit, a picture of 30,000 x 1 would take a gigabyte."""
MAX_TURNED_SIDE_PX = 224
"""Larger faces are reduced before they are turned; more than the side of any network's input here is left."""


@dataclass(frozen=True)
class Preprocessing:
    """How gray faces become a network's input; stored in every model file.

    Attributes:
        size: Height and width of the input, pixels.
        channels: Channels of the input: 1, or 3 for the gray face repeated three times.
        mean: Mean of the pixel values in [0, 1], subtracted from them.
        std: Standard deviation of the pixel values; the difference is divided by it.

    Raises:
        ValueError: A value is out of range.
    """

    size: int = 48
    channels: int = 1
    mean: float = 0.5077
    std: float = 0.2551

    def __post_init__(self) -> None:
        usual = abs(self.mean) <= MAX_STATISTIC and 0 < self.std <= MAX_STATISTIC  # false for nan
        if not (type(self.size) is int and 0 < self.size <= MAX_SIDE_PX and self.channels in (1, 3) and usual):
            raise ValueError(f"preprocessing needs a whole size above 0, 1 or 3 channels and a std above 0, got {self}")

    @property
    def batch_size(self) -> int:
        """Number of faces in an inference batch; it falls with their size, so that the feature maps fit into memory."""
        return max(1, min(MAX_BATCH_SIZE, MAX_BATCH_PIXELS // self.size**2))

    @classmethod
    def from_dict(cls, stored: object) -> Preprocessing:
        """Reads what `to_dict` returned.

        Raises:
            ValueError: A field is missing, unknown, not a number or out of range.
        """
        return from_numbers(cls, stored)

    def resize(self, faces: Sequence[NDArray[np.uint8]] | NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Gray faces of any sizes, each (h, w) -> (N, size, size), values 0..255."""
        shape = (self.size, self.size)
        if isinstance(faces, np.ndarray) and faces.shape[1:] == shape:
            return faces
        resized = np.empty((len(faces), *shape), np.uint8)
        for row, face in zip(resized, faces, strict=True):
            if face.shape == shape:
                row[:] = face
            else:  # Pillow widens the bilinear filter for large faces, so that they do not alias
                row[:] = np.asarray(Image.fromarray(face).resize(shape, Image.Resampling.BILINEAR))
        return resized

    def normalise(self, images: Numbers) -> Numbers:
        """Pixel values in [0, 1] -> network input; accepts arrays and tensors."""
        return cast(Numbers, (images - self.mean) / self.std)

    def __call__(self, faces: Sequence[NDArray[np.uint8]] | NDArray[np.uint8]) -> NDArray[np.float32]:
        """Gray faces, each (h, w), values 0..255 -> network input (N, channels, size, size)."""
        images = self.normalise(self.resize(faces)[:, None].astype(np.float32) / np.float32(255))
        return np.repeat(images, self.channels, axis=1) if self.channels > 1 else images

    def to_dict(self) -> dict[str, float]:
        """The fields by name, for the metadata of a model file."""
        return asdict(self)


def crop(gray: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
    """Crops the square around a face out of a gray image.

    Args:
        gray: (H, W), values 0..255.
        box: The face in pixels, with the margins that `mien.detection.base.Detection` describes; it may extend beyond
            the image. The square has its centre and its longer side.

    Returns:
        (side, side), values 0..255. Pixels outside the image repeat its edge. If the side is above MAX_SIDE_PX, the
        image is reduced by an integer factor first.
    """
    side = max(1, round(max(box.width, box.height)))
    if side > MAX_SIDE_PX:
        factor = -(-side // MAX_SIDE_PX)
        reduced = np.asarray(Image.fromarray(gray).reduce(factor))
        return crop(reduced, Box(*(coordinate / factor for coordinate in box.xyxy)))
    x0 = round((box.x0 + box.x1 - side) / 2)
    y0 = round((box.y0 + box.y1 - side) / 2)
    rows = np.clip(np.arange(y0, y0 + side), 0, gray.shape[0] - 1)
    columns = np.clip(np.arange(x0, x0 + side), 0, gray.shape[1] - 1)
    return gray[rows[:, None], columns]


def crop_turned(
    image: NDArray[np.uint8], box: Box, angle_deg: float, max_side_px: int = MAX_TURNED_SIDE_PX
) -> NDArray[np.uint8]:
    """Crops the square around a face and turns it around its centre.

    Args:
        image: (H, W) or (H, W, 3), values 0..255.
        box: See `crop`.
        angle_deg: Degrees counterclockwise.
        max_side_px: The longest side of the result, unless the angle is 0.

    Returns:
        (side, side) or (side, side, 3), values 0..255. If it is larger than `max_side_px`, it is reduced by a whole
        factor.
    """
    if not angle_deg:
        return crop(image, box)
    # The circle around the square holds every turn of it.
    x, y = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
    half = max(box.width, box.height) / 2 * math.sqrt(2)
    surroundings = Image.fromarray(crop(image, Box(x - half, y - half, x + half, y + half)))
    factor = math.ceil(surroundings.width / math.sqrt(2) / max_side_px)
    if factor > 1:
        surroundings = surroundings.reduce(factor)
    margin = round(surroundings.width * (1 - 1 / math.sqrt(2)) / 2)
    upright = np.asarray(surroundings.rotate(angle_deg, Image.Resampling.BILINEAR))
    return upright[margin : len(upright) - margin, margin : len(upright) - margin]
