"""Tests of the files of predictions."""

import re
import subprocess
import sys

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from mien import predictions as files
from mien.errors import DataError, MissingExtraError
from mien.types import Predictions, softmax


def some(n=50, classes=("happy", "sad", "very neutral")):
    random = np.random.default_rng(0)
    logits = random.normal(size=(n, len(classes))).astype(np.float32) * 1e3
    logits[: min(n, 1), 0] = np.nextafter(np.float32(1), np.float32(2))  # checks the last bit, too
    targets = random.integers(len(classes), size=n)
    return Predictions(random.permutation(n) + 7, logits, targets, classes)


@pytest.mark.parametrize("n", [0, 1, 50])
def test_load_returns_what_save_wrote_exactly(tmp_path, n):
    path = tmp_path / "private.parquet"
    before = some(n)
    files.save(before, path, {"network": "resnet18", "seed": 3})
    after = files.load(path)
    assert after.classes == before.classes
    for name in ("index", "logits", "targets"):
        left, right = getattr(before, name), getattr(after, name)
        assert left.dtype == right.dtype
        np.testing.assert_array_equal(left, right)
    assert files.load_metadata(path) == {"network": "resnet18", "seed": 3}


@pytest.mark.parametrize("n", [0, 1, 50])
def test_half_keeps_index_targets_and_predicted_classes(tmp_path, n):
    path = tmp_path / "private.parquet"
    before = some(n)
    files.save(before, path, {}, half=True)
    after = files.load(path)
    assert after.logits.dtype == np.float32
    np.testing.assert_array_equal(before.index, after.index)
    np.testing.assert_array_equal(before.targets, after.targets)
    np.testing.assert_array_equal(before.logits.argmax(axis=1), after.logits.argmax(axis=1))
    assert {str(kind) for kind in parquet.ParquetFile(path).schema_arrow.types} == {"int64", "halffloat"}


@pytest.mark.parametrize("classes", [1, 2, 7, 100])
@pytest.mark.parametrize("scale", [0.0, 1e-4, 1.0, 5.0, 1e3, 1e30])
def test_half_logits_keep_classes_and_confidences(classes, scale):
    logits = (np.random.default_rng(0).normal(size=(2000, classes)) * scale).astype(np.float32)
    half = files.half_logits(logits).astype(np.float32)
    np.testing.assert_array_equal(half.argmax(axis=1), logits.argmax(axis=1))
    exact, rounded = softmax(logits), softmax(half)
    np.testing.assert_allclose(rounded.max(axis=1), exact.max(axis=1), rtol=0, atol=1e-4)
    np.testing.assert_allclose(rounded, exact, rtol=0, atol=2e-4)


def test_half_takes_half_the_bytes(tmp_path):
    for half in (False, True):
        files.save(some(3000), tmp_path / f"{half}.parquet", {}, half)
    assert (tmp_path / "True.parquet").stat().st_size < 0.6 * (tmp_path / "False.parquet").stat().st_size


def test_the_columns_of_a_file(tmp_path):
    path = tmp_path / "private.parquet"
    files.save(some(), path, {})
    table = parquet.ParquetFile(path).read()
    assert table.column_names == ["index", "target", "logit_happy", "logit_sad", "logit_very neutral"]
    assert [str(kind) for kind in table.schema.types] == ["int64", "int64", "float", "float", "float"]


def test_a_folder_named_like_a_partition_adds_no_column(tmp_path):
    folder = tmp_path / "target=5"
    folder.mkdir()
    files.save(some(), folder / "private.parquet", {})
    np.testing.assert_array_equal(files.load(folder / "private.parquet").targets, some().targets)


def test_a_failed_write_keeps_the_existing_file(tmp_path, monkeypatch):
    path = tmp_path / "private.parquet"
    files.save(some(), path, {})
    before = path.read_bytes()

    def fail(table, part, **options):
        part.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(parquet, "write_table", fail)
    with pytest.raises(OSError, match="disk full"):
        files.save(some(), path, {})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def rewritten(tmp_path, change):
    """Saves a valid file, applies `change` to its Arrow table, and returns its path."""
    path = tmp_path / "private.parquet"
    files.save(some(), path, {})
    parquet.write_table(change(parquet.ParquetFile(path).read()), path)
    return path


def with_json(text):
    return lambda table: table.replace_schema_metadata({files.FORMAT: text})


def with_column(name, values):
    def change(table):
        return table.set_column(table.column_names.index(name), name, pyarrow.array(values))

    return change


