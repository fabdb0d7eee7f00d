"""Metrics and their intervals agree with scikit-learn, also on resampled faces."""

import json
import time
import warnings

import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.preprocessing import label_binarize

from mien.errors import ConfigError, DataError
from mien.evaluation import metrics
from mien.evaluation.bootstrap import accuracy_interval, draw_resamples
from mien.evaluation.reliability import reliability
from mien.evaluation.roc import roc_curves
from mien.types import Predictions

CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
PREVALENCES = np.array([491, 55, 528, 879, 594, 416, 626]) / 3589


def random_predictions(n=400, seed=0, steps=None, prevalences=PREVALENCES):
    """Predictions that are mostly correct; `steps` rounds the logits, so that many scores are tied."""
    random = np.random.default_rng(seed)
    targets = random.choice(7, size=n, p=prevalences)
    logits = random.normal(size=(n, 7)) * 1.5
    logits[np.arange(n), targets] += 2
    if steps:
        logits = np.round(logits * steps) / steps
    return Predictions(np.arange(n), logits.astype(np.float32), targets)


def without(k):
    prevalences = PREVALENCES.copy()
    prevalences[k] = 0
    return prevalences / prevalences.sum()


def of_logits(logits, targets, classes):
    return Predictions(np.arange(len(targets)), np.array(logits, np.float32), np.array(targets, np.int64), classes)


def of_probabilities(probabilities, targets):
    probabilities = np.array(probabilities)
    return of_logits(np.log(probabilities), targets, CLASSES[: probabilities.shape[1]])


def one_sided(sign):
    """All predictions are correct for sign 1, and all are wrong for -1."""
    targets = np.repeat(np.arange(7), 5)
    return Predictions(np.arange(35), (sign * 9 * np.eye(7)[targets]).astype(np.float32), targets)


CASES = {
    "random": random_predictions(),
    "ties": random_predictions(seed=1, steps=1),
    "only ties": of_logits(np.zeros((30, 7)), np.arange(30) % 7, CLASSES),
    "a class missing from the targets": random_predictions(seed=2, steps=2, prevalences=without(1)),
    "a class missing from targets and predictions": of_logits(
        random_predictions(seed=3, prevalences=without(1)).logits - 99 * np.eye(7)[1],
        random_predictions(seed=3, prevalences=without(1)).targets,
        CLASSES,
    ),
    "perfect": one_sided(1),
    "worst": one_sided(-1),
    "two classes": of_logits([[0, 1], [2, 0], [1, 1], [0, 3]], [1, 0, 1, 0], ("happy", "sad")),
}


@pytest.fixture(params=list(CASES), ids=list(CASES))
def predictions(request):
    return CASES[request.param]


def reference(predictions, rows=slice(None)):
    """All metrics except the ECE as scikit-learn computes them."""
    targets, probabilities = predictions.targets[rows], predictions.probabilities[rows]
    predicted = predictions.logits[rows].argmax(axis=1)
    k = len(predictions.classes)
    aucs = class_aucs(targets, probabilities)
    positive = targets[:, None] == np.arange(k)
    return {
        "accuracy": sk.accuracy_score(targets, predicted),
        "macro_precision": sk.precision_score(targets, predicted, average="macro", zero_division=0),
        "macro_recall": sk.recall_score(targets, predicted, average="macro", zero_division=0),
        "macro_f1": sk.f1_score(targets, predicted, average="macro", zero_division=0),
        "macro_auc": np.nanmean(aucs),
        "micro_auc": sk.roc_auc_score(positive.ravel(), probabilities.ravel()),
        "nll": sk.log_loss(targets, probabilities, labels=range(k)),
    }


def class_aucs(targets, probabilities):
    aucs = []
    for k in range(probabilities.shape[1]):
        positive = targets == k
        aucs.append(sk.roc_auc_score(positive, probabilities[:, k]) if 0 < positive.sum() < len(positive) else np.nan)
    return aucs


