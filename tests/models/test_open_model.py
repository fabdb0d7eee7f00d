"""Tests of open_model: every format of a network gives the same logits, and anything else is named."""

import shutil

import numpy as np
import pytest
import torch

from mien.errors import WeightsError
from mien.labels import EXPRESSIONS
from mien.models import checkpoint
from mien.models.checkpoint import BEST, LAST
from mien.models.onnx_model import OnnxModel
from mien.models.open_model import open_model
from mien.training.distill import Teachers

FACES = np.random.default_rng(3).integers(0, 256, (12, 48, 48), dtype=np.uint8)


def test_run_checkpoint_and_exported_file_give_the_same_logits(trained_run, exported_run):
    expected = open_model(str(trained_run), threads=1).logits(FACES)
    assert np.array_equal(open_model(str(trained_run / BEST)).logits(FACES), expected)
    assert np.abs(open_model(str(exported_run), 1).logits(FACES) - expected).max() < 1e-4
    assert open_model(str(trained_run / LAST)).title == open_model(str(exported_run)).title


def test_run_returns_the_masks_of_four_stages(trained_run):
    masks = open_model(str(trained_run)).masks(FACES[:3])
    assert [mask.shape for mask in masks] == [(3, 24, 24), (3, 12, 12), (3, 6, 6), (3, 3, 3)]
    assert all(mask.min() >= 0 and mask.max() <= 1 for mask in masks)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("nothing", "there is no model nothing: expected a run folder"),
        ("nothing.onnx", r"there is no model file nothing\.onnx"),
        ("nothing.safetensors", r"there is no checkpoint nothing\.safetensors"),
    ],
)
def test_missing_model_is_named(name, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError, match=sentence):
        open_model(name)


def test_shipped_name_wins_over_a_folder_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").mkdir()
    assert open_model("tiny").digest == OnnxModel("tiny").digest
    with pytest.raises(WeightsError, match=r"holds no best\.safetensors"):
        open_model("./tiny")


def test_teacher_folder_named_like_a_shipped_model_is_opened_as_a_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small").mkdir()
    with pytest.raises(WeightsError, match=r"small holds no best\.safetensors"):
        Teachers(["./small"], EXPRESSIONS, 1.0, torch.device("cpu"))


def test_tilde_is_expanded(exported_run, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    shutil.copy(exported_run, tmp_path / "mine.onnx")
    assert open_model("~/mine.onnx", 1).digest == open_model(str(exported_run), 1).digest


def test_home_folder_of_an_unknown_user_is_named():
    with pytest.raises(WeightsError, match=r"there is no model file ~nobody-of-this-name/x\.onnx"):
        open_model("~nobody-of-this-name/x.onnx")


def test_folder_without_a_run_is_named(tmp_path):
    with pytest.raises(WeightsError, match=r"holds no best\.safetensors: train it for at least one epoch"):
        open_model(str(tmp_path))


def test_checkpoint_of_another_network_is_named(trained_run, tmp_path):
    tensors, state = checkpoint.load(trained_run / BEST)
    state["config"]["network"]["name"] = "resnet34_masking_reconstruction"
    checkpoint.save(tmp_path / BEST, tensors, state)
    with pytest.raises(WeightsError, match="does not fit resnet34_masking_reconstruction"):
        open_model(str(tmp_path))
