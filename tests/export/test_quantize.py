"""An 8-bit file is small, says nearly the same, and is a model file like any other."""

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from mien.calibration import Calibration, calibrate
from mien.config import Config, NetworkConfig
from mien.data import load
from mien.errors import ConfigError, DataError, WeightsError
from mien.export import quantize as quantizing
from mien.export.onnx import export
from mien.export.quantize import quantize
from mien.labels import EXPRESSIONS
from mien.models.build import build_network
from mien.models.onnx_model import OnnxModel
from mien.models.torch_model import TorchModel
from mien.models.zoo import find_model, shipped_models
from mien.types import Predictions


@pytest.fixture(scope="module")
def dataset(trained_run):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(trained_run.parent / "cache"))
        return load(TorchModel.load(trained_run).config.data.path)


@pytest.fixture(scope="module")
def quantized(exported_run, dataset, tmp_path_factory):
    path = tmp_path_factory.mktemp("quantized") / "integers.onnx"
    return quantize(str(exported_run), path, dataset), path


def test_it_has_integer_weights_and_half_the_size(quantized, exported_run):
    _, path = quantized
    assert path.stat().st_size < 0.65 * exported_run.stat().st_size
    kinds = {tensor.data_type for tensor in onnx.load(path).graph.initializer if len(tensor.dims) == 4}
    assert kinds == {onnx.TensorProto.INT8}


@pytest.mark.parametrize("which", ["quantized here", *shipped_models()])
def test_no_processor_overflows(quantized, which):
    """Two products of activation and weight fit into 16 bits: AVX2 without VNNI adds them there."""
    path = quantized[1] if which == "quantized here" else find_model(which)
    weights = [numpy_helper.to_array(each) for each in onnx.load(path).graph.initializer if len(each.dims) >= 2]
    products = [2 * 255 * int(np.abs(each.astype(int)).max()) for each in weights if each.dtype == np.int8]
    assert products or "quantized" not in OnnxModel(path).metadata
    assert max(products, default=0) < 2**15


def test_any_number_of_faces_will_do(exported_run, dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(quantizing, "_BATCH", 4)
    assert quantize(str(exported_run), tmp_path / "some.onnx", dataset, faces=7).metadata["quantized"]["faces"] == 7


def test_it_says_nearly_what_the_original_says(quantized, exported_run, dataset):
    images = dataset.images
    expected, got = OnnxModel(exported_run).logits(images), quantized[0].logits(images)
    assert np.abs(got - expected).mean() < 0.1 * expected.std()
    assert not np.array_equal(got, expected)


def test_it_comes_back_as_a_network_of_torch(quantized, dataset):
    assert _difference(quantized[1], dataset.images) < 0.05


@pytest.mark.parametrize("which", shipped_models())
def test_a_shipped_one_comes_back_as_a_network_of_torch(real_dataset, which):
    """Asked of faces: noise leaves the ranges that were set by faces, so that 8 bits cut it off and torch does not."""
    assert _difference(find_model(which), real_dataset.split("public").images[:200]) < 0.05


def _difference(path, images):
    """Mean distance of torch's logits from the file's, as a share of these's spread."""
    expected, got = OnnxModel(path).logits(images), TorchModel.from_onnx(path).logits(images)
    return np.abs(got - expected).mean() / expected.std()


def test_a_layer_that_is_used_twice_comes_back_too(dataset, tmp_path):
    """CBAM's perceptron sees the mean and the maximum: the quantizer makes two of its biases."""
    config = Config(network=NetworkConfig("cbam_resnet18", "mini", size=24))
    network, preprocessing = build_network(config, 7)
    trained = TorchModel(network.eval(), preprocessing, EXPRESSIONS, config, Calibration(), {})
    export(trained, tmp_path / "cbam.onnx", dataset.split("public"), {})
    quantize(str(tmp_path / "cbam.onnx"), tmp_path / "integers.onnx", dataset)
    again = TorchModel.from_onnx(tmp_path / "integers.onnx").network.state_dict()
    name = "backbone.layer1.0.attention.channel.0.bias"
    torch.testing.assert_close(again[name], network.state_dict()[name], rtol=0.05, atol=0.01)


def test_it_is_calibrated_by_what_it_says_itself(quantized, dataset):
    classifier, path = quantized
    public = dataset.split("public")
    assert OnnxModel(path).calibration == classifier.calibration
    expected = calibrate(Predictions(public.index, classifier.logits(public.images), public.targets))
    assert classifier.calibration.temperature == pytest.approx(expected.temperature, rel=1e-3)
    assert classifier.calibration.faces == len(public)


def test_its_metadata_says_what_it_is(quantized, exported_run):
    stored, original = quantized[0].metadata, OnnxModel(exported_run).metadata
    assert stored["weights"] == f"{original['weights']}-int8"
    assert stored["quantized"] == {"faces": 28, "seed": 0}
    assert "metrics" not in stored  # those were the original's
    same = ("classes", "preprocessing", "network", "config", "licence")
    assert {key: stored[key] for key in same} == {key: original[key] for key in same}


def test_what_cannot_be_quantized_is_one_sentence(quantized, exported_run, dataset, tmp_path):
    with pytest.raises(WeightsError, match="is quantized already"):
        quantize(str(quantized[1]), tmp_path / "again.onnx", dataset)
    with pytest.raises(ConfigError, match=r"its name must end in \.onnx, got mine\.bin"):
        quantize(str(exported_run), tmp_path / "mine.bin", dataset)
    with pytest.raises(ConfigError, match="one training face or more"):
        quantize(str(exported_run), tmp_path / "mine.onnx", dataset, faces=0)
    with pytest.raises(DataError, match="no training split"):
        quantize(str(exported_run), tmp_path / "mine.onnx", dataset.split("public"))
    assert list(tmp_path.iterdir()) == []
