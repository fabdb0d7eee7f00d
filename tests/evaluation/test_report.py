"""The folder of an evaluation, and what is read back from it."""

import io
import json

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from mien import predictions as prediction_files
from mien.data.dataset import FaceDataset
from mien.errors import DataError
from mien.evaluation import report
from mien.evaluation.metrics import HEADLINES, evaluate
from mien.types import Predictions

ABOUT = {"network": "tried", "split": "private", "view": "single", "weights": "1f", "data": "faces/fer2013.csv"}
LOG = [
    {
        "epoch": str(epoch),
        "train_loss": "1.5",
        "train_cross_entropy": "1.4",
        "train_reconstruction": "0.2",
        "train_margin": "0",
        "public_loss": "1.6",
        "public_accuracy": "0.4",
    }
    for epoch in (1, 2, 3)
]


@pytest.fixture(scope="module")
def predictions():
    random = np.random.default_rng(5)
    targets = np.repeat(np.arange(7), 10)
    logits = random.normal(size=(70, 7)).astype(np.float32) + 2 * np.eye(7, dtype=np.float32)[targets]
    return Predictions(np.arange(70), logits, targets)


def test_everything_is_written_and_read_back(predictions, tmp_path):
    folder = tmp_path / "evaluation" / "private-single"
    metrics = evaluate(predictions, resamples=20)
    report.write(folder, predictions, metrics, ABOUT, LOG)
    names = {path.name for path in folder.iterdir()}
    figures = {"roc.png", "confusion.png", "reliability.png", "risk-coverage.png", "loss.png", "reconstruction.png"}
    assert names == {"predictions.parquet", "metrics.json"} | figures  # no margin.png: its loss was 0 throughout
    assert np.array_equal(prediction_files.load(folder / "predictions.parquet").logits, predictions.logits)
    assert prediction_files.load_metadata(folder / "predictions.parquet") == ABOUT
    assert json.loads((folder / "metrics.json").read_text()) == ABOUT | metrics.to_dict()
    found = report.read_metrics(tmp_path / "evaluation", ABOUT["weights"], "fer2013.csv")
    assert found == {"private-single": {name: getattr(metrics, name) for name in ("n", *HEADLINES)}}


def test_evaluations_of_other_weights_or_data_are_not_read_back(predictions, tmp_path):
    report.write(tmp_path / "old", predictions, evaluate(predictions, resamples=20), ABOUT)
    assert report.read_metrics(tmp_path, "2e", "fer2013.csv") == {}
    assert report.read_metrics(tmp_path, "1f", "own.csv") == {}


def test_a_class_without_faces_has_no_figures():
    targets = np.arange(20) % 2
    found = evaluate(Predictions(np.arange(20), np.eye(3, dtype=np.float32)[targets], targets, ("a", "b", "c")))
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(report.table(found, ABOUT))
    (row,) = [line for line in console.export_text().splitlines() if "│ c " in line]
    assert [cell.strip() for cell in row.strip("│ ").split("│")] == ["c", "0", "-", "-", "-", "-"]


def test_a_model_without_a_log_has_no_loss_figures(predictions, tmp_path):
    report.write(tmp_path, predictions, evaluate(predictions, resamples=20), ABOUT)
    assert {path.stem for path in tmp_path.glob("*.png")} == {"roc", "confusion", "reliability", "risk-coverage"}


def test_the_sheet_shows_two_faces_a_class(predictions, tmp_path):
    rows = report.sheet_rows(predictions.targets, 7)
    assert np.array_equal(np.bincount(predictions.targets[rows]), [2] * 7)
    assert len(set(rows.tolist())) == 14
    assert np.array_equal(rows, report.sheet_rows(predictions.targets, 7))
    images = np.random.default_rng(0).integers(0, 256, (70, 48, 48), dtype=np.uint8)
    faces = FaceDataset(images, predictions.targets, np.full(70, 2, np.int8), predictions.index)
    masks = [np.random.default_rng(0).random((14, side, side), np.float32) for side in (24, 12)]
    report.write_sheet(tmp_path, predictions.take(rows), faces.take(rows), masks, ABOUT)
    with Image.open(tmp_path / "faces.png") as sheet:
        assert sheet.height > sheet.width  # a face a row


def test_the_sheet_takes_what_there_is():
    assert report.sheet_rows(np.array([0, 0, 0, 3]), 7).tolist().count(3) == 1
    assert len(report.sheet_rows(np.arange(100), 100)) <= 32


def test_damaged_metrics_are_named(tmp_path):
    (tmp_path / "private-single").mkdir()
    (tmp_path / "private-single" / "metrics.json").write_text('{"n": 3')
    with pytest.raises(DataError, match=r"private-single/metrics\.json is damaged .*; evaluate again"):
        report.read_metrics(tmp_path, "", "")


def test_no_log_no_rows(tmp_path):
    assert report.read_log(tmp_path / "log.csv") == []
