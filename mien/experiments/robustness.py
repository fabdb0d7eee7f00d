"""How accuracy falls as faces get worse: a sheet of all corruptions in all strengths, and its figure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from rich.markup import escape
from rich.table import Table

from mien import plotting as style
from mien.data.dataset import FaceDataset
from mien.errors import DataError
from mien.evaluation import tables
from mien.evaluation.metrics import accuracy_interval
from mien.evaluation.predict import predict
from mien.experiments.corruptions import CORRUPTIONS, corrupt
from mien.models.model import Model
from mien.plotting import INK, LABEL_PT, legend, new_figure, split_and_n

if TYPE_CHECKING:
    from matplotlib.figure import Figure

CLEAN = "none"
"""What the row of uncorrupted faces calls its corruption; its strength is 0."""


@dataclass(frozen=True)
class Robustness:
    """Accuracy of one network under one corruption.

    Attributes:
        model: What the network is called.
        weights: Their digest; empty where there is none.
        corruption: Name of one of `mien.experiments.corruptions.CORRUPTIONS`, or CLEAN.
        strength: 1..5, or 0 for CLEAN.
        split: Of FER2013.
        n: Faces.
        accuracy: Share of right faces.
        accuracy_low: Lower end of its 95 % bootstrap interval.
        accuracy_high: Upper end.
        command: What makes the row again.
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
        """What the table has one row of."""
        return self.model, self.corruption, self.strength, self.split


def measure(
    name: str, model: Model, faces: FaceDataset, split: str, command: str, tell: Callable[[str], object]
) -> list[Robustness]:
    """Measures one network on faces as they are and under every corruption in every strength.

    Args:
        name: What the rows call it.
        model: The network.
        faces: Of one split.
        split: Its name.
        command: What measures it.
        tell: Called with what is measured next.

    Raises:
        DataError: The data set's classes are not the model's.
    """
    rows = []
    for corruption, strength in [(CLEAN, 0), *((each, strength) for each in CORRUPTIONS for strength in range(1, 6))]:
        tell(f"{corruption} {strength}")
        images = faces.images if corruption == CLEAN else corrupt(faces.images, corruption, strength)
        interval = accuracy_interval(predict(model, replace(faces, images=images)))
        rows.append(Robustness(name, model.digest, corruption, strength, split, len(faces), *interval, command))
    return rows


def table(rows: Sequence[Robustness]) -> Table:
    """Per cent right: a row for each network and corruption, a column for each strength."""
    page = Table("network", "corruption", *map(str, range(6)))
    for column in page.columns[2:]:
        column.justify = "right"
    found = {(row.model, row.corruption, row.strength): row.accuracy for row in rows}
    for model in dict.fromkeys(row.model for row in rows):
        for corruption in CORRUPTIONS:
            accuracies = [found.get((model, CLEAN, 0)), *(found.get((model, corruption, i)) for i in range(1, 6))]
            cells = ("-" if value is None else f"{100 * value:.1f}" for value in accuracies)
            page.add_row(escape(model), corruption, *cells)
    return page


def check_same_network(file: Path, name: str, weights: str) -> None:
    """Refuses a table whose rows of a name are of other weights: they would be replaced, or drawn as one network's.

    Raises:
        DataError: It has such rows, or is damaged.
    """
    if others := {row.weights for row in tables.load(file, Robustness) if row.model == name} - {weights}:
        raise DataError(
            f"{file} has rows of another network that is called {name} (weights {min(others) or 'unknown'}, these are "
            f"{weights or 'unknown'}): rename the run or file, name another table, or remove those rows"
        )


def draw(file: Path, split: str) -> tuple[list[Robustness], Path]:
    """Draws what a table holds of a split, beside it, as TABLE-SPLIT.png.

    Returns:
        The rows that were drawn, and the picture's path.

    Raises:
        DataError: There is no such row, or the table is damaged.
        MissingExtraError: matplotlib is not installed.
    """
    rows = [row for row in tables.load(file, Robustness) if row.split == split]
    return rows, style.save(figure(rows), file.with_name(f"{file.stem}-{split}.png"))


def figure(rows: Sequence[Robustness]) -> Figure:
    """Accuracy against strength, a panel for each corruption.

    Args:
        rows: Of one split.

    Raises:
        DataError: There is no row.
        MissingExtraError: matplotlib is not installed.
    """
    if not rows:
        raise DataError("there is no row to draw, expected those of one network or more")
    drawn, panels = new_figure(
        (10.0, 5.6),
        "Accuracy as faces get worse",
        f"{split_and_n(rows[0].split, rows[0].n)}, single view",
        "Across: strength, from none to the fifth, with its value below. Up: share of faces that are right, in per "
        "cent, with the 95 % bootstrap interval of the faces. Networks see the same corrupted faces; pictures other "
        "than FER2013's are corrupted at the size of each network's input.",
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
        axes.set_ylabel("right, %")
    legend(panels[1, 2], "lower left")  # a shift costs least, so that there is room below
    return drawn
