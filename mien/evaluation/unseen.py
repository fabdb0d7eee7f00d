"""How accurate a network is on the faces that it cannot have seen in training."""

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
from mien.evaluation.metrics import accuracy_interval
from mien.labels import SPLITS
from mien.predictions import same_faces, short_names
from mien.types import Predictions


@dataclass(frozen=True)
class Unseen:
    """Accuracy on all faces, and on those that do not also stand in the training split.

    Attributes:
        name: The file of predictions.
        n: Faces.
        accuracy: Share of them that is right.
        n_unseen: Faces of which no copy was trained on.
        accuracy_unseen: Share of these that is right; None where there are none.
        low: Lower end of its 95 % bootstrap interval.
        high: Upper end.
    """

    name: str
    n: int
    accuracy: float
    n_unseen: int
    accuracy_unseen: float | None
    low: float | None
    high: float | None


def load(files: Sequence[Path], dataset: FaceDataset) -> dict[str, Predictions]:
    """Reads predictions: name on the command line -> predictions; they may be of different splits.

    Args:
        files: Each of the public or the private split, all its faces.
        dataset: Has these faces.

    Raises:
        DataError: A file cannot be read, or is of other faces: each form of FER2013 numbers them in another way.
    """
    found = {str(file): prediction_files.load(file) for file in files}
    splits = [dataset.take(np.flatnonzero(dataset.splits == SPLITS.index(name))) for name in ("public", "private")]
    for name, predictions in found.items():
        if not any(same_faces(predictions, split) for split in splits):
            raise DataError(
                f"{name} does not hold predictions of PublicTest's or PrivateTest's faces as {dataset.path} has them: "
                "make them with mien evaluate --data and the same file"
            )
    return found


def measure(name: str, predictions: Predictions, in_training: NDArray[np.int64]) -> Unseen:
    """Compares the accuracy on all faces with that on unseen ones.

    Args:
        name: What the result is called.
        predictions: Of at least one face.
        in_training: `index` of the faces that also stand in the training split.

    Raises:
        DataError: There are no predictions.
    """
    accuracy, *_ = accuracy_interval(predictions)
    rows = np.flatnonzero(~np.isin(predictions.index, in_training))
    unseen = accuracy_interval(predictions.take(rows)) if rows.size else (None, None, None)
    return Unseen(name, len(predictions.targets), accuracy, len(rows), *unseen)


def table(accuracies: Sequence[Unseen]) -> Table:
    """One row a file, for the terminal."""
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
