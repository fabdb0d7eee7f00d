"""The table of published results."""

import dataclasses

import numpy as np
import pytest

from mien.config import Config
from mien.errors import DataError
from mien.evaluation import results
from mien.evaluation.metrics import evaluate
from mien.types import Predictions


@pytest.fixture(scope="module")
def row():
    targets = np.arange(70) % 7
    logits = np.random.default_rng(5).normal(size=(70, 7)).astype(np.float32) + np.eye(7, dtype=np.float32)[targets]
    metrics = evaluate(Predictions(np.arange(70), logits, targets), resamples=50)
    return results.row(metrics, Config(), "small", "public", "single", "mien evaluate runs/small")


def test_a_row_says_what_was_measured_and_how(row):
    assert (row.network, row.variant, row.seed, row.n) == ("resnet18_masking_reconstruction", "small", 0, 70)
    assert row.accuracy_low < row.accuracy < row.accuracy_high
    assert row.macro_f1_low < row.macro_f1 < row.macro_f1_high


def test_rows_are_added_and_read_back(row, tmp_path):
    table = tmp_path / "new" / "results.csv"
    assert results.load(table) == []
    other = dataclasses.replace(row, split="private", accuracy=0.5)
    results.add(table, row)
    results.add(table, other)
    first, second = results.load(table)
    assert first.key == ("small", 0, "public", "single")
    assert first.accuracy == pytest.approx(row.accuracy, abs=5e-5)
    assert second.accuracy == 0.5


def test_measuring_again_replaces_the_row(row, tmp_path):
    table = tmp_path / "results.csv"
    for accuracy in (0.1, 0.2):
        results.add(table, dataclasses.replace(row, accuracy=accuracy))
    (only,) = results.load(table)
    assert only.accuracy == 0.2


def test_a_damaged_table_names_its_row_and_is_left_alone(row, tmp_path):
    table = tmp_path / "results.csv"
    results.add(table, row)
    text = table.read_text().replace(",70,", ",seventy,")
    table.write_text(text)
    with pytest.raises(DataError, match=r"row 2 of .*results\.csv is no result: .*seventy"):
        results.add(table, row)
    assert table.read_text() == text
