"""Whether one network is better than another: the same faces, seen by both."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mien.errors import DataError
from mien.evaluation.metrics import LEVEL
from mien.types import Predictions

RESAMPLES = 10_000


@dataclass(frozen=True)
class Difference:
    """How much more accurate B is than A on the same faces.

    Attributes:
        accuracy: Mean accuracy of B's runs less that of A's, a fraction.
        low: Lower end of its paired bootstrap interval: what other faces would change.
        high: Upper end.
        p: Two-sided: twice the share of resamples on the other side of 0, at least 1 / RESAMPLES.
    """

    accuracy: float
    low: float
    high: float
    p: float


def difference(a: Sequence[Predictions], b: Sequence[Predictions], seed: int = 0) -> Difference:
    """Compares two networks, each given as the predictions of one or more trainings, on the same faces.

    Each face counts with the share of trainings that are right about it, and faces are drawn again with replacement for
    both networks alike (paired percentile bootstrap, Efron and Tibshirani, 1993, section 13.3).

    Args:
        a: Of one network, at least one training.
        b: Of the other.
        seed: Of the resamples.

    Raises:
        DataError: They are not of the same faces in the same order.
    """
    gain = _right(b, a[0]) - _right(a, a[0])
    n = len(gain)
    # Faces are exchangeable, so how often each distinct gain is drawn is all that a resample is.
    values, counts = np.unique(gain, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(n, counts / n, RESAMPLES) @ values / n
    low, high = np.percentile(drawn, [(100 - LEVEL) / 2, (100 + LEVEL) / 2])
    p = min(1.0, max(2 * float(min((drawn <= 0).mean(), (drawn >= 0).mean())), 1 / RESAMPLES))
    return Difference(float(gain.mean()), float(low), float(high), p)


def _right(runs: Sequence[Predictions], like: Predictions) -> NDArray[np.float64]:
    """(N,) share of the runs that are right about each face."""
    for run in runs:
        if not (np.array_equal(run.index, like.index) and np.array_equal(run.targets, like.targets)):
            raise DataError(
                f"predictions are compared face by face, and these are of {len(like.index)} and {len(run.index)} faces "
                "that are not the same in the same order: evaluate both on the same split of the same data"
            )
    return np.asarray(np.mean([run.logits.argmax(axis=1) == run.targets for run in runs], axis=0))
