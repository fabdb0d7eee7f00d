"""ONNX files are opened on the CPU, or with the execution providers of an environment variable."""

import numpy as np
import pytest

from mien.errors import ConfigError
from mien.models.onnx_model import OnnxModel
from mien.models.session import PROVIDERS_VARIABLE

FACE = np.full((1, 48, 48), 128, np.uint8)


def test_installed_provider_is_used_before_the_cpu(monkeypatch):
    on_cpu = OnnxModel("tiny", threads=1)
    assert on_cpu._session.get_providers() == ["CPUExecutionProvider"]
    monkeypatch.setenv(PROVIDERS_VARIABLE, " CPUExecutionProvider ")
    assert np.array_equal(OnnxModel("tiny", threads=1).logits(FACE), on_cpu.logits(FACE))


def test_missing_provider_is_an_error_that_lists_the_installed_ones(monkeypatch):
    monkeypatch.setenv(PROVIDERS_VARIABLE, "NoSuchExecutionProvider")
    with pytest.raises(ConfigError, match=r"names NoSuchExecutionProvider, and the installed .* CPUExecutionProvider"):
        OnnxModel("tiny", threads=1)
