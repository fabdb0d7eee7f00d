"""Whether one network is better than another."""

import json

import numpy as np
import pytest

from mien.errors import DataError
from mien.evaluation.compare import compare, difference, recall_gains, recall_table, table
from mien.labels import EXPRESSIONS
from mien.types import Predictions

N = 1000


def predictions(right: np.ndarray, first: int = 0) -> Predictions:
    """Predictions that are right where `right` is."""
    targets = np.arange(len(right)) % 7
    said = np.where(right, targets, (targets + 1) % 7)
    return Predictions(np.arange(len(right)) + first, np.eye(7, dtype=np.float32)[said], targets)


def chance(share: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).random(N) < share


def test_a_network_does_not_differ_from_itself():
    same = predictions(chance(0.7, 0))
    found = difference([same], [same])
    assert (found.accuracy, found.low, found.high, found.p) == (0, 0, 0, 1)


def test_the_interval_is_that_of_paired_faces():
    """60 faces won and 30 lost of 1,000: a gain of 0.03 whose standard error is that of the gains by face."""
    right = np.zeros(N, bool)
    right[100:] = True
    better = right.copy()
    better[:60], better[100:130] = True, False
    found = difference([predictions(right)], [predictions(better)])
    error = np.sqrt((0.09 - 0.03**2) / N)
    assert found.accuracy == pytest.approx(0.03)
    assert found.low == pytest.approx(0.03 - 1.96 * error, abs=1.5e-3)
    assert found.high == pytest.approx(0.03 + 1.96 * error, abs=1.5e-3)
    assert found.p < 0.01


def test_noise_is_not_significant_and_a_large_gain_is():
    noise = difference([predictions(chance(0.7, 1))], [predictions(chance(0.7, 2))])
    assert noise.low < 0 < noise.high
    assert noise.p > 0.05
    gain = difference([predictions(chance(0.6, 1))], [predictions(chance(0.8, 2))])
    assert gain.low > 0.1
    assert gain.p == pytest.approx(1e-4)
    assert gain.p_said == "< 0.001"  # of ten thousand resamples none is on the other side, which is no number
    assert noise.p_said == f"= {noise.p:.2g}"


def test_several_trainings_count_by_their_mean():
    a = [predictions(chance(0.6, seed)) for seed in range(3)]
    b = [predictions(chance(0.7, seed + 3)) for seed in range(2)]
    expected = np.mean([(p.logits.argmax(1) == p.targets).mean() for p in b]) - np.mean(
        [(p.logits.argmax(1) == p.targets).mean() for p in a]
    )
    assert difference(a, b).accuracy == pytest.approx(expected)
    assert difference(b, a).accuracy == pytest.approx(-expected)


def test_trainings_that_differ_widen_the_interval():
    """Two networks alike, each trained four times, its accuracy 0.5 or 0.9 as it comes: no difference is to be seen."""
    shares = [0.5, 0.9, 0.5, 0.9]
    a = [predictions(chance(share, seed)) for seed, share in enumerate(shares)]
    b = [predictions(chance(share, seed + 4)) for seed, share in enumerate(shares)]
    found = difference(a, b)
    spread = np.sqrt(2 * np.var(shares, ddof=1) / 4)  # of the difference of two means of four
    assert found.high - found.low == pytest.approx(2 * 1.96 * spread, rel=0.15)
    alike = difference([predictions(chance(0.7, seed)) for seed in range(4)], b[:1] * 4)
    assert alike.high - alike.low < 0.08  # what is left where trainings agree is what other faces would change


def test_trainings_that_disagree_on_single_faces_are_not_counted_twice():
    """Each face is one that a training gets right with its own probability; no training is better than another."""
    faces, trainings, widths = 4000, 2, []
    for seed in range(5):
        random = np.random.default_rng(seed)
        a, b = random.beta(1, 0.5, faces), random.beta(1, 0.5, faces)
        runs = [[predictions(random.random(faces) < each) for _ in range(trainings)] for each in (a, b)]
        found = difference(*runs)
        widths.append(found.high - found.low)
    # A face's gain varies by its probabilities, and by the chance of each training, of which there are two.
    chance_of_trainings = sum((each * (1 - each)).mean() for each in (a, b)) / trainings
    error = np.sqrt(((b - a).var() + chance_of_trainings) / faces)
    assert np.mean(widths) == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_other_faces_are_refused():
    with pytest.raises(DataError, match="evaluate all on the same split"):
        difference([predictions(chance(0.7, 0))], [predictions(chance(0.7, 0), first=1)])


def test_which_classes_gain():
    right = np.zeros(70, bool)
    better = right.copy()
    better[[0, 7, 14]] = True  # three of the ten faces of class 0
    gains = recall_gains(predictions(right), predictions(better))
    assert gains == pytest.approx({"angry": 0.3} | dict.fromkeys(list(gains)[1:], 0))


def test_networks_are_set_beside_the_first():
    a, b = predictions(chance(0.6, 1)), predictions(chance(0.8, 2))
    first, second = compare({"a": a, "b": b})
    assert first.difference is None
    assert second.difference == difference([a], [b])
    assert second.metrics.accuracy - first.metrics.accuracy == pytest.approx(second.difference.accuracy)
    assert set(second.recall_gains) == set(EXPRESSIONS)
    json.dumps([first.to_dict(), second.to_dict()])
    cells = [list(column.cells) for column in table([first, second]).columns]
    assert cells[0] == ["a", "b"]
    better = np.zeros(70, bool)
    better[0] = True
    compared = compare({"a": predictions(np.zeros(70, bool)), "b": predictions(better)})
    gains = [list(column.cells) for column in recall_table(compared).columns]
    assert gains[0] == ["a", "b"]
    assert gains[1] == ["0.0", "+10.0"]  # of angry
    assert gains[2] == ["0.0", "+0.0"]
    found = second.difference
    assert cells[3] == ["", f"{found.accuracy:+.2%}\n{100 * found.low:+.2f} to {100 * found.high:+.2f}"]
