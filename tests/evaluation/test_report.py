"""The parts of an evaluation folder: training curves, the faces of the sheet, stored metrics, and the table."""

import io
import json

import numpy as np
import pytest
from rich.console import Console

from mien.errors import DataError
from mien.evaluation import report
from mien.evaluation.metrics import METRICS, evaluate
from mien.types import Predictions

DESCRIPTION = {"network": "small", "split": "private", "view": "single", "weights": "1f", "data": "faces/fer2013.csv"}


def predictions_of(targets, classes):
    logits = np.eye(len(classes), dtype=np.float32)[targets]
    return Predictions(np.arange(len(targets)), logits, np.asarray(targets), classes)


def table_rows(metrics):
    """The cells of the printed table by the first cell of each row."""
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(report.table(metrics, DESCRIPTION))
    lines = [line.strip("│ ").split("│") for line in console.export_text().splitlines() if "│" in line]
    return {cells[0].strip(): [cell.strip() for cell in cells[1:]] for cells in lines}


def test_table_has_dashes_for_a_class_without_faces():
    rows = table_rows(evaluate(predictions_of(np.arange(20) % 2, ("a", "b", "c"))))
    assert rows["c"] == ["0", "-", "-", "-", "-"]
    assert rows["a"] == ["10", "1.000", "1.000", "1.000", "1.000"]


def test_table_has_dashes_for_the_auc_of_a_single_class():
    rows = table_rows(evaluate(predictions_of([0, 0, 0], ("a", "b")), resamples=20))
    assert rows["macro auc"] == ["-", "-"]
    assert rows["a"] == ["3", "1.000", "1.000", "1.000", "-"]
    assert not any("nan" in cell for cells in rows.values() for cell in cells)


def test_read_metrics_returns_the_evaluations_of_these_weights_and_data(tmp_path):
    metrics = evaluate(predictions_of(np.arange(20) % 2, ("a", "b")), resamples=20)
    (tmp_path / "private-single").mkdir()
    (tmp_path / "private-single" / "metrics.json").write_text(json.dumps(DESCRIPTION | metrics.to_dict()))
    stored = report.read_metrics(tmp_path, "1f", "fer2013.csv")
    assert stored == {"private-single": {"n": 20} | {name: metrics[name] for name in METRICS}}
    assert report.read_metrics(tmp_path, "2e", "fer2013.csv") == {}
    assert report.read_metrics(tmp_path, "1f", "own.csv") == {}


def test_read_metrics_names_a_damaged_file(tmp_path):
    (tmp_path / "private-single").mkdir()
    (tmp_path / "private-single" / "metrics.json").write_text('{"n": 3')
    with pytest.raises(DataError, match=r"private-single/metrics\.json is damaged .*: run mien evaluate again"):
        report.read_metrics(tmp_path, "", "")


def test_sheet_rows_are_two_faces_of_each_of_seven_classes():
    targets = np.repeat(np.arange(7), 10)
    rows = report.sheet_rows(targets, 7)
    assert np.array_equal(np.bincount(targets[rows]), [2] * 7)
    assert len(set(rows.tolist())) == 14
    assert np.array_equal(rows, report.sheet_rows(targets, 7))


def test_sheet_rows_of_few_faces_or_many_classes_are_limited():
    assert report.sheet_rows(np.array([0, 0, 0, 3]), 7).tolist().count(3) == 1
    assert len(report.sheet_rows(np.arange(100), 100)) <= 32


def test_read_log_without_a_file_is_empty(tmp_path):
    assert report.read_log(tmp_path / "log.csv") == []
