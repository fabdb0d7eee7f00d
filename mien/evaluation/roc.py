"""ROC curves and the areas under them: each class against the rest, micro and macro."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.errors import DataError
from mien.evaluation.bootstrap import Floats, Statistic, Weights, count_faces, ratio
from mien.types import Predictions


@dataclass(frozen=True)
class Curve:
    """A ROC curve from (0, 0) to (1, 1).

    Attributes:
        fpr: (P,) false positive rates, ascending.
        tpr: (P,) true positive rates, ascending.
        auc: Area under the straight lines between the points.
    """

    fpr: Floats
    tpr: Floats
    auc: float


@dataclass(frozen=True)
class RocCurves:
    """The ROC curves of a set of predictions.

    Attributes:
        classes: Class name -> curve of the class against the rest. Classes without any face and a class that all faces
            belong to have no curve.
        micro: Curve of all N * K (face, class) pairs in one ranking.
        macro: Mean of the class curves at each false positive rate, with straight lines between the points of each
            curve; None if no class has a curve. Its area is the mean of the class areas.
    """

    classes: dict[str, Curve]
    micro: Curve
    macro: Curve | None


def roc_curves(predictions: Predictions) -> RocCurves:
    """Computes the ROC curves; tied scores make one point.

    Raises:
        DataError: There are no predictions, or fewer than two classes.
    """
    count_faces(predictions)
    if len(predictions.classes) < 2:
        raise DataError(f"a ROC curve needs two classes or more, got {', '.join(predictions.classes) or 'none'}")
    scores, positive = predictions.probabilities, one_hot(predictions)
    curves = {}
    for k, name in enumerate(predictions.classes):
        if 0 < positive[:, k].sum() < len(positive):
            curves[name] = _curve(scores[:, k], positive[:, k])
    return RocCurves(curves, _curve(scores.ravel(), positive.ravel()), _mean_curve(list(curves.values())))


def class_aucs(predictions: Predictions) -> list[Statistic]:
    """Prepares the AUC of each class against the rest."""
    scores, positive = predictions.probabilities, one_hot(predictions)
    faces = np.arange(len(positive))
    return [_auc(scores[:, k], positive[:, k], faces) for k in range(len(predictions.classes))]


def micro_auc(predictions: Predictions) -> Statistic:
    """Prepares the AUC of all (face, class) pairs in one ranking."""
    positive = one_hot(predictions)
    faces = np.repeat(np.arange(len(positive)), positive.shape[1])
    return _auc(predictions.probabilities.ravel(), positive.ravel(), faces)


def one_hot(predictions: Predictions) -> NDArray[np.bool_]:
    """(N, K) whether the class is the target of the face."""
    return np.asarray(predictions.targets[:, None] == np.arange(len(predictions.classes)))


def _auc(scores: Floats, positive: NDArray[np.bool_], faces: NDArray[np.int64]) -> Statistic:
    """Prepares the probability that a positive scores above a negative, ties counted half: the area under the curve.

    Args:
        scores: (M,) scores.
        positive: (M,) whether each score is of a positive.
        faces: (M,) the face of each score, whose weight counts.

    Returns:
        Weights -> (R,) areas; nan for a resample without a positive or without a negative.
    """
    ascending = np.flatnonzero(~positive)[np.argsort(scores[~positive], kind="stable")]
    below = np.searchsorted(scores[ascending], scores[positive], side="left")
    below_or_tied = np.searchsorted(scores[ascending], scores[positive], side="right")
    negatives, positives = faces[ascending], faces[positive]

    def compute(weights: Weights) -> Floats:
        cumulative = np.zeros((len(weights), len(negatives) + 1), np.int32)
        np.cumsum(weights[:, negatives], axis=1, out=cumulative[:, 1:])
        weights_of_positives = weights[:, positives].astype(np.float64)
        wins = np.einsum("rp,rp->r", weights_of_positives, cumulative[:, below] + cumulative[:, below_or_tied]) / 2
        return ratio(wins, weights_of_positives.sum(axis=1) * cumulative[:, -1], math.nan)

    return compute


def _curve(scores: Floats, positive: NDArray[np.bool_]) -> Curve:
    descending = np.argsort(-scores, kind="stable")
    last_of_ties = np.append(np.flatnonzero(np.diff(scores[descending])), scores.size - 1)
    true = np.cumsum(positive[descending])[last_of_ties]
    false = 1 + last_of_ties - true
    tpr, fpr = np.append(0, true / true[-1]), np.append(0, false / false[-1])
    return Curve(fpr, tpr, _trapezoid_area(fpr, tpr))


def _mean_curve(curves: list[Curve]) -> Curve | None:
    """Averages curves; keeps both ends of their vertical steps, so that the area is the mean of the areas."""
    if not curves:
        return None
    grid = np.unique(np.concatenate([curve.fpr for curve in curves]))
    # At a step np.interp takes the last of equal points: the upper end, or the lower end of the mirrored curve.
    upper = np.mean([np.interp(grid, curve.fpr, curve.tpr) for curve in curves], axis=0)
    lower = np.mean([np.interp(-grid, -curve.fpr[::-1], curve.tpr[::-1]) for curve in curves], axis=0)
    fpr, tpr = np.repeat(grid, 2), np.stack([lower, upper], axis=1).ravel()
    return Curve(fpr, tpr, _trapezoid_area(fpr, tpr))


def _trapezoid_area(x: Floats, y: Floats) -> float:
    return float((np.diff(x) * (y[1:] + y[:-1])).sum() / 2)
