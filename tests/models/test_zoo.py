"""Tests of the shipped models."""

from __future__ import annotations

from pathlib import Path

import pytest

from mien.errors import WeightsError
from mien.models import zoo
from mien.models.onnx_model import OnnxModel
from mien.models.zoo import DEFAULT_MODEL, find_model, shipped_models


@pytest.mark.parametrize("name", shipped_models())
def test_shipped_model_has_card_config_and_log(name: str) -> None:
    path = find_model(name)
    assert OnnxModel(name, threads=1).path == path
    assert all(path.with_suffix(suffix).is_file() for suffix in (".md", ".toml", ".csv"))


def test_default_model_is_shipped() -> None:
    assert DEFAULT_MODEL in shipped_models()


def test_find_model_returns_the_path_of_an_onnx_file() -> None:
    assert find_model("some/where.onnx") == Path("some/where.onnx")


def test_unknown_name_lists_similar_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zoo, "shipped_models", lambda: {"small": Path("small.onnx"), "large": Path("large.onnx")})
    with pytest.raises(WeightsError, match=r"unknown model smal: expected .*; did you mean small\?$"):
        find_model("smal")
    with pytest.raises(WeightsError, match=r"unknown model best: .*; known are large, small$"):
        find_model("best")
