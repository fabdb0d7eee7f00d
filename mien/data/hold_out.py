"""Takes some of the training faces for choosing the best epoch, where the data has no split for that."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mien.data.dataset import FaceDataset
from mien.errors import DataError
from mien.labels import SPLITS

SEED = 20130411
"""Seed of the draw: the same faces are held out in every run, so that runs with other seeds can be compared."""


def hold_out(dataset: FaceDataset, fraction: float) -> FaceDataset:
    """Moves a fraction of the training faces of each class to the split `public`, drawn from a fixed seed.

    Args:
        dataset: Faces without a split `public`.
        fraction: Fraction of the training faces of each class, above 0 and below 1; at least one face of each class
            that has two.

    Raises:
        DataError: The data has a split `public` already, or no class has two training faces.
    """
    training, public = SPLITS.index("training"), SPLITS.index("public")
    if (dataset.splits == public).any():
        raise DataError("the data has a public split for choosing: set data.hold_out to 0")
    random = np.random.default_rng(SEED)
    splits = dataset.splits.copy()
    for target in range(len(dataset.classes)):
        rows = np.flatnonzero((dataset.splits == training) & (dataset.targets == target))
        count = max(1, round(fraction * len(rows))) if len(rows) > 1 else 0
        splits[random.permutation(rows)[:count]] = public
    held_out = int((splits == public).sum())
    if not held_out:
        raise DataError("data.hold_out needs two or more training faces of a class, and no class has them")
    note = f"held out {held_out:,} training faces for choosing, {fraction:.0%} of each class (data.hold_out)"
    return replace(dataset, splits=splits, notes=(*dataset.notes, note))
