"""Figures of predictions: ROC curves, confusion matrix (Shen and Li, Fig. 7 and 8), reliability, risk and coverage.

Each function returns a matplotlib Figure, and `mien.plotting.save` writes it. None touches matplotlib's global state,
so a caller's own style and windows stay unchanged.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from mien.calibration import risk_coverage
from mien.errors import DataError
from mien.evaluation.metrics import confusion_matrix
from mien.evaluation.reliability import reliability
from mien.evaluation.roc import roc_curves
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
)
from mien.predictions import short_names
from mien.types import Predictions

if TYPE_CHECKING:
    from matplotlib.figure import Figure

LEGEND_WIDTH = 36
"""Characters of a network's name on one line of a legend."""
ROC_AXES = (
    "x axis: fraction of the faces of other expressions that are classified as this one. y axis: fraction of the faces "
    "of this expression that are, as the threshold on its probability falls."
)


def roc_figure(predictions: Predictions, network: str, split: str) -> Figure:
    """Draws the ROC curve of each class against the rest, and the micro and macro curves (Fig. 7).

    Args:
        predictions: Predictions of the split.
        network: Name of the network, for the title.
        split: One of `mien.labels.SPLITS`, or any other name of the data.

    Raises:
        DataError: There are no predictions, or fewer than two classes.
        MissingExtraError: matplotlib is not installed.
    """
    curves = roc_curves(predictions)
    figure, axes = new_figure(
        (6.6, 6.9),
        "ROC curves, each expression against the rest",
        f"{network}, {split_and_n(split, len(predictions.targets))}",
        f"{ROC_AXES} Legend: area under the curve, number of faces. Micro: all pairs of face and expression in one "
        "ranking. Macro: mean of the expressions' curves.",
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
    """Draws the ROC curves of several networks on the same faces: one panel per class, and one for the mean (Fig. 7).

    Args:
        networks: Name -> predictions of the split.
        split: One of `mien.labels.SPLITS`, or any other name of the data.

    Raises:
        DataError: There are no predictions, or fewer than two classes.
        MissingExtraError: matplotlib is not installed.
    """
    curves = {name: roc_curves(predictions) for name, predictions in networks.items()}
    first = next(iter(networks.values()))
    titles = (*first.classes, "mean of all")
    rows, columns = math.ceil((len(titles) + 1) / 3), 3
    figure, grid = new_figure(
        (9.6, 3.1 * rows),
        "ROC curves, each expression against the rest",
        split_and_n(split, len(first.targets)),
        f"{ROC_AXES} Legends: area under the curve.",
        nrows=rows,
        ncols=columns,
        squeeze=False,
    )
    panels = grid.ravel()
    for axes in panels[len(titles) :]:
        axes.set_axis_off()
    for axes, title in zip(panels, titles, strict=False):
        axes.plot([0, 1], [0, 1], color=RULE, linewidth=1.2, zorder=1)
        for k, of_network in enumerate(curves.values()):
            curve = of_network.macro if title == "mean of all" else of_network.classes.get(title)
            if curve:
                axes.plot(curve.fpr, curve.tpr, color=f"C{k}", linewidth=1.4, label=f"{curve.auc:.3f}")
        axes.set_title(title, size=LABEL_PT, color=INK)
        axes.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01), aspect="equal")
        if len(axes.lines) > 1:  # no curve if none or all of the faces belong to this class
            legend(axes, "lower right")
    for k, name in enumerate(short_names(list(curves))):  # names can be long, so their legend has its own panel
        panels[-1].plot([], [], color=f"C{k}", linewidth=1.4, label=textwrap.fill(name, LEGEND_WIDTH))
    legend(panels[-1], "upper left")
    return figure


def confusion_figure(predictions: Predictions, network: str, split: str) -> Figure:
    """Draws the confusion matrix with percentages of each row and face counts (Fig. 8).

    The arguments are those of `roc_figure`.

    Raises:
        DataError: There are no predictions.
        MissingExtraError: matplotlib is not installed.
    """
    counts = confusion_matrix(predictions)
    n, k = int(counts.sum()), len(counts)
    if n == 0:
        raise DataError("a confusion matrix needs predictions of one face or more, got none")
    support = counts.sum(axis=1)
    fractions = counts / np.maximum(support, 1)[:, None]
    side = max(4.5, 0.82 * k)
    figure, axes = new_figure(
        (side + 1.9, side + 1.45),
        "Confusion matrix",
        f"{network}, {split_and_n(split, n)}, accuracy {np.trace(counts) / n:.2%}",
        "Rows: labelled expression and its number of faces. Columns: predicted expression. Each cell: percentage of "
        "the row's faces, and their number.",
    )
    image = axes.imshow(fractions, cmap="Blues", vmin=0, vmax=1)
    for row, column in np.ndindex(k, k):
        colour = "white" if fractions[row, column] > 0.55 else INK
        percentage = f"{100 * fractions[row, column]:.1f}" if support[row] else "-"
        weight = "bold" if row == column else "normal"
        above, below = (column, row - 0.02), (column, row + 0.08)
        axes.text(*above, percentage, ha="center", va="bottom", color=colour, size=LABEL_PT, weight=weight)
        axes.text(*below, f"{counts[row, column]:,}", ha="center", va="top", color=colour, size=SMALL_PT - 1)
    labels = [f"{name}\n{faces:,}" for name, faces in zip(predictions.classes, support, strict=True)]
    if max(map(len, predictions.classes)) > 10:  # longer names would overlap
        axes.set_xticks(range(k), predictions.classes, rotation=35, ha="right", rotation_mode="anchor")
    else:
        axes.set_xticks(range(k), predictions.classes)
    axes.set_yticks(range(k), labels)
    axes.set(xlabel="predicted", ylabel="label")
    axes.grid(False)
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0)
    bar = figure.colorbar(image, cax=axes.inset_axes((1.02, 0, 0.03, 1)), format=lambda fraction, _: f"{fraction:.0%}")
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=SMALL_PT, length=0, colors=INK)
    return figure


