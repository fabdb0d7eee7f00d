"""The training faces in parts, so that a network can be asked about faces that it was not trained on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mien.data.dataset import FaceDataset

SEED = 2013
"""Of the division, which is the same for every training."""


def folds_of(faces: FaceDataset, folds: int) -> NDArray[np.int64]:
    """Divides faces into parts of nearly the same size. Faces with equal pixels are in the same part.

    Args:
        faces: The training split.
        folds: Number of parts, 2 or more.

    Returns:
        (N,) the part of each face, 0 to folds - 1.
    """
    first: dict[bytes, int] = {}
    groups = np.array([first.setdefault(image.tobytes(), row) for row, image in enumerate(faces.images)], np.int64)
    order = np.random.default_rng(SEED).permutation(len(faces))
    return (order % folds)[groups]


def without_fold(faces: FaceDataset, folds: int, held_out: int) -> FaceDataset:
    """The faces of all parts but one; all faces where `folds` is 0."""
    return faces.take(np.flatnonzero(folds_of(faces, folds) != held_out)) if folds else faces
