"""Every metric of predictions, with bootstrap intervals.

A metric is one row of METRICS; `metrics.json`, the table in the terminal and the metadata of a released model follow
from it. The definitions are scikit-learn's, and the tests compare with it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mien.deprecation import moved_names, warn_deprecated
from mien.errors import ConfigError
from mien.evaluation.bootstrap import Floats, Statistic, Weights, count_faces, draw_resamples, interval, ratio
from mien.evaluation.reliability import ece
from mien.evaluation.roc import class_aucs, micro_auc, one_hot
from mien.types import Predictions


@dataclass(frozen=True)
class ClassMetrics:
    """Metrics of one class against the rest, fractions.

    Attributes:
        precision: Fraction of the faces predicted as this class that belong to it; 0 if no face is predicted as it.
        recall: Fraction of the faces of this class that are predicted as it; 0 if there are none.
        f1: Harmonic mean of precision and recall; 0 if both are 0.
        auc: Area under the ROC curve; nan if no face or every face belongs to this class.
        support: Number of faces of this class.
    """

    precision: float
    recall: float
    f1: float
    auc: float
    support: int


@dataclass(frozen=True)
class Metrics:
    """All metrics of a set of predictions. `metrics["accuracy"]` is the value of one of METRICS.

    Attributes:
        n: Number of faces.
        values: Name in METRICS -> value; nan if it is undefined, such as the AUC of a single class.
        intervals: Name in METRICS -> lower and upper end of the bootstrap interval; empty without resamples.
        classes: Class name -> metrics of the class, in the order of the class ids.
        confusion: (K, K) faces, row by target, column by prediction.
        resamples: Number of bootstrap resamples.
    """

    n: int
    values: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    classes: dict[str, ClassMetrics]
    confusion: NDArray[np.int64]
    resamples: int

    def __getitem__(self, name: str) -> float:
        return self.values[name]

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> float:
            """Deprecated: use `metrics["accuracy"]`, not `metrics.accuracy`."""
            values = self.__dict__.get("values", {})
            if name not in values:
                raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
            warn_deprecated(f"Metrics.{name}", f'Metrics["{name}"]')
            return values[name]

    def to_dict(self) -> dict[str, Any]:
        """The metrics for JSON: lists in place of arrays and pairs, None in place of nan."""
        return {
            "n": self.n,
            **{name: none_if_nan(value) for name, value in self.values.items()},
            "intervals": {name: [none_if_nan(end) for end in ends] for name, ends in self.intervals.items()},
            "classes": {
                name: {key: none_if_nan(value) for key, value in vars(of_class).items()}
                for name, of_class in self.classes.items()
            },
            "confusion": self.confusion.tolist(),
            "resamples": self.resamples,
        }


def evaluate(predictions: Predictions, resamples: int = 1000, seed: int = 0) -> Metrics:
    """Computes all metrics and their percentile bootstrap intervals (Efron and Tibshirani, 1993, section 13.3).

    Faces are drawn with replacement, as many as there are, and an interval spans the middle 95 per cent of the
    metric's values. It describes how much other faces would change the metric, not how much another training would.

    Args:
        predictions: Predictions of at least one face.
        resamples: Number of resamples; 0 computes no intervals.
        seed: Seed of the resamples.

    Raises:
        DataError: There are no predictions.
        ConfigError: resamples is below 0.
    """
    if resamples < 0:
        raise ConfigError(f"resamples must be 0 or more, got {resamples}")
    n = count_faces(predictions)
    once = np.ones((1, n), np.int32)
    statistics = {name: prepare(predictions) for name, prepare in METRICS.items()}
    precision, recall, f1, _ = (values[0] for values in _counts(predictions)(once))
    aucs = [float(auc(once)[0]) for auc in class_aucs(predictions)]
    confusion = confusion_matrix(predictions)
    return Metrics(
        n=n,
        values={name: float(statistic(once)[0]) for name, statistic in statistics.items()},
        intervals=_intervals(statistics, predictions.logits.shape, resamples, seed),
        classes={
            name: ClassMetrics(float(precision[k]), float(recall[k]), float(f1[k]), aucs[k], int(confusion[k].sum()))
            for k, name in enumerate(predictions.classes)
        },
        confusion=confusion,
        resamples=resamples,
    )


def confusion_matrix(predictions: Predictions) -> NDArray[np.int64]:
    """(K, K) faces, row by target, column by prediction."""
    k = len(predictions.classes)
    cells = predictions.targets * k + predictions.logits.argmax(axis=1)
    return np.bincount(cells, minlength=k * k).reshape(k, k).astype(np.int64)


def none_if_nan(value: float) -> float | None:
    """The value for JSON and CSV, which have no nan."""
    return None if math.isnan(value) else value


def _accuracy(predictions: Predictions) -> Statistic:
    """Fraction of the faces whose highest logit is that of their target; the first class wins a tie."""
    correct = predictions.correct.astype(np.float64)
    return lambda weights: weights @ correct / weights.sum(axis=1)


def _macro(which: int) -> Callable[[Predictions], Statistic]:
    """Mean of a class metric over the classes that are targets or predictions, scikit-learn's default.

    Args:
        which: 0 for precision, 1 for recall, 2 for F1.
    """

    def prepare(predictions: Predictions) -> Statistic:
        counts = _counts(predictions)

        def compute(weights: Weights) -> Floats:
            *metrics, present = counts(weights)
            return _mean(metrics[which], present)

        return compute

    return prepare


def _macro_auc(predictions: Predictions) -> Statistic:
    """Mean over the classes that have an AUC."""
    aucs = class_aucs(predictions)

    def compute(weights: Weights) -> Floats:
        values = np.stack([auc(weights) for auc in aucs], axis=1)
        return _mean(values, ~np.isnan(values))

    return compute


def _nll(predictions: Predictions) -> Statistic:
    """Mean negative log-likelihood of the targets, nats; finite even where a probability underflows to 0."""
    logits = predictions.logits.astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)
    of_target = logits[np.arange(len(logits)), predictions.targets]
    losses = np.log(np.exp(logits).sum(axis=1)) - of_target
    return lambda weights: weights @ losses / weights.sum(axis=1)


METRICS: dict[str, Callable[[Predictions], Statistic]] = {
    "accuracy": _accuracy,
    "macro_precision": _macro(0),
    "macro_recall": _macro(1),
    "macro_f1": _macro(2),
    "macro_auc": _macro_auc,
    "micro_auc": micro_auc,
    "ece": ece,
    "nll": _nll,
}
"""Name -> function that prepares the metric: predictions -> (weights -> values). To add a metric, add a row."""


__getattr__ = moved_names(
    __name__,
    {
        "HEADLINES": "mien.evaluation.metrics.METRICS",
        "LEVEL": "mien.evaluation.bootstrap.LEVEL",
        "accuracy_interval": "mien.evaluation.bootstrap.accuracy_interval",
        "BINS": "mien.evaluation.reliability.BINS",
        "Reliability": "mien.evaluation.reliability.Reliability",
        "reliability": "mien.evaluation.reliability.reliability",
        "Curve": "mien.evaluation.roc.Curve",
        "RocCurves": "mien.evaluation.roc.RocCurves",
        "roc_curves": "mien.evaluation.roc.roc_curves",
    },
)


def _counts(predictions: Predictions) -> Callable[[Weights], tuple[Floats, Floats, Floats, NDArray[np.bool_]]]:
    """Weights -> precision, recall and F1 (R, K), and (R, K) whether the class is a target or a prediction."""
    is_target = one_hot(predictions).astype(np.float64)
    is_predicted = np.eye(len(predictions.classes))[predictions.logits.argmax(axis=1)]

    def compute(weights: Weights) -> tuple[Floats, Floats, Floats, NDArray[np.bool_]]:
        hits, targets, predicted = weights @ (is_target * is_predicted), weights @ is_target, weights @ is_predicted
        both = targets + predicted
        return ratio(hits, predicted, 0), ratio(hits, targets, 0), ratio(2 * hits, both, 0), both > 0

    return compute


def _intervals(
    statistics: dict[str, Statistic], shape: tuple[int, ...], resamples: int, seed: int
) -> dict[str, tuple[float, float]]:
    if resamples == 0:
        return {}
    groups = [
        {name: statistic(weights) for name, statistic in statistics.items()}
        for weights in draw_resamples(shape, resamples, seed)
    ]
    intervals = {}
    for name in statistics:
        values = np.concatenate([group[name] for group in groups])
        values = values[~np.isnan(values)]  # a resample with faces of one class only has no AUC
        intervals[name] = interval(values) if values.size else (math.nan, math.nan)
    return intervals


def _mean(values: Floats, included: NDArray[np.bool_]) -> Floats:
    """(R, K) -> (R,) mean over the included classes; nan if there are none."""
    return ratio(np.where(included, values, 0).sum(axis=1), included.sum(axis=1), math.nan)
