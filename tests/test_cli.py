"""The command line, as people and scripts call it."""

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

from mien import predictions
from mien.labels import EXPRESSIONS
from mien.models.onnx_model import shipped
from mien.types import Predictions

ASTRONAUT = Path(__file__).parents[1] / "examples" / "astronaut.jpg"


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures") / "notes.jpg"
    path.write_text("no picture at all")
    return path


@pytest.fixture(scope="module")
def mountain(tmp_path_factory):
    path = tmp_path_factory.mktemp("pictures") / "mountain.png"
    Image.fromarray(np.tile(np.linspace(0, 255, 200, dtype=np.uint8)[:, None, None], (1, 300, 3))).save(path)
    return path


def assert_sentence(err: str, *words: str) -> None:
    """One line for the person, without a traceback."""
    assert err.startswith("mien: ")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    assert all(word in err for word in words), err


def test_json_is_what_scripts_rely_on(mien):
    code, out, err = mien("recognize", ASTRONAUT, "--json", "--threads", 1)
    assert (code, err) == (0, "")
    (picture,) = json.loads(out)
    assert (picture["path"], picture["width"], picture["height"]) == (str(ASTRONAUT), 512, 512)
    (face,) = picture["faces"]
    x0, y0, x1, y1 = face["box"]
    assert x0 < 202 < x1  # her right eye, read off the picture by hand
    assert y0 < 102 < y1
    assert 0.5 < face["score"] <= 1
    assert list(face["probabilities"]) == list(EXPRESSIONS)
    assert sum(face["probabilities"].values()) == pytest.approx(1, abs=1e-5)
    assert face["expression"] == "happy" == max(face["probabilities"], key=face["probabilities"].get)
    assert face["confidence"] == face["probabilities"]["happy"]
    assert face["uncertain"] is False


def test_csv_has_a_line_a_face(mien, mountain):
    code, out, _ = mien("recognize", ASTRONAUT, mountain, "--csv", "--threads", 1)
    (row,) = csv.DictReader(io.StringIO(out))
    assert code == 0
    assert row["path"] == str(ASTRONAUT)
    assert (row["expression"], row["uncertain"]) == ("happy", "false")
    assert sum(float(row[name]) for name in EXPRESSIONS) == pytest.approx(1, abs=1e-5)


def test_the_table_and_the_annotated_pictures(mien, mountain, tmp_path):
    code, out, _ = mien("recognize", ASTRONAUT, mountain, "-o", tmp_path / "new" / "out", "--threads", 1)
    assert code == 0
    assert "happy" in out
    assert "no face" in out
    written = sorted(path.name for path in (tmp_path / "new" / "out").iterdir())
    assert written == ["astronaut-faces.jpg", "mountain-faces.jpg"]
    with Image.open(tmp_path / "new" / "out" / "astronaut-faces.jpg") as annotated, Image.open(ASTRONAUT) as plain:
        difference = np.abs(np.asarray(annotated, int) - np.asarray(plain, int)).max(axis=2)
        assert 500 < (difference > 60).sum() < 20_000  # a box and a label, no more


def test_a_folder_into_one_file(mien, damaged, mountain, tmp_path):
    folder = tmp_path / "album"
    folder.mkdir()
    for path in (ASTRONAUT, damaged, mountain):
        (folder / path.name).write_bytes(path.read_bytes())
    code, out, _ = mien("recognize", folder, "-o", tmp_path / "faces.parquet", "--threads", 1)
    assert (code, out) == (0, f"written: {tmp_path / 'faces.parquet'}, 3 pictures\n")
    code, out, err = mien("recognize", folder, "--csv", "--threads", 1)
    assert code == 2  # one of them is no picture
    assert_sentence(err, "notes.jpg")
    assert [row["expression"] for row in csv.DictReader(io.StringIO(out))] == ["happy"]
    code, _, err = mien("recognize", folder, "-o", tmp_path / "faces.parquet", "--csv")
    assert code == 2
    assert "leave out" in err
    assert "--csv" in err


def test_pictures_of_one_name_do_not_replace_each_other(mien, mountain, tmp_path):
    other = tmp_path / "elsewhere" / mountain.name
    other.parent.mkdir()
    other.write_bytes(mountain.read_bytes())
    mien("recognize", mountain, other, "-o", tmp_path / "out", "--threads", 1)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"mountain-faces.jpg", "mountain-faces-2.jpg"}


