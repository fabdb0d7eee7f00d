"""Outputs never replace what mien has not written, unless --overwrite is given; their place is tried first."""

import errno
import json
import resource
import shutil
from pathlib import Path

import pytest

from mien.recognition import draw
from tests.cli.conftest import assert_sentence, write_random_predictions
from tests.video import samples
from tests.video.command import run

pytestmark = pytest.mark.process

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
    assert_sentence(err, "page", "holds index.html and mien has not written it", "--overwrite")
    assert [path.name for path in page.iterdir()] == ["index.html"]
    assert mien("page", "-o", "page", "--model", "tiny", "--overwrite")[0] == 0
    (page / "index.html").read_text().index("models.json")
    assert mien("page", "-o", "page", "--model", "tiny")[0] == 0
    assert json.loads((page / "models.json").read_text())["default"] == "tiny"


def test_page_replaces_no_single_file_of_another_program(mien, here):
    page = here / "site"
    page.mkdir()
    (page / "models.json").write_text(THESIS)
    code, _, err = mien("page", "-o", "site", "--model", "tiny")
    assert code == 2
    assert_sentence(err, "site holds models.json", "--overwrite")
    assert [path.name for path in page.iterdir()] == ["models.json"]


def test_explain_replaces_its_own_figures_and_no_other(mien, here):
    for _ in range(2):
        assert mien("explain", "photo.jpg", "--model", "tiny", "-o", "why")[0] == 0
    figure = here / "why" / "photo-face2.png"
    figure.write_text(THESIS)
    code, _, err = mien("explain", "photo.jpg", "--model", "tiny", "-o", "why")
    assert code == 2
    assert_sentence(err, "photo-face2.png", "mien has not written it", "--overwrite")
    assert mien("explain", "photo.jpg", "--model", "tiny", "-o", "why", "--overwrite")[0] == 0


@pytest.fixture
def predictions(here):
    """Two files of predictions for the same faces."""
    for seed, name in enumerate(("a.parquet", "b.parquet")):
        write_random_predictions(here / name, seed)
    return "a.parquet", "b.parquet"


@pytest.mark.parametrize(
    ("words", "option", "file"),
    [
        (["compare", "a.parquet", "b.parquet"], "out", "out/roc-comparison.png"),
        (["ensemble", "a.parquet", "b.parquet"], "both.parquet", "both.parquet"),
        (["data", "inspect", "fer2013.csv"], "out", "out/contact-sheet.png"),
        (["data", "audit", "fer2013.csv"], "out", "out/copies.csv"),
        (["data", "audit", "fer2013.csv"], "out", "out/copies.png"),
        (["calibrate", "tiny", "--data", "fer2013.csv"], "mine.onnx", "mine.onnx"),
        (["evaluate", "tiny", "--data", "fer2013.csv"], "out", "out/predictions.parquet"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value[:2]),
)
def test_command_replaces_its_own_output_and_no_other(
    mien, here, predictions, fer2013_csv, user_cache, words, option, file
):
    for _ in range(2):
        assert mien(*words, "-o", option)[0] == 0
    (here / file).write_text(THESIS)
    code, _, err = mien(*words, "-o", option)
    assert code == 2
    assert_sentence(err, Path(file).name, "mien has not written it", "--overwrite")
    assert (here / file).read_text() == THESIS
    assert mien(*words, "-o", option, "--overwrite")[0] == 0
    assert (here / file).read_bytes() != THESIS.encode()


@pytest.mark.parametrize("name", ["metrics.json", "roc.png"])
def test_evaluation_replaces_no_file_in_a_folder_that_is_none(mien, here, fer2013_csv, user_cache, name):
    folder = here / "out"
    folder.mkdir()
    (folder / name).write_text(THESIS)
    code, _, err = mien("evaluate", "tiny", "--data", fer2013_csv, "-o", "out")
    assert code == 2
    assert_sentence(err, name, "--overwrite")
    assert [path.read_text() for path in folder.iterdir()] == [THESIS]


@pytest.mark.parametrize("name", ["mine.onnx", "mine.xml", "mine.bin", "mine.json"])
def test_export_of_a_file_replaces_no_file_of_another_program(mien, here, name):
    (here / name).write_text(THESIS)
    words = ["--precision", 16, "-o", "mine.onnx"] if name == "mine.onnx" else ["--to", "openvino", "-o", "mine.xml"]
    code, _, err = mien("export", "tiny", *words)
    assert code == 2
    assert_sentence(err, name, "mien has not written it", "--overwrite")
    assert (here / name).read_text() == THESIS


def test_export_replaces_its_own_file_and_no_other(mien, here, trained_run):
    words = ("export", trained_run, "-o", "mine.onnx")
    for _ in range(2):
        assert mien(*words)[0] == 0
    (here / "mine.onnx").write_text(THESIS)
    code, _, err = mien(*words)
    assert code == 2
    assert_sentence(err, "mine.onnx", "mien has not written it", "--overwrite")
    assert (here / "mine.onnx").read_text() == THESIS


@pytest.mark.parametrize("text", [THESIS, "a,b\n1,2\n"])
def test_row_is_not_added_to_a_table_of_another_program(mien, here, fer2013_csv, trained_run, user_cache, text):
    table = here / "table.csv"
    table.write_text(text)
    code, _, err = mien("evaluate", trained_run, "--results", table)
    assert code == 2
    assert_sentence(err, "table.csv")
    assert table.read_text() == text


@pytest.mark.training
@pytest.mark.parametrize("name", ["config.toml", "log.csv"])
def test_training_replaces_no_file_of_another_program(mien, here, fer2013_csv, user_cache, name):
    (here / name).write_text("[data]\npath = 'mine.csv'  # years of work\n")
    before = (here / name).read_text()
    config = here / "faces.toml"
    config.write_text(f"[data]\npath = '{fer2013_csv}'\n")
    code, _, err = mien("train", config, "--run", here)
    assert code == 2
    assert_sentence(err, name, "mien has not written it", "--run")
    assert (here / name).read_text() == before


@pytest.mark.film
def test_full_disk_keeps_the_whole_film_of_an_earlier_run(mien, film):
    """A limit on the size of files stands in for the disk."""
    copy = film.with_name("copy.mp4")
    assert mien("video", film, "-o", "copy.mp4")[0] == 0
    whole = copy.read_bytes()
    done = run(film, "-o", "copy.mp4", limit=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000)))
    assert done.returncode == 2
    assert "copy.mp4 cannot be used" in done.stderr
    assert copy.read_bytes() == whole


