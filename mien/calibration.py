"""Calibration of a network's confidence: temperatures, the threshold of uncertainty, risk and coverage."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mien.deprecation import moved_names, warn_deprecated
from mien.errors import ConfigError, DataError, require
from mien.types import Predictions, from_numbers, softmax

COVERAGE = 0.8
"""Default fraction of faces that should be certain."""
MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0
"""Bounds of the temperatures; if every prediction is right, for example, no finite temperature is the best."""
MAX_STORED = 1e12
"""Largest temperature and number of faces that a file may hold."""
MIN_FACES = 300
"""Fewest faces to which two temperatures are fitted; fewer faces get one, since two would overfit."""


@dataclass(frozen=True)
class Calibration:
    """How a network's logits become probabilities, and below which confidence a face is uncertain.

    It is fitted to labelled faces that the network was not trained on. Logits are divided by a temperature before
    softmax (Guo et al., ICML 2017, section 4.2). A single temperature leaves networks overconfident on ambiguous faces
    or underconfident on clear ones, so the temperature of a face depends on the entropy of its prediction (after
    Balanya, Maroñas and Ramos, arXiv:2208.00461, section 4.3):

        1 / T = (1 - h) / temperature + h / temperature_unsure,  h = entropy of softmax(logits) / log K

    The default values change nothing: they are those of a network that is not calibrated.

    Attributes:
        temperature: Temperature of a face whose prediction has an entropy of 0.
        temperature_unsure: Temperature of a face whose prediction is uniform.
        uncertain_below: A face is uncertain if the probability of its most probable class is below this.
        coverage: Fraction of the labelled faces that were certain.
        accuracy: Fraction of the certain faces that were right.
        faces: Number of labelled faces; 0 for a network that is not calibrated.

    Raises:
        ValueError: A value is out of range.
    """

    temperature: float = 1.0
    temperature_unsure: float = 1.0
    uncertain_below: float = 0.0
    coverage: float = 1.0
    accuracy: float = 0.0
    faces: int = 0

    def __post_init__(self) -> None:
        fractions = (self.uncertain_below, self.coverage, self.accuracy)
        positive = 0 < self.temperature <= MAX_STORED and 0 < self.temperature_unsure <= MAX_STORED
        if not (positive and all(0 <= fraction <= 1 for fraction in fractions) and 0 <= self.faces <= MAX_STORED):
            raise ValueError(f"a calibration needs temperatures above 0 and fractions in 0..1, got {self}")

    @classmethod
    def from_dict(cls, stored: object) -> Calibration:
        """Reads what `to_dict` returned.

        Raises:
            ValueError: A field is missing, unknown, not a number or out of range.
        """
        return from_numbers(cls, stored)

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, for the metadata of a model file."""
        return asdict(self)

    def scale_logits(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Divides the logits (N, K) of each face by its temperature; the most probable class stays the same."""
        entropy = _normalised_entropy(logits)
        inverse = (1 - entropy) / self.temperature + entropy / self.temperature_unsure
        return logits * inverse[:, None].astype(np.float32)

    def probabilities(self, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """A network's logits (N, K) -> calibrated probabilities (N, K); each row sums to 1."""
        return softmax(self.scale_logits(logits))

    def is_uncertain(self, probabilities: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Calibrated probabilities (N, K) -> (N,) whether the most probable class is below the threshold."""
        return np.asarray(probabilities.max(axis=1) < self.uncertain_below)

    def scaled(self, logits: NDArray[np.float32]) -> NDArray[np.float32]:
        """Deprecated: use `scale_logits`."""
        warn_deprecated("Calibration.scaled", "Calibration.scale_logits")
        return self.scale_logits(logits)

    def uncertain(self, probabilities: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Deprecated: use `is_uncertain`."""
        warn_deprecated("Calibration.uncertain", "Calibration.is_uncertain")
        return self.is_uncertain(probabilities)


@dataclass(frozen=True)
class RiskCoverage:
    """The error rate of a network that rejects its least confident predictions (El-Yaniv and Wiener, JMLR 2010).

    Attributes:
        coverage: (P,) fraction of the faces that are kept, rising to 1; one point for each distinct confidence.
        risk: (P,) fraction of the kept faces that are wrong.
        confidence: (P,) lowest confidence that is kept.
    """

    coverage: NDArray[np.float64]
    risk: NDArray[np.float64]
    confidence: NDArray[np.float64]


def fit_calibration(predictions: Predictions, coverage: float = COVERAGE) -> Calibration:
    """Fits a network's temperatures, and the confidence below which a face is uncertain.

    The temperatures minimise the negative log-likelihood of the labels; they do not change the predicted classes. The
    threshold is the highest one at which at least `coverage` of the faces are certain.

    Args:
        predictions: Uncalibrated predictions for faces that the network was not trained on.
        coverage: Fraction of the faces that should be certain, above 0, at most 1.

    Raises:
        DataError: There are no predictions.
        ConfigError: The coverage is out of range.
    """
    if not 0 < coverage <= 1:
        raise ConfigError(f"the coverage must be above 0 and at most 1, got {coverage:g}")
    if not len(predictions.targets):
        raise DataError("calibration needs predictions of one face or more, got none")
    without_threshold = Calibration(*fit_temperatures(predictions))
    curve = risk_coverage(replace(predictions, logits=without_threshold.scale_logits(predictions.logits)))
    point = int(np.argmax(curve.coverage >= coverage - 1e-9))
    return replace(
        without_threshold,
        uncertain_below=float(curve.confidence[point]),
        coverage=float(curve.coverage[point]),
        accuracy=float(1 - curve.risk[point]),
        faces=len(predictions.targets),
    )


def fit_temperatures(predictions: Predictions) -> tuple[float, float]:
    """Fits `temperature` and `temperature_unsure` by minimising the negative log-likelihood of the targets.

    It is convex in the inverses of the temperatures, which multiply the logits, so that the optimiser finds the
    minimum.

    Args:
        predictions: Uncalibrated predictions for one face or more; for fewer than MIN_FACES, both temperatures are
            equal.

    Returns:
        The two temperatures, each in MIN_TEMPERATURE..MAX_TEMPERATURE.

    Raises:
        MissingExtraError: SciPy is not installed.
    """
    optimize = require("scipy.optimize", "train")
    logits = predictions.logits.astype(np.float64)
    logits -= logits.max(axis=1, keepdims=True)  # keeps the softmax, and the sums below small
    entropy = _normalised_entropy(logits)
    weights = np.stack([1 - entropy, entropy]) if len(logits) >= MIN_FACES else np.ones((1, len(logits)))
    weighted = weights[:, :, None] * logits  # (T, N, K) for T = 2 or 1 temperatures
    target_mean = weighted[:, np.arange(len(logits)), predictions.targets].mean(axis=1)  # (T,)

    def loss_and_gradient(inverse: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        scaled = np.tensordot(inverse, weighted, 1)  # (N, K)
        maximum = scaled.max(axis=1)
        loss = (np.log(np.exp(scaled - maximum[:, None]).sum(axis=1)) + maximum).mean() - inverse @ target_mean
        return float(loss), (softmax(scaled) * weighted).sum(axis=2).mean(axis=1) - target_mean

    minimum = optimize.minimize(
        loss_and_gradient,
        np.ones(len(weighted)),
        jac=True,
        method="L-BFGS-B",
        bounds=[(1 / MAX_TEMPERATURE, 1 / MIN_TEMPERATURE)] * len(weighted),
        options={"ftol": 1e-15, "gtol": 1e-10},
    )
    return float(1 / minimum.x[0]), float(1 / minimum.x[-1])


def _normalised_entropy(logits: NDArray[Any]) -> NDArray[np.float64]:
    """(N, K) -> (N,) entropy of each row's softmax divided by that of the uniform distribution, in [0, 1]."""
    probabilities = softmax(logits)
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(probabilities > 0, probabilities * np.log(probabilities), 0.0)
    return np.asarray(np.clip(-terms.sum(axis=1) / np.log(max(2, logits.shape[1])), 0.0, 1.0))


def risk_coverage(predictions: Predictions) -> RiskCoverage:
    """Computes risk against coverage; faces of equal confidence are kept or rejected together.

    Args:
        predictions: Calibrated predictions, as `mien.evaluation.predict.predict` returns them.

    Raises:
        DataError: There are no predictions.
    """
    n = len(predictions.targets)
    if n == 0:
        raise DataError("risk and coverage need predictions of one face or more, got none")
    confidence = predictions.probabilities.max(axis=1)
    wrong = ~predictions.correct
    order = np.argsort(-confidence, kind="stable")
    sorted_confidence = confidence[order]
    last = np.append(np.flatnonzero(np.diff(sorted_confidence)), n - 1)  # last row of each run of equal confidences
    kept = last + 1
    return RiskCoverage(kept / n, np.cumsum(wrong[order])[last] / kept, sorted_confidence[last])


if not TYPE_CHECKING:
    __getattr__ = moved_names(
        __name__,
        {
            "best_temperatures": "mien.calibration.fit_temperatures",
            "calibrate": "mien.calibration.fit_calibration",
        },
    )