def test_own_pictures_are_not_replaced_by_annotated_ones(mien, mountain, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(ASTRONAUT, "photo.jpg")
    Image.open(mountain).save("photo-faces.jpg")
    before = Path("photo-faces.jpg").read_bytes()
    code, out, _ = mien("recognize", "photo.jpg", tmp_path / "photo-faces.jpg", "-o", ".", "--threads", 1)
    assert code == 0
    assert "written: photo-faces-2.jpg" in out
    assert Path("photo-faces.jpg").read_bytes() == before


def test_where_a_copy_went_is_one_line_however_long(mien, mountain, tmp_path):
    """A terminal or a script takes the path from it."""
    folder = tmp_path / "a folder of a long name" / "another folder of a name that is longer than that"
    code, out, _ = mien("recognize", mountain, "-o", folder, "--threads", 1)
    assert code == 0
    assert f"written: {folder / 'mountain-faces.jpg'}\n" in out


def test_a_copy_that_cannot_be_written_costs_itself_alone(mien, tmp_path):
    Image.new("L", (70_000, 1)).save(tmp_path / "wide.png")
    code, out, err = mien("recognize", tmp_path / "wide.png", ASTRONAUT, "-o", tmp_path / "copies", "--json")
    assert code == 2
    assert_sentence(err, "wide.png has no copy in")
    assert [len(picture["faces"]) for picture in json.loads(out)] == [0, 1]
    assert [path.name for path in (tmp_path / "copies").iterdir()] == ["astronaut-faces.jpg"]


def test_one_bad_file_does_not_stop_the_others(mien, damaged):
    code, out, err = mien("recognize", damaged, ASTRONAUT, "nowhere.jpg", "--json", "--threads", 1)
    assert code == 2
    assert [picture["path"] for picture in json.loads(out)] == [str(ASTRONAUT)]
    first, second = err.splitlines()
    assert_sentence(first + "\n", str(damaged))
    assert_sentence(second + "\n", "nowhere.jpg", "no such file")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--model", "smal"], ["unknown model smal", "small"]),
        (["--model", "gone.onnx"], ["gone.onnx"]),
        (["--detector", "yunett"], ["there is no detector yunett", "yunet"]),
        (["-o", str(ASTRONAUT)], [str(ASTRONAUT)]),
    ],
)
def test_bad_options_are_one_sentence(mien, options, words):
    code, out, err = mien("recognize", ASTRONAUT, *options)
    assert (code, out) == (2, "")
    assert_sentence(err, *words)


def test_json_and_csv_together_are_refused(mien):
    code, _, err = mien("recognize", ASTRONAUT, "--json", "--csv")
    assert code == 2
    assert "choose one of --json and --csv" in err


def test_a_name_that_is_no_text_is_still_printed(mien, tmp_path):
    odd = tmp_path / os.fsdecode(b"caf\xe9.jpg")
    odd.write_bytes(ASTRONAUT.read_bytes())
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:strict"}
    command = [sys.executable, "-m", "mien", "recognize", odd, "--csv", "--threads", "1"]
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert rb"caf\udce9.jpg" in done.stdout


def test_faces_cut_out_before(mien, tmp_path):
    with Image.open(ASTRONAUT) as picture:
        picture.crop((168, 56, 285, 173)).save(tmp_path / "face.png")
    code, out, _ = mien("recognize", tmp_path / "face.png", "--detector", "none", "--json", "--threads", 1)
    assert code == 0
    assert json.loads(out)[0]["faces"][0]["box"] == [0, 0, 117, 117]
    assert json.loads(out)[0]["faces"][0]["expression"] == "happy"


def test_explain_draws_each_face(mien, trained_run, mountain, tmp_path):
    code, out, err = mien("explain", ASTRONAUT, "--model", trained_run, "-o", tmp_path / "why")
    assert (code, err) == (0, "")
    assert out == f"written: {tmp_path}/why/astronaut-face1.png\n"
    assert [path.name for path in (tmp_path / "why").iterdir()] == ["astronaut-face1.png"]
    code, out, _ = mien("explain", mountain, "--model", trained_run, "-o", tmp_path / "why")
    assert (code, out) == (0, f"{mountain}: no face was found, so there is nothing to explain\n")


