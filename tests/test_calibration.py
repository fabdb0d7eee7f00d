"""Tests of calibration: temperatures, threshold, risk and coverage, against independent computations."""

from dataclasses import replace

import numpy as np
import pytest
from scipy.optimize import minimize

from mien.calibration import (
    MAX_TEMPERATURE,
    MIN_TEMPERATURE,
    Calibration,
    fit_calibration,
    fit_temperatures,
    risk_coverage,
)
from mien.errors import ConfigError, DataError
from mien.evaluation.metrics import evaluate
from mien.types import Predictions, softmax


def sample_predictions(n: int = 4000, scale: float = 1.0, seed: int = 0) -> Predictions:
    """Targets drawn from the softmax of logits that are then multiplied by `scale`, the best temperature."""
    random = np.random.default_rng(seed)
    logits = random.normal(size=(n, 7)) * 2
    targets = (softmax(logits).cumsum(axis=1) < random.random((n, 1))).sum(axis=1)
    return Predictions(np.arange(n), (scale * logits).astype(np.float32), targets)


def two_classes(rows: list[tuple[float, bool]]) -> Predictions:
    """Predictions of two classes; each row is the probability of the first, and whether it is right."""
    first = np.array([probability for probability, _ in rows])
    logits = np.log(np.stack([first, 1 - first], axis=1)).astype(np.float32)
    targets = np.array([0 if right else 1 for _, right in rows])
    return Predictions(np.arange(len(rows)), logits, targets, ("a", "b"))


@pytest.mark.parametrize("scale", [0.3, 1.0, 4.0])
def test_fitted_temperatures_undo_the_scale_of_the_logits(scale):
    sure, unsure = fit_temperatures(sample_predictions(40_000, scale=scale))
    assert sure == pytest.approx(scale, rel=0.05)
    assert unsure == pytest.approx(scale, rel=0.2)  # few faces have such predictions


@pytest.mark.parametrize("scale", [0.3, 2.5])
def test_fitted_temperatures_minimise_the_negative_log_likelihood(scale):
    predictions = sample_predictions(300, scale=scale)
    logits = predictions.logits.astype(np.float64)

    def nll(log_temperatures: np.ndarray) -> float:
        uncalibrated = softmax(logits)
        entropy = -(uncalibrated * np.log(uncalibrated)).sum(axis=1, keepdims=True) / np.log(7)
        sure, unsure = np.exp(log_temperatures)
        probabilities = softmax(logits * ((1 - entropy) / sure + entropy / unsure))
        return float(-np.log(probabilities[np.arange(300), predictions.targets]).mean())

    expected = minimize(nll, np.zeros(2), method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-12}).x
    assert fit_temperatures(predictions) == pytest.approx(np.exp(expected), rel=1e-4)
    assert nll(np.log(fit_temperatures(predictions))) <= nll(expected) + 1e-12


def test_temperatures_stay_in_their_bounds_if_none_is_best():
    right = fit_temperatures(two_classes([(0.9, True), (0.8, True)]))
    assert all(MIN_TEMPERATURE <= temperature < 0.3 for temperature in right)  # any lower temperature is as good
    wrong = fit_temperatures(two_classes([(0.9, False), (0.8, False)]))
    assert wrong == pytest.approx((MAX_TEMPERATURE, MAX_TEMPERATURE))


@pytest.mark.parametrize("top", [3e3, 1e4, 1e5])
def test_extreme_logits_get_the_highest_temperature(top):
    """The curvature is a small difference of large numbers there, and once came out negative."""
    random = np.random.default_rng(0)
    logits = random.normal(size=(200, 7)) * top / 50
    predicted = random.integers(0, 7, 200)
    logits[np.arange(200), predicted] = top * random.uniform(0.8, 1.2, 200)
    targets = np.where(random.random(200) < 0.3, predicted, random.integers(0, 7, 200))
    temperature, _ = fit_temperatures(Predictions(np.arange(200), logits.astype(np.float32), targets))
    assert temperature == pytest.approx(MAX_TEMPERATURE)


@pytest.mark.parametrize("seed", range(8))
def test_three_faces_get_the_best_single_temperature(seed):
    predictions = sample_predictions(3, scale=0.5 + seed, seed=seed)
    sure, unsure = fit_temperatures(predictions)
    assert sure == unsure

    def nll(temperature: float) -> float:
        probabilities = softmax(predictions.logits.astype(np.float64) / temperature)
        return float(-np.log(probabilities[np.arange(3), predictions.targets]).mean())

    candidates = np.geomspace(MIN_TEMPERATURE, MAX_TEMPERATURE, 400)
    assert nll(sure) <= min(nll(temperature) for temperature in candidates) + 1e-6


