"""Every construction of a network gives torch's logits as an ONNX file."""

import copy

import numpy as np
import onnx
import onnxruntime
import pytest
import torch

from mien.models import onnx_file
from mien.networks import registry
from mien.networks.registry import NetworkSpec
from tests.networks.test_registry import CONSTRUCTIONS, name_of


@pytest.mark.slow
@pytest.mark.parametrize("spec", CONSTRUCTIONS, ids=name_of)
def test_logits_are_torchs(spec: NetworkSpec, tmp_path):
    torch.manual_seed(0)
    network = registry.create(spec)
    for part in network.modules():  # running means and variances that a mistake would show in
        if isinstance(part, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(part.running_mean, -0.2, 0.2)
            torch.nn.init.uniform_(part.running_var, 0.5, 1.5)
            torch.nn.init.uniform_(part.weight, 0.5, 1)
    size = max(32, spec.min_size)
    path = tmp_path / "network.onnx"
    onnx_file.write(network, spec.in_channels, size, path, {"about": "a test"})
    images = torch.randn(3, spec.in_channels, size, size)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    with torch.inference_mode():
        outputs = network.eval()(images)
    expected = outputs.logits.numpy()
    got, *masks = session.run(None, {"images": images.numpy()})
    assert np.abs(expected).max() > 1e-3
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4 * max(1, np.abs(expected).max()))
    assert len(masks) == len(outputs.masks)
    for mask, wanted in zip(masks, outputs.masks, strict=True):
        np.testing.assert_allclose(mask, wanted.mean(dim=1).numpy(), rtol=0, atol=1e-4)
    assert session.get_modelmeta().custom_metadata_map == {"about": "a test"}
    again = copy.deepcopy(network)
    for tensor in again.state_dict().values():
        tensor.zero_()
    read = onnx_file.read(path, again)
    assert not again.load_state_dict(read, strict=False).unexpected_keys
    given = {name for name in network.state_dict() if not registry.used_in_training_only(name)}
    assert {name for name in given if not name.endswith("num_batches_tracked")} == read.keys()
    assert all(torch.equal(tensor, network.state_dict()[name]) for name, tensor in read.items())
    names = {tensor.name for tensor in onnx.load(path).graph.initializer}
    assert not [name for name in names if "decoder" in name or "aux" in name.lower()]


def test_only_weights_that_lose_nothing_are_halved():
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
