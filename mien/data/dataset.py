"""Labelled faces in memory, in the one type that every reader returns."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mien.errors import DataError
from mien.labels import EXPRESSIONS, SPLITS


@dataclass(frozen=True)
class FaceDataset:
    """Gray faces, each with a class and a split.

    Attributes:
        images: (N, size, size), values 0..255.
        targets: (N,) class ids, which are indices into `classes`.
        splits: (N,) indices into `mien.labels.SPLITS`.
        index: (N,) row of each face in its source; a subset keeps these numbers.
        votes: (N, K) FER+ votes for each class, or None without FER+. A row with no vote for any of the classes is
            all zeros.
        classes: K class names.
        path: File or folder that the faces were read from; empty for faces made in memory.
        format: Format of that source: "archive", "csv", "folders" or "parquet"; empty for faces made in memory.
        notes: Sentences for the person about how labels became classes, such as which classes were merged.
    """

    images: NDArray[np.uint8]
    targets: NDArray[np.int64]
    splits: NDArray[np.int8]
    index: NDArray[np.int64]
    votes: NDArray[np.float32] | None = None
    classes: tuple[str, ...] = EXPRESSIONS
    path: str = ""
    format: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Checks that the arrays fit each other.

        Raises:
            ValueError: Lengths differ, a target is not a class id, or the votes have another shape.
        """
        n = len(self.images)
        if not (len(self.targets) == len(self.splits) == len(self.index) == n):
            raise ValueError("images, targets, splits and index must have the same length")
        if n and (self.targets.min() < 0 or self.targets.max() >= len(self.classes)):
            raise ValueError(
                f"targets must be 0..{len(self.classes) - 1}, got {self.targets.min()}..{self.targets.max()}"
            )
        if self.votes is not None and self.votes.shape != (n, len(self.classes)):
            raise ValueError(f"votes must be ({n}, {len(self.classes)}), got {self.votes.shape}")

    def __len__(self) -> int:
        """Returns the number of faces."""
        return len(self.images)

    @property
    def size(self) -> int:
        """Height and width of the faces, pixels."""
        return int(self.images.shape[1])

    def split(self, name: str) -> FaceDataset:
        """Returns the faces of one split.

        Raises:
            DataError: The split has no faces.
        """
        rows = np.flatnonzero(self.splits == SPLITS.index(name))
        if not rows.size:
            present = [split for i, split in enumerate(SPLITS) if (self.splits == i).any()]
            splits = f"only {', '.join(present)}" if present else "no faces at all"
            hint = ", or set data.hold_out to take a fraction of the training faces" if name == "public" else ""
            raise DataError(f"the data has no {name} split, it has {splits}; add one{hint}")
        if rows.size == rows[-1] - rows[0] + 1:  # consecutive rows, as in FER2013: a view instead of a copy
            return self.take(slice(rows[0], rows[-1] + 1))
        return self.take(rows)

    def take(self, rows: slice | NDArray[np.int64]) -> FaceDataset:
        """Returns some of the faces, in the order of `rows`."""
        return replace(
            self,
            images=self.images[rows],
            targets=self.targets[rows],
            splits=self.splits[rows],
            index=self.index[rows],
            votes=None if self.votes is None else self.votes[rows],
        )

    def counts(self) -> dict[str, dict[str, int]]:
        """Returns split -> class -> number of faces, for each split that has any."""
        table = {}
        for i, split in enumerate(SPLITS):
            targets = self.targets[self.splits == i]
            if targets.size:
                numbers = np.bincount(targets, minlength=len(self.classes))
                table[split] = dict(zip(self.classes, numbers.tolist(), strict=True))
        return table
