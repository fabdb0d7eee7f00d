import json
import time
import warnings

import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.preprocessing import label_binarize

from mien.errors import ConfigError, DataError
from mien.evaluation import metrics
from mien.types import Predictions

CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
SHARES = np.array([491, 55, 528, 879, 594, 416, 626]) / 3589


def random_predictions(n=400, seed=0, steps=None, shares=SHARES):
    """Right more often than not; `steps` rounds the logits, so that many scores are tied."""
    random = np.random.default_rng(seed)
    targets = random.choice(7, size=n, p=shares)
    logits = random.normal(size=(n, 7)) * 1.5
    logits[np.arange(n), targets] += 2
    if steps:
        logits = np.round(logits * steps) / steps
    return Predictions(np.arange(n), logits.astype(np.float32), targets)


def without(k):
    shares = SHARES.copy()
    shares[k] = 0
    return shares / shares.sum()


def of_logits(logits, targets, classes):
    return Predictions(np.arange(len(targets)), np.array(logits, np.float32), np.array(targets, np.int64), classes)


def of_probabilities(probabilities, targets):
    probabilities = np.array(probabilities)
    return of_logits(np.log(probabilities), targets, CLASSES[: probabilities.shape[1]])


def scaled(sign):
    """Perfect predictions for 1, the worst for -1."""
    targets = np.repeat(np.arange(7), 5)
    return Predictions(np.arange(35), (sign * 9 * np.eye(7)[targets]).astype(np.float32), targets)


CASES = {
    "random": random_predictions(),
    "ties": random_predictions(seed=1, steps=1),
    "only ties": of_logits(np.zeros((30, 7)), np.arange(30) % 7, CLASSES),
    "a class missing from the targets": random_predictions(seed=2, steps=2, shares=without(1)),
    "a class missing from targets and claims": of_logits(
        random_predictions(seed=3, shares=without(1)).logits - 99 * np.eye(7)[1],
        random_predictions(seed=3, shares=without(1)).targets,
        CLASSES,
    ),
    "perfect": scaled(1),
    "worst": scaled(-1),
    "two classes": of_logits([[0, 1], [2, 0], [1, 1], [0, 3]], [1, 0, 1, 0], ("happy", "sad")),
}


@pytest.fixture(params=list(CASES), ids=list(CASES))
def predictions(request):
    return CASES[request.param]


def reference(predictions, rows=slice(None)):
    """All headline metrics but ECE as scikit-learn computes them."""
    targets, probabilities = predictions.targets[rows], predictions.probabilities[rows]
    said = predictions.logits[rows].argmax(axis=1)
    k = len(predictions.classes)
    aucs = class_aucs(targets, probabilities)
    hits = targets[:, None] == np.arange(k)
    return {
        "accuracy": sk.accuracy_score(targets, said),
        "macro_precision": sk.precision_score(targets, said, average="macro", zero_division=0),
        "macro_recall": sk.recall_score(targets, said, average="macro", zero_division=0),
        "macro_f1": sk.f1_score(targets, said, average="macro", zero_division=0),
        "macro_auc": np.nanmean(aucs),
        "micro_auc": sk.roc_auc_score(hits.ravel(), probabilities.ravel()),
        "nll": sk.log_loss(targets, probabilities, labels=range(k)),
    }


def class_aucs(targets, probabilities):
    aucs = []
    for k in range(probabilities.shape[1]):
        hits = targets == k
        aucs.append(sk.roc_auc_score(hits, probabilities[:, k]) if 0 < hits.sum() < len(hits) else np.nan)
    return aucs


def test_headline_metrics_are_those_of_scikit_learn(predictions):
    ours = metrics.evaluate(predictions, resamples=0)
    for name, value in reference(predictions).items():
        assert getattr(ours, name) == pytest.approx(value, abs=1e-12), name