def test_what_cannot_be_explained_is_one_sentence(mien, damaged, trained_run, tmp_path):
    code, _, err = mien("explain", damaged, "--model", trained_run, "-o", tmp_path / "why")
    assert code == 2
    assert_sentence(err, "cannot be read as a picture")
    code, _, err = mien("explain", ASTRONAUT, "--model", "smal", "--method", "grad-cam", "-o", tmp_path / "why")
    assert code == 2
    assert_sentence(err, "there is no model smal")
    assert not (tmp_path / "why").exists()


def test_networks(mien):
    _, out, _ = mien("networks", "--json")
    rows = {(row["name"], row["variant"]): row for row in json.loads(out)}
    assert rows["resmasking", ""]["parameters"] == 137_796_423
    small = rows["resnet18_masking_reconstruction", "small"]
    assert (small["size"], small["in_channels"]) == (48, 1)
    assert small["multiply_adds"] <= 100e6
    assert small["parameters"] <= 4e6
    _, out, _ = mien("networks")
    assert all(name in out for name, _ in rows)


def made_up_predictions(path: Path, seed: int, **metadata: str) -> None:
    """Of the private faces of `fer2013_csv`."""
    index = np.arange(42, 56)
    logits = np.random.default_rng(seed).normal(size=(14, 7)).astype(np.float32)
    predictions.save(Predictions(index, logits, index % 7), path, {"split": "private", "weights": str(seed)} | metadata)


def test_inspect(mien, fer2013_csv, user_cache, tmp_path):
    code, out, _ = mien("data", "inspect", fer2013_csv, "--json")
    assert code == 0
    assert json.loads(out)["totals"] == {"training": 28, "public": 14, "private": 14}
    code, out, _ = mien("data", "inspect", fer2013_csv, "-o", tmp_path / "out")
    assert code == 0
    assert "training" in out
    with Image.open(tmp_path / "out" / "contact-sheet.png") as sheet:
        assert sheet.width > 500


def test_audit(mien, fer2013_csv, user_cache, tmp_path):
    said = tmp_path / "said.parquet"
    made_up_predictions(said, 0)
    code, out, _ = mien("data", "audit", fer2013_csv, "-o", tmp_path / "new", "--predictions", said)
    assert code == 0
    assert "0 pairs of copies" in out
    assert "not in Training" in out
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["copies.csv", "copies.png"]
    code, out, _ = mien("data", "audit", fer2013_csv, "--predictions", said, "--json")
    (accuracy,) = json.loads(out)["predictions"]
    assert (accuracy["n"], accuracy["n_unseen"]) == (14, 14)


def test_inspect_of_nothing(mien, tmp_path):
    code, _, err = mien("data", "inspect", tmp_path / "nowhere.csv")
    assert code == 2
    assert_sentence(err, "nowhere.csv does not exist")


def test_evaluate_a_run_writes_below_it(mien, trained_run, fer2013_csv, user_cache):
    code, out, _ = mien(
        "evaluate", trained_run, "--data", fer2013_csv, "--split", "private", "--view", "flip", "--json"
    )
    assert code == 0
    found = json.loads(out)
    assert found["n"] == 14
    assert {"accuracy", "macro_f1", "macro_auc", "ece"} <= found.keys()
    folder = trained_run / "evaluation" / "private-flip"
    names = {path.name for path in folder.iterdir()}
    figures = {"roc", "confusion", "reliability", "risk-coverage", "loss", "margin", "reconstruction", "faces"}
    assert names == {"predictions.parquet", "metrics.json"} | {f"{name}.png" for name in figures}
    assert json.loads((folder / "metrics.json").read_text()) == found
    about = predictions.load_metadata(folder / "predictions.parquet")
    assert (about["split"], about["view"], about["weights"]) == ("private", "flip", found["weights"])
    code, out, _ = mien("compare", folder, "--json")
    assert code == 0
    assert json.loads(out)[0]["metrics"]["accuracy"] == found["accuracy"]


def test_a_published_row(mien, trained_run, user_cache, tmp_path):
    table = tmp_path / "results.csv"
    for model in (trained_run, trained_run / "best.safetensors"):  # the run's own data, since none is named
        code, _, _ = mien("evaluate", model, "--split", "private", "--results", table, "--json")
        assert code == 0
    (row,) = csv.DictReader(table.open())
    assert (row["config"], row["seed"], row["split"], row["n"]) == ("tried", "0", "private", "14")
    assert "--data fer2013.csv --split private" in row["command"]


