"""FER+'s taggers as a teacher: what their votes say of FER2013's labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.data import ferplus
from mien.data.dataset import FaceDataset
from mien.errors import require
from mien.labels import SPLITS
from mien.types import Predictions, softmax

RIDGE = 1e-4
"""Weight of half the squared coefficients beside the mean cross-entropy: what keeps those finite that a class with few
faces would drive without end."""


def taggers(dataset: FaceDataset, file: Path, split: str) -> Predictions:
    """How probable FER+'s votes make each of FER2013's labels.

    The two name expressions differently: most votes are the label of 64 % of the faces only. So a multinomial logistic
    regression from the votes, contempt, unknown and no face among them, and their logarithms is fitted to the labels
    of the training split.

    Args:
        dataset: FER2013 in its own order.
        file: FER+'s `fer2013new.csv`.
        split: Whose faces the answer is of.

    Raises:
        DataError: The file is not FER+, its rows are not those of the data, or the data lacks the split or the training
            split.
        MissingExtraError: SciPy is not installed.
    """
    optimize = require("scipy.optimize", "train")
    votes = ferplus.read_votes(dataset, file).astype(np.float64)
    learnt, asked = dataset.split("training"), dataset.split(split)
    training = dataset.splits == SPLITS.index("training")
    features = np.concatenate([votes, np.log1p(votes)], axis=1)
    scale = np.maximum(features[training].std(axis=0), 1e-6)
    features = np.column_stack([np.ones(len(votes)), (features - features[training].mean(axis=0)) / scale])
    seen, labels = features[training], np.eye(len(dataset.classes))[learnt.targets]
    shape = (features.shape[1], len(dataset.classes))

    def loss_and_slope(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        weights = flat.reshape(shape)
        said = softmax(seen @ weights)
        loss = -np.log((said * labels).sum(axis=1)).mean() + RIDGE / 2 * (flat @ flat)
        return float(loss), (seen.T @ (said - labels) / len(seen) + RIDGE * weights).ravel()

    found = optimize.minimize(loss_and_slope, np.zeros(shape).ravel(), jac=True, method="L-BFGS-B")
    logits = features[dataset.splits == SPLITS.index(split)] @ found.x.reshape(shape)
    return Predictions(asked.index, logits.astype(np.float32), asked.targets, dataset.classes)