def test_macro_and_micro_auc_are_those_of_scikit_learns_own_averages():
    predictions = CASES["ties"]
    ours = metrics.evaluate(predictions, resamples=0)
    probabilities, hits = predictions.probabilities, label_binarize(predictions.targets, classes=range(7))
    macro = sk.roc_auc_score(predictions.targets, probabilities, multi_class="ovr", average="macro")
    assert ours.macro_auc == pytest.approx(macro, abs=1e-12)
    assert ours.micro_auc == pytest.approx(sk.roc_auc_score(hits, probabilities, average="micro"), abs=1e-12)


def test_class_metrics_are_those_of_scikit_learn(predictions):
    ours = list(metrics.evaluate(predictions, resamples=0).classes.values())
    said, k = predictions.logits.argmax(axis=1), len(predictions.classes)
    theirs = sk.precision_recall_fscore_support(predictions.targets, said, labels=range(k), zero_division=0)
    for name, values in zip(("precision", "recall", "f1", "support"), theirs, strict=True):
        np.testing.assert_allclose([getattr(of_class, name) for of_class in ours], values, atol=1e-12, err_msg=name)
    aucs = class_aucs(predictions.targets, predictions.probabilities)
    np.testing.assert_allclose([of_class.auc for of_class in ours], aucs, atol=1e-12)


def test_the_confusion_matrix_is_that_of_scikit_learn(predictions):
    said, k = predictions.logits.argmax(axis=1), len(predictions.classes)
    theirs = sk.confusion_matrix(predictions.targets, said, labels=range(k))
    np.testing.assert_array_equal(metrics.evaluate(predictions, resamples=0).confusion, theirs)


def test_roc_curves_are_those_of_scikit_learn(predictions):
    ours = metrics.roc_curves(predictions)
    hits = predictions.targets[:, None] == np.arange(len(predictions.classes))
    pairs = [(ours.micro, hits.ravel(), predictions.probabilities.ravel())]
    for k, name in enumerate(predictions.classes):
        assert (name in ours.classes) == (0 < hits[:, k].sum() < len(hits))
        if name in ours.classes:
            pairs.append((ours.classes[name], hits[:, k], predictions.probabilities[:, k]))
    for curve, truth, scores in pairs:
        fpr, tpr, _ = sk.roc_curve(truth, scores, drop_intermediate=False)
        np.testing.assert_allclose(curve.fpr, fpr, atol=1e-12)
        np.testing.assert_allclose(curve.tpr, tpr, atol=1e-12)
        assert curve.auc == pytest.approx(sk.auc(fpr, tpr), abs=1e-12)


def test_the_macro_curve_is_the_mean_of_the_classes_curves_and_so_is_its_area(predictions):
    curves = metrics.roc_curves(predictions)
    between = np.random.default_rng(0).random(50)  # where no curve has a step
    mean = np.mean([np.interp(between, curve.fpr, curve.tpr) for curve in curves.classes.values()], axis=0)
    np.testing.assert_allclose(np.interp(between, curves.macro.fpr, curves.macro.tpr), mean, atol=1e-12)
    assert curves.macro.auc == pytest.approx(metrics.evaluate(predictions, resamples=0).macro_auc, abs=1e-12)
    for values in (curves.macro.fpr, curves.macro.tpr):
        assert values[0] == 0
        assert values[-1] == pytest.approx(1)
        assert (np.diff(values) > -1e-12).all()


def test_perfect_and_worst_predictions():
    perfect, worst = (metrics.evaluate(CASES[name], resamples=50) for name in ("perfect", "worst"))
    for name in ("accuracy", "macro_precision", "macro_recall", "macro_f1", "macro_auc", "micro_auc"):
        assert getattr(perfect, name) == 1
        assert perfect.intervals[name] == (1, 1)
        assert getattr(worst, name) == 0
    assert perfect.ece < 0.001 < perfect.ece + worst.ece
    assert worst.nll > 9