def test_two_temperatures_halve_the_calibration_error_of_one():
    random = np.random.default_rng(0)
    logits = (random.normal(size=(20_000, 7)) * 3).astype(np.float32)
    probabilities = Calibration(0.7, 1.6).probabilities(logits)
    targets = (probabilities.cumsum(axis=1) < random.random((20_000, 1))).sum(axis=1)
    predictions = Predictions(np.arange(20_000), logits, targets)
    assert fit_temperatures(predictions) == pytest.approx((0.7, 1.6), rel=0.1)

    def error(temperature: float, temperature_unsure: float) -> float:
        scaled = Calibration(temperature, temperature_unsure).scale_logits(logits)
        return evaluate(replace(predictions, logits=scaled), resamples=0)["ece"]

    assert error(*fit_temperatures(predictions)) < min(error(t, t) for t in np.linspace(0.5, 1.5, 11)) / 2


def test_scaling_keeps_the_predicted_class():
    logits = sample_predictions(500).logits
    assert (Calibration(0.5, 3.0).scale_logits(logits).argmax(axis=1) == logits.argmax(axis=1)).all()
    assert Calibration(2.0, 2.0).scale_logits(logits) == pytest.approx(logits / 2, rel=1e-6)


def test_risk_and_coverage_of_five_faces():
    curve = risk_coverage(two_classes([(0.6, False), (0.9, True), (0.8, False), (0.7, True), (0.8, True)]))
    assert curve.coverage.tolist() == pytest.approx([0.2, 0.6, 0.8, 1.0])  # two faces have the same confidence
    assert curve.risk.tolist() == pytest.approx([0, 1 / 3, 1 / 4, 2 / 5])
    assert curve.confidence.tolist() == pytest.approx([0.9, 0.8, 0.7, 0.6])


@pytest.mark.parametrize("coverage", [0.1, 0.8, 1.0])
def test_threshold_gives_the_smallest_coverage_above_the_requested_one(coverage):
    predictions = sample_predictions(1000, scale=3.0)
    calibration = fit_calibration(predictions, coverage)
    probabilities = calibration.probabilities(predictions.logits)
    certain = ~calibration.is_uncertain(probabilities)
    assert certain.mean() == pytest.approx(calibration.coverage)
    assert coverage <= calibration.coverage < coverage + 0.002
    right = probabilities.argmax(axis=1) == predictions.targets
    assert calibration.accuracy == pytest.approx(right[certain].mean())
    assert calibration.faces == 1000


def test_default_calibration_marks_nothing_as_uncertain():
    logits = np.zeros((3, 7), np.float32)
    assert Calibration().probabilities(logits) == pytest.approx(np.full((3, 7), 1 / 7))
    assert not Calibration().is_uncertain(Calibration().probabilities(logits)).any()


def test_from_dict_reads_to_dict():
    calibration = fit_calibration(sample_predictions(200))
    assert Calibration.from_dict(calibration.to_dict()) == calibration


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        (None, "of temperature, temperature_unsure, uncertain_below, coverage, accuracy, faces, got None"),
        ({"temperature": 1.0}, "calibration must give a number for each of temperature"),
        (Calibration().to_dict() | {"temperature": "hot"}, "calibration must give a number for each of temperature"),
        (Calibration().to_dict() | {"temperature": 0}, "temperatures above 0"),
        (Calibration().to_dict() | {"temperature_unsure": -1}, "temperatures above 0"),
        (Calibration().to_dict() | {"uncertain_below": 1.5}, r"fractions in 0\.\.1"),
        (Calibration().to_dict() | {"temperature": float("nan")}, "temperatures above 0"),
    ],
)
def test_from_dict_names_an_invalid_field(stored, words):
    with pytest.raises(ValueError, match=words):
        Calibration.from_dict(stored)


def test_no_predictions_and_coverage_out_of_range_are_named():
    empty = Predictions(np.zeros(0, np.int64), np.zeros((0, 7), np.float32), np.zeros(0, np.int64))
    with pytest.raises(DataError, match="calibration needs predictions of one face or more"):
        fit_calibration(empty)
    with pytest.raises(DataError, match="risk and coverage need predictions of one face or more"):
        risk_coverage(empty)
    for coverage in (0, 1.01, float("nan")):
        with pytest.raises(ConfigError, match="coverage must be above 0 and at most 1"):
            fit_calibration(sample_predictions(10), coverage)