def test_the_shipped_model_says_nothing_of_the_machine_it_comes_from():
    from mien.models.onnx_model import OnnxModel

    stored = OnnxModel("small")
    assert stored.config.data.path == "fer2013.tar.gz"
    assert stored.metadata["metrics"]["public-single"]["n"] == 3589


def test_evaluate_the_shipped_model(mien, fer2013_csv, user_cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = mien("evaluate", "small", "--data", fer2013_csv, "--split", "public", "--threads", 1)
    assert code == 0
    assert "accuracy" in out
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"fer2013.csv", "user-cache"}  # nothing is written where no folder is named
    (tmp_path / "small").mkdir()  # is ./small, and no run that is called so
    assert mien("evaluate", "small", "--data", fer2013_csv, "--split", "public", "--threads", 1)[0] == 0
    assert not any((tmp_path / "small").iterdir())


def test_compare_and_ensemble(mien, tmp_path):
    folders = [tmp_path / view for view in ("single", "flip")]
    for seed, folder in enumerate(folders):
        folder.mkdir()
        made_up_predictions(folder / "predictions.parquet", seed, view=folder.name)
    code, out, _ = mien("compare", *folders, "-o", tmp_path / "figures", "--json")
    assert code == 0
    first, second = json.loads(out)
    assert (first["name"], first["difference"]) == (f"{folders[0]} (single)", None)
    assert second["name"] == f"{folders[1]} (flip)"  # views are compared, but never unsaid
    assert second["difference"]["low"] <= second["difference"]["accuracy"] <= second["difference"]["high"]
    with Image.open(tmp_path / "figures" / "roc-comparison.png") as figure:
        assert figure.width > 1000
    code, out, _ = mien("compare", *folders, "-o", tmp_path / "figures")
    assert all(name in out for name in EXPRESSIONS)  # which classes gain
    assert out.replace("\n", "").endswith(f"written: {tmp_path / 'figures' / 'roc-comparison.png'}")
    code, out, _ = mien("ensemble", *folders, "-o", tmp_path / "both.parquet")
    assert code == 0
    assert "ensemble" in out
    assert str(tmp_path) not in out.split("written")[0]  # where there is little room, names go without what all share
    about = predictions.load_metadata(tmp_path / "both.parquet")
    assert (about["split"], about["view"], len(about["weights"])) == ("private", "single and flip", 2)
    code, out, _ = mien("ensemble", *folders, "--weight", 3, "--weight", 1, "-o", tmp_path / "weighed.parquet")
    assert code == 0
    assert predictions.load_metadata(tmp_path / "weighed.parquet")["counted"] == [3, 1]
    one, other, weighed = (
        predictions.load(file).probabilities
        for file in (*(folder / "predictions.parquet" for folder in folders), tmp_path / "weighed.parquet")
    )
    np.testing.assert_allclose(weighed, 0.75 * one + 0.25 * other, atol=1e-6)
    for wrong, words in (
        ((*folders, "--weight", 3), "an ensemble of 2 takes as many weights, each above 0, got 3"),
        ((*folders, "--weight", 3, "--weight", 0), "each above 0, got 3, 0"),
        ((*folders, "--weight", "nan", "--weight", 1), "each above 0, got nan, 1"),
        ((folders[0],), "an ensemble is of two predictions or more"),
    ):
        code, _, err = mien("ensemble", *wrong, "-o", tmp_path / "wrong.parquet")
        assert code == 2
        assert words in " ".join(err.replace("│", "").split())
    assert mien("ensemble", *folders, "-o", tmp_path / "wrong.csv")[0] == 2
    assert not list(tmp_path.glob("wrong*"))
    (tmp_path / "both[old].parquet").write_bytes((tmp_path / "both.parquet").read_bytes())
    assert "[old]" in "".join(mien("compare", tmp_path / "both[old].parquet")[1].split())
    code, _, err = mien("ensemble", folders[0], folders[0], "-o", tmp_path / "twice.parquet")
    assert code == 2
    assert_sentence(err, "is named twice")
    assert not (tmp_path / "twice.parquet").exists()
    code, _, err = mien("compare", tmp_path / "both.parquet", tmp_path / "gone.parquet")
    assert code == 2
    assert_sentence(err, "there is no file of predictions", "gone.parquet")


