"""Every number that is said of predictions: counts, ranks, calibration, and how sure each number is. Numpy only.

The definitions are scikit-learn's, which the tests hold them to; the base install has no scikit-learn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import ConfigError, DataError
from mien.types import Predictions

Floats = NDArray[np.float64]

BINS = 15
"""Bins of the expected calibration error, as in Guo et al., ICML 2017."""
LEVEL = 95.0
"""Level of the bootstrap intervals, per cent."""
HEADLINES = ("accuracy", "macro_precision", "macro_recall", "macro_f1", "macro_auc", "micro_auc", "ece", "nll")
"""The metrics that are one number a data set, and have an interval."""

_CHUNK = 1 << 21
"""Numbers in the largest array of a group of resamples, so that memory does not grow with them."""


@dataclass(frozen=True)
class ClassMetrics:
    """One class against the rest, fractions.

    Attributes:
        precision: Share of the faces said to be this class that are; 0 where none was said to be.
        recall: Share of the faces of this class that were said to be; 0 where there is none.
        f1: Harmonic mean of the two; 0 where both are 0.
        auc: Area under the ROC curve; nan where the class is absent or the only one in the targets.
        support: Faces of this class.
    """

    precision: float
    recall: float
    f1: float
    auc: float
    support: int


@dataclass(frozen=True)
class Metrics:
    """What predictions are worth.

    Attributes:
        n: Faces.
        accuracy: Share of faces whose highest logit is their target's; the first class wins a tie.
        macro_precision: Mean over the classes that are in the targets or were said, as in scikit-learn's plain call.
        macro_recall: Likewise.
        macro_f1: Likewise.
        macro_auc: Mean over the classes that have an AUC; nan where none has.
        micro_auc: AUC of all N * K (face, class) pairs in one ranking.
        ece: Expected calibration error, BINS bins.
        nll: Mean negative log-likelihood of the targets, nats.
        intervals: Name in HEADLINES -> low and high end of its bootstrap interval; empty without resamples.
        classes: Class name -> its own metrics, in the order of the class ids.
        confusion: (K, K) faces, row by target, column by what was said.
        resamples: Of the bootstrap.
    """

    n: int
    accuracy: float
    macro_precision: float
    macro_recall: float
    macro_f1: float
    macro_auc: float
    micro_auc: float
    ece: float
    nll: float
    intervals: dict[str, tuple[float, float]]
    classes: dict[str, ClassMetrics]
    confusion: NDArray[np.int64]
    resamples: int

    def to_dict(self) -> dict[str, Any]:
        """The same for JSON: lists for arrays and pairs, None for nan."""
        return {
            "n": self.n,
            **{name: _json(getattr(self, name)) for name in HEADLINES},
            "intervals": {name: [_json(low), _json(high)] for name, (low, high) in self.intervals.items()},
            "classes": {
                name: {key: _json(value) for key, value in vars(of_class).items()}
                for name, of_class in self.classes.items()
            },
            "confusion": self.confusion.tolist(),
            "resamples": self.resamples,
        }


@dataclass(frozen=True)
class Curve:
    """A ROC curve from (0, 0) to (1, 1).

    Attributes:
        fpr: (P,) false positive rates, rising.
        tpr: (P,) true positive rates, rising.
        auc: Area under the straight lines between the points.
    """

    fpr: Floats
    tpr: Floats
    auc: float


@dataclass(frozen=True)
class RocCurves:
    """The ROC curves of one set of predictions.

    Attributes:
        classes: Class name -> one against the rest; without the classes that are absent or alone in the targets.
        micro: Of all N * K (face, class) pairs in one ranking.
        macro: At each false positive rate the mean of the classes' true positive rates, which lie on straight lines
            between their curves' points; None where no class has a curve. Its area is the mean of theirs.
    """

    classes: dict[str, Curve]
    micro: Curve
    macro: Curve | None


@dataclass(frozen=True)
class Reliability:
    """How often a network is right when it is so sure (Guo et al., ICML 2017, Fig. 1).

    Attributes:
        edges: (B + 1,) of the bins; bin b holds the confidences above edges[b], up to and with edges[b + 1].
        counts: (B,) faces.
        confidence: (B,) mean probability of the class that was said; nan in an empty bin.
        accuracy: (B,) share that was right; nan in an empty bin.
        ece: Expected calibration error.
    """

    edges: Floats
    counts: NDArray[np.int64]
    confidence: Floats
    accuracy: Floats
    ece: float


def evaluate(predictions: Predictions, resamples: int = 1000, seed: int = 0) -> Metrics:
    """Computes all metrics.

    Intervals are percentile bootstrap ones (Efron and Tibshirani, 1993, section 13.3): faces are drawn again with
    replacement, as many as there are, and the middle LEVEL per cent of the metric's values is the interval. They tell
    what other faces would change, not what another training would. A resample's ECE is above the sample's on average,
    because noise in a bin only ever adds to it, so its interval leans upwards.

    Args:
        predictions: Of at least one face.
        resamples: 0 gives no intervals.
        seed: Of the resamples.

    Raises:
        DataError: There are no predictions.
        ConfigError: resamples is below 0.
    """
    if resamples < 0:
        raise ConfigError(f"resamples must be 0 or more, got {resamples}")
    n = _count(predictions)
    counted, headline = _counted(predictions), _headlines(predictions)
    ones = np.ones((1, n), np.int32)
    values = {name: float(value[0]) for name, value in headline(ones).items()}
    precision, recall, f1, _ = (part[0] for part in counted(ones))
    auc = np.array([area(ones)[0] for area in _class_areas(predictions)])
    confusion = confusion_matrix(predictions)
    return Metrics(
        n=n,
        **values,
        intervals=_intervals(headline, predictions.logits.shape, resamples, seed),
        classes={
            name: ClassMetrics(
                float(precision[k]), float(recall[k]), float(f1[k]), float(auc[k]), int(confusion[k].sum())
            )
            for k, name in enumerate(predictions.classes)
        },
        confusion=confusion,
        resamples=resamples,
    )


def accuracy_interval(predictions: Predictions, resamples: int = 10_000, seed: int = 0) -> tuple[float, float, float]:
    """The accuracy alone with both ends of its percentile bootstrap interval, a thousand times faster than `evaluate`.

    Drawn again with replacement, the number of right faces is binomial.

    Args:
        predictions: Of at least one face.
        resamples: How many times they are drawn.
        seed: Of the resamples.

    Returns:
        Accuracy, lower and upper end, fractions.

    Raises:
        DataError: There are no predictions.
    """
    n = _count(predictions)
    accuracy = float(predictions.right.mean())
    drawn = np.random.default_rng(seed).binomial(n, accuracy, resamples) / n
    return accuracy, *interval(drawn)


def interval(drawn: Floats) -> tuple[float, float]:
    """The ends of the middle LEVEL per cent of a metric's resampled values."""
    low, high = np.percentile(drawn, [(100 - LEVEL) / 2, (100 + LEVEL) / 2])
    return float(low), float(high)


