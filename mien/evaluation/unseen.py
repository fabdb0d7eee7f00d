"""Accuracy on the faces that have no copy in the training split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.markup import escape
from rich.table import Table

from mien import predictions as prediction_files
from mien.data.dataset import FaceDataset
from mien.errors import DataError
from mien.evaluation.bootstrap import accuracy_interval
from mien.labels import SPLITS
from mien.predictions import same_faces, short_names
from mien.types import Predictions


@dataclass(frozen=True)
class UnseenAccuracy:
    """Accuracy on all faces, and on those without a copy in the training split.

    Attributes:
        name: The file of predictions.
        n: Number of faces.
        accuracy: Accuracy on all of them.
        n_unseen: Number of faces without a copy in the training split.
        accuracy_unseen: Accuracy on these; None if there are none.
        low: Lower end of the 95 % bootstrap interval of `accuracy_unseen`.
        high: Upper end.
    """

    name: str
    n: int
    accuracy: float
    n_unseen: int
    accuracy_unseen: float | None
    low: float | None
    high: float | None


@dataclass(frozen=True)
class UnseenResult:
    """A row of results/unseen.csv: the accuracy of one network on the faces without a copy in the training split.

    Attributes:
        config: Name of the network's config.
        split: Split of the data.
        view: View of each face.
        n: Number of faces.
        accuracy: Accuracy, a fraction.
        accuracy_low: Lower end of its 95 % bootstrap interval.
        accuracy_high: Upper end.
        command: The command that measured the row.
    """

    config: str
    split: str
    view: str
    n: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    command: str

    @property
    def key(self) -> tuple[str, str, str]:
        """Identifies the row: config, split and view."""
        return self.config, self.split, self.view


def load(files: Sequence[Path], dataset: FaceDataset) -> dict[str, Predictions]:
    """Reads files of predictions, which may be of different splits.

    Args:
        files: Predictions of all faces of the public or the private split.
        dataset: The data set of these faces.

    Returns:
        Path as text -> predictions.

    Raises:
        DataError: A file cannot be read, or has other faces; each format of FER2013 numbers its faces differently.
    """
    named = {str(file): prediction_files.load(file) for file in files}
    splits = [dataset.take(np.flatnonzero(dataset.splits == SPLITS.index(name))) for name in ("public", "private")]
    for name, predictions in named.items():
        if not any(same_faces(predictions, split) for split in splits):
            raise DataError(
                f"{name} must hold predictions of all PublicTest or all PrivateTest faces of {dataset.path}, got other "
                "faces: make it with mien evaluate --data and the same file"
            )
    return named


def measure(name: str, predictions: Predictions, in_training: NDArray[np.int64]) -> UnseenAccuracy:
    """Measures the accuracy on all faces and on unseen faces.

    Args:
        name: Name of the result.
        predictions: Predictions of at least one face.
        in_training: `index` of the faces that have a copy in the training split.

    Raises:
        DataError: There are no predictions.
    """
    accuracy, *_ = accuracy_interval(predictions)
    rows = np.flatnonzero(~np.isin(predictions.index, in_training))
    unseen = accuracy_interval(predictions.take(rows)) if rows.size else (None, None, None)
    return UnseenAccuracy(name, len(predictions.targets), accuracy, len(rows), *unseen)


def row(unseen: UnseenAccuracy, split: str, view: str, command: str) -> UnseenResult:
    """Makes the row of results/unseen.csv.

    Raises:
        DataError: All faces have a copy in the training split.
    """
    if unseen.accuracy_unseen is None or unseen.low is None or unseen.high is None:
        raise DataError(
            f"a row for {unseen.name} needs one face or more without a copy in the training split, got none"
        )
    return UnseenResult(
        unseen.name, split, view, unseen.n_unseen, unseen.accuracy_unseen, unseen.low, unseen.high, command
    )


def table(accuracies: Sequence[UnseenAccuracy]) -> Table:
    """Makes a table for the terminal, one row per file."""
    page = Table("predictions", "faces", "accuracy", "not in Training", "accuracy", "95 % interval")
    page.columns[0].overflow = "fold"
    for column in page.columns[1:]:
        column.justify = "right"
    for name, each in zip(short_names([each.name for each in accuracies]), accuracies, strict=True):
        cells = ("-", "")
        if each.accuracy_unseen is not None:
            cells = (f"{each.accuracy_unseen:.2%}", f"{each.low:.2%} to {each.high:.2%}")
        page.add_row(escape(name), f"{each.n:,}", f"{each.accuracy:.2%}", f"{each.n_unseen:,}", *cells)
    return page
