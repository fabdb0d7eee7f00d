"""Copies of networks in 32 and 16 bits: no integers are left, and the predictions stay."""

import numpy as np
import onnx
import pytest

from mien.export.precision import noise, write
from mien.models.onnx_model import OnnxModel
from mien.models.zoo import shipped_models

KINDS = {"32": onnx.TensorProto.FLOAT, "16": onnx.TensorProto.FLOAT16}


def probabilities(model, images):
    return model.calibration.probabilities(model.logits(images))


@pytest.mark.parametrize("precision", KINDS)
@pytest.mark.parametrize("name", shipped_models())
def test_copy_has_no_integers_and_close_probabilities(name, precision, tmp_path, real_dataset):
    original, path = OnnxModel(name, 1), tmp_path / "copy.onnx"
    copy = write(original, path, precision)
    graph = onnx.load(path).graph
    assert not {node.op_type for node in graph.node} & {"QuantizeLinear", "DequantizeLinear"}
    assert {tensor.data_type for tensor in graph.initializer if len(tensor.dims) > 1} == {KINDS[precision]}
    images = real_dataset.split("public").images[:300]
    before, after = probabilities(original, images), probabilities(copy, images)
    assert (before.argmax(1) == after.argmax(1)).mean() > 0.95
    assert np.abs(before - after).mean() < 0.01
    assert (copy.classes, copy.preprocessing, copy.calibration) == (
        original.classes,
        original.preprocessing,
        original.calibration,
    )
    assert copy.metadata["precision"] == int(precision)
    assert not {"quantized", "metrics"} & copy.metadata.keys()
    assert len(copy.masks(images[:2])) == len(original.masks(images[:2])) > 0


def test_half_precision_is_close_to_single(tmp_path):
    model, images = OnnxModel("tiny", 1), noise(48)
    single, half = (write(model, tmp_path / f"{bits}.onnx", bits) for bits in ("32", "16"))
    difference = np.abs(probabilities(single, images) - probabilities(half, images)).max()
    assert 0 < difference < 0.02
    assert half.path.stat().st_size < 0.6 * single.path.stat().st_size


def test_copy_of_a_copy_is_the_same_network(tmp_path):
    single = write(OnnxModel("tiny", 1), tmp_path / "a.onnx", "32")
    again = write(single, tmp_path / "b.onnx", "32")
    assert np.array_equal(single.logits(noise(48)), again.logits(noise(48)))
