"""Tests of calibrating an exported file on other faces."""

import json
from dataclasses import replace

import numpy as np
import pytest

from mien.calibration import fit_calibration
from mien.data import load
from mien.errors import DataError
from mien.export.calibrate import recalibrate
from mien.models import onnx_file
from mien.models.onnx_model import METADATA_KEY, OnnxModel
from mien.models.torch_model import TorchModel
from mien.types import Predictions


@pytest.fixture(scope="module")
def public(trained_run):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(trained_run.parent / "cache"))
        return load(TorchModel.load(trained_run).config.data.path).split("public")


def test_recalibrated_copy_has_the_same_logits_and_a_fitted_calibration(exported_run, public, tmp_path):
    faces = replace(public, targets=(public.targets + 1) % 7)
    calibration, old_predictions = recalibrate(str(exported_run), tmp_path / "mine.onnx", faces, coverage=0.5)
    model = OnnxModel(tmp_path / "mine.onnx")
    assert np.array_equal(old_predictions.targets, faces.targets)
    assert model.calibration == calibration
    logits = model.logits(faces.images)
    assert np.array_equal(logits, OnnxModel(exported_run).logits(faces.images))
    expected = fit_calibration(Predictions(faces.index, logits, faces.targets), 0.5)
    assert calibration.temperature == pytest.approx(expected.temperature, rel=1e-3)
    assert calibration.coverage >= 0.5


def test_metrics_that_depend_on_the_calibration_are_removed(exported_run, public, tmp_path):
    """Those of several views do: their mean of probabilities can have another most probable class."""
    source = OnnxModel(exported_run)
    metrics = {"public-single": {"n": 14, "accuracy": 0.5, "ece": 0.1}, "public-flip": {"n": 14, "accuracy": 0.75}}
    metadata = json.dumps(source.metadata | {"metrics": metrics})
    onnx_file.replace_metadata(exported_run, tmp_path / "both.onnx", {METADATA_KEY: metadata})
    recalibrate(str(tmp_path / "both.onnx"), tmp_path / "mine.onnx", public)
    stored = OnnxModel(tmp_path / "mine.onnx").metadata["metrics"]
    assert stored == {"public-single": {"n": 14, "accuracy": 0.5}}


def test_faces_with_other_classes_leave_the_old_file(exported_run, public, tmp_path):
    path = tmp_path / "mine.onnx"
    path.write_bytes(b"old content")
    with pytest.raises(DataError, match="the data and the model must have the same classes"):
        recalibrate(str(exported_run), path, replace(public, classes=tuple("abcdefg")))
    assert path.read_bytes() == b"old content"