def test_full_disk_ends_the_annotated_copies_with_one_sentence(mien, here, monkeypatch):
    def full(image, folder, stem, reserved):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(draw, "save", full)
    code, out, err = mien("recognize", *["photo.jpg"] * 3, "-o", "copies")
    assert code == 2
    assert "photo.jpg" in out
    assert_sentence(err, "copies: No space left on device, and no other copy is tried")


PLACES = {
    "recognize to a folder": ["recognize", "gone.jpg", "-o", "{}"],
    "recognize to CSV": ["recognize", "gone.jpg", "-o", "{}/faces.csv"],
    "recognize to Parquet": ["recognize", "gone.jpg", "-o", "{}/faces.parquet"],
    "video to MP4": ["video", "gone.mp4", "-o", "{}/a.mp4"],
    "video to CSV": ["video", "gone.mp4", "--csv", "{}/a.csv"],
    "video to a report": ["video", "gone.mp4", "--report", "{}/a.html"],
    "video to a folder": ["video", "gone.mp4", "-o", "{}"],
    "explain": ["explain", "gone.jpg", "-o", "{}"],
    "evaluate": ["evaluate", "gone.onnx", "--data", "gone.csv", "-o", "{}"],
    "evaluate to a table": ["evaluate", "gone.onnx", "--data", "gone.csv", "--results", "{}/a.csv"],
    "compare": ["compare", "gone.parquet", "-o", "{}"],
    "ensemble": ["ensemble", "gone.parquet", "gone2.parquet", "-o", "{}/a.parquet"],
    "robustness": ["robustness", "gone.onnx", "--data", "gone.csv", "-o", "{}/a.csv"],
    "cost": ["cost", "resnet34", "-o", "{}/a.csv"],
    "export": ["export", "gone", "-o", "{}/a.onnx"],
    "calibrate": ["calibrate", "gone.onnx", "--data", "gone.csv", "-o", "{}/a.onnx"],
    "quantize": ["quantize", "gone.onnx", "--data", "gone.csv", "-o", "{}/a.onnx"],
    "inspect": ["data", "inspect", "gone.csv", "-o", "{}"],
    "audit": ["data", "audit", "gone.csv", "-o", "{}"],
    "votes": ["data", "votes", "gone.csv", "--ferplus", "gone.csv", "-o", "{}/a.parquet"],
    "page": ["page", "-o", "{}"],
    "train": ["train", "small", "--run", "{}"],
}
"""Commands whose inputs are missing, with the place of their output."""


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="needs a folder in which nobody can write, as Linux has it")
@pytest.mark.parametrize("words", PLACES.values(), ids=PLACES)
def test_place_of_the_output_is_tried_before_the_inputs_are_read(mien, here, words):
    code, _, err = mien(*(word.format("/proc/self") for word in words))
    assert code == 2
    assert_sentence(err, "the folder /proc/self cannot be written", "choose another folder")
