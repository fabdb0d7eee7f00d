"""Tests of the shared types: valid values are kept, and invalid ones raise ValueError."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from mien.labels import EXPRESSIONS
from mien.types import Box, Expression, Predictions, softmax


def test_box_has_width_height_and_corners() -> None:
    box = Box(10, 20, 40, 25.5)
    assert (box.width, box.height) == (30, 5.5)
    assert box.xyxy == (10, 20, 40, 25.5)
    with pytest.raises(FrozenInstanceError):
        box.x0 = 0  # type: ignore[misc]


@pytest.mark.parametrize("numbers", [(1, 0, 1, 2), (2, 0, 1, 2), (0, 3, 1, 2), (0, 0, float("nan"), 2)])
def test_box_without_area_raises(numbers: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValueError, match="x0 < x1 and y0 < y1"):
        Box(*numbers)


def test_expression_names_the_most_probable_class() -> None:
    probabilities = dict.fromkeys(EXPRESSIONS, 0.1) | {"sad": 0.4}
    expression = Expression(probabilities)
    assert expression.name == "sad"
    assert expression.confidence == 0.4


def test_expression_names_the_held_class() -> None:
    expression = Expression(dict.fromkeys(EXPRESSIONS, 0.1) | {"sad": 0.4}, held="fear")
    assert expression.name == "fear"
    assert expression.confidence == 0.1


def test_held_class_without_probability_raises() -> None:
    with pytest.raises(ValueError, match="held must be one of the classes happy, sad, got fear"):
        Expression({"happy": 0.5, "sad": 0.5}, held="fear")


@pytest.mark.parametrize("probability", [0.3, 0.41])
def test_probabilities_that_do_not_sum_to_one_raise(probability: float) -> None:
    with pytest.raises(ValueError, match="must sum to 1"):
        Expression(dict.fromkeys(EXPRESSIONS, 0.1) | {"sad": probability})


def predictions(**changes: object) -> Predictions:
    fields = {
        "index": np.arange(3),
        "logits": np.arange(21, dtype=np.float32).reshape(3, 7),
        "targets": np.array([0, 6, 3]),
    }
    return Predictions(**fields | changes)  # type: ignore[arg-type]


def test_predictions_have_probabilities() -> None:
    probabilities = predictions().probabilities
    assert probabilities.shape == (3, 7)
    assert np.allclose(probabilities.sum(axis=1), 1)
    assert probabilities.argmax(axis=1).tolist() == [6, 6, 6]
    none = Predictions(np.arange(0), np.zeros((0, 7), np.float32), np.arange(0))
    assert len(none.index) == 0


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"index": np.arange(2)}, r"index \(2,\)"),
        ({"targets": np.zeros((3, 1), np.int64)}, r"targets \(3, 1\)"),
        ({"targets": np.array([0, 7, 1])}, r"targets must be 0\.\.6, got 0\.\.7"),
        ({"targets": np.array([0, -1, 1])}, r"got -1\.\.1"),
        ({"logits": np.zeros((3, 6), np.float32)}, "6 columns for 7 classes"),
        ({"classes": ("a", "b")}, "7 columns for 2 classes"),
        ({"logits": np.full((3, 7), np.nan, np.float32)}, "must be finite"),
        ({"logits": np.full((3, 7), np.inf, np.float32)}, "must be finite"),
    ],
)
def test_predictions_with_mismatched_arrays_raise(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        predictions(**changes)


def test_softmax_of_large_scores_does_not_overflow() -> None:
    probabilities = softmax(np.array([[1000.0, 1000.0, 999.0], [-1000.0, -1000.0, -1001.0]], np.float32))
    e = np.exp(-1.0)
    assert np.allclose(probabilities, np.array([1, 1, e]) / (2 + e))