BAD = {
    "a logit column missing": (lambda table: table.drop_columns(["logit_sad"]), "logit_sad is missing"),
    "two columns missing": (lambda table: table.drop_columns(["index", "target"]), "index, target are missing"),
    "another class": (
        lambda table: table.append_column("logit_fear", table["logit_sad"]),
        "has the classes happy, sad, very neutral, but also the column logit_fear",
    ),
    "no metadata": (lambda table: table.replace_schema_metadata(None), "does not hold predictions of mien"),
    "metadata that is no JSON": (with_json("{"), "must be JSON with classes and metadata"),
    "metadata without classes": (with_json('{"metadata": {}}'), "must be JSON with classes and metadata"),
    "metadata that is a list": (with_json("[]"), "must be JSON with classes and metadata"),
    "the same class twice": (with_json('{"classes": ["sad", "sad"], "metadata": {}}'), "must be distinct names"),
    "no classes": (with_json('{"classes": [], "metadata": {}}'), "must be distinct names"),
    "classes that are numbers": (with_json('{"classes": [1, 2], "metadata": {}}'), "must be distinct names"),
    "a metadata list": (with_json('{"classes": ["sad"], "metadata": []}'), "must be a JSON object"),
    "other classes": (with_json('{"classes": ["sad", "fear"], "metadata": {}}'), "logit_fear is missing"),
    "targets as words": (with_column("target", ["sad"] * 50), "column target of .* must be int64, got string"),
    "doubles": (with_column("logit_sad", [0.5] * 50), "column logit_sad of .* must be float or halffloat, got double"),
    "an empty cell": (with_column("target", [None] + [1] * 49), "column target has empty cells"),
    "a target out of range": (with_column("target", [3] * 50), "targets must be 0..2"),
    "a logit that is nan": (with_column("logit_sad", np.full(50, np.nan, np.float32)), "logits must be finite"),
}


@pytest.mark.parametrize("name", BAD)
def test_load_rejects_a_file_that_does_not_hold_predictions(tmp_path, name):
    change, sentence = BAD[name]
    path = rewritten(tmp_path, change)
    with pytest.raises(DataError, match=sentence) as caught:
        files.load(path)
    assert "\n" not in str(caught.value)
    assert "private.parquet" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"index,target\n1,2\n", b"PAR1" + bytes(100) + b"PAR1"])
def test_load_rejects_a_file_that_is_not_parquet(tmp_path, content):
    path = tmp_path / "private.parquet"
    path.write_bytes(content)
    for read in (files.load, files.load_metadata):
        with pytest.raises(DataError, match="is not a readable Parquet file"):
            read(path)


@pytest.mark.parametrize("fraction", [0.3, 0.9])
def test_load_rejects_a_truncated_file(tmp_path, fraction):
    path = tmp_path / "private.parquet"
    files.save(some(), path, {})
    path.write_bytes(path.read_bytes()[: int(fraction * path.stat().st_size)])
    with pytest.raises(DataError, match=re.escape("private.parquet")):
        files.load(path)


def test_load_rejects_a_missing_file_and_a_folder(tmp_path):
    for path in (tmp_path / "none.parquet", tmp_path):
        with pytest.raises(DataError, match="there is no file of predictions"):
            files.load(path)


def test_save_without_pyarrow_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # importing it now fails
    with pytest.raises(MissingExtraError, match=r"pyarrow.*\[batch\]"):
        files.save(some(), tmp_path / "private.parquet", {})
    assert list(tmp_path.iterdir()) == []


def test_importing_metrics_and_predictions_imports_no_optional_package():
    code = (
        "import sys, mien.evaluation.metrics, mien.predictions, mien.evaluation.figures;"
        "print([name for name in ('torch', 'pyarrow', 'matplotlib', 'sklearn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("names", "short"),
    [
        (["results/a.parquet", "results/b.parquet"], ["a", "b"]),
        (["runs/a/public-flip", "runs/b/public-flip"], ["a/public-flip", "b/public-flip"]),
        (["a.parquet", "more/a.parquet"], ["a", "more/a"]),
        (["/x/y/a.parquet"], ["a"]),
        (["runs/a", "runs/a.parquet"], ["a", "a.parquet"]),
        (["y/single (single)", "y/flip (flip)"], ["single (single)", "flip (flip)"]),
    ],
)
def test_short_names_drop_what_all_files_share(names, short):
    assert files.short_names(names) == short
