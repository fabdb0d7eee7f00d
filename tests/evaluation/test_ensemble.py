"""Ensembles average probabilities of the same faces."""

import numpy as np
import pytest

from mien.errors import ConfigError, DataError
from mien.evaluation.ensemble import ensemble
from mien.types import Predictions


def random_predictions(seed: int, n: int = 20) -> Predictions:
    logits = np.random.default_rng(seed).normal(size=(n, 7)).astype(np.float32) * 3
    return Predictions(np.arange(n), logits, np.arange(n) % 7)


def test_ensemble_has_the_mean_probabilities():
    members = [random_predictions(seed) for seed in range(3)]
    combined = ensemble(members)
    np.testing.assert_allclose(combined.probabilities, np.mean([m.probabilities for m in members], axis=0), atol=1e-6)
    assert np.array_equal(combined.targets, members[0].targets)


def test_ensemble_weighs_its_members():
    members = [random_predictions(seed) for seed in range(3)]
    combined = ensemble(members, [2, 1, 1])
    one, two, three = (member.probabilities for member in members)
    np.testing.assert_allclose(combined.probabilities, one / 2 + two / 4 + three / 4, atol=1e-6)


@pytest.mark.parametrize("weights", [[], [1], [1, 1, 1], [1, 0], [1, -1], [1, float("nan")], [1, float("inf")]])
def test_wrong_weights_raise(weights):
    with pytest.raises(ConfigError, match="an ensemble of 2 needs as many weights, each above 0, got "):
        ensemble([random_predictions(0), random_predictions(1)], weights)


def test_ensemble_of_one_has_its_probabilities():
    one = random_predictions(0)
    np.testing.assert_allclose(ensemble([one]).probabilities, one.probabilities, atol=1e-6)


def test_probabilities_of_zero_give_finite_logits():
    logits = np.zeros((7, 7), np.float32)
    logits[:, 0] = 1e4
    certain = Predictions(np.arange(7), logits, np.arange(7))
    assert np.isfinite(ensemble([certain, certain]).logits).all()


def test_different_faces_or_classes_raise():
    with pytest.raises(DataError, match="got 20 and 10 faces that differ"):
        ensemble([random_predictions(0), random_predictions(1, n=10)])
    other = random_predictions(0)
    renamed = Predictions(other.index, other.logits, other.targets, ("a", "b", "c", "d", "e", "f", "g"))
    with pytest.raises(DataError, match="differ in index, label or classes"):
        ensemble([other, renamed])
