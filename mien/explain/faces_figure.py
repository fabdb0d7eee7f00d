"""A figure of recognised faces, one per row, with the masks over them (Shen and Li, Fig. 9)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import DataError
from mien.explain.overlay import draw_probabilities, informative_masks, overlay
from mien.labels import class_colours
from mien.plotting import GRAY, INK, LABEL_PT, SMALL_PT, new_figure, split_and_n
from mien.types import Predictions

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MAX_FACES = 32
"""The most faces of a figure: viewers do not show a larger picture well."""


def faces_figure(
    images: NDArray[np.uint8],
    predictions: Predictions,
    masks: Sequence[NDArray[np.floating[Any]]],
    network: str,
    split: str,
) -> Figure:
    """Draws recognised faces, one per row: the face, the mask of each stage over it, and the probabilities.

    The masks of a trained network use a small part of [0, 1]. The colours of each stage therefore span the values that
    its masks have on these faces, which its heading states.

    Args:
        images: (n, h, w), values 0..255; at most MAX_FACES.
        predictions: The predictions for these n faces, in order.
        masks: For each stage, the first first, (n, h', w') means over the channels, in [0, 1]; empty for a network
            without masks. Uniform masks are not drawn.
        network: The network's name, for the title.
        split: A split in `mien.labels.SPLITS`, or another name for the data.

    Raises:
        DataError: The images, predictions and masks are of different faces, or have values out of range.
        MissingExtraError: matplotlib is not installed.
    """
    _check_faces(images, predictions, masks)
    masks = informative_masks(masks)
    n, columns = len(images), 2 + len(masks)
    figure, grid = new_figure(
        (1.2 + 1.35 * (1 + len(masks)) + 2.1, 1.35 * n + 1.1),
        "Recognised faces" + (" with masks" if masks else ""),
        f"{network}, {split_and_n(split, n)}",
        "Left to right: the face with its label, and the predicted expression with its confidence; "
        + ("the mask of each stage over the face, averaged over channels, dark low and bright high; " if masks else "")
        + "the probability of each expression.",
        nrows=n,
        ncols=columns,
        width_ratios=(1,) * (1 + len(masks)) + (1.15,),
        squeeze=False,
    )
    limits = [(float(mask.min()), float(mask.max())) for mask in masks]
    for row, image, target, probabilities in zip(
        grid, images, predictions.targets, predictions.probabilities, strict=True
    ):
        _draw_face(row[0], image, predictions.classes, int(target), probabilities)
        draw_probabilities(row[-1], predictions.classes, probabilities, int(target))
    for stage, (mask, (low, high)) in enumerate(zip(masks, limits, strict=True), start=1):
        for row, image, values in zip(grid, images, mask, strict=True):
            row[stage].imshow(overlay(image, values, (low, high)))
            row[stage].set_axis_off()
        grid[0, stage].set_title(
            f"stage {stage}, {mask.shape[1]} x {mask.shape[2]}\n{low:.2f} to {high:.2f}",
            size=SMALL_PT,
            color=INK,
        )
    grid[0, 0].set_title("face", size=SMALL_PT, color=INK)
    grid[0, -1].set_title("probability, %", size=SMALL_PT, color=INK)
    return figure


def _check_faces(
    images: NDArray[np.uint8], predictions: Predictions, masks: Sequence[NDArray[np.floating[Any]]]
) -> None:
    if images.ndim != 3 or images.dtype != np.uint8:
        raise DataError(f"images must be (n, h, w) of type uint8, got {images.shape} of type {images.dtype}")
    n = len(images)
    if not 1 <= n <= MAX_FACES or 0 in images.shape:
        raise DataError(f"a figure shows 1 to {MAX_FACES} faces, got images of shape {images.shape}")
    if len(predictions.targets) != n:
        raise DataError(f"a figure of {n} faces needs as many predictions, got {len(predictions.targets)}")
    for stage, mask in enumerate(masks, start=1):
        if mask.ndim != 3 or len(mask) != n or 0 in mask.shape:
            raise DataError(f"the mask of stage {stage} must be ({n}, height, width), got {mask.shape}")
        if not (mask.min() >= 0 and mask.max() <= 1):  # written with `not`, so that it also rejects nan
            raise DataError(f"the mask of stage {stage} must be in 0..1, got {mask.min():g}..{mask.max():g}")


def _draw_face(
    axes: Axes,
    image: NDArray[np.uint8],
    classes: tuple[str, ...],
    target: int,
    probabilities: NDArray[np.float64],
) -> None:
    """Draws a face, and its label and prediction to the left of it."""
    axes.imshow(image, cmap="gray", vmin=0, vmax=255, interpolation="bicubic")
    axes.set_axis_off()
    colours = class_colours(classes)
    predicted = int(probabilities.argmax())
    lines = (
        (25, "label", GRAY, SMALL_PT),
        (12, classes[target], colours[classes[target]], LABEL_PT),
        (-7, "predicted", GRAY, SMALL_PT),
        (-20, f"{classes[predicted]} {probabilities[predicted]:.0%}", colours[classes[predicted]], LABEL_PT),
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