def confusion_matrix(predictions: Predictions) -> NDArray[np.int64]:
    """(K, K) faces, row by target, column by what was said."""
    k = len(predictions.classes)
    cells = predictions.targets * k + predictions.logits.argmax(axis=1)
    return np.bincount(cells, minlength=k * k).reshape(k, k).astype(np.int64)


def roc_curves(predictions: Predictions) -> RocCurves:
    """ROC curves one against the rest, micro and macro; tied scores are one point.

    Raises:
        DataError: There are no predictions, or just one class to tell apart.
    """
    _count(predictions)
    if len(predictions.classes) < 2:
        raise DataError(f"a ROC curve needs two classes or more, got {', '.join(predictions.classes) or 'none'}")
    scores, hits = predictions.probabilities, _hits(predictions)
    curves = {}
    for k, name in enumerate(predictions.classes):
        if 0 < hits[:, k].sum() < len(hits):
            curves[name] = _curve(scores[:, k], hits[:, k])
    return RocCurves(curves, _curve(scores.ravel(), hits.ravel()), _mean_curve(list(curves.values())))


def reliability(predictions: Predictions, bins: int = BINS) -> Reliability:
    """Sorts faces into equal-width bins of the top probability: ((b - 1) / bins, b / bins], as Guo et al. do.

    The ECE is `sum_b |B_b| / n * |acc(B_b) - conf(B_b)|` (Guo et al., ICML 2017, Eq. 3), as a fraction.

    Raises:
        DataError: There are no predictions.
    """
    n = _count(predictions)
    confidence, correct, which = _confidences(predictions, bins)
    counts = np.bincount(which, minlength=bins)
    right = np.bincount(which, correct, minlength=bins)
    sure = np.bincount(which, confidence, minlength=bins)
    return Reliability(
        edges=_edges(bins),
        counts=counts.astype(np.int64),
        confidence=_ratio(sure, counts, math.nan),
        accuracy=_ratio(right, counts, math.nan),
        ece=float(np.abs(right - sure).sum() / n),
    )


