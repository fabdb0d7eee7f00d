"""Whether one network is better than another: the same faces, seen by both."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.markup import escape
from rich.table import Table

from mien.evaluation.metrics import Metrics, evaluate, interval
from mien.predictions import check_same_faces, short_names
from mien.types import Predictions

RESAMPLES = 10_000
LEAST_P = 0.001
"""Below this p is said to be below it: the digits that resamples can give it mean nothing."""


@dataclass(frozen=True)
class Difference:
    """How much more accurate B is than A on the same faces.

    Attributes:
        accuracy: Mean accuracy of B's runs less that of A's, a fraction.
        low: Lower end of its paired bootstrap interval: what other faces would change, and other trainings where
            there are several of a network.
        high: Upper end.
        p: Two-sided: twice the share of resamples on the other side of 0, at least 1 / RESAMPLES.
    """

    accuracy: float
    low: float
    high: float
    p: float

    @property
    def p_said(self) -> str:
        """What follows "p" in a text."""
        return f"= {self.p:.2g}" if self.p >= LEAST_P else f"< {LEAST_P:g}"


@dataclass(frozen=True)
class Compared:
    """A network beside the first of a comparison.

    Attributes:
        name: Its name.
        metrics: Its own.
        difference: From the first network; None for the first itself.
        recall_gains: Class name -> recall less the first network's, fractions.
    """

    name: str
    metrics: Metrics
    difference: Difference | None
    recall_gains: dict[str, float]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "name": self.name,
            "metrics": self.metrics.to_dict(),
            "difference": self.difference and vars(self.difference),
            "recall_gains": self.recall_gains,
        }


def difference(a: Sequence[Predictions], b: Sequence[Predictions], seed: int = 0) -> Difference:
    """Compares two networks, each given as the predictions of one or more trainings, on the same faces.

    Each face counts with the share of trainings that are right about it, and faces are drawn again with replacement
    for both networks alike (percentile bootstrap, Efron and Tibshirani, 1993, section 13.3). So far trainings differ
    in which faces they get right; by how much some are better as a whole than others is estimated apart, as a variance
    component (two-way layout without replication, Searle, Casella and McCulloch, 1992, chapter 4), and added as
    normal noise. Of two or three trainings that estimate is rough. With one training of each the interval says nothing
    of what another training would change.

    Args:
        a: Of one network, at least one training.
        b: Of the other.
        seed: Of the resamples.

    Raises:
        DataError: They are not of the same faces in the same order.
    """
    check_same_faces([*a, *b])
    random = np.random.default_rng(seed)
    right_a, right_b = _right(a), _right(b)
    drawn = _resampled_mean(right_b.mean(axis=0) - right_a.mean(axis=0), random)
    drawn += random.normal(0, np.sqrt(_variance_of_trainings(right_a) + _variance_of_trainings(right_b)), RESAMPLES)
    low, high = interval(drawn)
    p = min(1.0, max(2 * float(min((drawn <= 0).mean(), (drawn >= 0).mean())), 1 / RESAMPLES))
    return Difference(float(right_b.mean() - right_a.mean()), low, high, p)


def _variance_of_trainings(right: NDArray[np.float64]) -> float:
    """(runs, N) -> how much the mean of so many runs varies since some are better on all faces; 0 of a single run."""
    runs, faces = right.shape
    if runs == 1:
        return 0.0
    # Runs would differ in accuracy by this much if they only disagreed on single faces.
    by_disagreement = right.var(axis=0, ddof=1).mean() / faces
    return float(max(0.0, right.mean(axis=1).var(ddof=1) - by_disagreement) / runs)


def _resampled_mean(gain: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    """(N,) what each face gains -> (RESAMPLES,) its means over faces drawn with replacement."""
    # Faces are exchangeable, so how often each distinct gain is drawn is all that a resample is.
    values, counts = np.unique(gain.round(9), return_counts=True)
    return np.asarray(random.multinomial(len(gain), counts / len(gain), RESAMPLES) @ values / len(gain))


def compare(networks: Mapping[str, Predictions]) -> list[Compared]:
    """Sets networks beside the first of them.

    Args:
        networks: Name -> predictions of the same faces.

    Raises:
        DataError: They are not of the same faces in the same order.
    """
    first, *_ = networks.values()
    return [
        Compared(
            name,
            evaluate(predictions),
            None if predictions is first else difference([first], [predictions]),
            recall_gains(first, predictions),
        )
        for name, predictions in networks.items()
    ]


def table(compared: Sequence[Compared]) -> Table:
    """A comparison for the terminal, two lines a network: below what was measured, its 95 % interval."""
    page = _page("accuracy", "macro F1", "difference", "p", leading=1)
    for name, each in zip(short_names([each.name for each in compared]), compared, strict=True):
        cells = ["", ""]
        if found := each.difference:
            interval = f"{100 * found.low:+.2f} to {100 * found.high:+.2f}"
            cells = [f"{found.accuracy:+.2%}\n{interval}", found.p_said.removeprefix("= ")]
        of_f1, (low, high) = each.metrics.macro_f1, each.metrics.intervals["accuracy"]
        accuracy = f"{each.metrics.accuracy:.2%}\n{100 * low:.2f} to {100 * high:.2f}"
        page.add_row(escape(name), accuracy, f"{of_f1:.2%}", *cells)
    return page


def recall_table(compared: Sequence[Compared]) -> Table:
    """Which classes gain, for the terminal: the first network's recall in per cent, and what others have more."""
    classes = list(compared[0].recall_gains)
    page = _page(*classes)
    for name, each in zip(short_names([each.name for each in compared]), compared, strict=True):
        cells = [
            f"{100 * each.recall_gains[which]:+.1f}"
            if each.difference
            else f"{100 * each.metrics.classes[which].recall:.1f}"
            for which in classes
        ]
        page.add_row(escape(name), *cells)
    return page


def _page(*columns: str, leading: int = 0) -> Table:
    """A table of networks, whose names are folded rather than the numbers beside them."""
    page = Table("network", *columns, box=box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0), leading=leading)
    page.columns[0].overflow = "fold"
    for column in page.columns[1:]:
        column.justify = "right"
        column.no_wrap = True
    return page


def recall_gains(a: Predictions, b: Predictions) -> dict[str, float]:
    """Class name -> share of its faces that B is right about less that of A; without the classes that have no face.

    Raises:
        DataError: They are not of the same faces in the same order.
    """
    check_same_faces([a, b])
    (gain,) = _right([b]) - _right([a])
    of_class = {name: gain[a.targets == k] for k, name in enumerate(a.classes)}
    return {name: float(gains.mean()) for name, gains in of_class.items() if gains.size}


def _right(runs: Sequence[Predictions]) -> NDArray[np.float64]:
    """(runs, N) 1 where a run is right about a face, else 0."""
    return np.array([run.right for run in runs], np.float64)
