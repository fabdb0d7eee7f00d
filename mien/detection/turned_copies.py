"""Copies of an image that are turned by quarters, side by side on one canvas, so that they take the network one run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

QUARTER_TURNS = (1, 2, 3)
"""The turns counterclockwise in which an image is searched for faces that are not upright."""


class TurnedCopies:
    """The turned copies of one image, and the way back from them.

    Args:
        image_rgb: (H, W, 3), values 0..255.
        side: The longer side of a copy, in pixels, if the image is not smaller.
        quarter_turns: The turns counterclockwise of the copies, in ascending order.

    Attributes:
        canvas_rgb: (H, W, 3) the copies from left to right, values 0..255; black below the lower ones.
    """

    def __init__(self, image_rgb: NDArray[np.uint8], side: int, quarter_turns: Iterable[int] = QUARTER_TURNS) -> None:
        self._height, self._width, _ = image_rgb.shape
        scale = min(1.0, side / max(self._height, self._width))
        self._size = max(1, round(self._width * scale)), max(1, round(self._height * scale))
        small = Image.fromarray(image_rgb).resize(self._size, Image.Resampling.BILINEAR, reducing_gap=1.0)
        self._turns = np.array(list(quarter_turns), np.int64)
        copies = [np.rot90(np.asarray(small), turns) for turns in self._turns.tolist()]
        self._starts = np.cumsum([0] + [copy.shape[1] for copy in copies])
        self.canvas_rgb = np.zeros((max(copy.shape[0] for copy in copies), self._starts[-1], 3), np.uint8)
        for copy, start in zip(copies, self._starts, strict=False):
            self.canvas_rgb[: copy.shape[0], start : start + copy.shape[1]] = copy

    def turns_of(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        """Returns the quarter turns (N,) of the copies in which squares (N, 4 or more) of the canvas lie."""
        return self._turns[self._copy_of(values)]

    def in_image(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Maps squares and landmarks in the canvas to the image.

        Args:
            values: (N, 14) x0, y0, x1, y1 and five landmarks x, y, in pixels of the canvas.

        Returns:
            The same in pixels of the image.
        """
        copy_of, mapped = self._copy_of(values), values.copy()
        for i, turns in enumerate(self._turns.tolist()):
            mapped[copy_of == i, 0::2] -= self._starts[i]
            mapped[copy_of == i] = turn_back(mapped[copy_of == i], turns, self._size)
        mapped *= np.tile([self._width / self._size[0], self._height / self._size[1]], mapped.shape[1] // 2)
        return mapped

    def _copy_of(self, values: NDArray[np.float64]) -> NDArray[np.int64]:
        centres = (values[:, 0] + values[:, 2]) / 2
        return np.clip(np.searchsorted(self._starts, centres, side="right") - 1, 0, len(self._turns) - 1)


def turn_back(values: NDArray[np.float64], quarter_turns: int, size: Sequence[int]) -> NDArray[np.float64]:
    """Maps candidates in a copy of an image turned by `np.rot90` to the image itself.

    Args:
        values: (N, 14) the square x0, y0, x1, y1 and landmarks x, y, in pixels of the copy.
        quarter_turns: 1, 2 or 3 quarter turns counterclockwise.
        size: Width and height of the image, in pixels.
    """
    points = values.reshape(len(values), values.shape[1] // 2, 2)
    x, y = points[..., 0], points[..., 1]
    width, height = size
    if quarter_turns == 1:
        x, y = width - y, x
    elif quarter_turns == 2:
        x, y = width - x, height - y
    else:
        x, y = y, height - x
    turned = np.stack([x, y], axis=-1)
    turned[:, :2] = np.stack([turned[:, :2].min(axis=1), turned[:, :2].max(axis=1)], axis=1)
    return turned.reshape(values.shape)
