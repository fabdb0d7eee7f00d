"""The types that all of mien shares: boxes, faces, expressions and predictions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mien.deprecation import warn_deprecated
from mien.labels import EXPRESSIONS

N = TypeVar("N", bound=Any)


@dataclass(frozen=True)
class Box:
    """An axis-aligned rectangle in an image, in pixels.

    Attributes:
        x0: Left edge.
        y0: Top edge.
        x1: Right edge, exclusive.
        y1: Bottom edge, exclusive.

    Raises:
        ValueError: The box has no area.
    """

    x0: float
    y0: float
    x1: float
    y1: float

    def __post_init__(self) -> None:
        if not (self.x0 < self.x1 and self.y0 < self.y1):
            raise ValueError(f"a box needs x0 < x1 and y0 < y1, got {self.xyxy}")

    @property
    def width(self) -> float:
        """Width in pixels."""
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        """Height in pixels."""
        return self.y1 - self.y0

    @property
    def xyxy(self) -> tuple[float, float, float, float]:
        """The edges as (x0, y0, x1, y1)."""
        return self.x0, self.y0, self.x1, self.y1


@dataclass(frozen=True)
class Expression:
    """The class probabilities of one face.

    Attributes:
        probabilities: Class name -> probability, in the order of the model's classes; they sum to 1.
        uncertain: Whether the confidence is below the threshold of the model's calibration.
        held: In a video, the class that the face keeps until another one leads clearly. Empty elsewhere.

    Raises:
        ValueError: The probabilities do not sum to 1, or `held` is not one of the classes.
    """

    probabilities: Mapping[str, float]
    uncertain: bool = False
    held: str = ""

    def __post_init__(self) -> None:
        total = sum(self.probabilities.values())
        if abs(total - 1) > 1e-3:
            raise ValueError(f"probabilities must sum to 1, got {total:.6f}")
        if self.held and self.held not in self.probabilities:
            raise ValueError(f"held must be one of the classes {', '.join(self.probabilities)}, got {self.held}")

    @cached_property
    def name(self) -> str:
        """The held class, or the most probable one if no class is held."""
        return self.held or max(self.probabilities, key=lambda name: self.probabilities[name])

    @property
    def confidence(self) -> float:
        """The probability of the class `name`."""
        return self.probabilities[self.name]


@dataclass(frozen=True)
class Face:
    """One recognised face of an image.

    Attributes:
        box: Its place in the image, after EXIF rotation.
        landmarks: Name -> (x, y) in pixels; empty if the detector returns no landmarks.
        score: How probable the detector thinks that this is a face, in [0, 1]; below 0.5, the expression is uncertain.
        expression: The expression that the face shows.
    """

    box: Box
    landmarks: Mapping[str, tuple[float, float]]
    score: float
    expression: Expression


@dataclass(frozen=True)
class Predictions:
    """A network's logits for a data set: the only input of every metric, figure and comparison.

    Attributes:
        index: (N,) row of each face in its data set.
        logits: (N, K) class scores before softmax, float32.
        targets: (N,) class ids.
        classes: K class names.

    Raises:
        ValueError: The shapes do not match, a target is not a class id, or a logit is not finite.
    """

    index: NDArray[np.int64]
    logits: NDArray[np.float32]
    targets: NDArray[np.int64]
    classes: tuple[str, ...] = EXPRESSIONS

    def __post_init__(self) -> None:
        n, k = self.logits.shape
        if self.index.shape != (n,) or self.targets.shape != (n,):
            raise ValueError(f"index {self.index.shape} and targets {self.targets.shape} must both be ({n},)")
        if k != len(self.classes):
            raise ValueError(f"logits have {k} columns for {len(self.classes)} classes")
        if n and not (self.targets.min() >= 0 and self.targets.max() < k):
            raise ValueError(f"targets must be 0..{k - 1}, got {self.targets.min()}..{self.targets.max()}")
        if not np.isfinite(self.logits).all():
            raise ValueError("logits must be finite")

    def take(self, rows: NDArray[np.int64]) -> Predictions:
        """The predictions of the given rows, in that order."""
        return replace(self, index=self.index[rows], logits=self.logits[rows], targets=self.targets[rows])

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """(N, K) softmax of the logits."""
        return softmax(self.logits)

    @property
    def correct(self) -> NDArray[np.bool_]:
        """(N,) whether the class with the highest logit is the target."""
        return np.asarray(self.logits.argmax(axis=1) == self.targets)

    @property
    def right(self) -> NDArray[np.bool_]:
        """Deprecated: use `correct`."""
        warn_deprecated("Predictions.right", "Predictions.correct")
        return self.correct


def mean_logits(
    probabilities: Sequence[NDArray[np.floating[Any]]], weights: Sequence[float] | None = None
) -> NDArray[np.float32]:
    """Averages the probabilities of several networks and returns the logarithm of the mean as logits, (N, K).

    Args:
        probabilities: (N, K) for each network.
        weights: The weight of each network, above 0; None weighs all equally.
    """
    smallest = np.finfo(np.float32).tiny  # keeps the logarithm of an underflowed probability finite
    return np.asarray(np.log(np.maximum(np.average(probabilities, axis=0, weights=weights), smallest)), np.float32)


def from_numbers(kind: type[N], stored: object) -> N:
    """Restores a dataclass of numbers from the dictionary that `dataclasses.asdict` made of it.

    Raises:
        ValueError: `stored` is not a dictionary with exactly these fields, or a value is not a number.
    """
    names = [field.name for field in fields(kind)]
    if not isinstance(stored, dict) or set(stored) != set(names) or not set(map(type, stored.values())) <= {int, float}:
        raise ValueError(
            f"{kind.__name__.lower()} must give a number for each of {', '.join(names)}, got {str(stored)[:80]}"
        )
    restored: N = kind(**stored)
    return restored


def softmax(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Turns logits (N, K) into probabilities (N, K); each row sums to 1."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
