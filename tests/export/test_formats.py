"""Networks in the formats of other runtimes: the same predictions, and the settings as JSON beside them."""

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from mien.errors import ConfigError, MissingExtraError, WeightsError
from mien.export import formats
from mien.export.formats import FORMATS, write
from mien.export.precision import noise
from mien.models.onnx_model import OnnxModel
from mien.models.zoo import find_model
from tests.cli.conftest import assert_sentence
from tests.environments import python_with, run

with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(Path(__file__).parents[2] / "benchmarks")
    runners = importlib.import_module("formats").RUNNERS
    sys.modules.pop("formats")

NEEDED = {
    "openvino": ("openvino",),
    "ncnn": ("pnnx", "ncnn"),
    "litert": ("onnx2tf", "ai_edge_litert"),
    "coreml": ("coremltools",),
}


def require_packages(name):
    for package in NEEDED[name]:
        pytest.importorskip(package)


@pytest.mark.slow
@pytest.mark.parametrize("precision", [None, "32", "16"])
@pytest.mark.parametrize("name", runners)
def test_converted_network_gives_the_probabilities_of_the_original(name, precision, tmp_path):
    require_packages(name)
    model = OnnxModel("tiny", 1)
    path = tmp_path / f"tiny{FORMATS[name].suffix}"
    *files, about = write(model, path, name, precision)
    assert all(file.stat().st_size > 1000 for file in files)
    stored = json.loads(about.read_text())
    assert stored["classes"] == list(model.classes)
    assert stored["preprocessing"] == model.preprocessing.to_dict()
    assert stored["bits"] == (int(precision) if precision else 8 if FORMATS[name].takes_integers else 32)
    assert stored["input"]["shape"][-3:] == ([48, 48, 1] if name == "litert" else [1, 48, 48])
    images = noise(48)[:64]
    found = runners[name](path)(model.preprocessing(images))
    expected = model.calibration.probabilities(model.logits(images))
    difference = np.abs(model.calibration.probabilities(np.asarray(found, np.float32)) - expected)
    assert difference.mean() < 0.02


class WrongInterpreter:
    """A LiteRT file that gives these logits for every image."""

    def __init__(self, logits):
        self.logits = logits

    def get_input_details(self):
        return [{"index": 0}]

    def get_output_details(self):
        return [{"index": 1}]

    def get_tensor(self, index):
        return self.logits

    def allocate_tensors(self):
        pass

    def set_tensor(self, index, value):
        assert value.shape == (1, 48, 48, 1)

    invoke = allocate_tensors


@pytest.mark.parametrize("value", [np.nan, 100.0])
def test_wrong_conversion_to_litert_is_an_error(value):
    """onnx2tf 1.29 once made a file of `small` in 16 bits whose logits were not numbers."""
    with pytest.raises(WeightsError, match=r"gives other results: a logit differs by (nan|1e\+02|9\d|1\d\d)"):
        formats._check_litert(WrongInterpreter(np.full((1, 7), value, np.float32)), find_model("tiny"))


@pytest.mark.slow
def test_core_ml_package_has_the_input_and_the_output_of_the_network(tmp_path):
    coremltools = pytest.importorskip("coremltools")
    path, about = write(OnnxModel("tiny", 1), tmp_path / "tiny.mlpackage", "coreml")
    description = coremltools.models.MLModel(str(path), skip_model_load=True).get_spec().description
    assert [(each.name, list(each.type.multiArrayType.shape)) for each in description.input] == [
        ("images", [1, 1, 48, 48])
    ]
    assert [each.name for each in description.output] == ["logits"]
    assert json.loads(about.read_text())["format"] == "coreml"


@pytest.mark.slow
def test_converters_work_in_an_environment_of_their_own(tmp_path):
    """Runs the tests above where the converters are; onnx2tf is left out, since it takes minutes a network."""
    python = python_with(tmp_path / "converters", "openvino", "ncnn", "pnnx", "coremltools")
    chosen = "converted_network or core_ml"
    done = run(python, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k", chosen)
    assert done.returncode == 0, done.stdout
    assert "7 passed" in done.stdout  # 3 precisions of OpenVINO and of ncnn, and Core ML


def test_unknown_format_or_ending_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match="unknown format ncn: did you mean ncnn"):
        write(OnnxModel("tiny", 1), tmp_path / "tiny.param", "ncn")
    with pytest.raises(ConfigError, match=r"a file of litert must end in \.tflite, got tiny\.onnx"):
        write(OnnxModel("tiny", 1), tmp_path / "tiny.onnx", "litert")


def test_missing_converter_is_named_with_its_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError, match="the package openvino, which is not installed"):
        write(OnnxModel("tiny", 1), tmp_path / "tiny.xml", "openvino")
    assert not list(tmp_path.iterdir())


def test_failed_conversion_gives_one_sentence_and_writes_nothing(tmp_path, monkeypatch):
    def fails(source, path, half):
        path.write_bytes(b"half of it")
        raise KeyError("an operation")

    broken = formats.Format(".xml", "openvino", fails)
    monkeypatch.setattr(formats, "FORMATS", {"openvino": broken})
    with pytest.raises(WeightsError, match=r"^openvino cannot convert the network: 'an operation'$"):
        write(OnnxModel("tiny", 1), tmp_path / "tiny.xml", "openvino")
    assert not list(tmp_path.iterdir())


def test_command_names_near_formats(mien, tmp_path):
    code, _, err = mien("export", "tiny", "--to", "openvin", "-o", tmp_path / "tiny.xml")
    assert code == 2
    assert_sentence(err, "unknown format openvin: did you mean openvino?")
