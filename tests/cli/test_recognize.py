"""`mien recognize`: its JSON, CSV and table, annotated copies, and files that cannot be read."""

import csv
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.labels import EXPRESSIONS
from tests.cli.conftest import ASTRONAUT, assert_sentence
from tests.waiting import LONG_S


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


def test_csv_has_one_row_per_face_and_one_for_a_picture_without_faces(mien, faceless_picture):
    code, out, _ = mien("recognize", ASTRONAUT, faceless_picture, "--csv", "--threads", 1)
    row, empty = csv.DictReader(io.StringIO(out))
    assert code == 0
    assert row["path"] == str(ASTRONAUT)
    assert (row["expression"], row["uncertain"]) == ("happy", "false")
    assert sum(float(row[name]) for name in EXPRESSIONS) == pytest.approx(1, abs=1e-5)
    assert empty.pop("path") == str(faceless_picture)
    assert set(empty.values()) == {""}


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
    assert (code, out) == (2, summary)
    code, out, err = mien("recognize", folder, "--csv", "--threads", 1)
    assert code == 2  # one file is not a picture
    assert_sentence(err, "notes.jpg")
    assert [row["expression"] for row in csv.DictReader(io.StringIO(out))] == ["happy", ""]
    (folder / unreadable_picture.name).unlink()
    code, out, _ = mien("recognize", folder, "-o", tmp_path / "faces.parquet", "--threads", 1)
    assert (code, out) == (0, f"written: {tmp_path / 'faces.parquet'}, 2 pictures\n")
    code, _, err = mien("recognize", folder, "-o", tmp_path / "faces.parquet", "--csv")
    assert code == 2
    assert "--csv" in err


