"""How far a network's confidence can be trusted: its temperature, when it is uncertain, risk and coverage."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import ConfigError, DataError
from mien.types import Predictions, softmax

COVERAGE = 0.8
"""Share of faces that a network should be certain of, where nothing else is asked for."""
COLDEST, HOTTEST = 0.05, 20.0
"""Least and largest temperature: where all faces are right, or none says anything, no best one exists."""


@dataclass(frozen=True)
class Calibration:
    """What makes a network's confidence mean something, found on labelled faces that it was not trained on.

    Attributes:
        temperature: Logits are divided by it before softmax (Guo et al., ICML 2017, section 4.2).
        uncertain_below: A face whose most probable class has a lower probability than this is uncertain.
        coverage: Share of those labelled faces that were not uncertain.
        accuracy: Share of these that were right.
        faces: How many labelled faces there were; 0 where nothing was calibrated.
    """

    temperature: float = 1.0
    uncertain_below: float = 0.0
    coverage: float = 1.0
    accuracy: float = 0.0
    faces: int = 0

    def __post_init__(self) -> None:
        shares = (self.uncertain_below, self.coverage, self.accuracy)
        if not (self.temperature > 0 and all(0 <= share <= 1 for share in shares) and self.faces >= 0):
            raise ValueError(f"a calibration needs a temperature above 0 and shares in 0..1, got {self}")

    @classmethod
    def from_dict(cls, stored: object) -> Calibration:
        """What `to_dict` gave, read back.

        Raises:
            ValueError: It is anything else.
        """
        names = [field.name for field in fields(cls)]
        if not isinstance(stored, dict) or set(stored) != set(names):
            raise ValueError(f"a calibration must give {', '.join(names)}, got {stored}")
        if any(type(value) not in (int, float) for value in stored.values()):
            raise ValueError(f"a calibration must be of numbers, got {stored}")
        return cls(**stored)

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, for a model file's metadata."""
        return asdict(self)

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """(N, K) a network's logits -> (N, K) probabilities; each row sums to 1."""
        return softmax(logits / np.float32(self.temperature))

    def uncertain(self, probabilities: NDArray[np.float64]) -> NDArray[np.bool_]:
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
    """Finds a network's temperature and the confidence below which it is uncertain.

    The temperature has the least negative log-likelihood of the labels (Guo et al., ICML 2017, section 4.2); it changes
    no answer. The threshold is the highest that still leaves at least `coverage` of the faces.

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
    temperature = best_temperature(predictions)
    curve = risk_coverage(predictions, temperature)
    point = int(np.argmax(curve.coverage >= coverage - 1e-9))
    return Calibration(
        temperature,
        float(curve.confidence[point]),
        float(curve.coverage[point]),
        float(1 - curve.risk[point]),
        len(predictions.targets),
    )


def best_temperature(predictions: Predictions) -> float:
    """The temperature with the least negative log-likelihood of the targets, COLDEST..HOTTEST.

    The likelihood is concave in 1 / T, so that halving the interval in which its slope changes sign finds the best.
    """
    logits = predictions.logits.astype(np.float64)
    own = logits[np.arange(len(logits)), predictions.targets].mean()
    low, high = np.log(COLDEST), np.log(HOTTEST)
    for _ in range(50):
        middle = (low + high) / 2
        expected = (softmax(logits / np.exp(middle)) * logits).sum(axis=1).mean()
        low, high = (low, middle) if expected < own else (middle, high)
    return float(np.exp((low + high) / 2))


def risk_coverage(predictions: Predictions, temperature: float = 1.0) -> RiskCoverage:
    """The curve of risk against coverage; faces of equal confidence are kept or left out together.

    Raises:
        DataError: There are no predictions.
    """
    n = len(predictions.targets)
    if n == 0:
        raise DataError("there are no predictions to draw risk and coverage of, expected those of one face or more")
    confidence = softmax(predictions.logits / np.float32(temperature)).max(axis=1)
    wrong = predictions.logits.argmax(axis=1) != predictions.targets
    order = np.argsort(-confidence, kind="stable")
    sorted_confidence = confidence[order]
    last = np.append(np.flatnonzero(np.diff(sorted_confidence)), n - 1)  # of each run of ties
    kept = last + 1
    return RiskCoverage(kept / n, np.cumsum(wrong[order])[last] / kept, sorted_confidence[last])
