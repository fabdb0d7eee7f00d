"""The paper's figures (Shen and Li, Fig. 4 to 9) and a reliability diagram, for any run.

Each `..._figure` draws from data and returns matplotlib's Figure; `save` writes it. Nothing here touches matplotlib's
global state, so that a caller's own style and windows are left alone.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.errors import ConfigError, DataError, require
from mien.evaluation.metrics import confusion_matrix, reliability, roc_curves
from mien.files import replaced
from mien.labels import COLOURS, USAGES
from mien.types import Predictions

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_FACES = 32
"""Rows of a sheet of faces: more make a picture that no viewer shows well."""

_DPI = 160
_TITLE_PT, _LABEL_PT, _SMALL_PT = 12.0, 9.5, 8.0
_INK, _GRAY, _RULE = "#222222", "#666666", "#dddddd"
_BLUE, _ORANGE = "#1f77b4", "#e8590c"
_SPLIT_NAMES = {split: usage for usage, split in USAGES.items()}
_FACE_PX = 192
"""Height that faces of a sheet are brought to at least, pixels, so that masks over them are smooth."""


def save(figure: Figure, path: Path) -> Path:
    """Writes a figure as PNG, whole or not at all.

    Returns:
        The path.

    Raises:
        ConfigError: The file's name does not end in .png.
        OSError: The folder cannot be written.
    """
    if path.suffix.lower() != ".png":
        raise ConfigError(f"a figure is written as PNG, so its name must end in .png, got {path.name}")
    with replaced(path) as part:
        figure.savefig(part, format="png", dpi=_DPI, facecolor="white")
    return path


def loss_figure(rows: Sequence[Mapping[str, Any]], network: str, n: Mapping[str, int] | None = None) -> Figure:
    """Training and PublicTest loss over the epochs (Fig. 4).

    Args:
        rows: The run's log, one row an epoch, its values numbers or their text in log.csv.
        network: Its name, for the title.
        n: Split -> faces, for the title; None leaves them out.

    Raises:
        DataError: There is no row, or one lacks a value or has one that is no number.
        MissingExtraError: matplotlib is not installed.
    """
    names = ("epoch", "train_loss", "train_cross_entropy", "public_loss", "public_accuracy")
    epoch, total, entropy, public, accuracy = _columns(rows, names)
    figure, axes = _epochs_figure(
        "Loss over the epochs",
        network,
        ("training", "public"),
        n,
        "Across: epoch. Up: mean loss a face, nats. Training is measured on augmented faces with the weights of each "
        "step, PublicTest on plain faces with the averaged weights, so PublicTest can be the lower one. The dotted "
        "line is the epoch whose weights were kept.",
    )
    axes.plot(epoch, total, color=_BLUE, label="Training, total", **_marks(epoch))
    axes.plot(epoch, entropy, color=_BLUE, linestyle="--", linewidth=1.1, label="Training, cross-entropy")
    axes.plot(epoch, public, color=_ORANGE, label="PublicTest, cross-entropy", **_marks(epoch))
    best = int(np.nanargmax(accuracy))
    label = f"best PublicTest accuracy, {accuracy[best]:.2%}, epoch {epoch[best]:.0f}"
    axes.axvline(epoch[best], color=_GRAY, linestyle=":", linewidth=1.2, label=label)
    _legend(axes, "best")
    axes.set_ylabel("loss, nats")
    return figure


def margin_figure(rows: Sequence[Mapping[str, Any]], network: str, n: Mapping[str, int] | None = None) -> Figure:
    """L_margin over the epochs (Fig. 5); arguments and errors as in `loss_figure`."""
    epoch, margin = _columns(rows, ("epoch", "train_margin"))
    figure, axes = _epochs_figure(
        "Margin loss over the epochs",
        network,
        ("training",),
        n,
        "Across: epoch. Up: mean L_margin (Eq. 4) on the training faces, nats, before its weight in the total.",
    )
    axes.plot(epoch, margin, color=_BLUE, **_marks(epoch))
    axes.set_ylabel("$L_{margin}$, nats")
    _say_last(axes, epoch, margin)
    return figure


def reconstruction_figure(
    rows: Sequence[Mapping[str, Any]], network: str, n: Mapping[str, int] | None = None
) -> Figure:
    """L_rec over the epochs (Fig. 6); arguments and errors as in `loss_figure`."""
    epoch, reconstruction = _columns(rows, ("epoch", "train_reconstruction"))
    figure, axes = _epochs_figure(
        "Reconstruction loss over the epochs",
        network,
        ("training",),
        n,
        "Across: epoch. Up: mean absolute error of the image drawn again (L_rec, Eq. 3) on the training faces, where "
        "black is 0 and white is 1, before its weight in the total.",
    )
    axes.plot(epoch, reconstruction, color=_BLUE, **_marks(epoch))
    axes.set_ylabel("$L_{rec}$, share of the gray range")
    _say_last(axes, epoch, reconstruction)
    return figure


def roc_figure(predictions: Predictions, network: str, split: str) -> Figure:
    """ROC curves of each class against the rest, micro and macro, with their areas (Fig. 7).

    Args:
        predictions: Of the split.
        network: Its name, for the title.
        split: One of `mien.labels.SPLITS`, or any other name of the data.

    Raises:
        DataError: There are no predictions, or no two classes to tell apart.
        MissingExtraError: matplotlib is not installed.
    """
    curves = roc_curves(predictions)
    figure, axes = _figure(
        (6.6, 6.9),
        "ROC, each expression against the rest",
        f"{network}, {_split_and_n(split, len(predictions.targets))}",
        "Across: share of the faces without the expression that are taken for it. Up: share of the faces with it that "
        "are found, as the threshold on its probability falls. Legend: area under the curve, and faces. Micro ranks "
        "all pairs of face and expression at once; macro is the mean of the expressions' curves.",
    )
    axes.plot([0, 1], [0, 1], color=_RULE, linewidth=1.2, zorder=1)
    faces = np.bincount(predictions.targets, minlength=len(predictions.classes))
    for k, name in enumerate(predictions.classes):
        if curve := curves.classes.get(name):
            label = f"{name}  {curve.auc:.3f}  ({faces[k]:,})"
            axes.plot(curve.fpr, curve.tpr, color=_colour(name, k), linewidth=1.5, label=label)
    if curves.macro:
        label = f"macro  {curves.macro.auc:.3f}"
        axes.plot(curves.macro.fpr, curves.macro.tpr, color=_INK, linestyle="--", linewidth=1.8, label=label)
    label = f"micro  {curves.micro.auc:.3f}"
    axes.plot(curves.micro.fpr, curves.micro.tpr, color=_INK, linestyle=":", linewidth=2.0, label=label)
    axes.set(xlabel="false positive rate", ylabel="true positive rate", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    axes.set_aspect("equal")
    _legend(axes, "lower right")
    return figure


def confusion_figure(predictions: Predictions, network: str, split: str) -> Figure:
    """The confusion matrix, each row as shares of its faces, with their numbers (Fig. 8).

    Args:
        predictions: Of the split.
        network: Its name, for the title.
        split: One of `mien.labels.SPLITS`, or any other name of the data.

    Raises:
        DataError: There are no predictions.
        MissingExtraError: matplotlib is not installed.
    """
    counts = confusion_matrix(predictions)
    n, k = int(counts.sum()), len(counts)
    if n == 0:
        raise DataError("there are no predictions to draw a confusion matrix of, expected those of one face or more")
    support = counts.sum(axis=1)
    shares = counts / np.maximum(support, 1)[:, None]
    side = max(4.5, 0.82 * k)
    figure, axes = _figure(
        (side + 1.9, side + 1.45),
        "Confusion matrix",
        f"{network}, {_split_and_n(split, n)}, accuracy {np.trace(counts) / n:.2%}",
        "Down: the expression that the label says, with its faces. Across: the expression that the network says. "
        "Each cell: share of the row's faces in per cent, and their number.",
    )
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(k, k):
        colour = "white" if shares[row, column] > 0.55 else _INK
        share = f"{100 * shares[row, column]:.1f}" if support[row] else "-"
        weight = "bold" if row == column else "normal"
        axes.text(column, row - 0.02, share, ha="center", va="bottom", color=colour, size=_LABEL_PT, weight=weight)
        axes.text(
            column, row + 0.08, f"{counts[row, column]:,}", ha="center", va="top", color=colour, size=_SMALL_PT - 1
        )
    labels = [f"{name}\n{faces:,}" for name, faces in zip(predictions.classes, support, strict=True)]
    if max(map(len, predictions.classes)) > 10:  # longer names would run into each other
        axes.set_xticks(range(k), predictions.classes, rotation=35, ha="right", rotation_mode="anchor")
    else:
        axes.set_xticks(range(k), predictions.classes)
    axes.set_yticks(range(k), labels)
    axes.set(xlabel="said", ylabel="label")
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    bar = figure.colorbar(image, cax=axes.inset_axes((1.02, 0, 0.03, 1)), format=lambda share, _: f"{share:.0%}")
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=_SMALL_PT, length=0, colors=_INK)
    return figure


def reliability_figure(predictions: Predictions, network: str, split: str) -> Figure:
    """Reliability diagram (Guo et al., ICML 2017, Fig. 1) over the histogram of confidence.

    Args:
        predictions: Of the split.
        network: Its name, for the title.
        split: One of `mien.labels.SPLITS`, or any other name of the data.

    Raises:
        DataError: There are no predictions.
        MissingExtraError: matplotlib is not installed.
    """
    table = reliability(predictions)
    n = int(table.counts.sum())
    figure, (upper, lower) = _figure(
        (6.4, 7.4),
        "Reliability diagram",
        f"{network}, {_split_and_n(split, n)}, ECE {table.ece:.2%}",
        f"Across, both: probability of the expression that is said, in {len(table.counts)} bins. Upper: share of the "
        "bin's faces that are right, and its gap to their mean probability; the ECE is the mean gap over all faces. "
        "Lower: share of the faces in the bin, with the means over all faces.",
        nrows=2,
        height_ratios=(3, 1.3),
    )
    filled = table.counts > 0
    accuracy, confidence = table.accuracy[filled], table.confidence[filled]
    left, width = table.edges[:-1], np.diff(table.edges)
    agreed = np.minimum(accuracy, confidence)
    parts = (
        (np.zeros_like(agreed), agreed, _BLUE, "right"),
        (agreed, accuracy - agreed, "#a6cbe8", "not sure enough"),
        (agreed, confidence - agreed, "#f2a3a3", "too sure"),
    )
    for bottom, height, colour, label in parts:
        upper.bar(
            left[filled],
            height,
            width[filled],
            bottom,
            align="edge",
            color=colour,
            edgecolor="white",
            linewidth=0.8,
            label=label,
        )
    upper.plot([0, 1], [0, 1], color=_INK, linestyle="--", linewidth=1.0, label="as sure as it should be")
    upper.set(ylabel="share right", xlim=(0, 1), ylim=(0, 1))
    _legend(upper, "upper left")
    lower.bar(left, 100 * table.counts / n, width=width, align="edge", color="#9aa5b1", edgecolor="white")
    means = {
        "mean confidence": (float(confidence @ table.counts[filled]) / n, "--"),
        "accuracy": (float(accuracy @ table.counts[filled]) / n, "-"),
    }
    for name, (value, style) in means.items():
        lower.axvline(value, color=_INK, linestyle=style, linewidth=1.2, label=f"{name} {value:.1%}")
    lower.set(xlabel="confidence", ylabel="faces, %", xlim=(0, 1))
    _legend(lower, "upper left")
    return figure


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
            without masks.
        network: Its name, for the title.
        split: One of `mien.labels.SPLITS`, or any other name of the data.

    Raises:
        DataError: Images, predictions and masks are not of the same faces, or not in range.
        MissingExtraError: matplotlib is not installed.
    """
    _check_faces(images, predictions, masks)
    n, columns = len(images), 2 + len(masks)
    figure, grid = _figure(
        (1.2 + 1.35 * (1 + len(masks)) + 2.1, 1.35 * n + 1.1),
        "Recognised faces" + (" and the masks over them" if masks else ""),
        f"{network}, {_split_and_n(split, n)}",
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
        _draw_probabilities(row[-1], predictions.classes, probabilities, int(target))
    for stage, (mask, span) in enumerate(zip(masks, spans, strict=True), start=1):
        for row, image, values in zip(grid, images, mask, strict=True):
            row[stage].imshow(overlay(image, values, span))
            row[stage].set_axis_off()
        grid[0, stage].set_title(
            f"stage {stage}, {mask.shape[1]} x {mask.shape[2]}\n{span[0]:.2f} to {span[1]:.2f}",
            size=_SMALL_PT,
            color=_INK,
        )
    grid[0, 0].set_title("face", size=_SMALL_PT, color=_INK)
    grid[0, -1].set_title("probability, %", size=_SMALL_PT, color=_INK)
    return figure


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
    colormap = require("matplotlib", "train").colormaps["inferno"]
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
    lines = (
        (25, "label", _GRAY, _SMALL_PT),
        (12, classes[target], _colour(classes[target], target), _LABEL_PT),
        (-7, "says", _GRAY, _SMALL_PT),
        (-20, f"{classes[said]} {confidence:.0%}", _colour(classes[said], said), _LABEL_PT),
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
            weight="bold" if size == _LABEL_PT else "normal",
        )


def _draw_probabilities(axes: Axes, classes: tuple[str, ...], probabilities: NDArray[np.float64], target: int) -> None:
    colours = [_colour(name, k) for k, name in enumerate(classes)]
    axes.barh(range(len(classes)), 100 * probabilities, color=colours, height=0.72)
    axes.set_yticks(range(len(classes)), classes, size=_SMALL_PT - 1.5)
    axes.get_yticklabels()[target].set_fontweight("bold")
    axes.set_xlim(0, 100)
    axes.set_xticks([0, 50, 100], ["0", "50", "100"], size=_SMALL_PT - 1.5)
    axes.set_ylim(len(classes) - 0.4, -0.6)  # the first class on top
    axes.grid(False, axis="y")
    axes.tick_params(length=0, pad=2)


def _columns(rows: Sequence[Mapping[str, Any]], names: tuple[str, ...]) -> list[NDArray[np.float64]]:
    """The log's values by name, one array each."""
    if not rows:
        raise DataError("the log has no epoch to draw, expected one or more")
    table = np.empty((len(names), len(rows)))
    for number, row in enumerate(rows):
        for place, name in enumerate(names):
            try:
                table[place, number] = float(row[name])
            except KeyError:
                raise DataError(f"the log must have {', '.join(names)}, and row {number} has no {name}") from None
            except (TypeError, ValueError):
                raise DataError(f"{name} must be a number, got {row[name]!r} in row {number} of the log") from None
    for name, values in zip(names, table, strict=True):
        if not np.isfinite(values).any():  # some may be missing where a loss overflowed: the line has a gap there
            raise DataError(f"{name} must be finite in one row of the log or more, and it is in none")
    return list(table)


def _epochs_figure(
    headline: str, network: str, splits: tuple[str, ...], n: Mapping[str, int] | None, caption: str
) -> tuple[Figure, Axes]:
    named = [_split_and_n(split, n.get(split) if n else None) for split in splits]
    figure, axes = _figure((7.0, 4.6), headline, f"{network}, {' and '.join(named)}", caption)
    axes.set_xlabel("epoch")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.margins(y=0.08)
    return figure, axes


def _figure(
    inches: tuple[float, float], headline: str, subtitle: str, caption: str, **subplots: Any
) -> tuple[Figure, Any]:
    """A figure with its words above and below, and its axes between them.

    Args:
        inches: Width, and height without the caption.
        headline: What it shows.
        subtitle: Of which network and faces.
        caption: What the axes are.
        subplots: Arguments of `Figure.subplots`.

    Returns:
        The figure, and one Axes, or an array of them where subplots asks for more.
    """
    figure_module, layout = require("matplotlib.figure", "train"), require("matplotlib.layout_engine", "train")
    width = inches[0]
    under = textwrap.wrap(subtitle, int((width - 0.3) * 13.5))  # letters an inch at these sizes
    lines = textwrap.wrap(caption, int((width - 0.3) * 15.5))
    above, below = 0.5 + 0.17 * len(under), 0.22 + 0.155 * len(lines)
    height = inches[1] + below + 0.1
    figure: Figure = figure_module.Figure(figsize=(width, height), dpi=_DPI)
    rect = (0.06 / width, below / height, 1 - 0.14 / width, 1 - (below + above) / height)
    figure.set_layout_engine(layout.ConstrainedLayoutEngine(rect=rect, w_pad=0.06, h_pad=0.06))
    across = 0.15 / width
    figure.text(across, 1 - 0.12 / height, headline, size=_TITLE_PT, weight="bold", va="top", color=_INK)
    figure.text(across, 1 - 0.39 / height, "\n".join(under), size=_LABEL_PT, va="top", color=_GRAY)
    figure.text(across, 0.1 / height, "\n".join(lines), size=_SMALL_PT, va="bottom", color=_GRAY, linespacing=1.25)
    axes = figure.subplots(**subplots)
    for each in np.ravel(axes):
        each.spines[["top", "right"]].set_visible(False)
        each.spines[["left", "bottom"]].set_color(_GRAY)
        each.grid(True, color=_RULE, linewidth=0.6)
        each.set_axisbelow(True)
        each.tick_params(labelsize=_SMALL_PT, colors=_INK)
        each.xaxis.label.set(size=_LABEL_PT, color=_INK)
        each.yaxis.label.set(size=_LABEL_PT, color=_INK)
    return figure, axes


def _split_and_n(split: str, n: int | None) -> str:
    name = _SPLIT_NAMES.get(split, split)
    return name if n is None else f"{name} n = {n:,}"


def _marks(epoch: NDArray[np.float64]) -> dict[str, Any]:
    """Points on the line where the epochs are few: a single one would not be seen at all."""
    return {"linewidth": 1.8, "marker": "o" if len(epoch) <= 12 else None, "markersize": 4}


def _say_last(axes: Axes, epoch: NDArray[np.float64], values: NDArray[np.float64]) -> None:
    last = int(np.flatnonzero(np.isfinite(values))[-1])
    axes.annotate(
        f"{values[last]:.4f}",
        (epoch[last], values[last]),
        xytext=(0, 7),
        textcoords="offset points",
        ha="right",
        size=_SMALL_PT,
        color=_INK,
    )
    axes.set_ylim(bottom=0)


def _legend(axes: Axes, place: Literal["best", "lower right", "upper left"]) -> None:
    axes.legend(loc=place, fontsize=_SMALL_PT, frameon=True, framealpha=0.9, edgecolor="none", labelcolor=_INK)


def _colour(name: str, k: int) -> str:
    """The class's colour, or matplotlib's k-th for a class that has none."""
    return COLOURS.get(name, f"C{k % 10}")
