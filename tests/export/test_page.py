"""The page as a static folder: its files and its list of models."""

import gzip
import hashlib
import json
import re
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
    others = {"onnxruntime-web.json", "LICENSE"}
    assert {path.name for path in VENDOR.iterdir()} == {*pin["files"], *pin["compressed"], *others}
    compressed = {name: hashlib.sha256((VENDOR / name).read_bytes()).hexdigest() for name in pin["compressed"]}
    assert compressed == pin["compressed"]
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


def test_page_sizes_are_those_of_its_files(masked: Path, tmp_path: Path) -> None:
    (tmp_path / "mine.bin").write_bytes(bytes(1000))
    written, loaded = page_folder.write(tmp_path, page_folder.find_models([str(masked)]))
    sizes = {path: path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()}
    copies = [path for path in sizes if path.suffix in (".gz", ".br")]
    assert written == sum(sizes.values()) - sum(sizes[path] for path in copies) - 1000
    assert 0.1 * written < loaded < 0.5 * written


def test_page_command_writes_page_models_and_detector(mien: Mien, masked: Path, tmp_path: Path) -> None:
    code, out, _ = mien("page", "-o", tmp_path / "page", "--model", masked)
    assert code == 0
    assert f"written: {tmp_path / 'page'}" in out
    paths = {path.relative_to(tmp_path / "page").as_posix(): path for path in (tmp_path / "page").rglob("*")}
    written = {name: path.read_bytes() for name, path in paths.items() if path.is_file()}
    models = {
        f"models/{name}"
        for name in ("masked.onnx", "yunet.onnx", "LICENSE-yunet", "centerface.onnx", "LICENSE-centerface")
    }
    expected = {*page_folder.assets(), *models, "models.json", "index.html"}
    assert {name for name in written if not name.endswith(".gz")} == expected
    for name in expected:
        if not name.endswith(".br"):
            assert gzip.decompress(written[f"{name}.gz"]) == written[name]
    index = written["index.html"].decode()
    assert 'content="models.json"' in index
    linked = set(re.findall(r'(?:src|href)="([^":#]+)"', index))
    assert linked < set(page_folder.assets())
    assert any(name.endswith("/errors.js") for name in linked)  # imported by other modules


def test_model_list_holds_the_digest_of_each_file(masked: Path, tmp_path: Path) -> None:
    page_folder.write(tmp_path, page_folder.find_models([str(masked)]))
    model_list = json.loads((tmp_path / "models.json").read_text(encoding="utf-8"))
    for each in (*model_list["models"], *model_list["detector"]):
        assert hashlib.sha256((tmp_path / each["file"]).read_bytes()).hexdigest() == each["sha256"]
