"""Tests of exported files: logits and masks of torch, metadata, size, and files that are not written."""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from mien.calibration import fit_calibration
from mien.data import load
from mien.errors import ConfigError, WeightsError
from mien.export import onnx as exports
from mien.export.onnx import export
from mien.models.onnx_model import METADATA_KEY, OnnxModel
from mien.models.torch_model import TorchModel
from mien.types import Predictions


@pytest.fixture(scope="module")
def trained(trained_run):
    return TorchModel.load(trained_run)


@pytest.fixture(scope="module")
def public(trained, trained_run):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(trained_run.parent / "cache"))
        return load(trained.config.data.path).split("public")


@pytest.mark.parametrize("n", [1, 2, 5])
def test_logits_equal_torchs_for_any_batch_size(exported_run, trained, n):
    faces = np.random.default_rng(1).integers(0, 256, (n, 48, 48), dtype=np.uint8)
    assert np.abs(OnnxModel(exported_run, threads=1).logits(faces) - trained.logits(faces)).max() < 1e-4


def test_masks_equal_torchs(exported_run, trained):
    faces = np.random.default_rng(2).integers(0, 256, (3, 48, 48), dtype=np.uint8)
    masks, expected = OnnxModel(exported_run, threads=1).masks(faces), trained.masks(faces)
    assert [mask.shape for mask in masks] == [(3, 24, 24), (3, 12, 12), (3, 6, 6), (3, 3, 3)]
    assert all(np.abs(a - b).max() < 1e-4 for a, b in zip(masks, expected, strict=True))


def test_metadata_describes_the_network(exported_run, trained):
    properties = {entry.key: entry.value for entry in onnx.load(exported_run).metadata_props}
    stored = json.loads(properties[METADATA_KEY])
    assert stored["classes"] == list(trained.classes)
    assert stored["preprocessing"] == trained.preprocessing.to_dict()
    assert stored["network"] == "resnet18_masking_reconstruction small"
    assert stored["config"]["training"]["epochs"] == 2
    assert stored["metrics"] == {"public-single": {"n": 14, "accuracy": 0.5, "ece": 0.1}}
    assert "FER2013" in stored["licence"]


def test_exported_calibration_equals_that_of_the_run(exported_run, trained, public):
    assert OnnxModel(exported_run).calibration == trained.calibration
    # The run was calibrated before its weights were rounded to half precision.
    expected = fit_calibration(Predictions(public.index, trained.logits(public.images), public.targets))
    assert trained.calibration.faces == len(public)
    assert trained.calibration.temperature == pytest.approx(expected.temperature, rel=0.05)


def test_file_contains_no_paths_of_the_exporting_machine(exported_run):
    content = exported_run.read_bytes()
    folders = [str(Path(module.__file__).parents[1]) for module in (torch, exports)]
    for trace in (*folders, "site-packages", "forward("):
        assert trace.encode() not in content


def test_weights_take_two_bytes_each(exported_run, trained):
    weights = sum(p.numel() for name, p in trained.network.named_parameters() if not name.startswith("decoder"))
    assert 2 * weights < exported_run.stat().st_size < 2.2 * weights + 50_000


def test_file_with_different_logits_is_not_written(exported_run, trained, public, tmp_path, monkeypatch):
    path = tmp_path / "old.onnx"
    path.write_bytes(b"old content")
    monkeypatch.setattr(exports.onnx_file, "write", lambda *arguments: shutil.copy(exported_run, arguments[3]))
    monkeypatch.setattr(OnnxModel, "logits", lambda self, faces: trained.logits(faces) + np.float32(1e-3))
    with pytest.raises(WeightsError, match=r"differs from torch's by 0\.001, more than 0\.0001"):
        export(trained, path, public, {})
    assert path.read_bytes() == b"old content"
    assert list(tmp_path.iterdir()) == [path]


def test_file_name_must_end_in_onnx(trained, public, tmp_path):
    with pytest.raises(ConfigError, match=r"must end in \.onnx, got model\.bin"):
        export(trained, tmp_path / "model.bin", public, {})
    assert list(tmp_path.iterdir()) == []


def test_config_keeps_the_names_of_files_without_their_folders(exported_run, trained):
    stored = OnnxModel(exported_run)
    assert Path(trained.config.data.path).is_absolute()
    assert stored.config.data.path == "fer2013.csv"
    assert stored.digest == trained.digest
    assert stored.metadata["log_row"]["epoch"] == trained.log_row["epoch"]
