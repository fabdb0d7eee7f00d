"""`mien recognize`: its JSON, CSV and table, annotated copies, and files that cannot be read."""

import csv
import io
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.labels import EXPRESSIONS
from tests.cli.conftest import ASTRONAUT, assert_sentence


def test_json_holds_path_size_and_faces(mien):
    code, out, err = mien("recognize", ASTRONAUT, "--json", "--threads", 1)
    assert (code, err) == (0, "")
    (picture,) = json.loads(out)
    assert (picture["path"], picture["width"], picture["height"]) == (str(ASTRONAUT), 512, 512)
    (face,) = picture["faces"]
    x0, y0, x1, y1 = face["box"]
    assert x0 < 202 < x1  # the astronaut's right eye, located by hand
    assert y0 < 102 < y1
    assert 0.5 < face["score"] <= 1
    assert list(face["probabilities"]) == list(EXPRESSIONS)
    assert sum(face["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert face["expression"] == "happy" == max(face["probabilities"], key=face["probabilities"].get)
    assert face["confidence"] == face["probabilities"]["happy"]
    assert face["uncertain"] is False


def test_csv_has_one_row_per_face(mien, faceless_picture):
    code, out, _ = mien("recognize", ASTRONAUT, faceless_picture, "--csv", "--threads", 1)
    (row,) = csv.DictReader(io.StringIO(out))
    assert code == 0
    assert row["path"] == str(ASTRONAUT)
    assert (row["expression"], row["uncertain"]) == ("happy", "false")
    assert sum(float(row[name]) for name in EXPRESSIONS) == pytest.approx(1, abs=1e-5)


def test_output_folder_gets_annotated_copies(mien, faceless_picture, tmp_path):
    code, out, _ = mien("recognize", ASTRONAUT, faceless_picture, "-o", tmp_path / "new" / "out", "--threads", 1)
    assert code == 0
    assert "happy" in out
    assert "no face" in out
    written = sorted(path.name for path in (tmp_path / "new" / "out").iterdir())
    assert written == ["astronaut-faces.jpg", "mountain-faces.jpg"]
    with Image.open(tmp_path / "new" / "out" / "astronaut-faces.jpg") as annotated, Image.open(ASTRONAUT) as plain:
        difference = np.abs(np.asarray(annotated, int) - np.asarray(plain, int)).max(axis=2)
        assert 500 < (difference > 60).sum() < 20_000  # only a box and a label differ


def test_folder_is_recognized_into_one_parquet_file(mien, unreadable_picture, faceless_picture, tmp_path):
    folder = tmp_path / "album"
    folder.mkdir()
    for path in (ASTRONAUT, unreadable_picture, faceless_picture):
        (folder / path.name).write_bytes(path.read_bytes())
    code, out, _ = mien("recognize", folder, "-o", tmp_path / "faces.parquet", "--threads", 1)
    summary = f"written: {tmp_path / 'faces.parquet'}, 3 pictures; 1 could not be read: see the column error\n"
    assert (code, out) == (0, summary)
    code, out, err = mien("recognize", folder, "--csv", "--threads", 1)
    assert code == 2  # one file is not a picture
    assert_sentence(err, "notes.jpg")
    assert [row["expression"] for row in csv.DictReader(io.StringIO(out))] == ["happy"]
    code, _, err = mien("recognize", folder, "-o", tmp_path / "faces.parquet", "--csv")
    assert code == 2
    assert "--csv" in err


def test_copies_of_pictures_with_the_same_name_are_numbered(mien, faceless_picture, tmp_path):
    other = tmp_path / "elsewhere" / faceless_picture.name
    other.parent.mkdir()
    other.write_bytes(faceless_picture.read_bytes())
    mien("recognize", faceless_picture, other, "-o", tmp_path / "out", "--threads", 1)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"mountain-faces.jpg", "mountain-faces-2.jpg"}


def test_annotated_copy_never_replaces_an_input_picture(mien, faceless_picture, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(ASTRONAUT, "photo.jpg")
    Image.open(faceless_picture).save("photo-faces.jpg")
    before = Path("photo-faces.jpg").read_bytes()
    code, out, _ = mien("recognize", "photo.jpg", tmp_path / "photo-faces.jpg", "-o", ".", "--threads", 1)
    assert code == 0
    assert "written: photo-faces-2.jpg" in out
    assert Path("photo-faces.jpg").read_bytes() == before


def test_path_of_a_written_copy_is_never_wrapped(mien, faceless_picture, tmp_path):
    """Scripts and terminals read the path from that line."""
    folder = tmp_path / "a folder with a long name" / "another folder with a name that is even longer"
    code, out, _ = mien("recognize", faceless_picture, "-o", folder, "--threads", 1)
    assert code == 0
    assert f"written: {folder / 'mountain-faces.jpg'}\n" in out


def test_unwritable_copy_does_not_stop_the_other_pictures(mien, tmp_path):
    Image.new("L", (70_000, 1)).save(tmp_path / "wide.png")
    code, out, err = mien("recognize", tmp_path / "wide.png", ASTRONAUT, "-o", tmp_path / "copies", "--json")
    assert code == 2
    assert_sentence(err, "the annotated copy of", "wide.png cannot be written to")
    assert [len(picture["faces"]) for picture in json.loads(out)] == [0, 1]
    assert [path.name for path in (tmp_path / "copies").iterdir()] == ["astronaut-faces.jpg"]


def test_unreadable_picture_does_not_stop_the_others(mien, unreadable_picture):
    code, out, err = mien("recognize", unreadable_picture, ASTRONAUT, "nowhere.jpg", "--json", "--threads", 1)
    assert code == 2
    assert [picture["path"] for picture in json.loads(out)] == [str(ASTRONAUT)]
    first, second = err.splitlines()
    assert_sentence(first + "\n", str(unreadable_picture))
    assert_sentence(second + "\n", "nowhere.jpg", "no such file")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--model", "smal"], ["smal", "small"]),
        (["--model", "gone.onnx"], ["gone.onnx"]),
        (["--detector", "yunett"], ["unknown detector yunett", "yunet"]),
        (["-o", str(ASTRONAUT)], [str(ASTRONAUT)]),
    ],
)
def test_bad_option_gives_one_sentence(mien, options, words):
    code, out, err = mien("recognize", ASTRONAUT, *options)
    assert (code, out) == (2, "")
    assert_sentence(err, *words)


def test_json_and_csv_together_are_an_error(mien):
    code, _, err = mien("recognize", ASTRONAUT, "--json", "--csv")
    assert code == 2
    assert "choose one of --json and --csv" in err


def test_file_name_that_is_not_utf8_is_printed(mien, tmp_path):
    path = tmp_path / os.fsdecode(b"caf\xe9.jpg")
    path.write_bytes(ASTRONAUT.read_bytes())
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    command = [sys.executable, "-m", "mien", "recognize", path, "--csv", "--threads", "1"]
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert rb"caf\udce9.jpg" in done.stdout


def test_detector_none_takes_the_whole_picture_as_the_face(mien, tmp_path):
    with Image.open(ASTRONAUT) as picture:
        picture.crop((168, 56, 285, 173)).save(tmp_path / "face.png")
    code, out, _ = mien("recognize", tmp_path / "face.png", "--detector", "none", "--json", "--threads", 1)
    assert code == 0
    assert json.loads(out)[0]["faces"][0]["box"] == [0, 0, 117, 117]
    assert json.loads(out)[0]["faces"][0]["expression"] == "happy"
