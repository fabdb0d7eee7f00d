"""`mien train`, and every later step with a person's own faces."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien import predictions
from mien.labels import EXPRESSIONS
from tests.cli.conftest import assert_sentence

pytestmark = pytest.mark.training


def test_train_writes_a_run_and_never_overwrites_it(mien, fer2013_csv, user_cache, tmp_path, monkeypatch):
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


@pytest.mark.slow
def test_own_faces_keep_the_size_of_the_network_input(mien, user_cache, tmp_path, monkeypatch):
    """Otherwise a network would be trained and measured on blurred faces but recognise sharp ones."""
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
        ("evaluate", "mine.onnx", "--data", "faces", "--split", "public", "-o", "evaluation"),
        ("calibrate", "mine.onnx", "--data", "faces", "-o", "mine-calibrated.onnx"),
        ("quantize", "mine.onnx", "--data", "faces", "-o", "mine-int8.onnx"),
        ("benchmark", "train", "mine.toml", "--steps", 1),
    ):
        code, _, err = mien(*command)
        assert code == 0, err
    (copy,) = user_cache.rglob("*.npz")  # a single cache file, so all commands read faces of the same size
    assert np.load(copy)["images"].shape == (35, 80, 80)
    assert mien("robustness", "mine.onnx", "small", "--data", "faces", "-o", "robustness.csv", "--threads", 1)[0] == 0
    pictures = [f"faces/val/{name}/0.png" for name in sorted(EXPRESSIONS)]
    _, out, _ = mien("recognize", *pictures, "--detector", "none", "--model", "mine.onnx", "--json", "--threads", 1)
    recognized = [list(picture["faces"][0]["probabilities"].values()) for picture in json.loads(out)]
    measured = predictions.load(tmp_path / "evaluation" / "predictions.parquet")
    np.testing.assert_allclose(measured.probabilities, recognized, atol=1e-4)
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
        ("[training", ["mine.toml cannot be read as TOML"]),
    ],
)
def test_bad_config_gives_one_sentence(mien, text, words, fer2013_csv, user_cache, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = tmp_path / "mine.toml"
    config.write_text(text if "[data]" in text or text == "[training" else f'{text}\n[data]\npath = "{fer2013_csv}"')
    code, _, err = mien("train", config)
    assert code == 2
    assert_sentence(err, *words)
    assert not (tmp_path / "runs" / "mine" / "config.toml").exists()
