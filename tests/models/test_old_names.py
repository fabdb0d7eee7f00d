"""Tests that documented names of earlier versions still work, with a DeprecationWarning."""

import importlib

import numpy as np
import pytest

from mien.calibration import Calibration
from mien.models.onnx_model import OnnxModel
from mien.models.torch_model import TorchModel
from mien.models.zoo import find_model


@pytest.mark.parametrize(
    ("module", "old", "new_module", "new"),
    [
        ("mien.models.onnx_model", "DEFAULT", "mien.models.zoo", "DEFAULT_MODEL"),
        ("mien.models.onnx_model", "Model", "mien.models.model", "Model"),
        ("mien.models.onnx_model", "find", "mien.models.zoo", "find_model"),
        ("mien.models.onnx_model", "shipped", "mien.models.zoo", "shipped_models"),
        ("mien.models.torch_model", "LAST", "mien.models.checkpoint", "LAST"),
        ("mien.models.torch_model", "build", "mien.models.build", "build_network"),
        ("mien.models.torch_model", "preprocessing_of", "mien.models.build", "preprocessing_for"),
        ("mien.export.onnx", "recalibrate", "mien.export.calibrate", "recalibrate"),
        ("mien.calibration", "best_temperatures", "mien.calibration", "fit_temperatures"),
        ("mien.calibration", "calibrate", "mien.calibration", "fit_calibration"),
    ],
)
def test_old_name_of_a_module_warns_and_gives_the_new_object(module, old, new_module, new):
    with pytest.warns(DeprecationWarning, match=f"use {new_module}.{new}"):
        value = getattr(importlib.import_module(module), old)
    assert value is getattr(importlib.import_module(new_module), new)


def test_old_names_of_methods_warn():
    logits = np.float32([[0.5, 1.5]])
    calibration = Calibration(2, 2, uncertain_below=0.7)
    with pytest.warns(DeprecationWarning, match=r"use Calibration\.scale_logits"):
        assert np.array_equal(calibration.scaled(logits), calibration.scale_logits(logits))
    with pytest.warns(DeprecationWarning, match=r"use Calibration\.is_uncertain"):
        assert calibration.uncertain(calibration.probabilities(logits)).tolist() == [True]
    with pytest.warns(DeprecationWarning, match=r"use TorchModel\.from_onnx"):
        assert TorchModel.of_exported(find_model("tiny")).digest == OnnxModel("tiny").digest
