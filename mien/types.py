"""The few types that every part of mien speaks: frozen, validated, numpy only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mien.labels import EXPRESSIONS

N = TypeVar("N", bound=Any)


@dataclass(frozen=True)
class Box:
    """An upright rectangle in a picture, pixels; x1 and y1 are past its last column and row.

    Raises:
        ValueError: It has no area.
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
        """x1 - x0."""
        return self.x1 - self.x0

    @property
    def height(self) -> float:
        """y1 - y0."""
        return self.y1 - self.y0

    @property
    def xyxy(self) -> tuple[float, float, float, float]:
        """The four numbers in order."""
        return self.x0, self.y0, self.x1, self.y1


@dataclass(frozen=True)
class Expression:
    """Seven class probabilities and what they say.

    Attributes:
        probabilities: Class name -> probability, in the order of `mien.labels.EXPRESSIONS`; they sum to 1.
        uncertain: Whether even the most probable class is too improbable to be relied on, as the network's calibration
            says.
        held: The class that is named in place of the most probable one: in a video a face keeps its name until
            another leads clearly. Empty where there is none.

    Raises:
        ValueError: The probabilities do not sum to 1, or the class held is not among them.
    """

    probabilities: Mapping[str, float]
    uncertain: bool = False
    held: str = ""

    def __post_init__(self) -> None:
        total = sum(self.probabilities.values())
        if abs(total - 1) > 1e-3:
            raise ValueError(f"probabilities must sum to 1, got {total:.6f}")
        if self.held and self.held not in self.probabilities:
            raise ValueError(f"the class {self.held} has no probability among {', '.join(self.probabilities)}")

    @cached_property
    def name(self) -> str:
        """The class held, or else the most probable one."""
        return self.held or max(self.probabilities, key=lambda name: self.probabilities[name])

    @property
    def confidence(self) -> float:
        """The probability of that class."""
        return self.probabilities[self.name]


@dataclass(frozen=True)
class Face:
    """One face of a picture.

    Attributes:
        box: Where it is, pixels of the upright picture (after EXIF rotation).
        landmarks: Points that the detector gives, pixels, by name; empty where it gives none.
        score: The detector's own, in [0, 1].
        expression: What the face shows.
    """

    box: Box
    landmarks: Mapping[str, tuple[float, float]]
    score: float
    expression: Expression


@dataclass(frozen=True)
class Predictions:
    """What a network said of a data set: the one input of every metric, figure and comparison.

    Attributes:
        index: (N,) row of each face in its data set.
        logits: (N, K) class scores before softmax, float32.
        targets: (N,) class ids.
        classes: K class names.

    Raises:
        ValueError: The arrays do not belong together, a target is no class, or a logit is not finite.
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
        """Some of the predictions, in the order of `rows`."""
        return replace(self, index=self.index[rows], logits=self.logits[rows], targets=self.targets[rows])

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """(N, K) softmax of the logits."""
        return softmax(self.logits)

    @property
    def right(self) -> NDArray[np.bool_]:
        """(N,) whether the most probable class is the target."""
        return np.asarray(self.logits.argmax(axis=1) == self.targets)


def mean_logits(
    probabilities: Sequence[NDArray[np.floating[Any]]], weights: Sequence[float] | None = None
) -> NDArray[np.float32]:
    """The logarithm of the mean of several (N, K) probabilities: logits of those that say it together.

    Args:
        probabilities: What each says.
        weights: What each counts for, above 0; None counts all alike.
    """
    smallest = np.finfo(np.float32).tiny  # a probability too small to be told from 0 still has a logarithm
    return np.asarray(np.log(np.maximum(np.average(probabilities, axis=0, weights=weights), smallest)), np.float32)


def from_numbers(kind: type[N], stored: object) -> N:
    """A dataclass of numbers, from what `dataclasses.asdict` gave of it.

    Raises:
        ValueError: It is anything else.
    """
    names = [field.name for field in fields(kind)]
    if not isinstance(stored, dict) or set(stored) != set(names) or not set(map(type, stored.values())) <= {int, float}:
        raise ValueError(f"{kind.__name__.lower()} must give a number for each of {', '.join(names)}, got {stored}")
    made: N = kind(**stored)
    return made


def softmax(logits: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """(N, K) scores -> (N, K) probabilities; each row sums to 1."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(shifted / shifted.sum(axis=1, keepdims=True))