def test_the_last_checkpoint_is_not_taken_for_the_best(mien, trained_run, fer2013_csv, user_cache, tmp_path):
    run, table = Path(shutil.copytree(trained_run, tmp_path / "mine")), tmp_path / "mine.csv"
    for model in (run, run / "best.safetensors", run / "last.safetensors"):
        code, _, err = mien("evaluate", model, "--data", fer2013_csv, "--split", "public", "--results", table)
        assert code == 0, err
    with table.open(encoding="utf-8", newline="") as stream:
        assert [row["config"] for row in csv.DictReader(stream)] == ["mine", "mine-last"]
    for model in (run, run / "last.safetensors"):
        assert mien("export", model, "--data", fer2013_csv)[0] == 0
    assert {path.name for path in run.glob("*.onnx")} == {"mine.onnx", "mine-last.onnx"}


def test_export_holds_what_evaluation_found(mien, trained_run, fer2013_csv, user_cache, tmp_path):
    mien("evaluate", trained_run, "--data", fer2013_csv, "--split", "public", "--json")
    code, out, _ = mien("export", trained_run, "-o", tmp_path / "mine.onnx")
    assert code == 0
    assert "largest difference" in out
    from mien.models.onnx_model import OnnxModel

    stored = OnnxModel(tmp_path / "mine.onnx").metadata
    assert stored["metrics"]["public-single"]["n"] == 14
    code, out, _ = mien("recognize", ASTRONAUT, "--model", tmp_path / "mine.onnx", "--json", "--threads", 1)
    assert len(json.loads(out)[0]["faces"]) == 1


@pytest.mark.parametrize("command", ["calibrate", "quantize"])
def test_what_is_no_exported_file_is_refused_before_any_face_is_read(mien, trained_run, tmp_path, command):
    code, _, err = mien(command, trained_run, "--data", tmp_path / "nothing", "-o", tmp_path / "mine.onnx")
    assert code == 2
    assert_sentence(err, "unknown model", "or give the path of an .onnx file")


def test_calibrate_on_own_faces(mien, fer2013_csv, user_cache, tmp_path):
    mine = tmp_path / "mine.onnx"
    code, out, _ = mien("calibrate", "small", "--data", fer2013_csv, "--coverage", 0.5, "-o", mine)
    assert code == 0
    assert "temperature" in out
    assert "50.0% of the faces" in out
    code, out, _ = mien("recognize", ASTRONAUT, "--model", mine, "--json", "--threads", 1)
    assert json.loads(out)[0]["faces"][0]["expression"] == "happy"
    assert "on its 14 faces" in mien("calibrate", "small", "--data", fer2013_csv, "-o", mine)[1]
    assert "on its 56 faces" in mien("calibrate", "small", "--data", fer2013_csv, "--split", "all", "-o", mine)[1]
    code, _, err = mien("calibrate", "small", "--data", fer2013_csv, "--coverage", 0, "-o", mine)
    assert code == 2
    assert_sentence(err, "the coverage must be above 0 and at most 1, got 0")


