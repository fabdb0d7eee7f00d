"""The page as a static folder: its files and its list of models."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from mien.errors import ConfigError
from mien.export import page as page_folder
from mien.labels import class_colours
from mien.models.onnx_model import OnnxModel
from tests.conftest import Mien
from tests.linear_classifier import SIZE, WriteClassifier

VENDOR = page_folder.PAGE / "vendor"


def test_vendored_files_match_their_pinned_hashes() -> None:
    pin = json.loads((VENDOR / "onnxruntime-web.json").read_text(encoding="utf-8"))
    hashes = {name: hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() for name in pin["files"]}
    assert hashes == pin["files"]
    assert {path.name for path in VENDOR.iterdir()} == {*pin["files"], "onnxruntime-web.json", "LICENSE"}
    assert pin["integrity"].startswith("sha512-")
    assert f"ONNX Runtime Web v{pin['version']}" in (VENDOR / "ort.wasm.min.mjs").read_text(encoding="utf-8")


def test_model_list_holds_the_settings_of_each_file(masked: Path) -> None:
    model_list = page_folder.describe_models(page_folder.find_models(["small", str(masked)]))
    small, other = model_list["models"]
    model = OnnxModel("small")
    assert model_list["default"] == small["name"] == "small"
    assert small["classes"] == list(model.classes)
    assert small["colours"] == class_colours(model.classes)
    assert small["preprocessing"] == model.preprocessing.to_dict()
    assert small["calibration"] == model.calibration.to_dict()
    assert other["file"] == "models/masked.onnx"


def test_model_list_has_a_colour_for_each_class_of_any_model(write_classifier: WriteClassifier) -> None:
    path = write_classifier(np.zeros((SIZE**2, 3), np.float32), classes=["bored", "engaged", "away"])
    (model,) = page_folder.describe_models({"mine": path})["models"]
    assert model["classes"] == ["bored", "engaged", "away"]
    assert list(model["colours"]) == model["classes"]
    assert len(set(model["colours"].values())) == 3


def test_model_file_is_a_quoted_url(masked: Path, tmp_path: Path) -> None:
    path = tmp_path / "my #1, 90%.onnx"
    path.write_bytes(masked.read_bytes())
    (model,) = page_folder.describe_models(page_folder.find_models([str(path)]))["models"]
    assert (model["name"], model["file"]) == ("my #1, 90%", "models/my%20%231%2C%2090%25.onnx")


def test_two_models_with_the_same_name_raise_config_error(masked: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="needs a different name, got masked twice"):
        page_folder.find_models([str(masked), str(tmp_path / masked.name)])


def test_page_size_ignores_foreign_files(masked: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.bin").write_bytes(bytes(1000))
    written = page_folder.write(tmp_path, page_folder.find_models([str(masked)]))
    assert written == sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) - 1000


def test_page_command_writes_page_models_and_detector(mien: Mien, masked: Path, tmp_path: Path) -> None:
    code, out, _ = mien("page", "-o", tmp_path / "page", "--model", masked)
    assert code == 0
    assert f"written: {tmp_path / 'page'}" in out
    written = {str(path.relative_to(tmp_path / "page")) for path in (tmp_path / "page").rglob("*") if path.is_file()}
    own = {str(path.relative_to(page_folder.PAGE)) for path in page_folder.PAGE.rglob("*") if path.is_file()}
    models = {
        f"models/{name}"
        for name in ("masked.onnx", "yunet.onnx", "LICENSE-yunet", "centerface.onnx", "LICENSE-centerface")
    }
    assert written == own | models | {"models.json"}
    assert 'content="models.json"' in (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
