"""Outputs never replace what mien has not written, unless --overwrite is given."""

import json
import shutil
from pathlib import Path

import pytest

from tests.cli.conftest import assert_sentence
from tests.video import samples

ASTRONAUT = Path(__file__).parents[2] / "examples" / "astronaut.jpg"
THESIS = "years of work"
TABLES = ["faces.csv", "faces.json", "faces.jsonl", "faces.parquet", "face.jpg", "face.png"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The current folder, with a photo."""
    shutil.copyfile(ASTRONAUT, tmp_path / "photo.jpg")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def film(here):
    samples.write(here / "film.mp4", [samples.face_at((60, 40))] * 5)
    return here / "film.mp4"


@pytest.mark.parametrize("name", TABLES)
def test_recognize_replaces_its_own_output_and_no_other(mien, here, name):
    output = here / name
    assert mien("recognize", "photo.jpg", "-o", name)[0] == 0
    assert mien("recognize", "photo.jpg", "-o", name)[0] == 0
    output.write_text(THESIS)
    code, _, err = mien("recognize", "photo.jpg", "-o", name)
    assert code == 2
    assert_sentence(err, name, "mien has not written it", "--overwrite")
    assert output.read_text() == THESIS
    assert mien("recognize", "photo.jpg", "-o", name, "--overwrite")[0] == 0
    assert output.read_bytes() != THESIS.encode()


def test_recognize_writes_through_no_link(mien, here):
    thesis, link = here / "thesis.txt", here / "faces.csv"
    thesis.write_text(THESIS)
    link.symlink_to(thesis)
    code, _, err = mien("recognize", "photo.jpg", "-o", "faces.csv")
    assert code == 2
    assert_sentence(err, "faces.csv", "--overwrite")
    assert thesis.read_text() == THESIS


def test_annotated_copy_gets_another_name_beside_a_foreign_file_or_link(mien, here):
    copies, thesis = here / "copies", here / "thesis.txt"
    copies.mkdir()
    thesis.write_text(THESIS)
    (copies / "photo-faces.jpg").symlink_to(thesis)
    (copies / "photo-faces-2.jpg").write_text(THESIS)
    for _ in range(2):
        assert mien("recognize", "photo.jpg", "-o", "copies")[0] == 0
    assert thesis.read_text() == (copies / "photo-faces-2.jpg").read_text() == THESIS
    assert sorted(path.name for path in copies.iterdir()) == [
        "photo-faces-2.jpg",
        "photo-faces-3.jpg",
        "photo-faces.jpg",
    ]


@pytest.mark.film
@pytest.mark.parametrize(
    ("option", "name"),
    [
        ("-o", "out.mp4"),
        ("-o", "out.mkv"),
        ("--csv", "out.csv"),
        ("--jsonl", "out.jsonl"),
        ("--parquet", "out.parquet"),
        ("--report", "out.html"),
    ],
)
def test_video_replaces_its_own_output_and_no_other(mien, film, option, name):
    output = film.with_name(name)
    assert mien("video", film, option, name)[0] == 0
    assert mien("video", film, option, name)[0] == 0
    output.write_text(THESIS)
    code, _, err = mien("video", film, option, name)
    assert code == 2
    assert_sentence(err, name, "mien has not written it", "--overwrite")
    assert output.read_text() == THESIS
    assert mien("video", film, option, name, "--overwrite")[0] == 0
    assert output.read_bytes() != THESIS.encode()


@pytest.mark.film
def test_report_does_not_replace_a_foreign_picture(mien, film):
    picture = film.with_name("out.png")
    picture.write_text(THESIS)
    code, _, err = mien("video", film, "--report", "out.html")
    assert code == 2
    assert_sentence(err, "out.png", "--overwrite")
    assert picture.read_text() == THESIS


def test_page_replaces_an_earlier_page_and_no_other_folder(mien, here):
    page = here / "page"
    page.mkdir()
    (page / "index.html").write_text(THESIS)
    code, _, err = mien("page", "-o", "page", "--model", "tiny")
    assert code == 2
    assert_sentence(err, "page", "holds the page of another program", "--overwrite")
    assert [path.name for path in page.iterdir()] == ["index.html"]
    assert mien("page", "-o", "page", "--model", "tiny", "--overwrite")[0] == 0
    (page / "index.html").read_text().index("models.json")
    assert mien("page", "-o", "page", "--model", "tiny")[0] == 0
    assert json.loads((page / "models.json").read_text())["default"] == "tiny"
