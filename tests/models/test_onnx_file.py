"""Tests of ONNX files: they give torch's logits and hold torch's weights, for every kind of network."""

import copy

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from mien.models import onnx_file
from mien.networks import registry
from mien.networks.registry import NetworkSpec
from tests.networks.test_registry import DISTINCT_NETWORKS, name_of


@pytest.mark.slow
@pytest.mark.parametrize("spec", DISTINCT_NETWORKS, ids=name_of)
def test_exported_network_has_the_logits_masks_and_weights_of_torch(spec: NetworkSpec, tmp_path):
    torch.manual_seed(0)
    network = registry.create(spec)
    for module in network.modules():  # the initial statistics, 0 and 1, would hide mistakes
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
            torch.nn.init.uniform_(module.weight, 0.5, 1)
    size = max(32, spec.min_size)
    path = tmp_path / "network.onnx"
    onnx_file.write(network, spec.in_channels, size, path, {"about": "a test"})
    images = torch.randn(3, spec.in_channels, size, size)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        outputs = network.eval()(images)
    expected = outputs.logits.numpy()
    logits, *masks = session.run(None, {"images": images.numpy()})
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4 * max(1, np.abs(expected).max()))
    assert len(masks) == len(outputs.masks)
    for mask, expected_mask in zip(masks, outputs.masks, strict=True):
        np.testing.assert_allclose(mask, expected_mask.mean(dim=1).numpy(), rtol=0, atol=1e-4)
    assert session.get_modelmeta().custom_metadata_map == {"about": "a test"}
    names = {tensor.name for tensor in onnx.load(path).graph.initializer}
    assert not [name for name in names if "decoder" in name or "aux" in name.lower()]
    if spec.name.startswith("mobilefacenet"):
        return  # its file holds reshaped PReLU slopes and a resized pooling kernel, which cannot be read back
    copied = copy.deepcopy(network)
    for tensor in copied.state_dict().values():
        tensor.zero_()
    weights = onnx_file.read(path, copied)
    assert not copied.load_state_dict(weights, strict=False).unexpected_keys
    exported = {name for name in network.state_dict() if not registry.is_training_only(name)}
    assert {name for name in exported if not name.endswith("num_batches_tracked")} == weights.keys()
    assert all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in weights.items())


def test_only_exactly_representable_weights_are_halved():
    exact, inexact = np.array([[0.5, 2.0]], np.float32), np.array([[0.1, 1e6]], np.float32)
    graph = onnx.helper.make_graph(
        [onnx.helper.make_node("Add", ["exact", "inexact"], ["y"])],
        "g",
        [],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 2])],
        [onnx.numpy_helper.from_array(exact, "exact"), onnx.numpy_helper.from_array(inexact, "inexact")],
    )
    onnx_file._halve_lossless(graph)
    assert [node.op_type for node in graph.node] == ["Cast", "Add"]
    types = {tensor.name: tensor.data_type for tensor in graph.initializer}
    assert types == {"exact_half": onnx.TensorProto.FLOAT16, "inexact": onnx.TensorProto.FLOAT}