def test_list_of_pictures_is_recognized_into_parquet(mien, faceless_picture, tmp_path):
    (tmp_path / "list.txt").write_text(f"{ASTRONAUT}\n{faceless_picture}\n")
    code, out, _ = mien("recognize", tmp_path / "list.txt", "-o", tmp_path / "faces.parquet", "--workers", 1)
    assert (code, out) == (0, f"written: {tmp_path / 'faces.parquet'}, 2 pictures\n")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["-o", "faces.parquet", "--on", "ray"], ["with --on the output is a folder of Parquet files"]),
        (["--on", "ray"], ["give it by -o"]),
        (["-o", "faces", "--on", "nowhere"], ["--on must be ray, ray://HOST:PORT or HOST:PORT, got nowhere"]),
        (["-o", "memory://faces", "--gpus", "1"], ["--gpus is for workers of a cluster"]),
        (["-o", "nothing://faces"], ["nothing://faces cannot be opened: Protocol not known"]),
    ],
)
def test_wrong_option_of_a_cluster_gives_one_sentence(mien, options, words):
    code, out, err = mien("recognize", ASTRONAUT, *options)
    assert (code, out) == (2, "")
    assert_sentence(err, *words)


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
    Image.new("L", (65_520, 1)).save(tmp_path / "wide.png")  # readable, but too wide for a JPEG
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
        (["--device", "cudo"], ["unknown device cudo: did you mean cuda"]),
        (["--device", "directml"], ["the device directml is not there", "pip install onnxruntime-directml"]),
        (["--device", "cudo", "-o", "faces.parquet"], ["unknown device cudo"]),
        (["--detector", "yunett"], ["unknown detector yunett", "yunet"]),
        (["-o", str(ASTRONAUT)], [str(ASTRONAUT)]),
    ],
)
def test_bad_option_gives_one_sentence(mien, options, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = mien("recognize", ASTRONAUT, *options)
    assert (code, out) == (2, "")
    assert_sentence(err, *words)


def test_json_and_csv_together_are_an_error(mien):
    code, _, err = mien("recognize", ASTRONAUT, "--json", "--csv")
    assert code == 2
    assert "choose one of --json and --csv" in err


@pytest.mark.parametrize("ending", [".csv", ".json", ".jsonl", ".JSON"])
def test_output_file_holds_what_its_ending_says(mien, faceless_picture, tmp_path, ending):
    output = tmp_path / f"faces{ending}"
    code, out, _ = mien("recognize", ASTRONAUT, faceless_picture, "-o", output, "--threads", 1)
    assert code == 0
    assert f"written: {output}\n" in out
    text = output.read_text(encoding="utf-8")
    if ending == ".csv":
        rows = csv.DictReader(io.StringIO(text))
        expected = [(str(ASTRONAUT), "happy"), (str(faceless_picture), "")]
        assert [(row["path"], row["expression"]) for row in rows] == expected
    else:
        pictures = json.loads(text) if ending.lower() == ".json" else [json.loads(line) for line in text.splitlines()]
        assert [picture["path"] for picture in pictures] == [str(ASTRONAUT), str(faceless_picture)]
        assert [len(picture["faces"]) for picture in pictures] == [1, 0]
        _, printed, _ = mien("recognize", ASTRONAUT, faceless_picture, "--json", "--threads", 1)
        assert pictures == json.loads(printed)


@pytest.mark.parametrize(("ending", "kind"), [(".jpg", "JPEG"), (".jpeg", "JPEG"), (".png", "PNG"), (".PNG", "PNG")])
def test_output_picture_is_one_annotated_copy(mien, tmp_path, ending, kind):
    output = tmp_path / f"copy{ending}"
    code, out, _ = mien("recognize", ASTRONAUT, "-o", output, "--threads", 1)
    assert code == 0
    assert f"written: {output}\n" in out
    with Image.open(output) as annotated, Image.open(ASTRONAUT) as plain:
        assert annotated.format == kind
        difference = np.abs(np.asarray(annotated, int) - np.asarray(plain, int)).max(axis=2)
        assert 500 < (difference > 60).sum() < 20_000


def test_mistyped_name_does_not_replace_the_table_of_an_earlier_run(mien, tmp_path):
    table = tmp_path / "faces.csv"
    assert mien("recognize", ASTRONAUT, "-o", table, "--threads", 1)[0] == 0
    before = table.read_text()
    code, out, err = mien("recognize", tmp_path / "astronuat.jpg", "-o", table)
    assert (code, "written" in out) == (2, False)
    assert "astronuat.jpg" in err
    assert table.read_text() == before


def test_folder_is_recognized_without_the_copies_in_it(mien, tmp_path):
    (tmp_path / "photo.jpg").write_bytes(ASTRONAUT.read_bytes())
    for _ in range(2):
        code, out, _ = mien("recognize", tmp_path, "-o", tmp_path / "annotated", "--json", "--threads", 1)
        assert code == 0
        assert [Path(picture["path"]).name for picture in json.loads(out)] == ["photo.jpg"]
    assert [path.name for path in (tmp_path / "annotated").iterdir()] == ["photo-faces.jpg"]


def test_blur_hides_faces_in_annotated_copies_only(mien, tmp_path):
    for name, options in (("clear.png", []), ("blurred.png", ["--blur"])):
        assert mien("recognize", ASTRONAUT, "-o", tmp_path / name, *options, "--threads", 1)[0] == 0
    clear, blurred = (np.asarray(Image.open(tmp_path / name), float) for name in ("clear.png", "blurred.png"))
    eyes = (slice(100, 130), slice(195, 255))
    assert blurred[eyes].std(axis=(0, 1)).max() < 0.5 * clear[eyes].std(axis=(0, 1)).min()
    assert (blurred[300:] == clear[300:]).all()
    code, _, err = mien("recognize", ASTRONAUT, "--blur")
    assert (code, err.startswith("mien: --blur is for annotated copies: give a folder, or")) == (2, True)


def test_output_name_with_a_slash_or_of_a_folder_is_a_folder(mien, tmp_path):
    (tmp_path / "v2.0").mkdir()
    for name in ("v2.0", "v3.0/"):
        assert mien("recognize", ASTRONAUT, "-o", f"{tmp_path}/{name}", "--threads", 1)[0] == 0
        assert [path.name for path in (tmp_path / name).iterdir()] == ["astronaut-faces.jpg"]


@pytest.mark.parametrize(
    ("photos", "name", "words"),
    [
        (1, "faces.xlsx", ["faces.xlsx has an unknown ending", ".csv, .json, .jsonl, .parquet", ".jpg, .jpeg, .png"]),
        (1, "film.mp4", ["film.mp4 has an unknown ending"]),
        (2, "copy.jpg", ["copy.jpg holds an annotated copy of one picture, got 2 pictures"]),
        (1, "nowhere/faces.csv", ["nowhere of faces.csv does not exist"]),
        (1, "x" * 5000 + ".xlsx", ["File name too long"]),
    ],
)
def test_unusable_output_gives_one_sentence_and_writes_nothing(mien, tmp_path, photos, name, words):
    code, out, err = mien("recognize", *[ASTRONAUT] * photos, "-o", tmp_path / name)
    assert (code, out) == (2, "")
    assert_sentence(err, *words)
    assert len(err) < 500
    assert not list(tmp_path.iterdir())


def test_output_file_with_json_or_csv_is_an_error(mien, tmp_path):
    code, _, err = mien("recognize", ASTRONAUT, "-o", tmp_path / "faces.jsonl", "--csv")
    assert code == 2
    assert "leave out --json and --csv" in err


def process(*arguments, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "mien", "recognize", *map(str, arguments), "--threads", "1"]
    return subprocess.run(command, capture_output=True, check=False, timeout=LONG_S, **options)


def test_verbose_prints_the_device_of_each_network():
    done = process(ASTRONAUT, "--device", "auto", "--verbose", "--json")
    assert json.loads(done.stdout)
    assert done.stderr.decode().splitlines() == [
        f"mien: {name}.onnx runs on cpu" for name in ("small", "yunet", "centerface")
    ]


def test_standard_input_is_a_picture_like_any_other(tmp_path):
    done = process("-", ASTRONAUT, "-o", tmp_path / "faces.json", input=ASTRONAUT.read_bytes())
    assert (done.returncode, done.stderr) == (0, b"")
    first, second = json.loads((tmp_path / "faces.json").read_text())
    assert (first.pop("path"), second.pop("path")) == ("-", str(ASTRONAUT))
    assert first == second
    assert process("-", "-o", tmp_path / "copies", input=ASTRONAUT.read_bytes()).returncode == 0
    assert [path.name for path in (tmp_path / "copies").iterdir()] == ["picture-faces.jpg"]


def test_standard_input_that_is_no_picture_or_given_twice_is_an_error(mien):
    done = process("-", input=b"nothing")
    assert done.returncode == 2
    assert_sentence(done.stderr.decode(), "standard input cannot be read as a picture")
    code, _, err = mien("recognize", "-", "-")
    assert code == 2
    assert "give it once" in err
    code, _, err = mien("recognize", "-", "-o", "faces.parquet")
    assert code == 2
    assert "a Parquet file takes no standard input" in err


def test_address_is_fetched(mien, web, tmp_path):
    address = web({"/a/face%20one.jpg?size=1": ASTRONAUT.read_bytes()}) + "/a/face%20one.jpg?size=1"
    code, out, err = mien("recognize", address, "-o", tmp_path / "copies", "--json", "--threads", 1)
    assert (code, err) == (0, "")
    (picture,) = json.loads(out)
    assert (picture["path"], len(picture["faces"])) == (address, 1)
    assert [path.name for path in (tmp_path / "copies").iterdir()] == ["face one-faces.jpg"]


def test_address_without_a_picture_does_not_stop_the_others(mien, web):
    root = web({"/page": b"<html>"})
    code, out, err = mien("recognize", f"{root}/none.jpg", f"{root}/page", ASTRONAUT, "--csv", "--threads", 1)
    assert code == 2
    first, second = err.splitlines()
    assert_sentence(first + "\n", f"{root}/none.jpg cannot be downloaded: the server answered 404")
    assert_sentence(second + "\n", f"{root}/page cannot be read as a picture")
    assert [row["path"] for row in csv.DictReader(io.StringIO(out))] == [str(ASTRONAUT)]


def test_detector_none_takes_the_whole_picture_as_the_face(mien, tmp_path):
    with Image.open(ASTRONAUT) as picture:
        picture.crop((168, 56, 285, 173)).save(tmp_path / "face.png")
    code, out, _ = mien("recognize", tmp_path / "face.png", "--detector", "none", "--json", "--threads", 1)
    assert code == 0
    assert json.loads(out)[0]["faces"][0]["box"] == [0, 0, 117, 117]
    assert json.loads(out)[0]["faces"][0]["expression"] == "happy"
