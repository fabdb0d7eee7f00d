"""A sheet of recognised faces with the masks laid over them (Shen and Li, Fig. 9)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.errors import DataError, require
from mien.labels import class_colours
from mien.plotting import GRAY, INK, LABEL_PT, SMALL_PT, new_figure, split_and_n
from mien.types import Predictions

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_FACES = 32
"""Rows of a sheet of faces: more make a picture that no viewer shows well."""

HEAT = "inferno"
"""matplotlib's colours for masks over faces: dark low and bright high."""

SAME = 2e-3
"""A mask whose values differ by no more than that, half a step of 8 bits, is the same everywhere and shows nothing."""

_FACE_PX = 192
"""Height that faces of a sheet are brought to at least, pixels, so that masks over them are smooth."""


def faces_figure(
    images: NDArray[np.uint8],
    predictions: Predictions,
    masks: Sequence[NDArray[np.floating[Any]]],
    network: str,
    split: str,
) -> Figure:
    """Recognised faces, one a row: the face, each stage's mask laid over it, and the probabilities (Fig. 9).

    Masks of a trained network use a small part of [0, 1], so each stage's colours span the values it has on these
    faces, which its heading states.

    Args:
        images: (n, h, w), values 0..255; at most MOST_FACES.
        predictions: Of these n faces, in order.
        masks: (n, hm, wm) a stage, first stage first, means over the channels, values in [0, 1]; empty for a network
            without masks. Those that are the same everywhere are not drawn.
        network: Its name, for the title.
        split: One of `mien.labels.SPLITS`, or any other name of the data.

    Raises:
        DataError: Images, predictions and masks are not of the same faces, or not in range.
        MissingExtraError: matplotlib is not installed.
    """
    _check_faces(images, predictions, masks)
    masks = telling(masks)
    n, columns = len(images), 2 + len(masks)
    figure, grid = new_figure(
        (1.2 + 1.35 * (1 + len(masks)) + 2.1, 1.35 * n + 1.1),
        "Recognised faces" + (" and the masks over them" if masks else ""),
        f"{network}, {split_and_n(split, n)}",
        "Left to right: the face with its label, what the network says and how sure it is; "
        + ("the mean over channels of each stage's mask, dark low and bright high, over the face; " if masks else "")
        + "the probability of each expression.",
        nrows=n,
        ncols=columns,
        width_ratios=(1,) * (1 + len(masks)) + (1.15,),
        squeeze=False,
    )
    spans = [(float(mask.min()), float(mask.max())) for mask in masks]
    for row, image, target, probabilities in zip(
        grid, images, predictions.targets, predictions.probabilities, strict=True
    ):
        said = int(probabilities.argmax())
        _draw_face(row[0], image, predictions.classes, int(target), said, float(probabilities[said]))
        draw_probabilities(row[-1], predictions.classes, probabilities, int(target))
    for stage, (mask, span) in enumerate(zip(masks, spans, strict=True), start=1):
        for row, image, values in zip(grid, images, mask, strict=True):
            row[stage].imshow(overlay(image, values, span))
            row[stage].set_axis_off()
        grid[0, stage].set_title(
            f"stage {stage}, {mask.shape[1]} x {mask.shape[2]}\n{span[0]:.2f} to {span[1]:.2f}",
            size=SMALL_PT,
            color=INK,
        )
    grid[0, 0].set_title("face", size=SMALL_PT, color=INK)
    grid[0, -1].set_title("probability, %", size=SMALL_PT, color=INK)
    return figure


def telling(masks: Sequence[NDArray[np.floating[Any]]]) -> tuple[NDArray[np.floating[Any]], ...]:
    """The masks of all stages; none where each is the same everywhere, as the mean of a softmax over channels is.

    But for the rounding of a file in 8 bits, which moves it by a thousandth.
    """
    return tuple(masks) if any(np.ptp(mask) > SAME for mask in masks) else ()


