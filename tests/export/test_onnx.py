"""An exported file says what torch says, and holds all that its user needs."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from mien.calibration import calibrate
from mien.data import load
from mien.errors import ConfigError, DataError, WeightsError
from mien.export import onnx as exports
from mien.export.onnx import export, recalibrate
from mien.models import onnx_file
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
def test_logits_are_torchs_for_any_batch(exported_run, trained, n):
    faces = np.random.default_rng(1).integers(0, 256, (n, 48, 48), dtype=np.uint8)
    assert np.abs(OnnxModel(exported_run, threads=1).logits(faces) - trained.logits(faces)).max() < 1e-4


def test_masks_are_torchs(exported_run, trained):
    faces = np.random.default_rng(2).integers(0, 256, (3, 48, 48), dtype=np.uint8)
    masks, expected = OnnxModel(exported_run, threads=1).masks(faces), trained.masks(faces)
    assert [mask.shape for mask in masks] == [(3, 24, 24), (3, 12, 12), (3, 6, 6), (3, 3, 3)]
    assert all(np.abs(mask - wanted).max() < 1e-4 for mask, wanted in zip(masks, expected, strict=True))


def test_the_file_says_what_it_is(exported_run, trained):
    properties = {entry.key: entry.value for entry in onnx.load(exported_run).metadata_props}
    stored = json.loads(properties[METADATA_KEY])
    assert stored["classes"] == list(trained.classes)
    assert stored["preprocessing"] == trained.preprocessing.to_dict()
    assert stored["network"] == "resnet18_masking_reconstruction small"
    assert stored["config"]["training"]["epochs"] == 2
    assert stored["metrics"] == {"public-single": {"n": 14, "accuracy": 0.5, "ece": 0.1}}
    assert "FER2013" in stored["licence"]


def test_the_file_is_calibrated_as_the_run_is(exported_run, trained, public):
    assert OnnxModel(exported_run).calibration == trained.calibration
    # The run's was found with the weights before they were rounded to half precision.
    expected = calibrate(Predictions(public.index, trained.logits(public.images), public.targets))
    assert trained.calibration.faces == len(public)
    assert trained.calibration.temperature == pytest.approx(expected.temperature, rel=0.05)


def test_a_file_is_calibrated_again_and_stays_the_same_network(exported_run, public, tmp_path):
    other = replace(public, targets=(public.targets + 1) % 7)
    found, said = recalibrate(str(exported_run), tmp_path / "mine.onnx", other, coverage=0.5)
    mine = OnnxModel(tmp_path / "mine.onnx")
    assert np.array_equal(said.targets, other.targets)
    assert mine.calibration == found
    logits = mine.logits(public.images)
    assert np.array_equal(logits, OnnxModel(exported_run).logits(public.images))
    expected = calibrate(Predictions(public.index, logits, other.targets), 0.5)
    assert found.temperature == pytest.approx(expected.temperature, rel=1e-3)
    assert found.coverage >= 0.5
    assert mine.metadata["metrics"] == {"public-single": {"n": 14, "accuracy": 0.5}}
    before = (tmp_path / "mine.onnx").read_bytes()
    with pytest.raises(DataError, match="the data has the classes"):
        recalibrate(str(exported_run), tmp_path / "mine.onnx", replace(public, classes=tuple("abcdefg")))
    assert (tmp_path / "mine.onnx").read_bytes() == before


def test_what_several_views_said_is_forgotten_with_the_temperatures(exported_run, public, tmp_path):
    """A mean of other probabilities may have another class first."""
    classifier = OnnxModel(exported_run)
    metrics = classifier.metadata["metrics"] | {"public-flip": {"n": 14, "accuracy": 0.75}}
    onnx_file.replace_metadata(
        exported_run, tmp_path / "both.onnx", {METADATA_KEY: json.dumps(classifier.metadata | {"metrics": metrics})}
    )
    recalibrate(str(tmp_path / "both.onnx"), tmp_path / "mine.onnx", public)
    assert OnnxModel(tmp_path / "mine.onnx").metadata["metrics"].keys() == {"public-single"}


def test_it_tells_nothing_of_the_machine_it_was_made_on(exported_run):
    content = exported_run.read_bytes()
    folders = [str(Path(module.__file__).parents[1]) for module in (torch, exports)]
    for trace in (*folders, "site-packages", "forward("):
        assert trace.encode() not in content


def test_weights_take_two_bytes_each(exported_run, trained):
    weights = sum(p.numel() for name, p in trained.network.named_parameters() if not name.startswith("decoder"))
    assert 2 * weights < exported_run.stat().st_size < 2.2 * weights + 50_000


def test_a_file_that_differs_is_not_written(exported_run, trained, public, tmp_path, monkeypatch):
    path = tmp_path / "old.onnx"
    path.write_bytes(b"what stood here before")
    monkeypatch.setattr(exports.onnx_file, "write", lambda *given: shutil.copy(exported_run, given[3]))
    monkeypatch.setattr(OnnxModel, "logits", lambda self, faces: trained.logits(faces) + np.float32(1e-3))
    with pytest.raises(WeightsError, match=r"differs from torch's by 0\.001 in a logit"):
        export(trained, path, public, {})
    assert path.read_bytes() == b"what stood here before"
    assert list(tmp_path.iterdir()) == [path]


def test_another_kind_of_file_is_refused_at_once(trained, public, tmp_path):
    with pytest.raises(ConfigError, match=r"its name must end in \.onnx, got model\.bin"):
        export(trained, tmp_path / "model.bin", public, {})
    assert list(tmp_path.iterdir()) == []


def test_a_file_says_nothing_of_the_machine_it_comes_from(exported_run, trained):
    stored = OnnxModel(exported_run)
    assert Path(trained.config.data.path).is_absolute()
    assert stored.config.data.path == "fer2013.csv"
    assert stored.digest == trained.digest
    assert stored.metadata["log_row"]["epoch"] == trained.log_row["epoch"]
