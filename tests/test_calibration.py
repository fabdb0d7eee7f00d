"""Temperatures, threshold, risk and coverage, against what can be reckoned by other means."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize

from mien.calibration import COLDEST, HOTTEST, Calibration, best_temperatures, calibrate, risk_coverage
from mien.errors import ConfigError, DataError
from mien.evaluation.metrics import evaluate
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
def test_the_temperatures_are_what_logits_were_multiplied_by(heat):
    sure, unsure = best_temperatures(sampled(40_000, heat=heat))
    assert sure == pytest.approx(heat, rel=0.05)
    assert unsure == pytest.approx(heat, rel=0.2)  # few faces are near it


@pytest.mark.parametrize("heat", [0.3, 2.5])
def test_the_temperatures_have_the_least_negative_log_likelihood(heat):
    predictions = sampled(300, heat=heat)
    logits = predictions.logits.astype(np.float64)

    def nll(log_temperatures: np.ndarray) -> float:
        shares = softmax(logits)
        unsure = -(shares * np.log(shares)).sum(axis=1, keepdims=True) / np.log(7)
        sure_t, unsure_t = np.exp(log_temperatures)
        probabilities = softmax(logits * ((1 - unsure) / sure_t + unsure / unsure_t))
        return float(-np.log(probabilities[np.arange(300), predictions.targets]).mean())

    expected = minimize(nll, np.zeros(2), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12}).x
    assert best_temperatures(predictions) == pytest.approx(np.exp(expected), rel=1e-4)
    assert nll(np.log(best_temperatures(predictions))) <= nll(expected) + 1e-12


def test_where_no_temperature_is_best_it_stays_in_its_bounds():
    right = best_temperatures(few([(0.9, True), (0.8, True)]))
    assert all(COLDEST <= temperature < 0.3 for temperature in right)  # anything so cold is as good
    assert best_temperatures(few([(0.9, False), (0.8, False)])) == pytest.approx((HOTTEST, HOTTEST))


@pytest.mark.parametrize("top", [3e3, 1e4, 1e5])
def test_a_network_that_says_one_class_with_all_its_weight_is_cooled(top):
    """The curvature is a small difference of large numbers there, and was negative."""
    random = np.random.default_rng(0)
    logits = random.normal(size=(200, 7)) * top / 50
    said = random.integers(0, 7, 200)
    logits[np.arange(200), said] = top * random.uniform(0.8, 1.2, 200)
    targets = np.where(random.random(200) < 0.3, said, random.integers(0, 7, 200))
    found = best_temperatures(Predictions(np.arange(200), logits.astype(np.float32), targets))
    assert found[0] == pytest.approx(HOTTEST)


@pytest.mark.parametrize("seed", range(8))
def test_few_faces_have_the_best_single_temperature(seed):
    predictions = sampled(3, heat=0.5 + seed, seed=seed)
    sure, unsure = best_temperatures(predictions)
    assert sure == unsure

    def nll(temperature: float) -> float:
        probabilities = softmax(predictions.logits.astype(np.float64) / temperature)
        return float(-np.log(probabilities[np.arange(3), predictions.targets]).mean())

    assert nll(sure) <= min(nll(temperature) for temperature in np.geomspace(COLDEST, HOTTEST, 400)) + 1e-6


def test_one_that_is_too_modest_when_sure_and_too_sure_when_not_is_set_right():
    random = np.random.default_rng(0)
    logits = (random.normal(size=(20_000, 7)) * 3).astype(np.float32)
    drawn = (softmax(Calibration(0.7, 1.6).scale_logits(logits)).cumsum(axis=1) < random.random((20_000, 1))).sum(
        axis=1
    )
    predictions = Predictions(np.arange(20_000), logits, drawn)
    assert best_temperatures(predictions) == pytest.approx((0.7, 1.6), rel=0.1)

    def error(temperature: float, temperature_unsure: float) -> float:
        scaled = Calibration(temperature, temperature_unsure).scale_logits(logits)
        return evaluate(replace(predictions, logits=scaled), resamples=0)["ece"]

    assert error(*best_temperatures(predictions)) < min(error(t, t) for t in np.linspace(0.5, 1.5, 11)) / 2


def test_the_answer_stays_the_answer():
    logits = sampled(500).logits
    assert (Calibration(0.5, 3.0).scale_logits(logits).argmax(axis=1) == logits.argmax(axis=1)).all()
    assert Calibration(2.0, 2.0).scale_logits(logits) == pytest.approx(logits / 2, rel=1e-6)


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
    certain = ~found.is_uncertain(probabilities)
    assert certain.mean() == pytest.approx(found.coverage)
    assert coverage <= found.coverage < coverage + 0.002
    right = probabilities.argmax(axis=1) == predictions.targets
    assert found.accuracy == pytest.approx(right[certain].mean())
    assert found.faces == 1000


def test_nothing_is_uncertain_without_a_calibration():
    logits = np.zeros((3, 7), np.float32)
    assert Calibration().probabilities(logits) == pytest.approx(np.full((3, 7), 1 / 7))
    assert not Calibration().is_uncertain(Calibration().probabilities(logits)).any()


def test_it_is_stored_and_read_back():
    calibration = calibrate(sampled(200))
    assert Calibration.from_dict(calibration.to_dict()) == calibration


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        (None, "of temperature, temperature_unsure, uncertain_below, coverage, accuracy, faces, got None"),
        ({"temperature": 1.0}, "calibration must give a number for each of temperature"),
        (Calibration().to_dict() | {"temperature": "hot"}, "calibration must give a number for each of temperature"),
        (Calibration().to_dict() | {"temperature": 0}, "temperatures above 0"),
        (Calibration().to_dict() | {"temperature_unsure": -1}, "temperatures above 0"),
        (Calibration().to_dict() | {"uncertain_below": 1.5}, r"shares in 0\.\.1"),
        (Calibration().to_dict() | {"temperature": float("nan")}, "temperatures above 0"),
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
