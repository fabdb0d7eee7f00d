"""Robustness: accuracy under eight corruptions in five strengths, as a table and a figure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.markup import escape
from rich.table import Table

from mien import plotting
from mien.data.dataset import FaceDataset
from mien.errors import DataError
from mien.evaluation import tables
from mien.evaluation.bootstrap import accuracy_interval
from mien.evaluation.predict import check_same_classes, predict
from mien.experiments.corruptions import CORRUPTIONS, corrupt
from mien.models.model import Model
from mien.plotting import INK, LABEL_PT, legend, new_figure, split_and_n

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLEAN = "none"
"""Corruption of the row for uncorrupted faces, whose strength is 0."""


@dataclass(frozen=True)
class Robustness:
    """Accuracy of one network under one corruption: a row of results/robustness.csv.

    Attributes:
        model: Name of the network.
        weights: Digest of its weights; empty for a network of others.
        corruption: One of `mien.experiments.corruptions.CORRUPTIONS`, or CLEAN.
        strength: 1..5, or 0 for CLEAN.
        split: Split of the data.
        n: Number of faces.
        accuracy: Fraction of the faces that are classified correctly.
        accuracy_low: Lower end of its 95 % bootstrap interval.
        accuracy_high: Upper end.
        command: The command that measures the row.
    """

    model: str
    weights: str
    corruption: str
    strength: int
    split: str
    n: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    command: str

    @property
    def key(self) -> tuple[str, str, int, str]:
        """Identifies the row: model, corruption, strength and split."""
        return self.model, self.corruption, self.strength, self.split


def measure(
    name: str, model: Model, faces: FaceDataset, split: str, command: str, on_progress: Callable[[str], object]
) -> list[Robustness]:
    """Measures one network on unchanged faces and under every corruption in every strength.

    Args:
        name: Name of the network in the rows.
        model: The network.
        faces: Faces of one split.
        split: Name of the split.
        command: The command that measures the rows.
        on_progress: Called with the corruption and strength that is measured next.

    Raises:
        DataError: The data and the model have different classes.
    """
    rows = []
    for corruption, strength in [(CLEAN, 0), *((each, strength) for each in CORRUPTIONS for strength in range(1, 6))]:
        on_progress(f"{corruption} {strength}")
        images = faces.images if corruption == CLEAN else corrupt(faces.images, corruption, strength)
        interval = accuracy_interval(predict(model, replace(faces, images=images)))
        rows.append(Robustness(name, model.digest, corruption, strength, split, len(faces), *interval, command))
    return rows


def table(rows: Sequence[Robustness]) -> Table:
    """Makes the table for the terminal: accuracies in per cent by network and corruption, one column per strength."""
    page = Table("network", "corruption", *map(str, range(6)))
    for column in page.columns[2:]:
        column.justify = "right"
    accuracies = {(row.model, row.corruption, row.strength): row.accuracy for row in rows}
    for model in dict.fromkeys(row.model for row in rows):
        for corruption in CORRUPTIONS:
            keys = [(model, CLEAN, 0), *((model, corruption, strength) for strength in range(1, 6))]
            cells = (f"{100 * accuracies[key]:.1f}" if key in accuracies else "-" for key in keys)
            page.add_row(escape(model), corruption, *cells)
    return page


def check_table(file: Path, name: str, model: Model, faces: FaceDataset, split: str) -> None:
    """Checks, before a network is measured, that its rows fit into a table.

    Raises:
        DataError: The table has rows of this name with other weights, or of this split with another number of faces;
            it is damaged; or the data and the model have different classes.
    """
    tables.check_same_faces(file, Robustness, split, len(faces))
    if others := {row.weights for row in tables.load(file, Robustness) if row.model == name} - {model.digest}:
        raise DataError(
            f"{file} already has rows of another network named {name}, with the weights {min(others) or 'unknown'} "
            f"instead of {model.digest or 'unknown'}: rename the run or file, choose another table, or remove the rows"
        )
    check_same_classes(model, faces)


def draw(file: Path, split: str) -> tuple[list[Robustness], Path]:
    """Draws the rows of a split as a figure beside the table, TABLE-SPLIT.png.

    Returns:
        The rows, and the path of the figure.

    Raises:
        DataError: There is no such row, or the table is damaged.
        MissingExtraError: matplotlib is not installed.
    """
    rows = [row for row in tables.load(file, Robustness) if row.split == split]
    return rows, plotting.save(figure(rows), figure_file(file, split))


def figure_file(file: Path, split: str) -> Path:
    """Returns the path of a split's figure beside the table."""
    return file.with_name(f"{file.stem}-{split}.png")


def figure(rows: Sequence[Robustness]) -> Figure:
    """Draws accuracy against strength, one panel per corruption.

    Args:
        rows: Rows of one split.

    Raises:
        DataError: There are no rows.
        MissingExtraError: matplotlib is not installed.
    """
    if not rows:
        raise DataError("the robustness figure needs results of at least one network, got none")
    drawn, panels = new_figure(
        (10.0, 5.6),
        "Accuracy under corruptions",
        f"{split_and_n(rows[0].split, rows[0].n)}, single view",
        "x axis: strength, from none to the fifth, labelled with its value. y axis: accuracy, %, with its 95 % "
        "bootstrap interval. All networks get the same corrupted faces; pictures other than FER2013's are corrupted at "
        "the size of each network's input.",
        nrows=2,
        ncols=4,
        sharey=True,
    )
    models = list(dict.fromkeys(row.model for row in rows))
    for axes, corruption in zip(panels.ravel(), CORRUPTIONS.values(), strict=True):
        for k, model in enumerate(models):
            line = sorted(
                (row for row in rows if row.model == model and row.corruption in (CLEAN, corruption.name)),
                key=lambda row: row.strength,
            )
            strength = [row.strength for row in line]
            low, accuracy, high = (
                100 * np.array([getattr(row, name) for row in line])
                for name in ("accuracy_low", "accuracy", "accuracy_high")
            )
            axes.fill_between(strength, low, high, color=f"C{k}", alpha=0.18, linewidth=0)
            axes.plot(strength, accuracy, color=f"C{k}", marker="o", markersize=3, linewidth=1.4, label=model)
        axes.set_title(corruption.name, size=LABEL_PT, color=INK)
        axes.set_xticks(range(6), ["none", *(f"{value:g}" for value in corruption.values)])
        axes.set_xlabel(corruption.unit, size=LABEL_PT - 2)
        axes.set_ylim(0, 100)
    for axes in panels[:, 0]:
        axes.set_ylabel("accuracy, %")
    legend(panels[1, 2], "lower left")  # a shift costs least, so the space below its lines is free
    return drawn