def test_metrics_equal_scikit_learn(predictions):
    ours = metrics.evaluate(predictions, resamples=0)
    for name, value in reference(predictions).items():
        assert ours[name] == pytest.approx(value, abs=1e-12), name


def test_macro_and_micro_auc_equal_scikit_learn_averages():
    predictions = CASES["ties"]
    ours = metrics.evaluate(predictions, resamples=0)
    probabilities, positive = predictions.probabilities, label_binarize(predictions.targets, classes=range(7))
    macro = sk.roc_auc_score(predictions.targets, probabilities, multi_class="ovr", average="macro")
    assert ours["macro_auc"] == pytest.approx(macro, abs=1e-12)
    assert ours["micro_auc"] == pytest.approx(sk.roc_auc_score(positive, probabilities, average="micro"), abs=1e-12)


def test_class_metrics_equal_scikit_learn(predictions):
    ours = list(metrics.evaluate(predictions, resamples=0).classes.values())
    predicted, k = predictions.logits.argmax(axis=1), len(predictions.classes)
    theirs = sk.precision_recall_fscore_support(predictions.targets, predicted, labels=range(k), zero_division=0)
    for name, values in zip(("precision", "recall", "f1", "support"), theirs, strict=True):
        np.testing.assert_allclose([getattr(of_class, name) for of_class in ours], values, atol=1e-12, err_msg=name)
    aucs = class_aucs(predictions.targets, predictions.probabilities)
    np.testing.assert_allclose([of_class.auc for of_class in ours], aucs, atol=1e-12)


def test_confusion_matrix_equals_scikit_learn(predictions):
    predicted, k = predictions.logits.argmax(axis=1), len(predictions.classes)
    theirs = sk.confusion_matrix(predictions.targets, predicted, labels=range(k))
    np.testing.assert_array_equal(metrics.evaluate(predictions, resamples=0).confusion, theirs)


def test_roc_curves_equal_scikit_learn(predictions):
    ours = roc_curves(predictions)
    positive = predictions.targets[:, None] == np.arange(len(predictions.classes))
    pairs = [(ours.micro, positive.ravel(), predictions.probabilities.ravel())]
    for k, name in enumerate(predictions.classes):
        assert (name in ours.classes) == (0 < positive[:, k].sum() < len(positive))
        if name in ours.classes:
            pairs.append((ours.classes[name], positive[:, k], predictions.probabilities[:, k]))
    for curve, truth, scores in pairs:
        fpr, tpr, _ = sk.roc_curve(truth, scores, drop_intermediate=False)
        np.testing.assert_allclose(curve.fpr, fpr, atol=1e-12)
        np.testing.assert_allclose(curve.tpr, tpr, atol=1e-12)
        assert curve.auc == pytest.approx(sk.auc(fpr, tpr), abs=1e-12)


def test_macro_curve_and_its_area_are_means_of_the_class_curves(predictions):
    curves = roc_curves(predictions)
    between = np.random.default_rng(0).random(50)  # where no curve has a step
    mean = np.mean([np.interp(between, curve.fpr, curve.tpr) for curve in curves.classes.values()], axis=0)
    np.testing.assert_allclose(np.interp(between, curves.macro.fpr, curves.macro.tpr), mean, atol=1e-12)
    assert curves.macro.auc == pytest.approx(metrics.evaluate(predictions, resamples=0)["macro_auc"], abs=1e-12)
    for values in (curves.macro.fpr, curves.macro.tpr):
        assert values[0] == 0
        assert values[-1] == pytest.approx(1)
        assert (np.diff(values) > -1e-12).all()


def test_perfect_predictions_score_one_and_wrong_ones_zero():
    perfect, worst = (metrics.evaluate(CASES[name], resamples=50) for name in ("perfect", "worst"))
    for name in ("accuracy", "macro_precision", "macro_recall", "macro_f1", "macro_auc", "micro_auc"):
        assert perfect[name] == 1
        assert perfect.intervals[name] == (1, 1)
        assert worst[name] == 0
    assert perfect["ece"] < 0.001 < perfect["ece"] + worst["ece"]
    assert worst["nll"] > 9


