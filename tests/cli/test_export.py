"""`mien export`, `calibrate` and `quantize`."""

import json

import pytest

from mien.models.onnx_model import OnnxModel
from tests.cli.conftest import ASTRONAUT, assert_sentence


@pytest.mark.slow
def test_exported_file_holds_the_metrics_of_the_evaluation(mien, trained_run, fer2013_csv, user_cache, tmp_path):
    mien("evaluate", trained_run, "--data", fer2013_csv, "--split", "public", "--json")
    code, out, _ = mien("export", trained_run, "-o", tmp_path / "mine.onnx")
    assert code == 0
    assert "largest difference" in out
    stored = OnnxModel(tmp_path / "mine.onnx").metadata
    assert stored["metrics"]["public-single"]["n"] == 14
    code, out, _ = mien("recognize", ASTRONAUT, "--model", tmp_path / "mine.onnx", "--json", "--threads", 1)
    assert len(json.loads(out)[0]["faces"]) == 1


@pytest.mark.parametrize("command", ["calibrate", "quantize"])
def test_model_is_checked_before_the_data_are_read(mien, trained_run, tmp_path, command):
    code, _, err = mien(command, trained_run, "--data", tmp_path / "nothing", "-o", tmp_path / "mine.onnx")
    assert code == 2
    assert_sentence(err, "unknown model", "expected the path of an .onnx file")


def test_calibrate_fits_thresholds_to_own_faces(mien, fer2013_csv, user_cache, tmp_path):
    mine = tmp_path / "mine.onnx"
    code, out, _ = mien("calibrate", "small", "--data", fer2013_csv, "--coverage", 0.5, "-o", mine)
    assert code == 0
    assert "temperature" in out
    assert "50.0% of the faces" in out
    code, out, _ = mien("recognize", ASTRONAUT, "--model", mine, "--json", "--threads", 1)
    assert json.loads(out)[0]["faces"][0]["expression"] == "happy"
    assert "on these 14 faces" in mien("calibrate", "small", "--data", fer2013_csv, "-o", mine)[1]
    assert "on these 56 faces" in mien("calibrate", "small", "--data", fer2013_csv, "--split", "all", "-o", mine)[1]
    code, _, err = mien("calibrate", "small", "--data", fer2013_csv, "--coverage", 0, "-o", mine)
    assert code == 2
    assert_sentence(err, "the coverage must be above 0 and at most 1, got 0")


def test_precision_writes_a_copy_without_integers_and_states_the_difference(mien, fer2013_csv, user_cache, tmp_path):
    copy = tmp_path / "single.onnx"
    code, out, _ = mien("export", "tiny", "--precision", 32, "-o", copy)
    assert code == 0
    assert out.startswith(f"written: {copy}, ")
    assert out.endswith("at most on 256 images of noise\n")
    assert OnnxModel(copy).metadata["precision"] == 32
    _, out, _ = mien("export", "tiny", "--precision", 16, "-o", tmp_path / "half.onnx", "--data", fer2013_csv)
    assert out.endswith("at most on 14 faces of the public split\n")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["tiny", "-o", "x.onnx"], ["tiny is an .onnx file already", "--to or --precision"]),
        (["tiny", "--precision", "32"], ["-o FILE"]),
        (["tiny", "--precision", "16", "-o", "x.txt"], ["must end in .onnx, got x.txt"]),
        (["tini", "--precision", "32", "-o", "x.onnx"], ["did you mean tiny?"]),
    ],
)
def test_bad_copy_gives_one_sentence(mien, options, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = mien("export", *options)
    assert code == 2
    assert_sentence(err, *words)
    assert not list(tmp_path.iterdir())
