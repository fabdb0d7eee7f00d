"""Bootstrap resamples of the faces, and the confidence intervals that they give."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import DataError
from mien.types import Predictions

Floats = NDArray[np.float64]
Weights = NDArray[np.int32]
"""(R, N) how many times each of N faces is drawn in each of R resamples.

The data set itself is the resample that has each face once, so one function computes a metric and its interval.
"""
Statistic = Callable[[Weights], Floats]
"""Weights (R, N) -> the metric of each resample, (R,)."""

LEVEL = 95.0
"""Level of the bootstrap intervals, per cent."""
_CHUNK = 1 << 21
"""Most numbers in an array of one group of resamples, which bounds the memory."""


def interval(values: Floats) -> tuple[float, float]:
    """Computes the percentile interval: the ends of the middle LEVEL per cent of a metric's resampled values."""
    low, high = np.percentile(values, [(100 - LEVEL) / 2, (100 + LEVEL) / 2])
    return float(low), float(high)


def accuracy_interval(predictions: Predictions, resamples: int = 10_000, seed: int = 0) -> tuple[float, float, float]:
    """Computes the accuracy and its percentile bootstrap interval, much faster than `mien.evaluation.metrics.evaluate`.

    The number of correct faces in a resample is binomial, so no face has to be drawn.

    Args:
        predictions: Predictions of at least one face.
        resamples: Number of resamples.
        seed: Seed of the resamples.

    Returns:
        Accuracy, lower end and upper end, fractions.

    Raises:
        DataError: There are no predictions.
    """
    n = count_faces(predictions)
    accuracy = float(predictions.correct.mean())
    resampled = np.random.default_rng(seed).binomial(n, accuracy, resamples) / n
    return accuracy, *interval(resampled)


def draw_resamples(shape: tuple[int, ...], resamples: int, seed: int) -> Iterator[Weights]:
    """Draws faces with replacement, as many as there are, and yields the weights in groups.

    Args:
        shape: (N, K), the shape of the logits.
        resamples: Number of resamples in all groups together.
        seed: Seed of the resamples.
    """
    n = shape[0]
    random = np.random.default_rng(seed)
    group = max(1, _CHUNK // math.prod(shape))  # the ranking behind the micro AUC needs N * K numbers a resample
    for start in range(0, resamples, group):
        count = min(group, resamples - start)
        drawn = random.integers(n, size=(count, n)) + n * np.arange(count)[:, None]
        yield np.bincount(drawn.ravel(), minlength=count * n).reshape(count, n).astype(np.int32)


def count_faces(predictions: Predictions) -> int:
    """Returns the number of faces.

    Raises:
        DataError: There are none.
    """
    n = len(predictions.targets)
    if n == 0:
        raise DataError("an evaluation needs predictions of one face or more, got none")
    return n


def ratio(numerator: NDArray[Any], denominator: NDArray[Any], default: float) -> Floats:
    """Divides element by element, with `default` where the denominator is 0."""
    quotient = np.full(np.shape(numerator), default, np.float64)
    return np.asarray(np.divide(numerator, denominator, out=quotient, where=denominator > 0))
