"""Temperature, threshold, risk and coverage, against what can be reckoned by other means."""

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from mien.calibration import COLDEST, HOTTEST, Calibration, best_temperature, calibrate, risk_coverage
from mien.errors import ConfigError, DataError
from mien.types import Predictions, softmax


def sampled(n: int = 4000, heat: float = 1.0, seed: int = 0) -> Predictions:
    """Targets drawn from the softmax of logits, which are then multiplied: their best temperature is that factor."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(n, 7)) * 2
    drawn = (softmax(logits).cumsum(axis=1) < random.random((n, 1))).sum(axis=1)
    return Predictions(np.arange(n), (heat * logits).astype(np.float32), drawn)


def few(rows: list[tuple[float, bool]]) -> Predictions:
    """Two classes; each row is the confidence in the first, and whether it is right."""
    first = np.array([share for share, _ in rows])
    logits = np.log(np.stack([first, 1 - first], axis=1)).astype(np.float32)
    targets = np.array([0 if right else 1 for _, right in rows])
    return Predictions(np.arange(len(rows)), logits, targets, ("a", "b"))


@pytest.mark.parametrize("heat", [0.3, 1.0, 4.0])
def test_the_temperature_is_what_logits_were_multiplied_by(heat):
    predictions = sampled(heat=heat)
    assert best_temperature(predictions) == pytest.approx(heat, rel=0.05)


def test_the_temperature_has_the_least_negative_log_likelihood():
    predictions = sampled(300, heat=2.5)

    def nll(log_temperature: float) -> float:
        probabilities = softmax(predictions.logits.astype(np.float64) / np.exp(log_temperature))
        return float(-np.log(probabilities[np.arange(300), predictions.targets]).mean())

    expected = np.exp(minimize_scalar(nll, bounds=(-3, 3), method="bounded", options={"xatol": 1e-9}).x)
    assert best_temperature(predictions) == pytest.approx(expected, rel=1e-5)


def test_where_no_temperature_is_best_it_stays_in_its_bounds():
    assert best_temperature(few([(0.9, True), (0.8, True)])) == pytest.approx(COLDEST)
    assert best_temperature(few([(0.9, False), (0.8, False)])) == pytest.approx(HOTTEST)


def test_risk_and_coverage_by_hand():
    curve = risk_coverage(few([(0.6, False), (0.9, True), (0.8, False), (0.7, True), (0.8, True)]))
    assert curve.coverage.tolist() == pytest.approx([0.2, 0.6, 0.8, 1.0])  # two faces are equally sure
    assert curve.risk.tolist() == pytest.approx([0, 1 / 3, 1 / 4, 2 / 5])
    assert curve.confidence.tolist() == pytest.approx([0.9, 0.8, 0.7, 0.6])


@pytest.mark.parametrize("coverage", [0.1, 0.8, 1.0])
def test_the_threshold_leaves_the_coverage_and_no_face_more(coverage):
    predictions = sampled(1000, heat=3.0)
    found = calibrate(predictions, coverage)
    probabilities = found.probabilities(predictions.logits)
    certain = ~found.uncertain(probabilities)
    assert certain.mean() == pytest.approx(found.coverage)
    assert coverage <= found.coverage < coverage + 0.002
    right = probabilities.argmax(axis=1) == predictions.targets
    assert found.accuracy == pytest.approx(right[certain].mean())
    assert found.faces == 1000


def test_nothing_is_uncertain_without_a_calibration():
    logits = np.zeros((3, 7), np.float32)
    assert Calibration().probabilities(logits) == pytest.approx(np.full((3, 7), 1 / 7))
    assert not Calibration().uncertain(Calibration().probabilities(logits)).any()


def test_it_is_stored_and_read_back():
    calibration = calibrate(sampled(200))
    assert Calibration.from_dict(calibration.to_dict()) == calibration


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        (None, "must give temperature, uncertain_below, coverage, accuracy, faces, got None"),
        ({"temperature": 1.0}, "must give temperature"),
        (Calibration().to_dict() | {"temperature": "hot"}, "must be of numbers"),
        (Calibration().to_dict() | {"temperature": 0}, "temperature above 0"),
        (Calibration().to_dict() | {"uncertain_below": 1.5}, r"shares in 0\.\.1"),
        (Calibration().to_dict() | {"temperature": float("nan")}, "temperature above 0"),
    ],
)
def test_what_is_no_calibration_is_refused(stored, words):
    with pytest.raises(ValueError, match=words):
        Calibration.from_dict(stored)


def test_impossible_asks_are_one_sentence():
    nothing = Predictions(np.zeros(0, np.int64), np.zeros((0, 7), np.float32), np.zeros(0, np.int64))
    with pytest.raises(DataError, match="no predictions to calibrate on"):
        calibrate(nothing)
    with pytest.raises(DataError, match="no predictions to draw risk and coverage of"):
        risk_coverage(nothing)
    for coverage in (0, 1.01, float("nan")):
        with pytest.raises(ConfigError, match="coverage must be above 0 and at most 1"):
            calibrate(sampled(10), coverage)