def test_absent_class_has_no_auc_and_does_not_count_in_the_macro_auc():
    ours = metrics.evaluate(CASES["a class missing from the targets"], resamples=20)
    assert np.isnan(ours.classes["disgust"].auc)
    assert ours.classes["disgust"].support == 0
    others = [of_class.auc for name, of_class in ours.classes.items() if name != "disgust"]
    assert ours["macro_auc"] == pytest.approx(np.mean(others))


def test_single_target_class_has_no_auc_and_raises_no_warning():
    predictions = of_logits([[1, 0], [0, 1], [2, 0]], [0, 0, 0], ("happy", "sad"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = metrics.evaluate(predictions, resamples=20)
    assert np.isnan(ours["macro_auc"])
    assert np.isnan(ours.intervals["macro_auc"]).all()
    assert ours["micro_auc"] == pytest.approx(sk.roc_auc_score([1, 0, 1, 0, 1, 0], predictions.probabilities.ravel()))
    assert roc_curves(predictions).macro is None


def test_ece_equals_a_value_computed_by_hand():
    # Of fifteen bins 0.62 and 0.66 are in the tenth, (0.600, 0.667], 0.90 in the 14th and 0.97 in the 15th.
    predictions = of_probabilities([[0.62, 0.38], [0.66, 0.34], [0.10, 0.90], [0.97, 0.03]], [0, 1, 0, 0])
    expected = (2 * abs(1 / 2 - 0.64) + 1 * abs(0 - 0.90) + 1 * abs(1 - 0.97)) / 4
    assert expected == pytest.approx(0.3025)
    assert metrics.evaluate(predictions, resamples=0)["ece"] == pytest.approx(expected, abs=1e-6)
    table = reliability(predictions)
    assert table.ece == pytest.approx(expected, abs=1e-6)
    assert table.counts.tolist() == [0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1, 1]
    assert table.accuracy[[9, 13, 14]].tolist() == [0.5, 0, 1]
    np.testing.assert_allclose(table.confidence[[9, 13, 14]], [0.64, 0.90, 0.97], atol=1e-6)


def test_bin_includes_its_upper_edge_only():
    table = reliability(of_logits([[0, 0], [0, 0]], [0, 1], ("happy", "sad")), bins=2)
    assert table.counts.tolist() == [2, 0]  # a half exactly
    assert np.isnan(table.accuracy[1])
    certain = reliability(of_logits([[999, 0]], [0], ("happy", "sad")))
    assert certain.counts[-1] == 1


def test_reliability_bins_add_up_to_accuracy_and_ece(predictions):
    table = reliability(predictions)
    filled = table.counts > 0
    fraction = table.counts[filled] / table.counts.sum()
    ours = metrics.evaluate(predictions, resamples=0)
    assert fraction @ table.accuracy[filled] == pytest.approx(ours["accuracy"])
    assert fraction @ np.abs(table.accuracy[filled] - table.confidence[filled]) == pytest.approx(ours["ece"], abs=1e-12)
    assert table.ece == pytest.approx(ours["ece"], abs=1e-12)


def test_nll_is_finite_when_a_probability_underflows():
    assert metrics.evaluate(of_logits([[2000, 0]], [1], ("happy", "sad")), resamples=0)["nll"] == 2000


def test_weighted_metrics_equal_those_of_repeated_faces():
    predictions = random_predictions(n=60, steps=1)
    weights = next(draw_resamples((60, 7), 25, seed=3))
    assert (weights.sum(axis=1) == 60).all()
    ours = {name: prepare(predictions)(weights) for name, prepare in metrics.METRICS.items()}
    for number, row in enumerate(weights):
        rows = np.repeat(np.arange(60), row)
        for name, value in reference(predictions, rows).items():
            assert ours[name][number] == pytest.approx(value, abs=1e-12), name
        assert ours["ece"][number] == pytest.approx(reliability(predictions.take(rows)).ece, abs=1e-12)


def test_intervals_repeat_with_the_same_seed():
    predictions = CASES["random"]
    first = metrics.evaluate(predictions, resamples=200, seed=5).intervals
    assert metrics.evaluate(predictions, resamples=200, seed=5).intervals == first
    assert metrics.evaluate(predictions, resamples=200, seed=6).intervals != first


def test_intervals_are_percentiles_of_the_resampled_values():
    predictions = CASES["random"]
    weights = np.concatenate(list(draw_resamples(predictions.logits.shape, 300, seed=0)))
    intervals = metrics.evaluate(predictions, resamples=300).intervals
    assert set(intervals) == set(metrics.METRICS)
    for name, ends in intervals.items():
        values = metrics.METRICS[name](predictions)(weights)
        assert ends == pytest.approx(np.percentile(values, [2.5, 97.5]), abs=1e-12)


def test_interval_of_accuracy_is_as_wide_as_the_binomial_one():
    ours = metrics.evaluate(random_predictions(n=2000), resamples=2000)
    low, high = ours.intervals["accuracy"]
    expected = 2 * 1.96 * np.sqrt(ours["accuracy"] * (1 - ours["accuracy"]) / 2000)
    assert high - low == pytest.approx(expected, rel=0.1)
    for name in ("accuracy", "macro_precision", "macro_recall", "macro_f1", "macro_auc", "micro_auc", "nll"):
        low, high = ours.intervals[name]
        assert low < ours[name] < high


def test_intervals_cover_the_true_value_about_95_times_in_100():
    large = metrics.evaluate(random_predictions(n=50_000, seed=99), resamples=0)
    covered = 0
    for seed in range(100):
        low, high = metrics.evaluate(random_predictions(n=300, seed=seed), resamples=200).intervals["macro_auc"]
        covered += low <= large["macro_auc"] <= high
    assert 85 <= covered <= 100


def test_to_dict_is_json_without_nan():
    ours = metrics.evaluate(CASES["a class missing from the targets"], resamples=10)
    read = json.loads(json.dumps(ours.to_dict(), allow_nan=False))
    assert read["n"] == 400
    assert read["classes"]["disgust"]["auc"] is None
    assert read["classes"]["happy"] == vars(ours.classes["happy"])
    assert read["confusion"] == ours.confusion.tolist()
    assert read["intervals"]["macro_f1"] == list(ours.intervals["macro_f1"])
    assert all(read[name] == ours[name] for name in metrics.METRICS)


def test_no_predictions_negative_resamples_and_one_class_raise():
    empty = Predictions(np.zeros(0, np.int64), np.zeros((0, 7), np.float32), np.zeros(0, np.int64))
    for compute in (metrics.evaluate, roc_curves, reliability):
        with pytest.raises(DataError, match="needs predictions of one face or more"):
            compute(empty)
    with pytest.raises(ConfigError, match="resamples must be 0 or more, got -1"):
        metrics.evaluate(CASES["random"], resamples=-1)
    with pytest.raises(DataError, match="two classes or more"):
        roc_curves(of_logits([[1.0]], [0], ("happy",)))


def test_evaluating_a_split_of_fer2013_takes_seconds():
    predictions = random_predictions(n=3589)
    started = time.process_time()
    metrics.evaluate(predictions)
    assert time.process_time() - started < 10  # it takes about 0.3 s; a naive bootstrap takes minutes


def test_accuracy_interval_is_close_to_the_one_of_evaluate():
    predictions = random_predictions(2000)
    accuracy, low, high = accuracy_interval(predictions)
    whole = metrics.evaluate(predictions)
    assert accuracy == whole["accuracy"]
    assert (low, high) == pytest.approx(whole.intervals["accuracy"], abs=0.003)
    assert accuracy_interval(predictions) == (accuracy, low, high)
    with pytest.raises(DataError, match="needs predictions of one face or more"):
        accuracy_interval(predictions.take(np.zeros(0, np.int64)))
