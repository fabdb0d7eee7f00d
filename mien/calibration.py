"""How far a network's confidence can be trusted: its temperatures, when it is uncertain, risk and coverage."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import ConfigError, DataError, require
from mien.types import Predictions, from_numbers, softmax

COVERAGE = 0.8
"""Share of faces that a network should be certain of, where nothing else is asked for."""
COLDEST, HOTTEST = 0.05, 20.0
"""Least and largest temperature: where all faces are right, or none says anything, no best one exists."""
FEW = 300
"""Fewer faces than this have one temperature for all: two would fit them rather than others like them."""


@dataclass(frozen=True)
class Calibration:
    """What makes a network's confidence mean something, found on labelled faces that it was not trained on.

    Logits are divided by a temperature before softmax (Guo et al., ICML 2017, section 4.2). One for all faces leaves
    networks too sure of what they half know, or too modest of what they know; so it depends on how sure the network is
    of a face, by the entropy of what it says (as Balanya, Maroñas and Ramos have it, arXiv:2208.00461, section 4.3):

        1 / T = (1 - h) / temperature + h / temperature_unsure,  h = entropy of softmax(logits) / log K

    Attributes:
        temperature: Of a face that the network has no doubt of.
        temperature_unsure: Of one that it knows nothing of.
        uncertain_below: A face whose most probable class has a lower probability than this is uncertain.
        coverage: Share of those labelled faces that were not uncertain.
        accuracy: Share of these that were right.
        faces: How many labelled faces there were; 0 where nothing was calibrated.
    """

    temperature: float = 1.0
    temperature_unsure: float = 1.0
    uncertain_below: float = 0.0
    coverage: float = 1.0
    accuracy: float = 0.0
    faces: int = 0

    def __post_init__(self) -> None:
        shares = (self.uncertain_below, self.coverage, self.accuracy)
        hot = self.temperature > 0 and self.temperature_unsure > 0
        if not (hot and all(0 <= share <= 1 for share in shares) and self.faces >= 0):
            raise ValueError(f"a calibration needs temperatures above 0 and shares in 0..1, got {self}")

    @classmethod
    def from_dict(cls, stored: object) -> Calibration:
        """What `to_dict` gave, read back.

        Raises:
            ValueError: It is anything else.
        """
        return from_numbers(cls, stored)

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, for a model file's metadata."""
        return asdict(self)

    def scale_logits(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """(N, K) a network's logits -> (N, K) divided by each face's temperature; the largest stays the largest."""
        unsure = _unsureness(logits)
        inverse = (1 - unsure) / self.temperature + unsure / self.temperature_unsure
        return logits * inverse[:, None].astype(np.float32)

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """(N, K) a network's logits -> (N, K) probabilities; each row sums to 1."""
        return softmax(self.scale_logits(logits))

    def is_uncertain(self, probabilities: NDArray[np.float64]) -> NDArray[np.bool_]:
        """(N, K) -> (N,) whether the most probable class is too improbable to be relied on."""
        return np.asarray(probabilities.max(axis=1) < self.uncertain_below)


@dataclass(frozen=True)
class RiskCoverage:
    """How often a network is wrong when it may leave out what it is least sure of (El-Yaniv and Wiener, JMLR 2010).

    Attributes:
        coverage: (P,) share of the faces that are kept, rising to 1; one point for each different confidence.
        risk: (P,) share of these that are wrong.
        confidence: (P,) the lowest that is kept.
    """

    coverage: NDArray[np.float64]
    risk: NDArray[np.float64]
    confidence: NDArray[np.float64]


def calibrate(predictions: Predictions, coverage: float = COVERAGE) -> Calibration:
    """Finds a network's temperatures and the confidence below which it is uncertain.

    The temperatures have the least negative log-likelihood of the labels; they change no answer. The threshold is the
    highest that still leaves at least `coverage` of the faces.

    Args:
        predictions: Of faces that the network was not trained on, with its own logits.
        coverage: Share of the faces that it should be certain of, above 0, at most 1.

    Raises:
        DataError: There are no predictions.
        ConfigError: The coverage is out of range.
    """
    if not 0 < coverage <= 1:
        raise ConfigError(f"the coverage must be above 0 and at most 1, got {coverage:g}")
    if not len(predictions.targets):
        raise DataError("there are no predictions to calibrate on, expected those of one face or more")
    hot = Calibration(*best_temperatures(predictions))
    curve = risk_coverage(replace(predictions, logits=hot.scale_logits(predictions.logits)))
    point = int(np.argmax(curve.coverage >= coverage - 1e-9))
    return replace(
        hot,
        uncertain_below=float(curve.confidence[point]),
        coverage=float(curve.coverage[point]),
        accuracy=float(1 - curve.risk[point]),
        faces=len(predictions.targets),
    )


def best_temperatures(predictions: Predictions) -> tuple[float, float]:
    """`temperature` and `temperature_unsure` with the least negative log-likelihood of the targets, COLDEST..HOTTEST.

    It is convex in their inverses, which multiply logits, so that there is one best pair.

    Args:
        predictions: One face or more, with the network's own logits; of fewer than FEW both temperatures are one.

    Raises:
        MissingExtraError: SciPy is not installed.
    """
    optimize = require("scipy.optimize", "train")
    logits = predictions.logits.astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)  # the same answers, and what adds up below is no larger than it must be
    unsure = _unsureness(logits)
    shares_of = np.stack([1 - unsure, unsure]) if len(logits) >= FEW else np.ones((1, len(logits)))
    parts = shares_of[:, :, None] * logits  # (2 or 1, N, K)
    own = parts[:, np.arange(len(logits)), predictions.targets].mean(axis=1)

    def loss_and_slope(inverse: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        scaled = np.tensordot(inverse, parts, 1)
        highest = scaled.max(axis=1)
        loss = (np.log(np.exp(scaled - highest[:, None]).sum(axis=1)) + highest).mean() - inverse @ own
        return float(loss), (softmax(scaled) * parts).sum(axis=2).mean(axis=1) - own

    found = optimize.minimize(
        loss_and_slope,
        np.ones(len(parts)),
        jac=True,
        method="L-BFGS-B",
        bounds=[(1 / HOTTEST, 1 / COLDEST)] * len(parts),
        options={"ftol": 1e-15, "gtol": 1e-10},
    )
    return float(1 / found.x[0]), float(1 / found.x[-1])


def _unsureness(logits: NDArray[Any]) -> NDArray[np.float64]:
    """(N, K) -> (N,) the entropy of each face's softmax over that of knowing nothing, in [0, 1]."""
    shares = softmax(logits)
    with np.errstate(divide="ignore", invalid="ignore"):
        parts = np.where(shares > 0, shares * np.log(shares), 0.0)
    return np.asarray(np.clip(-parts.sum(axis=1) / np.log(max(2, logits.shape[1])), 0.0, 1.0))


def risk_coverage(predictions: Predictions) -> RiskCoverage:
    """The curve of risk against coverage; faces of equal confidence are kept or left out together.

    Args:
        predictions: Calibrated, as `mien.evaluation.predict` gives them.

    Raises:
        DataError: There are no predictions.
    """
    n = len(predictions.targets)
    if n == 0:
        raise DataError("there are no predictions to draw risk and coverage of, expected those of one face or more")
    confidence = predictions.probabilities.max(axis=1)
    wrong = ~predictions.correct
    order = np.argsort(-confidence, kind="stable")
    sorted_confidence = confidence[order]
    last = np.append(np.flatnonzero(np.diff(sorted_confidence)), n - 1)  # of each run of ties
    kept = last + 1
    return RiskCoverage(kept / n, np.cumsum(wrong[order])[last] / kept, sorted_confidence[last])
