"""`mien evaluate`, `compare`, `ensemble` and `robustness`."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien import predictions
from mien.labels import EXPRESSIONS
from mien.models.onnx_model import OnnxModel
from mien.models.zoo import shipped_models
from tests.cli.conftest import assert_sentence, write_random_predictions


@pytest.mark.slow
def test_evaluate_run_writes_metrics_and_figures_below_it(mien, trained_run, fer2013_csv, user_cache):
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


@pytest.mark.slow
def test_results_option_adds_one_row_per_run(mien, trained_run, user_cache, tmp_path):
    table = tmp_path / "results.csv"
    for model in (trained_run, trained_run / "best.safetensors"):  # without --data, the run's own
        code, _, _ = mien("evaluate", model, "--split", "private", "--results", table, "--json")
        assert code == 0
    (row,) = csv.DictReader(table.open())
    assert (row["config"], row["seed"], row["split"], row["n"]) == ("tried", "0", "private", "14")
    assert "--data fer2013.csv --split private" in row["command"]


def test_shipped_model_holds_no_path_of_the_training_machine():
    stored = OnnxModel("small")
    assert stored.config.data.path == "fer2013.tar.gz"
    assert stored.metadata["metrics"]["public-single"]["n"] == 3589


def test_evaluate_shipped_model_writes_no_files(mien, fer2013_csv, user_cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = mien("evaluate", "small", "--data", fer2013_csv, "--split", "public", "--threads", 1)
    assert code == 0
    assert "accuracy" in out
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"fer2013.csv", "user-cache"}
    (tmp_path / "small").mkdir()  # a folder of the model's name is not a run
    assert mien("evaluate", "small", "--data", fer2013_csv, "--split", "public", "--threads", 1)[0] == 0
    assert not any((tmp_path / "small").iterdir())


def test_split_all_measures_every_face(mien, fer2013_csv, user_cache):
    code, out, _ = mien("evaluate", "tiny", "--data", fer2013_csv, "--split", "all", "--json", "--threads", 1)
    assert code == 0
    found = json.loads(out)
    assert (found["split"], found["n"]) == ("all", 56)


def test_auc_of_an_absent_class_is_null_in_json_and_empty_in_the_table(mien, rows, write_rows, user_cache, tmp_path):
    some = write_rows(tmp_path / "fer2013.csv", [row for row in rows if row.emotion != 1])
    words = ("evaluate", "tiny", "--data", some)
    code, out, err = mien(*words, "--split", "public", "--json")
    assert code == 0, err
    found = json.loads(out)
    assert found["classes"]["disgust"]["auc"] is None
    assert "nan" not in out.lower()
    _, out, _ = mien(*words, "--split", "public")
    assert "nan" not in out.lower()


@pytest.fixture
def two_predictions(tmp_path):
    """Two folders of predictions for the same faces, with different views."""
    folders = [tmp_path / view for view in ("single", "flip")]
    for seed, folder in enumerate(folders):
        folder.mkdir()
        write_random_predictions(folder / "predictions.parquet", seed, view=folder.name)
    return folders


@pytest.mark.figure
def test_compare_gives_differences_with_intervals(mien, two_predictions, tmp_path):
    code, out, _ = mien("compare", *two_predictions, "-o", tmp_path / "figures", "--json")
    assert code == 0
    first, second = json.loads(out)
    assert (first["name"], first["difference"]) == (f"{two_predictions[0]} (single)", None)
    assert second["name"] == f"{two_predictions[1]} (flip)"  # different views are compared, and named
    assert second["difference"]["low"] <= second["difference"]["accuracy"] <= second["difference"]["high"]
    with Image.open(tmp_path / "figures" / "roc-comparison.png") as figure:
        assert figure.width > 1000
    code, out, _ = mien("compare", *two_predictions, "-o", tmp_path / "figures")
    assert all(name in out for name in EXPRESSIONS)  # the recall of each class
    assert out.replace("\n", "").endswith(f"written: {tmp_path / 'figures' / 'roc-comparison.png'}")


def test_compare_prints_brackets_in_names_as_they_are(mien, tmp_path):
    write_random_predictions(tmp_path / "both[old].parquet", 0)
    assert "[old]" in "".join(mien("compare", tmp_path / "both[old].parquet")[1].split())


def test_compare_missing_predictions_gives_one_sentence(mien, two_predictions, tmp_path):
    code, _, err = mien("compare", two_predictions[0], tmp_path / "gone.parquet")
    assert code == 2
    assert_sentence(err, "there is no file of predictions", "gone.parquet")


def test_ensemble_writes_mean_probabilities(mien, two_predictions, tmp_path):
    code, out, _ = mien("ensemble", *two_predictions, "-o", tmp_path / "both.parquet")
    assert code == 0
    assert "ensemble" in out
    assert str(tmp_path) not in out.split("written")[0]  # the table shows names without their common prefix
    about = predictions.load_metadata(tmp_path / "both.parquet")
    assert (about["split"], about["view"], len(about["weights"])) == ("private", "single and flip", 2)
    code, out, _ = mien("ensemble", *two_predictions, "--weight", 3, "--weight", 1, "-o", tmp_path / "weighted.parquet")
    assert code == 0
    assert predictions.load_metadata(tmp_path / "weighted.parquet")["counted"] == [3, 1]
    one, other, weighted = (
        predictions.load(file).probabilities
        for file in (*(folder / "predictions.parquet" for folder in two_predictions), tmp_path / "weighted.parquet")
    )
    np.testing.assert_allclose(weighted, 0.75 * one + 0.25 * other, atol=1e-6)


def test_ensemble_with_bad_members_or_weights_writes_nothing(mien, two_predictions, tmp_path):
    for wrong, words in (
        ((*two_predictions, "--weight", 3), "an ensemble of 2 needs as many weights, each above 0, got 3"),
        ((*two_predictions, "--weight", 3, "--weight", 0), "each above 0, got 3, 0"),
        ((*two_predictions, "--weight", "nan", "--weight", 1), "each above 0, got nan, 1"),
        ((two_predictions[0],), "an ensemble needs two files of predictions or more"),
    ):
        code, _, err = mien("ensemble", *wrong, "-o", tmp_path / "wrong.parquet")
        assert code == 2
        assert words in " ".join(err.replace("│", "").split())
    assert mien("ensemble", *two_predictions, "-o", tmp_path / "wrong.csv")[0] == 2
    code, _, err = mien("ensemble", two_predictions[0], two_predictions[0], "-o", tmp_path / "wrong.parquet")
    assert code == 2
    assert_sentence(err, "is given twice")
    assert not list(tmp_path.glob("wrong*"))


@pytest.mark.slow
def test_last_checkpoint_gets_a_name_of_its_own(mien, trained_run, fer2013_csv, user_cache, tmp_path):
    run, table = Path(shutil.copytree(trained_run, tmp_path / "mine")), tmp_path / "mine.csv"
    for model in (run, run / "best.safetensors", run / "last.safetensors"):
        code, _, err = mien("evaluate", model, "--data", fer2013_csv, "--split", "public", "--results", table)
        assert code == 0, err
    with table.open(encoding="utf-8", newline="") as stream:
        assert [row["config"] for row in csv.DictReader(stream)] == ["mine", "mine-last"]
    for model in (run, run / "last.safetensors"):
        assert mien("export", model, "--data", fer2013_csv)[0] == 0
    assert {path.name for path in run.glob("*.onnx")} == {"mine.onnx", "mine-last.onnx"}


@pytest.mark.figure
def test_robustness_writes_a_table_and_a_figure(mien, fer2013_csv, user_cache, tmp_path):
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
    assert_sentence(
        err,
        "has a row for 29 faces of the split training, and this data has 28: choose another table",
    )
    assert table.read_bytes().startswith(before)
    again = table.read_bytes()
    for other, words in (
        (tmp_path / "nosuch.onnx", ("nosuch.onnx",)),
        (
            shutil.copy(shipped_models()["tiny"], tmp_path / "small.onnx"),
            ("already has rows of another network named small",),
        ),
    ):
        code, out, err = mien("robustness", "tiny", other, "--data", fer2013_csv, "-o", table)
        assert code == 2
        assert_sentence(err, *words)
        assert out == ""
    assert table.read_bytes() == again  # every model is checked before the first is measured
    code, _, err = mien("robustness", "small", tmp_path / "small.onnx", "--data", fer2013_csv, "-o", table)
    assert code == 2
    assert_sentence(err, "must have different names in the table, got small, small: rename a file")
