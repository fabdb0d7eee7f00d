"""Reliability of the confidence: accuracy by confidence bin, and the expected calibration error (ECE)."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.evaluation.bootstrap import Floats, Statistic, count_faces, ratio
from mien.types import Predictions

BINS = 15
"""Bins of the expected calibration error, as in Guo et al., ICML 2017."""


@dataclass(frozen=True)
class Reliability:
    """Accuracy against confidence (Guo et al., ICML 2017, Fig. 1).

    Attributes:
        edges: (B + 1,) edges of the bins; bin b holds the confidences in (edges[b], edges[b + 1]].
        counts: (B,) faces in each bin.
        confidence: (B,) mean confidence of each bin; nan in an empty bin.
        accuracy: (B,) accuracy of each bin; nan in an empty bin.
        ece: Expected calibration error, a fraction.
    """

    edges: Floats
    counts: NDArray[np.int64]
    confidence: Floats
    accuracy: Floats
    ece: float


def reliability(predictions: Predictions, bins: int = BINS) -> Reliability:
    """Sorts the faces into equal-width bins of their confidence, the probability of the predicted class.

    The ECE is `sum_b |B_b| / n * |acc(B_b) - conf(B_b)|` (Guo et al., ICML 2017, Eq. 3).

    Raises:
        DataError: There are no predictions.
    """
    n = count_faces(predictions)
    confidence, correct, bin_ids = _confidences(predictions, bins)
    counts = np.bincount(bin_ids, minlength=bins)
    sum_correct = np.bincount(bin_ids, correct, minlength=bins)
    sum_confidence = np.bincount(bin_ids, confidence, minlength=bins)
    return Reliability(
        edges=_edges(bins),
        counts=counts.astype(np.int64),
        confidence=ratio(sum_confidence, counts, math.nan),
        accuracy=ratio(sum_correct, counts, math.nan),
        ece=float(np.abs(sum_correct - sum_confidence).sum() / n),
    )


def ece(predictions: Predictions) -> Statistic:
    """Prepares the expected calibration error with BINS bins.

    The ECE of a resample is higher than that of the sample on average, because noise within a bin can only add to it.
    So the interval leans upwards.
    """
    confidence, correct, bin_ids = _confidences(predictions, BINS)
    gaps = (correct - confidence)[:, None] * (bin_ids[:, None] == np.arange(BINS))
    return lambda weights: np.abs(weights @ gaps).sum(axis=1) / weights.sum(axis=1)


def _confidences(predictions: Predictions, bins: int) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """(N,) confidences, (N,) 1 for correct and 0 for wrong, (N,) bin ids."""
    confidence = predictions.probabilities.max(axis=1)
    bin_ids = np.searchsorted(_edges(bins)[1:-1], confidence, side="left").astype(np.int64)
    return confidence, predictions.correct.astype(np.float64), bin_ids


def _edges(bins: int) -> Floats:
    return np.arange(bins + 1) / bins
