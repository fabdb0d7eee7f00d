"""Tests of opening ONNX files."""

from __future__ import annotations

from pathlib import Path

import pytest

from mien.errors import WeightsError
from mien.models.session import open_session


def test_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"there is no model file .*none\.onnx"):
        open_session(tmp_path / "none.onnx")


def test_damaged_file_is_one_sentence(tmp_path: Path) -> None:
    path = tmp_path / "damaged.onnx"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(WeightsError, match=r"damaged\.onnx is damaged or is not an ONNX model") as caught:
        open_session(path)
    assert "\n" not in str(caught.value)
