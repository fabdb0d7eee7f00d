"""Several predictions of the same faces as one."""

import numpy as np
import pytest

from mien.errors import ConfigError, DataError
from mien.evaluation.ensemble import ensemble
from mien.types import Predictions


def made(seed: int, n: int = 20) -> Predictions:
    logits = np.random.default_rng(seed).normal(size=(n, 7)).astype(np.float32) * 3
    return Predictions(np.arange(n), logits, np.arange(n) % 7)


def test_it_is_the_mean_of_probabilities():
    members = [made(seed) for seed in range(3)]
    together = ensemble(members)
    np.testing.assert_allclose(together.probabilities, np.mean([m.probabilities for m in members], axis=0), atol=1e-6)
    assert np.array_equal(together.targets, members[0].targets)


def test_members_count_as_they_are_weighed():
    members = [made(seed) for seed in range(3)]
    together = ensemble(members, [2, 1, 1])
    one, two, three = (member.probabilities for member in members)
    np.testing.assert_allclose(together.probabilities, one / 2 + two / 4 + three / 4, atol=1e-6)


@pytest.mark.parametrize("weights", [[], [1], [1, 1, 1], [1, 0], [1, -1], [1, float("nan")], [1, float("inf")]])
def test_other_weights_are_refused(weights):
    with pytest.raises(ConfigError, match="an ensemble of 2 takes as many weights, each above 0, got "):
        ensemble([made(0), made(1)], weights)


def test_of_one_it_is_itself():
    one = made(0)
    np.testing.assert_allclose(ensemble([one]).probabilities, one.probabilities, atol=1e-6)


def test_probabilities_of_0_stay_finite():
    logits = np.zeros((7, 7), np.float32)
    logits[:, 0] = 1e4
    sure = Predictions(np.arange(7), logits, np.arange(7))
    assert np.isfinite(ensemble([sure, sure]).logits).all()


def test_other_faces_and_other_classes_are_refused():
    with pytest.raises(DataError, match="20 and 10 faces"):
        ensemble([made(0), made(1, n=10)])
    other = made(0)
    renamed = Predictions(other.index, other.logits, other.targets, ("a", "b", "c", "d", "e", "f", "g"))
    with pytest.raises(DataError, match="other classes"):
        ensemble([other, renamed])
