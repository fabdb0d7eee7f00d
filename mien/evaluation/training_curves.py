"""Figures of a run's log: the losses over the epochs (Shen and Li, Fig. 4 to 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import DataError
from mien.plotting import BLUE, GRAY, INK, ORANGE, SMALL_PT, legend, new_figure, split_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

AUXILIARY_LOSSES = {
    "margin": (
        "Margin loss over the epochs",
        "$L_{margin}$, nats",
        "x axis: epoch. y axis: mean L_margin (Eq. 4) on the training faces, nats, before it is weighted.",
    ),
    "reconstruction": (
        "Reconstruction loss over the epochs",
        "$L_{rec}$, fraction of the gray range",
        "x axis: epoch. y axis: mean absolute error of the reconstructed image (L_rec, Eq. 3) on the training faces, "
        "with black as 0 and white as 1, before it is weighted.",
    ),
}
"""Part of the loss -> headline, label of the y axis, caption; other parts get general ones."""


def loss_figure(log: Sequence[Mapping[str, Any]], network: str) -> Figure:
    """Draws the training loss and the PublicTest loss over the epochs (Fig. 4).

    Args:
        log: One row per epoch; the values are numbers or their text in log.csv.
        network: Name of the network, for the title.

    Raises:
        DataError: The log is empty, or a row lacks a value or has one that is not a number.
        MissingExtraError: matplotlib is not installed.
    """
    names = ("epoch", "train_loss", "train_cross_entropy", "public_loss", "public_accuracy")
    epoch, total, cross_entropy, public, accuracy = _columns(log, names)
    figure, axes = _epochs_figure(
        "Loss over the epochs",
        network,
        ("training", "public"),
        "x axis: epoch. y axis: mean loss per face, nats. The training loss is measured on augmented faces with the "
        "weights of each step, the PublicTest loss on unchanged faces with the averaged weights, so the PublicTest "
        "loss can be lower. Dotted line: the epoch whose weights were kept.",
    )
    axes.plot(epoch, total, color=BLUE, label="Training, total", **_line_style(epoch))
    axes.plot(epoch, cross_entropy, color=BLUE, linestyle="--", linewidth=1.1, label="Training, cross-entropy")
    axes.plot(epoch, public, color=ORANGE, label="PublicTest, cross-entropy", **_line_style(epoch))
    best = int(np.nanargmax(accuracy))
    label = f"best PublicTest accuracy, {accuracy[best]:.2%}, epoch {epoch[best]:.0f}"
    axes.axvline(epoch[best], color=GRAY, linestyle=":", linewidth=1.2, label=label)
    legend(axes, "best")
    axes.set_ylabel("loss, nats")
    return figure


def auxiliary_loss_figure(log: Sequence[Mapping[str, Any]], network: str, name: str) -> Figure:
    """Draws a part of the loss over the epochs (Fig. 5 and 6).

    Args:
        log: As for `loss_figure`.
        network: Name of the network, for the title.
        name: A field of `mien.training.losses.LossParts`.

    Raises:
        DataError: As for `loss_figure`.
        MissingExtraError: matplotlib is not installed.
    """
    general = (
        f"{name.capitalize()} loss over the epochs",
        f"{name} loss",
        f"x axis: epoch. y axis: mean {name} loss on the training faces, before it is weighted.",
    )
    headline, label, caption = AUXILIARY_LOSSES.get(name, general)
    epoch, loss = _columns(log, ("epoch", f"train_{name}"))
    figure, axes = _epochs_figure(headline, network, ("training",), caption)
    axes.plot(epoch, loss, color=BLUE, **_line_style(epoch))
    axes.set_ylabel(label)
    last = int(np.flatnonzero(np.isfinite(loss))[-1])
    axes.annotate(
        f"{loss[last]:.4f}",
        (epoch[last], loss[last]),
        xytext=(0, 7),
        textcoords="offset points",
        ha="right",
        size=SMALL_PT,
        color=INK,
    )
    axes.set_ylim(bottom=0)
    return figure


def _columns(log: Sequence[Mapping[str, Any]], names: tuple[str, ...]) -> list[NDArray[np.float64]]:
    """The columns of the log as arrays, in the order of `names`."""
    if not log:
        raise DataError("the log must have one epoch or more, got none")
    table = np.empty((len(names), len(log)))
    for number, row in enumerate(log):
        for position, name in enumerate(names):
            try:
                table[position, number] = float(row[name])
            except KeyError:
                raise DataError(
                    f"the log must have the columns {', '.join(names)}, and row {number} has no {name}"
                ) from None
            except (TypeError, ValueError):
                raise DataError(
                    f"{name} must be a number, got {str(row[name])[:80]!r} in row {number} of the log"
                ) from None
    for name, values in zip(names, table, strict=True):
        if not np.isfinite(values).any():  # a single value may be missing after an overflow: the line gets a gap
            raise DataError(f"{name} must be finite in at least one row of the log, got none")
    return list(table)


def _epochs_figure(headline: str, network: str, splits: tuple[str, ...], caption: str) -> tuple[Figure, Axes]:
    split_names = " and ".join(map(split_name, splits))
    figure, axes = new_figure((7.0, 4.6), headline, f"{network}, {split_names}", caption)
    axes.set_xlabel("epoch")
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.margins(y=0.08)
    return figure, axes


def _line_style(epoch: NDArray[np.float64]) -> dict[str, Any]:
    """Adds markers to a line of few epochs: a single point would be invisible without one."""
    return {"linewidth": 1.8, "marker": "o" if len(epoch) <= 12 else None, "markersize": 4}
