"""The page as a folder: what is in it, and what it says of the models."""

import hashlib
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mien.cli import app
from mien.errors import ConfigError
from mien.export import page as page_folder
from mien.labels import EXPRESSIONS, class_colours
from mien.models.onnx_model import OnnxModel

VENDOR = page_folder.PAGE / "vendor"


def test_what_comes_from_npm_is_what_is_pinned() -> None:
    pin = json.loads((VENDOR / "onnxruntime-web.json").read_text(encoding="utf-8"))
    found = {name: hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() for name in pin["files"]}
    assert found == pin["files"]
    assert {path.name for path in VENDOR.iterdir()} == {*pin["files"], "onnxruntime-web.json", "LICENSE"}
    assert pin["integrity"].startswith("sha512-")
    assert f"ONNX Runtime Web v{pin['version']}" in (VENDOR / "ort.wasm.min.mjs").read_text(encoding="utf-8")


def test_the_list_of_models_says_what_their_files_say(masked: Path) -> None:
    listed = page_folder.listed(page_folder.named(["small", str(masked)]))
    small, other = listed["models"]
    classifier = OnnxModel("small")
    assert listed["default"] == small["name"] == "small"
    assert small["classes"] == list(classifier.classes)
    assert small["colours"] == class_colours(EXPRESSIONS)
    assert small["preprocessing"] == classifier.preprocessing.to_dict()
    assert small["calibration"] == classifier.calibration.to_dict()
    assert other["file"] == "models/masked.onnx"


def test_a_models_file_is_an_address(masked: Path, tmp_path: Path) -> None:
    path = tmp_path / "my #1, 90%.onnx"
    path.write_bytes(masked.read_bytes())
    (model,) = page_folder.listed(page_folder.named([str(path)]))["models"]
    assert (model["name"], model["file"]) == ("my #1, 90%", "models/my%20%231%2C%2090%25.onnx")


def test_each_model_has_a_name_of_its_own(masked: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="a name of its own"):
        page_folder.named([str(masked), str(tmp_path / masked.name)])


def test_what_else_is_in_the_folder_is_not_counted(masked: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.bin").write_bytes(bytes(1000))
    written = page_folder.write(tmp_path, page_folder.named([str(masked)]))
    assert written == sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) - 1000


def test_the_command_writes_the_folder(masked: Path, tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["page", "-o", str(tmp_path / "page"), "--model", str(masked)])
    assert result.exit_code == 0
    assert f"written: {tmp_path / 'page'}" in result.output
    written = {str(path.relative_to(tmp_path / "page")) for path in (tmp_path / "page").rglob("*") if path.is_file()}
    own = {str(path.relative_to(page_folder.PAGE)) for path in page_folder.PAGE.rglob("*") if path.is_file()}
    models = {f"models/{name}" for name in ("masked.onnx", "blazeface_full_range.onnx", "LICENSE-blazeface")}
    assert written == own | models | {"models.json"}
    assert 'content="models.json"' in (tmp_path / "page" / "index.html").read_text(encoding="utf-8")
