"""A list of pictures is split into parts, and a folder of finished parts is only ever used by its own job."""

import json
import os
import pickle

import pyarrow
import pytest

from mien.errors import ConfigError, DataError
from mien.recognition.parts import DIFFERENCES, LOCK, MANIFEST, Counts, Part, PartsFolder, PictureList
from mien.storage import LocalFolder

ABOUT = dict.fromkeys(DIFFERENCES, "x") | {"model": "small"}
TABLE = pyarrow.table({"path": ["a.jpg"]})


def folder_of(path, **changes):
    return PartsFolder(LocalFolder(path), ABOUT | changes)


def test_list_is_split_into_parts_in_order():
    pictures = PictureList(iter(["a", "b", os.fsdecode(b"c\xe9"), "d\nd", "e"]), 2)
    expected = [Part(0, ("a", "b")), Part(1, ("c\udce9", "d\nd")), Part(2, ("e",))]
    assert list(pictures.parts()) == expected
    assert list(pictures.parts()) == expected  # it can be read again
    assert (pictures.count, pictures.part_count) == (5, 3)


def test_digest_depends_on_names_and_order_and_not_on_parts():
    assert PictureList(["a", "b"], 1).digest == PictureList(["a", "b"], 9).digest
    digests = {PictureList(names, 9).digest for names in (["a", "b"], ["b", "a"], ["ab"], ["a"])}
    assert len(digests) == 4


def test_empty_list_is_an_error():
    with pytest.raises(DataError, match="there is no picture"):
        PictureList([], 2)


def test_open_creates_a_folder_and_later_returns_its_finished_parts(tmp_path):
    folder = pickle.loads(pickle.dumps(folder_of(tmp_path / "new" / "faces")))
    assert folder.open() == {}
    folder.write(0, TABLE, Counts(1, 2, 0))
    folder.write(12, TABLE, Counts(1, 0, 1))
    folder.write(3, TABLE, Counts(1, 0, 1, failed_parts=1))
    assert folder.open() == {0: Counts(1, 2, 0), 12: Counts(1, 0, 1)}  # the failed part is tried again
    assert folder.read(12).to_pylist() == [{"path": "a.jpg"}]


def test_folder_of_someone_else_is_refused_and_untouched(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match=r"holds thesis\.tex but no _manifest\.json, so mien did not make it"):
        folder_of(tmp_path).open()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("thesis.tex", "years of work")]


def test_folder_that_a_killed_process_just_created_is_used(tmp_path):
    (tmp_path / LOCK).touch()
    (tmp_path / f".mien-{'0' * 32}.json").touch()
    assert folder_of(tmp_path).open() == {}


def test_remove_leaves_files_of_someone_else(tmp_path):
    folder = folder_of(tmp_path / "faces")
    folder.open()
    folder.write(0, TABLE, Counts(1))
    notes = tmp_path / "faces" / "notes.txt"
    notes.write_text("mine")
    folder.remove()
    assert list((tmp_path / "faces").iterdir()) == [notes]
    notes.unlink()
    folder.remove()
    assert not (tmp_path / "faces").exists()


@pytest.mark.parametrize(("key", "difference"), DIFFERENCES.items(), ids=DIFFERENCES)
def test_folder_of_another_job_is_refused(tmp_path, key, difference):
    folder_of(tmp_path).open()
    with pytest.raises(ConfigError, match=rf"holds results of {difference} \({key} is x there, and y now\)"):
        folder_of(tmp_path, **{key: "y"}).open()
    folder_of(tmp_path, model="the same file under another name").open()


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]", b"{}", json.dumps({"pictures": 1}).encode()])
def test_damaged_manifest_is_an_error(tmp_path, content):
    folder_of(tmp_path).open()
    (tmp_path / MANIFEST).write_bytes(content)
    with pytest.raises(ConfigError, match=r"_manifest\.json in .* is damaged"):
        folder_of(tmp_path).open()


@pytest.mark.parametrize("keep", [0, 3, 200, -1])
def test_damaged_part_is_an_error(tmp_path, keep):
    folder = folder_of(tmp_path)
    folder.open()
    folder.write(7, TABLE, Counts(1))
    part = tmp_path / "part-000000007.parquet"
    part.write_bytes(part.read_bytes()[:keep])
    with pytest.raises(DataError, match=r"part-000000007\.parquet in .* is damaged .*: remove that file and run"):
        folder.open()
    with pytest.raises(DataError, match=r"part-000000007\.parquet in .* is damaged"):
        folder.read(7)


def test_parquet_file_without_counts_is_a_damaged_part(tmp_path):
    folder = folder_of(tmp_path)
    folder.open()
    pyarrow.parquet.write_table(TABLE, tmp_path / "part-000000000.parquet")
    with pytest.raises(DataError, match="is damaged"):
        folder.open()