def overlay(
    image: NDArray[np.uint8], mask: NDArray[np.floating[Any]], span: tuple[float, float]
) -> NDArray[np.float64]:
    """Lays a mask over a gray face as heat; the higher the mask, the more of the heat is seen.

    Args:
        image: (h, w), values 0..255.
        mask: (hm, wm); it is brought to the image's size.
        span: Mask values with the coldest and the hottest colour; where they are equal the mask is drawn half hot.

    Returns:
        (H, W, 3) RGB in [0, 1], H and W the image's own or a multiple of them.
    """
    colormap = require("matplotlib", "figures").colormaps[HEAT]
    height, width = image.shape
    scale = max(1, math.ceil(_FACE_PX / max(height, width)))
    size = (width * scale, height * scale)
    gray = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC), np.float64)[..., None] / 255
    low, high = span
    heat = (mask - low) / (high - low) if high > low else np.full(mask.shape, 0.5)
    smooth = Image.fromarray(heat.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    heat = np.clip(np.asarray(smooth, np.float64), 0, 1)
    strength = (0.25 + 0.45 * heat)[..., None]
    return np.asarray(gray * (1 - strength) + colormap(heat)[..., :3] * strength)


def draw_probabilities(
    axes: Axes, classes: Sequence[str], probabilities: Sequence[float] | NDArray[np.float64], marked: int
) -> None:
    """Draws a face's probabilities as bars in the colours of their classes, in per cent, the first class on top.

    Args:
        axes: Where.
        classes: K class names.
        probabilities: (K,) in [0, 1].
        marked: The class whose name is bold.
    """
    colours = class_colours(classes)
    axes.barh(range(len(classes)), 100 * np.asarray(probabilities), color=list(colours.values()), height=0.72)
    axes.set_yticks(range(len(classes)), classes, size=SMALL_PT - 1.5)
    axes.get_yticklabels()[marked].set_fontweight("bold")
    axes.set_xlim(0, 100)
    axes.set_xticks([0, 50, 100], ["0", "50", "100"], size=SMALL_PT - 1.5)
    axes.set_ylim(len(classes) - 0.4, -0.6)  # the first class on top
    axes.grid(False, axis="y")
    axes.tick_params(length=0, pad=2)


def _check_faces(
    images: NDArray[np.uint8], predictions: Predictions, masks: Sequence[NDArray[np.floating[Any]]]
) -> None:
    if images.ndim != 3 or images.dtype != np.uint8:
        raise DataError(f"images must be (n, h, w) of type uint8, got {images.shape} of type {images.dtype}")
    n = len(images)
    if not 1 <= n <= MOST_FACES or 0 in images.shape:
        raise DataError(f"a sheet shows 1 to {MOST_FACES} faces, got images {images.shape}")
    if len(predictions.targets) != n:
        raise DataError(f"a sheet of {n} faces needs as many predictions, got {len(predictions.targets)}")
    for stage, mask in enumerate(masks, start=1):
        if mask.ndim != 3 or len(mask) != n or 0 in mask.shape:
            raise DataError(f"the mask of stage {stage} must be ({n}, height, width), got {mask.shape}")
        if not (mask.min() >= 0 and mask.max() <= 1):  # also where a value is nan
            raise DataError(f"the mask of stage {stage} must be in 0..1, got {mask.min():g}..{mask.max():g}")


def _draw_face(
    axes: Axes, image: NDArray[np.uint8], classes: tuple[str, ...], target: int, said: int, confidence: float
) -> None:
    axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="bicubic")
    axes.set_axis_off()
    colours = class_colours(classes)
    lines = (
        (25, "label", GRAY, SMALL_PT),
        (12, classes[target], colours[classes[target]], LABEL_PT),
        (-7, "says", GRAY, SMALL_PT),
        (-20, f"{classes[said]} {confidence:.0%}", colours[classes[said]], LABEL_PT),
    )
    for above_pt, text, colour, size in lines:
        axes.annotate(
            text,
            (0, 0.5),
            xycoords="axes fraction",
            xytext=(-8, above_pt),
            textcoords="offset points",
            ha="right",
            va="center",
            color=colour,
            size=size,
            weight="bold" if size == LABEL_PT else "normal",
        )
