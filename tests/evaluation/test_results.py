"""The table of published results."""

from dataclasses import replace

import numpy as np
import pytest

from mien.config import Config
from mien.errors import DataError
from mien.evaluation import results, tables
from mien.evaluation.metrics import evaluate
from mien.networks import registry
from mien.types import Predictions


@pytest.fixture(scope="module")
def row():
    targets = np.arange(70) % 7
    logits = np.random.default_rng(5).normal(size=(70, 7)).astype(np.float32) + np.eye(7, dtype=np.float32)[targets]
    metrics = evaluate(Predictions(np.arange(70), logits, targets), resamples=50)
    return results.row(metrics, Config(), "small", "public", "single", "mien evaluate runs/small")


def test_a_row_says_what_was_measured_and_how(row):
    assert (row.network, row.variant, row.seed, row.n) == ("resnet18_masking_reconstruction", "small", 0, 70)
    assert row.multiply_adds == registry.find(row.network, row.variant).multiply_adds
    assert row.accuracy_low < row.accuracy < row.accuracy_high
    assert row.macro_f1_low < row.macro_f1 < row.macro_f1_high


def test_rows_of_another_network_of_that_name_are_not_replaced(row, tmp_path):
    table = tmp_path / "results.csv"
    tables.add(table, row)
    results.check_same_network(table, Config(), "small")
    longer = replace(Config(), training=replace(Config().training, epochs=90))
    results.check_same_network(table, longer, "longer")
    with pytest.raises(DataError, match=r"has rows of another network that is called small .* rename"):
        results.check_same_network(table, longer, "small")
