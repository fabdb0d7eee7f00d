"""Comparison of networks on the same faces: paired differences of accuracy and of the recall of each class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.markup import escape
from rich.table import Table

from mien.evaluation.bootstrap import interval
from mien.evaluation.metrics import Metrics, evaluate
from mien.predictions import check_same_faces, short_names
from mien.types import Predictions

RESAMPLES = 10_000
LEAST_P = 0.001
"""Smaller p-values are printed as "< 0.001": so few resamples cannot give their digits."""


@dataclass(frozen=True)
class Difference:
    """The difference in accuracy between networks A and B on the same faces.

    Attributes:
        accuracy: Mean accuracy of B's runs minus that of A's runs, a fraction.
        low: Lower end of its paired 95 % bootstrap interval over the faces, and over the trainings if a network has
            several.
        high: Upper end.
        p: Two-sided p-value: twice the fraction of the resamples on the other side of 0, at least 1 / RESAMPLES.
    """

    accuracy: float
    low: float
    high: float
    p: float

    @property
    def p_text(self) -> str:
        """The p-value with its sign, such as "= 0.02" or "< 0.001"."""
        return f"= {self.p:.2g}" if self.p >= LEAST_P else f"< {LEAST_P:g}"


@dataclass(frozen=True)
class ComparedNetwork:
    """A network of a comparison, relative to the first one.

    Attributes:
        name: Name of the network.
        metrics: Its metrics.
        difference: Difference from the first network; None for the first network.
        recall_gains: Class name -> its recall minus that of the first network, fractions.
    """

    name: str
    metrics: Metrics
    difference: Difference | None
    recall_gains: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """The comparison for JSON."""
        return {
            "name": self.name,
            "metrics": self.metrics.to_dict(),
            "difference": self.difference and vars(self.difference),
            "recall_gains": self.recall_gains,
        }


def difference(a: Sequence[Predictions], b: Sequence[Predictions], seed: int = 0) -> Difference:
    """Compares two networks, each given as the predictions of one or more trainings, on the same faces.

    Each face counts with the fraction of trainings that classify it correctly, and a resample draws the same faces for
    both networks (percentile bootstrap, Efron and Tibshirani, 1993, section 13.3). That covers trainings that disagree
    on single faces. How much some trainings are better than others on all faces is estimated separately as a variance
    component (two-way layout without replication, Searle, Casella and McCulloch, 1992, chapter 4) and added as normal
    noise. With two or three trainings that estimate is rough. With one training of each network the interval does not
    cover what another training would change.

    Args:
        a: Predictions of network A, one for each training.
        b: Predictions of network B.
        seed: Seed of the resamples.

    Raises:
        DataError: The faces or their order differ.
    """
    check_same_faces([*a, *b])
    random = np.random.default_rng(seed)
    correct_a, correct_b = _correct(a), _correct(b)
    resampled = _resampled_mean(correct_b.mean(axis=0) - correct_a.mean(axis=0), random)
    deviation = np.sqrt(_variance_of_trainings(correct_a) + _variance_of_trainings(correct_b))
    resampled += random.normal(0, deviation, RESAMPLES)
    low, high = interval(resampled)
    p = min(1.0, max(2 * float(min((resampled <= 0).mean(), (resampled >= 0).mean())), 1 / RESAMPLES))
    return Difference(float(correct_b.mean() - correct_a.mean()), low, high, p)


def _variance_of_trainings(correct: NDArray[np.float64]) -> float:
    """(runs, N) -> variance of the mean accuracy that comes from some runs being better on all faces; 0 for one run."""
    runs, faces = correct.shape
    if runs == 1:
        return 0.0
    # The variance that the runs' accuracies would have if they only disagreed on single faces.
    by_disagreement = correct.var(axis=0, ddof=1).mean() / faces
    return float(max(0.0, correct.mean(axis=1).var(ddof=1) - by_disagreement) / runs)


def _resampled_mean(gain: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    """(N,) gain on each face -> (RESAMPLES,) mean gains over faces drawn with replacement."""
    # A resample is fully described by how often it draws each distinct gain, so no face is drawn.
    values, counts = np.unique(gain.round(9), return_counts=True)
    return np.asarray(random.multinomial(len(gain), counts / len(gain), RESAMPLES) @ values / len(gain))


def compare(networks: Mapping[str, Predictions]) -> list[ComparedNetwork]:
    """Compares each network with the first one.

    Args:
        networks: Name -> predictions of the same faces.

    Raises:
        DataError: The faces or their order differ.
    """
    first, *_ = networks.values()
    return [
        ComparedNetwork(
            name,
            evaluate(predictions),
            None if predictions is first else difference([first], [predictions]),
            recall_gains(first, predictions),
        )
        for name, predictions in networks.items()
    ]


def table(compared: Sequence[ComparedNetwork]) -> Table:
    """Makes the table for the terminal: two lines per network, with the 95 % intervals below the values."""
    page = _page("accuracy", "macro F1", "difference", "p", leading=1)
    for name, each in zip(short_names([each.name for each in compared]), compared, strict=True):
        low, high = each.metrics.intervals["accuracy"]
        accuracy = f"{each.metrics['accuracy']:.2%}\n{100 * low:.2f} to {100 * high:.2f}"
        cells = ["", ""]
        if gain := each.difference:
            ends = f"{100 * gain.low:+.2f} to {100 * gain.high:+.2f}"
            cells = [f"{gain.accuracy:+.2%}\n{ends}", gain.p_text.removeprefix("= ")]
        page.add_row(escape(name), accuracy, f"{each.metrics['macro_f1']:.2%}", *cells)
    return page


def recall_table(compared: Sequence[ComparedNetwork]) -> Table:
    """Makes the table of recalls for the terminal: the first network's in per cent, and the others' differences."""
    classes = list(compared[0].recall_gains)
    page = _page(*classes)
    for name, each in zip(short_names([each.name for each in compared]), compared, strict=True):
        cells = [
            f"{100 * each.recall_gains[class_name]:+.1f}"
            if each.difference
            else f"{100 * each.metrics.classes[class_name].recall:.1f}"
            for class_name in classes
        ]
        page.add_row(escape(name), *cells)
    return page


def _page(*columns: str, leading: int = 0) -> Table:
    """Makes an empty table of networks that wraps their names and keeps the numbers on one line."""
    page = Table("network", *columns, box=box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0), leading=leading)
    page.columns[0].overflow = "fold"
    for column in page.columns[1:]:
        column.justify = "right"
        column.no_wrap = True
    return page


def recall_gains(a: Predictions, b: Predictions) -> dict[str, float]:
    """Computes the recall of B minus that of A for each class that has faces: class name -> fraction.

    Raises:
        DataError: The faces or their order differ.
    """
    check_same_faces([a, b])
    (gain,) = _correct([b]) - _correct([a])
    gains_by_class = {name: gain[a.targets == k] for k, name in enumerate(a.classes)}
    return {name: float(gains.mean()) for name, gains in gains_by_class.items() if gains.size}


def _correct(runs: Sequence[Predictions]) -> NDArray[np.float64]:
    """(runs, N) 1 where a run classifies a face correctly, else 0."""
    return np.array([run.correct for run in runs], np.float64)
