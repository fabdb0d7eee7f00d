"""Tests of 8-bit files: size, weights, logits, calibration and metadata."""

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from mien.calibration import Calibration, fit_calibration
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


def test_quantized_file_has_integer_weights_and_half_the_size(quantized, exported_run):
    _, path = quantized
    assert path.stat().st_size < 0.65 * exported_run.stat().st_size
    kinds = {tensor.data_type for tensor in onnx.load(path).graph.initializer if len(tensor.dims) == 4}
    assert kinds == {onnx.TensorProto.INT8}


@pytest.mark.parametrize("which", ["quantized", *shipped_models()])
def test_products_fit_into_16_bits(quantized, which):
    """AVX2 without VNNI adds two products of activation and weight in 16 bits."""
    path = quantized[1] if which == "quantized" else find_model(which)
    weights = [numpy_helper.to_array(each) for each in onnx.load(path).graph.initializer if len(each.dims) >= 2]
    products = [2 * 255 * int(np.abs(each.astype(int)).max()) for each in weights if each.dtype == np.int8]
    assert products or "quantized" not in OnnxModel(path).metadata
    assert max(products, default=0) < 2**15


def test_number_of_faces_need_not_divide_into_batches(exported_run, dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(quantizing, "_MAX_BATCH_SIZE", 4)
    assert quantize(str(exported_run), tmp_path / "some.onnx", dataset, faces=7).metadata["quantized"]["faces"] == 7


def test_quantized_logits_are_close_to_the_original(quantized, exported_run, dataset):
    images = dataset.images
    expected, logits = OnnxModel(exported_run).logits(images), quantized[0].logits(images)
    assert np.abs(logits - expected).mean() < 0.1 * expected.std()
    assert not np.array_equal(logits, expected)


def test_torch_reads_a_quantized_file(quantized, dataset):
    assert relative_difference(quantized[1], dataset.images) < 0.05


@pytest.mark.parametrize("which", shipped_models())
def test_torch_reads_a_shipped_model(real_dataset, which):
    """On faces, since noise exceeds the ranges chosen from faces, so that the integers saturate and torch does not."""
    assert relative_difference(find_model(which), real_dataset.split("public").images[:200]) < 0.05


def relative_difference(path, images):
    """Mean absolute difference between torch's logits and the file's, divided by the standard deviation of these."""
    expected, logits = OnnxModel(path).logits(images), TorchModel.from_onnx(path).logits(images)
    return np.abs(logits - expected).mean() / expected.std()


def test_torch_reads_a_layer_that_is_used_twice(dataset, tmp_path):
    """CBAM applies its perceptron to the mean and the maximum, and the quantizer copies its biases."""
    config = Config(network=NetworkConfig("cbam_resnet18", "mini", size=24))
    network, preprocessing = build_network(config, 7)
    trained = TorchModel(network.eval(), preprocessing, EXPRESSIONS, config, Calibration(), {})
    export(trained, tmp_path / "cbam.onnx", dataset.split("public"), {})
    quantize(str(tmp_path / "cbam.onnx"), tmp_path / "integers.onnx", dataset)
    weights = TorchModel.from_onnx(tmp_path / "integers.onnx").network.state_dict()
    name = "backbone.layer1.0.attention.channel.0.bias"
    torch.testing.assert_close(weights[name], network.state_dict()[name], rtol=0.05, atol=0.01)


def test_quantized_file_is_calibrated_on_its_own_logits(quantized, dataset):
    model, path = quantized
    public = dataset.split("public")
    assert OnnxModel(path).calibration == model.calibration
    expected = fit_calibration(Predictions(public.index, model.logits(public.images), public.targets))
    assert model.calibration.temperature == pytest.approx(expected.temperature, rel=1e-3)
    assert model.calibration.faces == len(public)


def test_metadata_describes_the_quantization(quantized, exported_run):
    stored, original = quantized[0].metadata, OnnxModel(exported_run).metadata
    assert stored["weights"] == f"{original['weights']}-int8"
    assert stored["quantized"] == {"faces": 28, "seed": 0}
    assert "metrics" not in stored  # they would be those of the original
    unchanged = ("classes", "preprocessing", "network", "config", "licence")
    assert {key: stored[key] for key in unchanged} == {key: original[key] for key in unchanged}


def test_quantize_names_invalid_arguments(quantized, exported_run, dataset, tmp_path):
    with pytest.raises(WeightsError, match="is already quantized"):
        quantize(str(quantized[1]), tmp_path / "again.onnx", dataset)
    with pytest.raises(ConfigError, match=r"must end in \.onnx, got mine\.bin"):
        quantize(str(exported_run), tmp_path / "mine.bin", dataset)
    with pytest.raises(ConfigError, match="quantizing needs 1 training face or more, got 0"):
        quantize(str(exported_run), tmp_path / "mine.onnx", dataset, faces=0)
    with pytest.raises(DataError, match="no training split"):
        quantize(str(exported_run), tmp_path / "mine.onnx", dataset.split("public"))
    assert list(tmp_path.iterdir()) == []
