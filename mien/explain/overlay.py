"""Draws masks and heatmaps over faces, and probabilities as bars."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.errors import require
from mien.labels import class_colours
from mien.plotting import SMALL_PT

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COLOURMAP = "inferno"
"""matplotlib's colours for masks and heatmaps: dark is low and bright is high."""

MAX_UNIFORM_RANGE = 2e-3
"""A mask with a smaller range of values, half a step of 8 bits, counts as uniform."""

MIN_FACE_PX = 192
"""The smallest height of a drawn face, in pixels, so that a mask over it is smooth."""


def informative_masks(masks: Sequence[NDArray[np.floating[Any]]]) -> tuple[NDArray[np.floating[Any]], ...]:
    """Returns the masks of all stages, or none if each is uniform.

    The mean of a softmax over channels is uniform, except for the rounding of an 8-bit file, which changes it by about
    a thousandth.
    """
    return tuple(masks) if any(np.ptp(mask) > MAX_UNIFORM_RANGE for mask in masks) else ()


def overlay(
    image: NDArray[np.uint8], heatmap: NDArray[np.floating[Any]], limits: tuple[float, float]
) -> NDArray[np.float64]:
    """Lays a mask or a heatmap over a gray face. The higher a value, the more opaque its colour.

    Args:
        image: (h, w), values 0..255.
        heatmap: (h', w'); it is resized to the image.
        limits: The values with the darkest and the brightest colour. If they are equal, the middle colour is used.

    Returns:
        (H, W, 3) RGB in [0, 1]; H and W are those of the image or a multiple of them.
    """
    colourmap = require("matplotlib", "figures").colormaps[COLOURMAP]
    height, width = image.shape
    scale = max(1, math.ceil(MIN_FACE_PX / max(height, width)))
    size = (width * scale, height * scale)
    gray = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC), np.float64)[..., None] / 255
    low, high = limits
    heat = (heatmap - low) / (high - low) if high > low else np.full(heatmap.shape, 0.5)
    resized = Image.fromarray(heat.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    heat = np.clip(np.asarray(resized, np.float64), 0, 1)
    opacity = (0.25 + 0.45 * heat)[..., None]
    return np.asarray(gray * (1 - opacity) + colourmap(heat)[..., :3] * opacity)


def draw_probabilities(
    axes: Axes, classes: Sequence[str], probabilities: Sequence[float] | NDArray[np.float64], bold: int
) -> None:
    """Draws the probabilities of a face in per cent as bars in the colours of the classes, with the first on top.

    Args:
        axes: The axes to draw on.
        classes: K class names.
        probabilities: (K,) in [0, 1].
        bold: The index of the class whose name is bold.
    """
    colours = class_colours(classes)
    axes.barh(range(len(classes)), 100 * np.asarray(probabilities), color=list(colours.values()), height=0.72)
    axes.set_yticks(range(len(classes)), classes, size=SMALL_PT - 1.5)
    axes.get_yticklabels()[bold].set_fontweight("bold")
    axes.set_xlim(0, 100)
    axes.set_xticks([0, 50, 100], ["0", "50", "100"], size=SMALL_PT - 1.5)
    axes.set_ylim(len(classes) - 0.4, -0.6)  # reversed, so that the first class is on top
    axes.grid(False, axis="y")
    axes.tick_params(length=0, pad=2)
