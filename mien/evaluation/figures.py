"""The paper's figures of numbers (Shen and Li, Fig. 4 to 8) and a reliability diagram, for any run.

Each `..._figure` draws from data and returns matplotlib's Figure; `mien.plotting.save` writes it. Nothing here
touches matplotlib's global state, so that a caller's own style and windows are left alone.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mien.calibration import risk_coverage
from mien.errors import DataError
from mien.evaluation.metrics import confusion_matrix, reliability, roc_curves
from mien.labels import class_colours
from mien.plotting import (
    BLUE,
    GRAY,
    INK,
    LABEL_PT,
    ORANGE,
    RULE,
    SMALL_PT,
    legend,
    new_figure,
    split_and_n,
    split_name,
)
from mien.predictions import short_names
from mien.types import Predictions

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME_LETTERS = 36
"""Letters of a network's name on one line of a legend."""


def loss_figure(rows: Sequence[Mapping[str, Any]], network: str) -> Figure:
    """Training and PublicTest loss over the epochs (Fig. 4).

    Args:
        rows: The run's log, one row an epoch, its values numbers or their text in log.csv.
        network: Its name, for the title.

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
        "Across: epoch. Up: mean loss a face, nats. Training is measured on augmented faces with the weights of each "
        "step, PublicTest on plain faces with the averaged weights, so PublicTest can be the lower one. The dotted "
        "line is the epoch whose weights were kept.",
    )
    axes.plot(epoch, total, color=BLUE, label="Training, total", **_marks(epoch))
    axes.plot(epoch, entropy, color=BLUE, linestyle="--", linewidth=1.1, label="Training, cross-entropy")
    axes.plot(epoch, public, color=ORANGE, label="PublicTest, cross-entropy", **_marks(epoch))
    best = int(np.nanargmax(accuracy))
    label = f"best PublicTest accuracy, {accuracy[best]:.2%}, epoch {epoch[best]:.0f}"
    axes.axvline(epoch[best], color=GRAY, linestyle=":", linewidth=1.2, label=label)
    legend(axes, "best")
    axes.set_ylabel("loss, nats")
    return figure


def margin_figure(rows: Sequence[Mapping[str, Any]], network: str) -> Figure:
    """L_margin over the epochs (Fig. 5); arguments and errors as in `loss_figure`."""
    epoch, margin = _columns(rows, ("epoch", "train_margin"))
    figure, axes = _epochs_figure(
        "Margin loss over the epochs",
        network,
        ("training",),
        "Across: epoch. Up: mean L_margin (Eq. 4) on the training faces, nats, before its weight in the total.",
    )
    axes.plot(epoch, margin, color=BLUE, **_marks(epoch))
    axes.set_ylabel("$L_{margin}$, nats")
    _say_last(axes, epoch, margin)
    return figure


def reconstruction_figure(rows: Sequence[Mapping[str, Any]], network: str) -> Figure:
    """L_rec over the epochs (Fig. 6); arguments and errors as in `loss_figure`."""
    epoch, reconstruction = _columns(rows, ("epoch", "train_reconstruction"))
    figure, axes = _epochs_figure(
        "Reconstruction loss over the epochs",
        network,
        ("training",),
        "Across: epoch. Up: mean absolute error of the image drawn again (L_rec, Eq. 3) on the training faces, where "
        "black is 0 and white is 1, before its weight in the total.",
    )
    axes.plot(epoch, reconstruction, color=BLUE, **_marks(epoch))
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
    figure, axes = new_figure(
        (6.6, 6.9),
        "ROC, each expression against the rest",
        f"{network}, {split_and_n(split, len(predictions.targets))}",
        "Across: share of the faces without the expression that are taken for it. Up: share of the faces with it that "
        "are found, as the threshold on its probability falls. Legend: area under the curve, and faces. Micro ranks "
        "all pairs of face and expression at once; macro is the mean of the expressions' curves.",
    )
    axes.plot([0, 1], [0, 1], color=RULE, linewidth=1.2, zorder=1)
    faces = np.bincount(predictions.targets, minlength=len(predictions.classes))
    colours = class_colours(predictions.classes)
    for k, name in enumerate(predictions.classes):
        if curve := curves.classes.get(name):
            label = f"{name}  {curve.auc:.3f}  ({faces[k]:,})"
            axes.plot(curve.fpr, curve.tpr, color=colours[name], linewidth=1.5, label=label)
    if curves.macro:
        label = f"macro  {curves.macro.auc:.3f}"
        axes.plot(curves.macro.fpr, curves.macro.tpr, color=INK, linestyle="--", linewidth=1.8, label=label)
    label = f"micro  {curves.micro.auc:.3f}"
    axes.plot(curves.micro.fpr, curves.micro.tpr, color=INK, linestyle=":", linewidth=2.0, label=label)
    axes.set(xlabel="false positive rate", ylabel="true positive rate", xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    axes.set_aspect("equal")
    legend(axes, "lower right")
    return figure


def roc_comparison_figure(networks: Mapping[str, Predictions], split: str) -> Figure:
    """ROC curves of several networks on the same faces: a panel for each class, and their mean (Fig. 7).

    Args:
        networks: Name -> predictions of the split.
        split: One of `mien.labels.SPLITS`, or any other name of the data.

    Raises:
        DataError: There are no predictions, or no two classes to tell apart.
        MissingExtraError: matplotlib is not installed.
    """
    curves = {name: roc_curves(predictions) for name, predictions in networks.items()}
    first = next(iter(networks.values()))
    titles = (*first.classes, "mean of all")
    rows, columns = math.ceil((len(titles) + 1) / 3), 3
    figure, grid = new_figure(
        (9.6, 3.1 * rows),
        "ROC, each expression against the rest",
        split_and_n(split, len(first.targets)),
        "Across: share of the faces without the expression that are taken for it. Up: share of the faces with it that "
        "are found, as the threshold on its probability falls. Numbers: area under the curve.",
        nrows=rows,
        ncols=columns,
        squeeze=False,
    )
    panels = grid.ravel()
    for axes in panels[len(titles) :]:
        axes.set_axis_off()
    for axes, title in zip(panels, titles, strict=False):
        axes.plot([0, 1], [0, 1], color=RULE, linewidth=1.2, zorder=1)
        for k, found in enumerate(curves.values()):
            curve = found.macro if title == "mean of all" else found.classes.get(title)
            if curve:
                axes.plot(curve.fpr, curve.tpr, color=f"C{k}", linewidth=1.4, label=f"{curve.auc:.3f}")
        axes.set_title(title, size=LABEL_PT, color=INK)
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
        if len(axes.lines) > 1:  # else none of the faces is of this class, or all are
            legend(axes, "lower right")
    for k, name in enumerate(short_names(list(curves))):  # names may be long, so they have a panel to themselves
        panels[-1].plot([], [], color=f"C{k}", linewidth=1.4, label=textwrap.fill(name, NAME_LETTERS))
    legend(panels[-1], "upper left")
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
    figure, axes = new_figure(
        (side + 1.9, side + 1.45),
        "Confusion matrix",
        f"{network}, {split_and_n(split, n)}, accuracy {np.trace(counts) / n:.2%}",
        "Down: the expression that the label says, with its faces. Across: the expression that the network says. "
        "Each cell: share of the row's faces in per cent, and their number.",
    )
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(k, k):
        colour = "white" if shares[row, column] > 0.55 else INK
        share = f"{100 * shares[row, column]:.1f}" if support[row] else "-"
        weight = "bold" if row == column else "normal"
        axes.text(column, row - 0.02, share, ha="center", va="bottom", color=colour, size=LABEL_PT, weight=weight)
        axes.text(
            column, row + 0.08, f"{counts[row, column]:,}", ha="center", va="top", color=colour, size=SMALL_PT - 1
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
    bar.ax.tick_params(labelsize=SMALL_PT, length=0, colors=INK)
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
    figure, (upper, lower) = new_figure(
        (6.4, 7.4),
        "Reliability diagram",
        f"{network}, {split_and_n(split, n)}, ECE {table.ece:.2%}",
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
        (np.zeros_like(agreed), agreed, BLUE, "right"),
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
    upper.plot([0, 1], [0, 1], color=INK, linestyle="--", linewidth=1.0, label="as sure as it should be")
    upper.set(ylabel="share right", xlim=(0, 1), ylim=(0, 1))
    legend(upper, "upper left")
    lower.bar(left, 100 * table.counts / n, width=width, align="edge", color="#9aa5b1", edgecolor="white")
    means = {
        "mean confidence": (float(confidence @ table.counts[filled]) / n, "--"),
        "accuracy": (float(accuracy @ table.counts[filled]) / n, "-"),
    }
    for name, (value, style) in means.items():
        lower.axvline(value, color=INK, linestyle=style, linewidth=1.2, label=f"{name} {value:.1%}")
    lower.set(xlabel="confidence", ylabel="faces, %", xlim=(0, 1))
    legend(lower, "upper left")
    return figure


def risk_coverage_figure(predictions: Predictions, network: str, split: str, uncertain_below: float = 0.0) -> Figure:
    """Risk against coverage: how often a network is wrong when it may leave out what it is least sure of.

    Args:
        predictions: Of the split.
        network: Its name, for the title.
        split: One of `mien.labels.SPLITS`, or any other name of the data.
        uncertain_below: The confidence below which it calls a face uncertain; 0 marks none.

    Raises:
        DataError: There are no predictions.
        MissingExtraError: matplotlib is not installed.
    """
    curve = risk_coverage(predictions)
    figure, axes = new_figure(
        (6.4, 5.0),
        "Risk and coverage",
        f"{network}, {split_and_n(split, len(predictions.targets))}",
        "Across: share of the faces that are kept, the surest first. Up: share of these that are wrong. A confidence "
        "that said nothing would give the dashed line.",
    )
    risk, whole = 100 * curve.risk, 100 * float(curve.risk[-1])
    axes.axhline(whole, color=GRAY, linestyle="--", linewidth=1.0, label=f"all faces, {whole:.1f} % wrong")
    axes.plot(100 * curve.coverage, risk, color=BLUE, linewidth=1.8)
    certain = np.flatnonzero(curve.confidence >= uncertain_below)
    if uncertain_below > 0 and certain.size:
        point = certain[-1]
        label = (
            f"certain, confidence {uncertain_below:.1%} or more: "
            f"{curve.coverage[point]:.1%} of the faces, {risk[point]:.1f} % wrong"
        )
        axes.plot(100 * curve.coverage[point], risk[point], "o", color=ORANGE, label=label)
    axes.set(xlabel="coverage, %", ylabel="wrong, %", xlim=(0, 101))
    axes.set_ylim(0, max(1.0, 1.35 * max(whole, float(risk[len(risk) // 20 :].max(initial=0)))))
    legend(axes, "upper left")
    return figure


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


def _epochs_figure(headline: str, network: str, splits: tuple[str, ...], caption: str) -> tuple[Figure, Axes]:
    named = " and ".join(map(split_name, splits))
    figure, axes = new_figure((7.0, 4.6), headline, f"{network}, {named}", caption)
    axes.set_xlabel("epoch")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.margins(y=0.08)
    return figure, axes


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
        size=SMALL_PT,
        color=INK,
    )
    axes.set_ylim(bottom=0)
