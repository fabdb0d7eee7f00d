import re
import subprocess
import sys

import numpy as np
import pyarrow
import pytest
from pyarrow import parquet

from mien import predictions as files
from mien.errors import DataError, MissingExtraError
from mien.types import Predictions


def some(n=50, classes=("happy", "sad", "very neutral")):
    random = np.random.default_rng(0)
    logits = random.normal(size=(n, len(classes))).astype(np.float32) * 1e3
    logits[: min(n, 1), 0] = np.nextafter(np.float32(1), np.float32(2))  # the last bit must come back too
    targets = random.integers(len(classes), size=n)
    return Predictions(random.permutation(n) + 7, logits, targets, classes)


@pytest.mark.parametrize("n", [0, 1, 50])
def test_a_round_trip_is_exact(tmp_path, n):
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


def test_the_columns_are_those_that_any_reader_expects(tmp_path):
    path = tmp_path / "private.parquet"
    files.save(some(), path, {})
    table = parquet.ParquetFile(path).read()
    assert table.column_names == ["index", "target", "logit_happy", "logit_sad", "logit_very neutral"]
    assert [str(kind) for kind in table.schema.types] == ["int64", "int64", "float", "float", "float"]


def test_a_folder_that_looks_like_a_partition_changes_nothing(tmp_path):
    folder = tmp_path / "target=5"
    folder.mkdir()
    files.save(some(), folder / "private.parquet", {})
    np.testing.assert_array_equal(files.load(folder / "private.parquet").targets, some().targets)


def test_a_failed_write_leaves_what_was_there(tmp_path, monkeypatch):
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
    """A good file after `change`, which takes and returns an Arrow table."""
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
        "is of the classes happy, sad, very neutral, but has the column logit_fear too",
    ),
    "no metadata": (lambda table: table.replace_schema_metadata(None), "not predictions of mien"),
    "metadata that is no JSON": (with_json("{"), "must be JSON with classes and metadata"),
    "metadata without classes": (with_json('{"metadata": {}}'), "must be JSON with classes and metadata"),
    "metadata that is a list": (with_json("[]"), "must be JSON with classes and metadata"),
    "the same class twice": (with_json('{"classes": ["sad", "sad"], "metadata": {}}'), "must be different names"),
    "no classes": (with_json('{"classes": [], "metadata": {}}'), "must be different names"),
    "classes that are numbers": (with_json('{"classes": [1, 2], "metadata": {}}'), "must be different names"),
    "a metadata list": (with_json('{"classes": ["sad"], "metadata": []}'), "must be an object"),
    "other classes": (with_json('{"classes": ["sad", "fear"], "metadata": {}}'), "logit_fear is missing"),
    "targets as words": (with_column("target", ["sad"] * 50), "column target of .* must be int64, got string"),
    "doubles": (with_column("logit_sad", [0.5] * 50), "column logit_sad of .* must be float, got double"),
    "an empty cell": (with_column("target", [None] + [1] * 49), "column target has rows without"),
    "a target out of range": (with_column("target", [3] * 50), "targets must be 0..2"),
    "a logit that is nan": (with_column("logit_sad", np.full(50, np.nan, np.float32)), "logits must be finite"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_not_predictions_is_refused_in_one_sentence(tmp_path, name):
    change, sentence = BAD[name]
    path = rewritten(tmp_path, change)
    with pytest.raises(DataError, match=sentence) as caught:
        files.load(path)
    assert "\n" not in str(caught.value)
    assert "private.parquet" in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"index,target\n1,2\n", b"PAR1" + bytes(100) + b"PAR1"])
def test_what_is_not_parquet_is_refused(tmp_path, content):
    path = tmp_path / "private.parquet"
    path.write_bytes(content)
    for read in (files.load, files.load_metadata):
        with pytest.raises(DataError, match="is not a Parquet file that can be read"):
            read(path)


@pytest.mark.parametrize("share", [0.3, 0.9])
def test_a_file_that_was_cut_off_is_refused(tmp_path, share):
    path = tmp_path / "private.parquet"
    files.save(some(), path, {})
    path.write_bytes(path.read_bytes()[: int(share * path.stat().st_size)])
    with pytest.raises(DataError, match=re.escape("private.parquet")):
        files.load(path)


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    for path in (tmp_path / "none.parquet", tmp_path):
        with pytest.raises(DataError, match="there is no file of predictions"):
            files.load(path)


def test_without_pyarrow_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)  # importing it now fails
    with pytest.raises(MissingExtraError, match=r"pyarrow.*mien\[train\]"):
        files.save(some(), tmp_path / "private.parquet", {})
    assert list(tmp_path.iterdir()) == []


def test_metrics_and_files_need_nothing_at_import():
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
def test_short_names_tell_files_apart(names, short):
    assert files.short_names(names) == short