def test_robustness(mien, fer2013_csv, user_cache, tmp_path):
    table = tmp_path / "robustness.csv"
    code, out, err = mien("robustness", "small", "--data", fer2013_csv, "-o", table, "--threads", 1)
    assert code == 0
    assert "low light" in out
    assert "resolution 5" in err
    with table.open(encoding="utf-8", newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 41
    assert {row["command"] for row in rows} == {"mien robustness small --data fer2013.csv --split public"}
    assert (tmp_path / "robustness-public.png").stat().st_size > 10_000
    before = table.read_bytes()
    code, _, err = mien("robustness", "small", "--data", fer2013_csv, "--split", "training", "-o", table)
    table.write_bytes(table.read_bytes().replace(b",training,28,", b",training,29,"))
    code, _, err = mien("robustness", "small", "--data", fer2013_csv, "--split", "training", "-o", table)
    assert code == 2
    assert_sentence(err, "has rows of 29 faces of the split training, and these are 28, so others: name another table")
    assert table.read_bytes().startswith(before)
    again = table.read_bytes()
    for other, words in (
        (tmp_path / "nosuch.onnx", ("nosuch.onnx",)),
        (shutil.copy(shipped()["tiny"], tmp_path / "small.onnx"), ("rows of another network that is called small",)),
    ):
        code, out, err = mien("robustness", "tiny", other, "--data", fer2013_csv, "-o", table)
        assert code == 2
        assert_sentence(err, *words)
        assert out == ""
    assert table.read_bytes() == again  # nothing is measured before all can be
    code, _, err = mien("robustness", "small", tmp_path / "small.onnx", "--data", fer2013_csv, "-o", table)
    assert code == 2
    assert_sentence(err, "tells networks apart by their names, got small, small: rename a file")


def test_train_from_a_config(mien, fer2013_csv, user_cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "mine.toml"
    config.write_text(
        f'[data]\npath = "{fer2013_csv}"\n[network]\nsize = 24\n[training]\nbatch_size = 14\nthreads = 1\n'
    )
    code, out, _ = mien("train", config, "--set", "training.epochs=1")
    assert code == 0
    assert "done: runs/mine" in out
    assert (tmp_path / "runs" / "mine" / "log.csv").read_text().count("\n") == 2
    code, _, err = mien("train", config, "--set", "training.epochs=1")
    assert code == 2
    assert_sentence(err, "runs/mine already holds a run", "--resume")
    code, _, err = mien("train", config, "--resume")
    assert code == 2
    assert_sentence(err, "training.epochs is 60 and was 1")


def test_own_pictures_are_seen_as_sharp_as_the_network_can(mien, user_cache, tmp_path, monkeypatch):
    """Else it would be trained and measured on blurred faces, and recognise sharp ones."""
    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(7)
    for split, count in (("train", 4), ("val", 1)):
        for name in EXPRESSIONS:
            folder = tmp_path / "faces" / split / name
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(random.integers(0, 256, (160, 160), np.uint8)).save(folder / f"{number}.png")
    (tmp_path / "mine.toml").write_text(
        '[data]\npath = "faces"\n[network]\nvariant = "tiny"\nsize = 80\n'
        "[training]\nepochs = 1\nbatch_size = 14\nthreads = 1\n"
    )
    for command in (
        ("train", "mine.toml"),
        ("export", "runs/mine", "-o", "mine.onnx"),
        ("evaluate", "mine.onnx", "--data", "faces", "--split", "public", "-o", "found"),
        ("calibrate", "mine.onnx", "--data", "faces", "-o", "mine-calibrated.onnx"),
        ("quantize", "mine.onnx", "--data", "faces", "-o", "mine-int8.onnx"),
        ("benchmark", "train", "mine.toml", "--steps", 1),
    ):
        code, _, err = mien(*command)
        assert code == 0, err
    (copy,) = user_cache.rglob("*.npz")  # one, so that all of them had the faces in the same size
    assert np.load(copy)["images"].shape == (35, 80, 80)
    assert mien("robustness", "mine.onnx", "small", "--data", "faces", "-o", "robustness.csv", "--threads", 1)[0] == 0
    pictures = [f"faces/val/{name}/0.png" for name in sorted(EXPRESSIONS)]
    _, out, _ = mien("recognize", *pictures, "--detector", "none", "--model", "mine.onnx", "--json", "--threads", 1)
    recognised = [list(picture["faces"][0]["probabilities"].values()) for picture in json.loads(out)]
    measured = predictions.load(tmp_path / "found" / "predictions.parquet")
    np.testing.assert_allclose(measured.probabilities, recognised, atol=1e-4)
    with Path("robustness.csv").open(encoding="utf-8", newline="") as stream:
        (clean,) = [row for row in csv.DictReader(stream) if (row["model"], row["corruption"]) == ("mine", "none")]
    assert float(clean["accuracy"]) == pytest.approx((measured.logits.argmax(1) == measured.targets).mean(), abs=1e-4)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[training]\nepoch = 3", ["unknown key training.epoch", "epochs"]),
        ("[network]\nname = 'resmask'", ["unknown network resmask", "resmasking"]),
        ("[data]\npath = 'nowhere.tar.gz'", ["nowhere.tar.gz does not exist"]),
        ("[loss]\nferplus = 0.5", ["data.ferplus is empty"]),
        ("[training", ["mine.toml is not TOML"]),
    ],
)
def test_bad_configs_are_one_sentence(mien, text, words, fer2013_csv, user_cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "mine.toml"
    config.write_text(text if "[data]" in text or text == "[training" else f'{text}\n[data]\npath = "{fer2013_csv}"')
    code, _, err = mien("train", config)
    assert code == 2
    assert_sentence(err, *words)
    assert not (tmp_path / "runs" / "mine" / "config.toml").exists()


def test_version(mien):
    import mien as package

    assert mien("--version")[1] == f"mien {package.__version__}\n"