def reliability_figure(predictions: Predictions, network: str, split: str) -> Figure:
    """Draws the reliability diagram (Guo et al., ICML 2017, Fig. 1) above a histogram of the confidence.

    The arguments are those of `roc_figure`.

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
        f"x axis of both: confidence, the probability of the predicted expression, in {len(table.counts)} bins. Upper: "
        "accuracy in each bin, and its gap to the mean confidence; the ECE is the mean gap over all faces. Lower: "
        "percentage of the faces in each bin, and the means over all faces.",
        nrows=2,
        height_ratios=(3, 1.3),
    )
    filled = table.counts > 0
    accuracy, confidence = table.accuracy[filled], table.confidence[filled]
    left, width = table.edges[:-1], np.diff(table.edges)
    common = np.minimum(accuracy, confidence)
    bars = (
        (np.zeros_like(common), common, BLUE, "accuracy"),
        (common, accuracy - common, "#a6cbe8", "underconfident"),
        (common, confidence - common, "#f2a3a3", "overconfident"),
    )
    for bottom, height, colour, label in bars:
        style = {"align": "edge", "color": colour, "edgecolor": "white", "linewidth": 0.8, "label": label}
        upper.bar(left[filled], height, width[filled], bottom, **style)
    upper.plot([0, 1], [0, 1], color=INK, linestyle="--", linewidth=1.0, label="perfect calibration")
    upper.set(ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
    legend(upper, "upper left")
    lower.bar(left, 100 * table.counts / n, width=width, align="edge", color="#9aa5b1", edgecolor="white")
    means = {
        "mean confidence": (float(confidence @ table.counts[filled]) / n, "--"),
        "accuracy": (float(accuracy @ table.counts[filled]) / n, "-"),
    }
    for name, (value, linestyle) in means.items():
        lower.axvline(value, color=INK, linestyle=linestyle, linewidth=1.2, label=f"{name} {value:.1%}")
    lower.set(xlabel="confidence", ylabel="faces, %", xlim=(0, 1))
    legend(lower, "upper left")
    return figure


def risk_coverage_figure(predictions: Predictions, network: str, split: str, uncertain_below: float = 0.0) -> Figure:
    """Draws risk against coverage: the error rate on the faces that remain when the least confident are left out.

    Args:
        predictions: As for `roc_figure`.
        network: As for `roc_figure`.
        split: As for `roc_figure`.
        uncertain_below: Confidence below which the network calls a face uncertain; 0 marks none.

    Raises:
        DataError: There are no predictions.
        MissingExtraError: matplotlib is not installed.
    """
    curve = risk_coverage(predictions)
    figure, axes = new_figure(
        (6.4, 5.0),
        "Risk and coverage",
        f"{network}, {split_and_n(split, len(predictions.targets))}",
        "x axis: percentage of the faces that are kept, the most confident first. y axis: percentage of these that "
        "are misclassified. Dashed line: what a confidence without information would give.",
    )
    risk, overall = 100 * curve.risk, 100 * float(curve.risk[-1])
    axes.axhline(overall, color=GRAY, linestyle="--", linewidth=1.0, label=f"all faces, {overall:.1f} % wrong")
    axes.plot(100 * curve.coverage, risk, color=BLUE, linewidth=1.8)
    certain = np.flatnonzero(curve.confidence >= uncertain_below)
    if uncertain_below > 0 and certain.size:
        point = certain[-1]
        label = (
            f"certain, confidence of {uncertain_below:.1%} or more: "
            f"{curve.coverage[point]:.1%} of the faces, {risk[point]:.1f} % wrong"
        )
        axes.plot(100 * curve.coverage[point], risk[point], "o", color=ORANGE, label=label)
    axes.set(xlabel="coverage, %", ylabel="wrong, %", xlim=(0, 101))
    axes.set_ylim(0, max(1.0, 1.35 * max(overall, float(risk[len(risk) // 20 :].max(initial=0)))))
    legend(axes, "upper left")
    return figure