# All that follows works on weights (R, N): how many times each face is in each of R resamples. The data set itself is
# the resample that has each face once, so that a metric and its interval come from the same lines.

Statistic = Callable[[NDArray[np.int32]], Floats]
"""(R, N) weights -> (R,) values."""


def _headlines(predictions: Predictions) -> Callable[[NDArray[np.int32]], dict[str, Floats]]:
    """Prepares all that does not depend on the weights."""
    counted, areas = _counted(predictions), _class_areas(predictions)
    rows = np.arange(predictions.targets.size * len(predictions.classes)) // len(predictions.classes)
    micro = _area(predictions.probabilities.ravel(), _hits(predictions).ravel(), rows)
    confidence, correct, which = _confidences(predictions, BINS)
    gaps = (correct - confidence)[:, None] * (which[:, None] == np.arange(BINS))
    surprise = _surprise(predictions)

    def compute(weights: NDArray[np.int32]) -> dict[str, Floats]:
        real = weights.astype(np.float64)
        n = real.sum(axis=1)
        precision, recall, f1, present = counted(weights)
        aucs = np.stack([area(weights) for area in areas], axis=1)
        return {
            "accuracy": real @ correct / n,
            "macro_precision": _mean(precision, present),
            "macro_recall": _mean(recall, present),
            "macro_f1": _mean(f1, present),
            "macro_auc": _mean(aucs, ~np.isnan(aucs)),
            "micro_auc": micro(weights),
            "ece": np.abs(real @ gaps).sum(axis=1) / n,
            "nll": real @ surprise / n,
        }

    return compute


def _counted(
    predictions: Predictions,
) -> Callable[[NDArray[np.int32]], tuple[Floats, Floats, Floats, NDArray[np.bool_]]]:
    """Weights -> precision, recall and F1 (R, K), and (R, K) whether the class is in the targets or was said."""
    ids = np.arange(len(predictions.classes))
    truth = (predictions.targets[:, None] == ids).astype(np.float64)
    said = (predictions.logits.argmax(axis=1)[:, None] == ids).astype(np.float64)

    def compute(weights: NDArray[np.int32]) -> tuple[Floats, Floats, Floats, NDArray[np.bool_]]:
        real = weights.astype(np.float64)
        hit, support, claims = real @ (truth * said), real @ truth, real @ said
        both = support + claims
        return _ratio(hit, claims, 0), _ratio(hit, support, 0), _ratio(2 * hit, both, 0), both > 0

    return compute


def _class_areas(predictions: Predictions) -> list[Statistic]:
    """The AUC of each class, one against the rest."""
    scores, hits = predictions.probabilities, _hits(predictions)
    rows = np.arange(len(hits))
    return [_area(scores[:, k], hits[:, k], rows) for k in range(len(predictions.classes))]


def _area(scores: Floats, hits: NDArray[np.bool_], rows: NDArray[np.int64]) -> Statistic:
    """The chance that a positive scores above a negative, a tie counting half: the area under the ROC curve.

    Args:
        scores: (M,).
        hits: (M,) which are positive.
        rows: (M,) the face of each, whose weight it has.

    Returns:
        Weights -> (R,) areas; nan for a resample without a positive or without a negative.
    """
    order = np.flatnonzero(~hits)[np.argsort(scores[~hits], kind="stable")]
    below = np.searchsorted(scores[order], scores[hits], side="left")
    through = np.searchsorted(scores[order], scores[hits], side="right")
    negatives, positives = rows[order], rows[hits]

    def compute(weights: NDArray[np.int32]) -> Floats:
        passed = np.zeros((len(weights), len(negatives) + 1), np.int32)
        np.cumsum(weights[:, negatives], axis=1, out=passed[:, 1:])
        mine = weights[:, positives].astype(np.float64)
        wins = np.einsum("rp,rp->r", mine, passed[:, below] + passed[:, through]) / 2
        return _ratio(wins, mine.sum(axis=1) * passed[:, -1], math.nan)

    return compute


