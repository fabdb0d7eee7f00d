"""An evaluation: its predictions and metrics, its folder, and its row in a table of results."""

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from mien import predictions as prediction_files
from mien.calibration import Calibration
from mien.config import Config
from mien.data.dataset import FaceDataset
from mien.errors import DataError
from mien.evaluation import report
from mien.evaluation.evaluation import Evaluation
from mien.evaluation.metrics import METRICS, evaluate
from mien.networks import registry
from mien.preprocess import Preprocessing

pytestmark = pytest.mark.figure

FIGURES = {"roc.png", "confusion.png", "reliability.png", "risk-coverage.png", "faces.png"}
LOG = [
    {
        "epoch": str(epoch),
        "train_loss": "1.5",
        "train_cross_entropy": "1.4",
        "train_reconstruction": "0.2",
        "train_margin": "0",
        "train_distillation": "0.3",
        "public_loss": "1.6",
        "public_accuracy": "0.4",
    }
    for epoch in (1, 2, 3)
]


class NoisyModel:
    """A model for random faces of 16 pixels that is correct more often than not."""

    title, digest, config = "resnet18_masking_reconstruction small", "1f", Config()
    preprocessing = Preprocessing(size=16)
    calibration = Calibration(temperature=1.2, uncertain_below=0.4, coverage=0.8, faces=70)

    def __init__(self, classes, targets):
        self.classes, self.targets = classes, targets

    def logits(self, images):
        k = len(self.classes)
        noise = np.random.default_rng(5).normal(size=(len(images), k)).astype(np.float32)
        return noise + 2 * np.eye(k, dtype=np.float32)[self.targets]

    def masks(self, images):
        return (np.random.default_rng(0).random((len(images), 8, 8), np.float32),)


def make_evaluation(classes=7, n=28):
    names = tuple(f"class {k}" for k in range(classes))
    targets = np.arange(n) % classes
    images = np.random.default_rng(0).integers(0, 256, (n, 16, 16), np.uint8)
    faces = FaceDataset(images, targets, np.full(n, 2, np.int8), np.arange(n), classes=names)
    return Evaluation.run(NoisyModel(names, targets), "runs/mine", "faces/fer2013.csv", faces, "private")


@pytest.fixture(scope="module")
def evaluation():
    return make_evaluation()


def test_run_computes_calibrated_predictions_and_their_metrics(evaluation):
    raw = evaluation.model.logits(evaluation.faces.images)
    np.testing.assert_array_equal(evaluation.predictions.logits, evaluation.model.calibration.scale_logits(raw))
    assert evaluation.metrics.to_dict() == evaluate(evaluation.predictions).to_dict()


@pytest.mark.parametrize("classes", [2, 3, 8])
def test_write_makes_every_file_for_other_numbers_of_classes(tmp_path, classes):
    evaluation = make_evaluation(classes, 16)
    evaluation.write(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"predictions.parquet", "metrics.json"} | FIGURES
    metrics = json.loads((tmp_path / "metrics.json").read_text())
    assert len(metrics["classes"]) == classes
    assert 0.5 < metrics["macro_auc"] <= 1


def test_write_stores_predictions_metrics_and_description(evaluation, tmp_path):
    folder = tmp_path / "evaluation" / "private-single"
    evaluation.write(folder, LOG)
    curves = {"loss.png", "reconstruction.png", "distillation.png"}  # the margin loss is 0 throughout
    assert {path.name for path in folder.iterdir()} == {"predictions.parquet", "metrics.json"} | FIGURES | curves
    stored = prediction_files.load(folder / "predictions.parquet")
    np.testing.assert_array_equal(stored.logits, evaluation.predictions.logits)
    assert prediction_files.load_metadata(folder / "predictions.parquet") == evaluation.description
    assert json.loads((folder / "metrics.json").read_text()) == evaluation.to_dict()
    with Image.open(folder / "faces.png") as sheet:
        assert sheet.height > sheet.width  # one row per face


def test_to_dict_has_the_keys_of_evaluate_json(evaluation):
    description = {
        "model": "runs/mine",
        "network": "resnet18_masking_reconstruction small",
        "data": "faces/fer2013.csv",
        "split": "private",
        "view": "single",
        "weights": "1f",
        "temperature": 1.2,
        "temperature_unsure": 1.0,
        "uncertain_below": 0.4,
    }
    keys = (*description, "n", *METRICS, "intervals", "classes", "confusion", "resamples")
    assert tuple(evaluation.to_dict()) == keys
    assert evaluation.description == description


def test_a_new_metric_is_one_row_of_metrics(evaluation, tmp_path, monkeypatch):
    """The value, its interval, metrics.json and the table follow from the row."""

    def error_rate(predictions):
        wrong = 1.0 - predictions.correct
        return lambda weights: weights @ wrong / weights.sum(axis=1)

    monkeypatch.setitem(METRICS, "error_rate", error_rate)
    extended = replace(evaluation, metrics=evaluate(evaluation.predictions))
    assert extended.metrics["error_rate"] == pytest.approx(1 - extended.metrics["accuracy"])
    extended.write(tmp_path / "private-single")
    stored = json.loads((tmp_path / "private-single" / "metrics.json").read_text())
    assert stored["error_rate"] == extended.metrics["error_rate"]
    assert stored["intervals"]["error_rate"][0] < stored["error_rate"] < stored["intervals"]["error_rate"][1]
    assert "error_rate" in report.read_metrics(tmp_path, "1f", "fer2013.csv")["private-single"]
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(extended.table())
    assert "error rate" in console.export_text()


def test_published_predictions_give_the_same_row(evaluation, tmp_path):
    path = tmp_path / "predictions" / "mine.parquet"
    evaluation.publish_predictions(path)
    published = replace(evaluation, metrics=evaluate(prediction_files.load(path)))
    rows = [each.row("mine", "").__dict__ for each in (evaluation, published)]
    printed = [{k: f"{v:.4f}" if isinstance(v, float) else v for k, v in row.items()} for row in rows]
    assert printed[0] == printed[1]


def test_row_holds_network_metrics_and_command(evaluation):
    row = evaluation.row("mine", "mien evaluate runs/mine")
    assert (row.network, row.variant, row.seed, row.n) == ("resnet18_masking_reconstruction", "small", 0, 28)
    assert (row.config, row.split, row.view, row.command) == ("mine", "private", "single", "mien evaluate runs/mine")
    assert row.multiply_adds == registry.find(row.network, row.variant).multiply_adds
    assert row.accuracy_low < row.accuracy < row.accuracy_high
    assert row.macro_f1_low < row.macro_f1 < row.macro_f1_high


def test_row_of_a_single_class_has_no_auc():
    model = NoisyModel(("a", "b"), np.zeros(20, np.int64))
    faces = FaceDataset(
        np.zeros((20, 16, 16), np.uint8), model.targets, np.full(20, 2, np.int8), np.arange(20), classes=model.classes
    )
    assert Evaluation.run(model, "mine", "faces", faces, "private").row("mine", "").macro_auc is None


def test_run_without_faces_raises():
    with pytest.raises(DataError, match="needs predictions of one face or more, got none"):
        make_evaluation(n=0)
