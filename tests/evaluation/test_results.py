"""The table of published results and the checks before a row is measured."""

from dataclasses import fields, replace

import pytest

from mien import config as configs
from mien.config import Config
from mien.errors import DataError
from mien.evaluation import results, tables
from mien.evaluation.results import Result


@pytest.fixture
def table(tmp_path):
    """A table with one row, of the default config on 70 faces of PublicTest."""
    values = dict.fromkeys((field.name for field in fields(Result)), 0.5) | {
        "network": "resnet18",
        "variant": "mini",
        "multiply_adds": 1,
        "config": "small",
        "seed": 0,
        "split": "public",
        "view": "single",
        "n": 70,
        "settings": configs.digest(Config()),
        "command": "mien evaluate runs/small",
    }
    tables.add(tmp_path / "results.csv", Result(**values))
    return tmp_path / "results.csv"


def test_check_table_accepts_the_same_config_and_new_names(table):
    longer = replace(Config(), training=replace(Config().training, epochs=90))
    results.check_table(table, "small", Config(), "public", 70)
    results.check_table(table, "longer", longer, "public", 70)
    results.check_table(table, "longer", longer, "private", 50)


def test_check_table_rejects_another_config_of_the_same_name(table):
    longer = replace(Config(), training=replace(Config().training, epochs=90))
    with pytest.raises(
        DataError, match=r"already has rows of another network named small, with the settings .* instead of .*: rename"
    ):
        results.check_table(table, "small", longer, "public", 70)


def test_check_table_rejects_another_number_of_faces(table):
    with pytest.raises(
        DataError, match=r"has a row for 70 faces of the split public, and this data has 69: choose another"
    ):
        results.check_table(table, "new", Config(), "public", 69)


def test_a_row_without_auc_has_an_empty_cell(table):
    (row,) = tables.load(table, Result)
    tables.add(table, replace(row, macro_auc=None))
    assert ",," in table.read_text()
    assert tables.load(table, Result)[0].macro_auc is None
