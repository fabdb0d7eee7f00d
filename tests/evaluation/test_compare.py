"""Comparisons of networks: differences, intervals, p-values and recalls."""

import json

import numpy as np
import pytest

from mien.errors import DataError
from mien.evaluation.compare import compare, difference, recall_gains, recall_table, table
from mien.labels import EXPRESSIONS
from mien.types import Predictions

N = 1000


def predictions(correct: np.ndarray, first: int = 0) -> Predictions:
    """Predictions that are correct where `correct` is True."""
    targets = np.arange(len(correct)) % 7
    predicted = np.where(correct, targets, (targets + 1) % 7)
    return Predictions(np.arange(len(correct)) + first, np.eye(7, dtype=np.float32)[predicted], targets)


def random_correct(fraction: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random(N) < fraction


def test_difference_of_a_network_from_itself_is_zero():
    same = predictions(random_correct(0.7, 0))
    result = difference([same], [same])
    assert (result.accuracy, result.low, result.high, result.p) == (0, 0, 0, 1)


def test_interval_of_a_difference_is_that_of_paired_faces():
    """60 faces gained and 30 lost of 1,000: a gain of 0.03, with the standard error of the gains by face."""
    correct = np.zeros(N, bool)
    correct[100:] = True
    better = correct.copy()
    better[:60], better[100:130] = True, False
    result = difference([predictions(correct)], [predictions(better)])
    error = np.sqrt((0.09 - 0.03**2) / N)
    assert result.accuracy == pytest.approx(0.03)
    assert result.low == pytest.approx(0.03 - 1.96 * error, abs=1.5e-3)
    assert result.high == pytest.approx(0.03 + 1.96 * error, abs=1.5e-3)
    assert result.p < 0.01


def test_noise_has_a_large_p_and_a_large_gain_a_small_one():
    noise = difference([predictions(random_correct(0.7, 1))], [predictions(random_correct(0.7, 2))])
    assert noise.low < 0 < noise.high
    assert noise.p > 0.05
    gain = difference([predictions(random_correct(0.6, 1))], [predictions(random_correct(0.8, 2))])
    assert gain.low > 0.1
    assert gain.p == pytest.approx(1e-4)
    assert gain.p_text == "< 0.001"  # 10,000 resamples cannot tell 1e-4 from 0
    assert noise.p_text == f"= {noise.p:.2g}"


def test_difference_of_several_trainings_is_that_of_their_means():
    a = [predictions(random_correct(0.6, seed)) for seed in range(3)]
    b = [predictions(random_correct(0.7, seed + 3)) for seed in range(2)]
    expected = np.mean([(p.logits.argmax(1) == p.targets).mean() for p in b]) - np.mean(
        [(p.logits.argmax(1) == p.targets).mean() for p in a]
    )
    assert difference(a, b).accuracy == pytest.approx(expected)
    assert difference(b, a).accuracy == pytest.approx(-expected)


def test_trainings_of_different_accuracy_widen_the_interval():
    """Two equal networks, each trained four times to an accuracy of 0.5 or 0.9."""
    accuracies = [0.5, 0.9, 0.5, 0.9]
    a = [predictions(random_correct(accuracy, seed)) for seed, accuracy in enumerate(accuracies)]
    b = [predictions(random_correct(accuracy, seed + 4)) for seed, accuracy in enumerate(accuracies)]
    result = difference(a, b)
    spread = np.sqrt(2 * np.var(accuracies, ddof=1) / 4)  # of the difference of two means of four
    assert result.high - result.low == pytest.approx(2 * 1.96 * spread, rel=0.15)
    alike = difference([predictions(random_correct(0.7, seed)) for seed in range(4)], b[:1] * 4)
    assert alike.high - alike.low < 0.08  # equal trainings leave only the variance over the faces


def test_trainings_that_disagree_on_single_faces_count_once():
    """A training classifies each face correctly with the face's own probability; no training is better overall."""
    faces, trainings, widths = 4000, 2, []
    for seed in range(5):
        random = np.random.default_rng(seed)
        a, b = random.beta(1, 0.5, faces), random.beta(1, 0.5, faces)
        runs = [[predictions(random.random(faces) < each) for _ in range(trainings)] for each in (a, b)]
        result = difference(*runs)
        widths.append(result.high - result.low)
    # The gain on a face varies with its two probabilities, and at random with each of the two trainings.
    variance_of_trainings = sum((each * (1 - each)).mean() for each in (a, b)) / trainings
    error = np.sqrt(((b - a).var() + variance_of_trainings) / faces)
    assert np.mean(widths) == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_difference_of_other_faces_raises():
    with pytest.raises(DataError, match="evaluate all networks on the same split"):
        difference([predictions(random_correct(0.7, 0))], [predictions(random_correct(0.7, 0), first=1)])


def test_recall_gains_of_each_class():
    correct = np.zeros(70, bool)
    better = correct.copy()
    better[[0, 7, 14]] = True  # three of the ten faces of class 0
    gains = recall_gains(predictions(correct), predictions(better))
    assert gains == pytest.approx({"angry": 0.3} | dict.fromkeys(list(gains)[1:], 0))


def test_compare_relates_each_network_to_the_first():
    a, b = predictions(random_correct(0.6, 1)), predictions(random_correct(0.8, 2))
    first, second = compare({"a": a, "b": b})
    assert first.difference is None
    assert second.difference == difference([a], [b])
    assert second.metrics["accuracy"] - first.metrics["accuracy"] == pytest.approx(second.difference.accuracy)
    assert set(second.recall_gains) == set(EXPRESSIONS)
    json.dumps([first.to_dict(), second.to_dict()])
    cells = [list(column.cells) for column in table([first, second]).columns]
    assert cells[0] == ["a", "b"]
    better = np.zeros(70, bool)
    better[0] = True
    compared = compare({"a": predictions(np.zeros(70, bool)), "b": predictions(better)})
    gains = [list(column.cells) for column in recall_table(compared).columns]
    assert gains[0] == ["a", "b"]
    assert gains[1] == ["0.0", "+10.0"]  # angry
    assert gains[2] == ["0.0", "+0.0"]
    result = second.difference
    assert cells[3] == ["", f"{result.accuracy:+.2%}\n{100 * result.low:+.2f} to {100 * result.high:+.2f}"]
