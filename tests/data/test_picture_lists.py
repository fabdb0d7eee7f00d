"""Long lists of pictures are read from folders, patterns, text files and Parquet files."""

import os

import pyarrow
import pytest
from pyarrow import parquet

from mien.data.picture_lists import find
from mien.data.pictures import find_pictures
from mien.errors import DataError


@pytest.fixture
def folder(tmp_path):
    """Pictures whose order depends on how folders are compared with files."""
    names = ("a.jpg", "a/1.png", "a/B/2.JPG", "a-b.jpg", "a0.jpg", "z/.hidden/3.jpg", "z/notes.txt", "Z.jpg")
    for name in names:
        path = tmp_path / "pictures" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "pictures"


def test_folder_gives_its_pictures_in_the_order_of_their_paths(folder):
    found = [os.path.relpath(path, folder) for path in find([str(folder)])]
    assert found == ["Z.jpg", "a-b.jpg", "a.jpg", "a/1.png", "a/B/2.JPG", "a0.jpg"]
    assert [str(path) for path in find_pictures([folder])] == list(find([str(folder)]))


def test_pattern_gives_the_files_that_match(folder):
    assert [os.path.relpath(path, folder) for path in find([f"{folder}/**/*.jpg"])] == [
        "Z.jpg",
        "a-b.jpg",
        "a.jpg",
        "a0.jpg",
    ]
    with pytest.raises(DataError, match=r"no file matches .*\*\.webp"):
        list(find([f"{folder}/*.webp"]))


def test_file_whose_name_looks_like_a_pattern_is_itself(folder):
    (folder / "a[1].jpg").touch()
    assert list(find([str(folder / "a[1].jpg")])) == [str(folder / "a[1].jpg")]


def test_text_file_gives_a_picture_a_line(tmp_path):
    (tmp_path / "list.txt").write_bytes(b"\xef\xbb\xbfa.jpg\r\n\ns3://b/c d.jpg\n caf\xe9.jpg")
    assert list(find([str(tmp_path / "list.txt"), "x.jpg"])) == ["a.jpg", "s3://b/c d.jpg", " caf\udce9.jpg", "x.jpg"]


@pytest.mark.parametrize("columns", [{"id": ["1", "2"], "url": ["a", "b"]}, {"where": ["a", "b"], "n": [1, 2]}])
def test_parquet_file_gives_its_column_of_pictures(tmp_path, columns):
    parquet.write_table(pyarrow.table(columns), tmp_path / "list.parquet")
    assert list(find([str(tmp_path / "list.parquet")])) == ["a", "b"]


def test_parquet_file_without_a_known_column_is_an_error(tmp_path):
    parquet.write_table(pyarrow.table({"x": ["a"], "y": ["b"]}), tmp_path / "list.parquet")
    with pytest.raises(DataError, match=r"needs a column of text named path, .* or filename, and has x, y"):
        list(find([str(tmp_path / "list.parquet")]))


@pytest.mark.parametrize("name", ["gone.txt", "gone.parquet", "damaged.parquet"])
def test_list_that_cannot_be_read_is_an_error(tmp_path, name):
    (tmp_path / "damaged.parquet").write_text("no")
    with pytest.raises(DataError, match=rf"the list .*{name} cannot be read"):
        list(find([str(tmp_path / name)]))


def test_web_address_is_one_picture():
    assert list(find(["https://example.org/a?b=*.jpg"])) == ["https://example.org/a?b=*.jpg"]