def test_a_class_absent_from_the_targets_has_no_auc_and_is_left_out_of_the_mean():
    ours = metrics.evaluate(CASES["a class missing from the targets"], resamples=20)
    assert np.isnan(ours.classes["disgust"].auc)
    assert ours.classes["disgust"].support == 0
    others = [of_class.auc for name, of_class in ours.classes.items() if name != "disgust"]
    assert ours.macro_auc == pytest.approx(np.mean(others))


def test_a_single_class_in_the_targets_has_no_auc_at_all_and_no_warning():
    predictions = of_logits([[1, 0], [0, 1], [2, 0]], [0, 0, 0], ("happy", "sad"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours = metrics.evaluate(predictions, resamples=20)
    assert np.isnan(ours.macro_auc)
    assert np.isnan(ours.intervals["macro_auc"]).all()
    assert ours.micro_auc == pytest.approx(sk.roc_auc_score([1, 0, 1, 0, 1, 0], predictions.probabilities.ravel()))
    assert metrics.roc_curves(predictions).macro is None


def test_the_calibration_error_by_hand():
    # Of fifteen bins 0.62 and 0.66 are in the tenth, (0.600, 0.667], 0.90 in the 14th and 0.97 in the 15th.
    predictions = of_probabilities([[0.62, 0.38], [0.66, 0.34], [0.10, 0.90], [0.97, 0.03]], [0, 1, 0, 0])
    expected = (2 * abs(1 / 2 - 0.64) + 1 * abs(0 - 0.90) + 1 * abs(1 - 0.97)) / 4
    assert expected == pytest.approx(0.3025)
    assert metrics.evaluate(predictions, resamples=0).ece == pytest.approx(expected, abs=1e-6)
    table = metrics.reliability(predictions)
    assert table.ece == pytest.approx(expected, abs=1e-6)
    assert table.counts.tolist() == [0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 1, 1]
    assert table.accuracy[[9, 13, 14]].tolist() == [0.5, 0, 1]
    np.testing.assert_allclose(table.confidence[[9, 13, 14]], [0.64, 0.90, 0.97], atol=1e-6)


def test_a_bin_holds_its_upper_edge_and_not_its_lower_one():
    table = metrics.reliability(of_logits([[0, 0], [0, 0]], [0, 1], ("happy", "sad")), bins=2)
    assert table.counts.tolist() == [2, 0]  # a half exactly
    assert np.isnan(table.accuracy[1])
    certain = metrics.reliability(of_logits([[999, 0]], [0], ("happy", "sad")))
    assert certain.counts[-1] == 1


def test_the_reliability_table_adds_up(predictions):
    table = metrics.reliability(predictions)
    filled = table.counts > 0
    share = table.counts[filled] / table.counts.sum()
    ours = metrics.evaluate(predictions, resamples=0)
    assert share @ table.accuracy[filled] == pytest.approx(ours.accuracy)
    assert share @ np.abs(table.accuracy[filled] - table.confidence[filled]) == pytest.approx(ours.ece, abs=1e-12)
    assert table.ece == pytest.approx(ours.ece, abs=1e-12)


def test_nll_stays_finite_where_the_probability_is_zero():
    assert metrics.evaluate(of_logits([[2000, 0]], [1], ("happy", "sad")), resamples=0).nll == 2000


def test_each_resample_has_the_metrics_of_its_faces():
    """The weighted forms against scikit-learn on faces that are really repeated."""
    predictions = random_predictions(n=60, steps=1)
    weights = next(metrics._resampled((60, 7), 25, seed=3))
    assert (weights.sum(axis=1) == 60).all()
    ours = metrics._headlines(predictions)(weights)
    for number, row in enumerate(weights):
        rows = np.repeat(np.arange(60), row)
        for name, value in reference(predictions, rows).items():
            assert ours[name][number] == pytest.approx(value, abs=1e-12), name
        again = Predictions(rows, predictions.logits[rows], predictions.targets[rows])
        assert ours["ece"][number] == pytest.approx(metrics.reliability(again).ece, abs=1e-12)


def test_intervals_depend_on_the_seed_alone():
    predictions = CASES["random"]
    first = metrics.evaluate(predictions, resamples=200, seed=5).intervals
    assert metrics.evaluate(predictions, resamples=200, seed=5).intervals == first
    assert metrics.evaluate(predictions, resamples=200, seed=6).intervals != first


def test_intervals_are_those_of_the_resampled_values():
    predictions = CASES["random"]
    weights = np.concatenate(list(metrics._resampled(predictions.logits.shape, 300, seed=0)))
    values = metrics._headlines(predictions)(weights)
    ours = metrics.evaluate(predictions, resamples=300).intervals
    assert set(ours) == set(metrics.HEADLINES)
    for name, interval in ours.items():
        assert interval == pytest.approx(np.percentile(values[name], [2.5, 97.5]), abs=1e-12)


def test_the_accuracy_interval_is_as_wide_as_the_binomial_one():
    ours = metrics.evaluate(random_predictions(n=2000), resamples=2000)
    low, high = ours.intervals["accuracy"]
    expected = 2 * 1.96 * np.sqrt(ours.accuracy * (1 - ours.accuracy) / 2000)
    assert high - low == pytest.approx(expected, rel=0.1)
    for name in ("accuracy", "macro_precision", "macro_recall", "macro_f1", "macro_auc", "micro_auc", "nll"):
        low, high = ours.intervals[name]
        assert low < getattr(ours, name) < high


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    large = metrics.evaluate(random_predictions(n=50_000, seed=99), resamples=0)
    covered = 0
    for seed in range(100):
        low, high = metrics.evaluate(random_predictions(n=300, seed=seed), resamples=200).intervals["macro_auc"]
        covered += low <= large.macro_auc <= high
    assert 85 <= covered <= 100


def test_the_dictionary_is_json_without_nan():
    ours = metrics.evaluate(CASES["a class missing from the targets"], resamples=10)
    read = json.loads(json.dumps(ours.to_dict(), allow_nan=False))
    assert read["n"] == 400
    assert read["classes"]["disgust"]["auc"] is None
    assert read["classes"]["happy"] == vars(ours.classes["happy"])
    assert read["confusion"] == ours.confusion.tolist()
    assert read["intervals"]["macro_f1"] == list(ours.intervals["macro_f1"])
    assert all(read[name] == getattr(ours, name) for name in metrics.HEADLINES)


def test_no_predictions_and_no_sense_are_refused():
    empty = Predictions(np.zeros(0, np.int64), np.zeros((0, 7), np.float32), np.zeros(0, np.int64))
    for compute in (metrics.evaluate, metrics.roc_curves, metrics.reliability):
        with pytest.raises(DataError, match="no predictions"):
            compute(empty)
    with pytest.raises(ConfigError, match="resamples must be 0 or more, got -1"):
        metrics.evaluate(CASES["random"], resamples=-1)
    with pytest.raises(DataError, match="two classes or more"):
        metrics.roc_curves(of_logits([[1.0]], [0], ("happy",)))


def test_a_split_of_fer2013_takes_seconds_at_most():
    predictions = random_predictions(n=3589)
    started = time.process_time()
    metrics.evaluate(predictions)
    assert time.process_time() - started < 10  # it takes about 0.3 s; a naive bootstrap takes minutes


def test_the_interval_of_the_accuracy_alone_is_nearly_that_of_all_metrics():
    predictions = random_predictions(2000)
    accuracy, low, high = metrics.accuracy_interval(predictions)
    whole = metrics.evaluate(predictions)
    assert accuracy == whole.accuracy
    assert (low, high) == pytest.approx(whole.intervals["accuracy"], abs=0.003)
    assert metrics.accuracy_interval(predictions) == (accuracy, low, high)
    with pytest.raises(DataError, match="no predictions to evaluate"):
        metrics.accuracy_interval(predictions.take(np.zeros(0, np.int64)))