def _intervals(
    compute: Callable[[NDArray[np.int32]], dict[str, Floats]], shape: tuple[int, ...], resamples: int, seed: int
) -> dict[str, tuple[float, float]]:
    if resamples == 0:
        return {}
    groups = [compute(weights) for weights in _resampled(shape, resamples, seed)]
    intervals = {}
    for name in HEADLINES:
        values = np.concatenate([group[name] for group in groups])
        values = values[~np.isnan(values)]  # a resample may lack all classes but one, and then has no AUC
        intervals[name] = interval(values) if values.size else (math.nan, math.nan)
    return intervals


def _resampled(shape: tuple[int, ...], resamples: int, seed: int) -> Iterator[NDArray[np.int32]]:
    """Yields (R, N) weights in groups, together `resamples` rows, for logits of the shape (N, K)."""
    n = shape[0]
    random = np.random.default_rng(seed)
    group = max(1, _CHUNK // math.prod(shape))  # the micro ranking is the largest
    for start in range(0, resamples, group):
        count = min(group, resamples - start)
        drawn = random.integers(n, size=(count, n)) + n * np.arange(count)[:, None]
        yield np.bincount(drawn.ravel(), minlength=count * n).reshape(count, n).astype(np.int32)


def _curve(scores: Floats, hits: NDArray[np.bool_]) -> Curve:
    order = np.argsort(-scores, kind="stable")
    last = np.append(np.flatnonzero(np.diff(scores[order])), scores.size - 1)  # of each run of ties
    true = np.cumsum(hits[order])[last]
    false = 1 + last - true
    tpr, fpr = np.append(0, true / true[-1]), np.append(0, false / false[-1])
    return Curve(fpr, tpr, _trapezoids(fpr, tpr))


def _mean_curve(curves: list[Curve]) -> Curve | None:
    """Both ends of the classes' vertical steps are kept, without which the mean's area would be above their mean."""
    if not curves:
        return None
    grid = np.unique(np.concatenate([curve.fpr for curve in curves]))
    # At a step np.interp takes the last of the equal points: the upper end, and the lower one when all is mirrored.
    upper = np.mean([np.interp(grid, curve.fpr, curve.tpr) for curve in curves], axis=0)
    lower = np.mean([np.interp(-grid, -curve.fpr[::-1], curve.tpr[::-1]) for curve in curves], axis=0)
    fpr, tpr = np.repeat(grid, 2), np.stack([lower, upper], axis=1).ravel()
    return Curve(fpr, tpr, _trapezoids(fpr, tpr))


def _trapezoids(x: Floats, y: Floats) -> float:
    return float((np.diff(x) * (y[1:] + y[:-1])).sum() / 2)


def _confidences(predictions: Predictions, bins: int) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """(N,) top probabilities, (N,) 1 where right and 0 where wrong, (N,) bins."""
    confidence = predictions.probabilities.max(axis=1)
    which = np.searchsorted(_edges(bins)[1:-1], confidence, side="left").astype(np.int64)
    return confidence, predictions.right.astype(np.float64), which


def _edges(bins: int) -> Floats:
    return np.arange(bins + 1) / bins


def _surprise(predictions: Predictions) -> Floats:
    """(N,) -log p of the targets, from the logits: a probability may be too small for a logarithm."""
    logits = predictions.logits.astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    own = logits[np.arange(len(logits)), predictions.targets]
    return np.asarray(np.log(np.exp(logits).sum(axis=1)) - own)


def _hits(predictions: Predictions) -> NDArray[np.bool_]:
    """(N, K) whether the class is the face's target."""
    return np.asarray(predictions.targets[:, None] == np.arange(len(predictions.classes)))


def _mean(values: Floats, chosen: NDArray[np.bool_]) -> Floats:
    """(R, K) -> (R,) mean over the chosen classes; nan where none is."""
    return _ratio(np.where(chosen, values, 0).sum(axis=1), chosen.sum(axis=1), math.nan)


def _ratio(above: NDArray[Any], below: NDArray[Any], otherwise: float) -> Floats:
    """The quotient, and `otherwise` where below is 0."""
    filled = np.full(np.shape(above), otherwise, np.float64)
    return np.asarray(np.divide(above, below, out=filled, where=below > 0))


def _count(predictions: Predictions) -> int:
    n = len(predictions.targets)
    if n == 0:
        raise DataError("there are no predictions to evaluate, expected those of one face or more")
    return n


def _json(value: float) -> float | None:
    return None if math.isnan(value) else value
