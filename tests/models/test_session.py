"""ONNX files are opened on the CPU, or with the execution providers of an environment variable."""

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from mien.errors import ConfigError
from mien.models import session
from mien.models.devices import PROVIDERS_VARIABLE
from mien.models.onnx_model import OnnxModel
from mien.recognition.recognizer import Recognizer

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


def test_memory_of_large_inputs_is_returned_without_another_result(monkeypatch):
    image = Image.fromarray(np.arange(1500 * 1500 * 3, dtype=np.uint32).astype(np.uint8).reshape(1500, 1500, 3))
    made = []
    options = onnxruntime.RunOptions
    monkeypatch.setattr(onnxruntime, "RunOptions", lambda: made.append(options()) or made[-1])
    expected = Recognizer(threads=1)(image)
    assert not made
    monkeypatch.setattr(session._freed, "returned", True)
    recognizer = Recognizer(threads=1)
    assert recognizer(image) == expected
    large = len(made)
    assert large > 0
    recognizer(image.resize((200, 200)))
    assert len(made) == large
