"""FER+ votes as a teacher: a regression that predicts FER2013's labels from the votes."""

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
"""Weight of half the squared coefficients in the loss; keeps the coefficients of classes with few faces finite."""


def predict_from_votes(dataset: FaceDataset, file: Path, split: str) -> Predictions:
    """Predicts FER2013's labels of a split from FER+'s votes.

    FER2013 and FER+ name expressions differently: only 64 % of the faces have the label with the most votes. Therefore
    a multinomial logistic regression is fitted to the labels of the training split. Its features are the votes,
    including contempt, unknown and no face, and their logarithms.

    Args:
        dataset: FER2013 in its original order.
        file: FER+'s `fer2013new.csv`.
        split: The split to predict.

    Raises:
        DataError: The file is not FER+, its rows do not match the data, or the data lacks a split.
        MissingExtraError: SciPy is not installed.
    """
    optimize = require("scipy.optimize", "train")
    votes = ferplus.read_votes(dataset, file).astype(np.float64)
    fitted, predicted = dataset.split("training"), dataset.split(split)
    training = dataset.splits == SPLITS.index("training")
    features = np.concatenate([votes, np.log1p(votes)], axis=1)
    scale = np.maximum(features[training].std(axis=0), 1e-6)
    features = np.column_stack([np.ones(len(votes)), (features - features[training].mean(axis=0)) / scale])
    inputs, labels = features[training], np.eye(len(dataset.classes))[fitted.targets]
    shape = (features.shape[1], len(dataset.classes))

    def loss_and_gradient(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        coefficients = flat.reshape(shape)
        probabilities = softmax(inputs @ coefficients)
        loss = -np.log((probabilities * labels).sum(axis=1)).mean() + RIDGE / 2 * (flat @ flat)
        gradient = inputs.T @ (probabilities - labels) / len(inputs) + RIDGE * coefficients
        return float(loss), gradient.ravel()

    result = optimize.minimize(loss_and_gradient, np.zeros(shape).ravel(), jac=True, method="L-BFGS-B")
    logits = features[dataset.splits == SPLITS.index(split)] @ result.x.reshape(shape)
    return Predictions(predicted.index, logits.astype(np.float32), predicted.targets, dataset.classes)
