"""Graphs that ONNX calls valid and that no network of mien has are refused before ONNX Runtime opens them."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mien.detection.yunet import YuNet
from mien.errors import WeightsError
from mien.models import session
from mien.models.onnx_check import check_graph
from mien.models.onnx_model import OnnxModel
from mien.models.onnx_wire import read_graph
from mien.models.zoo import shipped_models

node = helper.make_node
ONE = numpy_helper.from_array(np.array([1]), "one")
ROW = numpy_helper.from_array(np.ones((1, 7), np.float32), "row")
MEAN = (node("ReduceMean", ["images"], ["m"], axes=[1, 2, 3], keepdims=0), node("Unsqueeze", ["m", "one"], ["u"]))
METADATA = {
    "format": 1,
    "network": "mean",
    "classes": list("abcdefg"),
    "preprocessing": {"size": 48, "channels": 1, "mean": 0.5, "std": 0.25},
}


def write(path: Path, nodes: list[Any], tensors: list[Any] = [ONE, ROW], metadata: str = json.dumps(METADATA)) -> Path:  # noqa: B006
    """Writes a graph from `images` (batch, 1, 48, 48) to `logits` (batch, 7)."""
    images = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["batch", 1, 48, 48])
    logits = helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 7])
    graph = helper.make_graph(nodes, "g", [images], [logits], tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    helper.set_model_props(model, {"mien": metadata})
    path.write_bytes(model.SerializeToString())
    return path


def error_of(path: Path) -> str:
    """Returns the message, which must come at once and without a session."""
    start = time.process_time()
    with pytest.raises(WeightsError) as caught:
        OnnxModel(path, threads=1)
    assert time.process_time() - start < 1
    assert str(path) in str(caught.value)
    return str(caught.value)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "hostile.onnx"


def test_small_valid_graph_is_opened(path: Path) -> None:
    model = OnnxModel(write(path, [*MEAN, node("Mul", ["u", "row"], ["logits"])]), threads=1)
    assert model.logits(np.zeros((2, 48, 48), np.uint8)).shape == (2, 7)


def loop() -> Any:
    """A loop without end."""
    values = [("i", TensorProto.INT64, []), ("c", TensorProto.BOOL, []), ("v", TensorProto.FLOAT, None)]
    outputs = [("d", TensorProto.BOOL, []), ("w", TensorProto.FLOAT, None)]
    body = helper.make_graph(
        [node("Identity", ["c"], ["d"]), node("Identity", ["v"], ["w"])],
        "body",
        [helper.make_tensor_value_info(*value) for value in values],
        [helper.make_tensor_value_info(*value) for value in outputs],
    )
    return node("Loop", ["", "true", "u"], ["logits"], body=body)


def constant(name: str, values: object) -> Any:
    return numpy_helper.from_array(np.array(values), name)


GIGABYTES = constant("size", [2**31])
SIDE = constant("side", np.ones((1 << 20, 1), np.float32))
LINE = constant("line", np.ones((1, 1 << 20), np.float32))
PADS = constant("pads", [0, 0, 0, 0, 0, 0, 1 << 20, 1 << 20])
SCALES = constant("scales", np.array([1, 1, 1e5, 1e5], np.float32))
EMPTY = constant("empty", np.zeros(0, np.float32))
KERNEL = constant("kernel", np.ones((1, 1, 1, 1), np.float32))
TALL = constant("tall", np.ones((4096, 4096), np.float32))
HOSTILE = {
    "loop": ([*MEAN, loop()], [ONE, constant("true", True)], "has an operation that contains another graph"),
    "constant of gigabytes": (
        [*MEAN, node("ConstantOfShape", ["size"], ["c"])],
        [ONE, GIGABYTES],
        "has the operation ConstantOfShape, which no network of mien has",
    ),
    "expanded constant": (
        [node("Expand", ["row", "size"], ["c"])],
        [ROW, constant("size", [1 << 30, 7])],
        "computes a tensor of 1073741824 x 7 values, more than any network of mien",
    ),
    "outer product": (
        [node("Mul", ["side", "line"], ["c"])],
        [SIDE, LINE],
        "computes a tensor of 1048576 x 1048576 values, more than any network of mien",
    ),
    "outer matrix product": ([node("MatMul", ["side", "line"], ["c"])], [SIDE, LINE], "computes a tensor of 1048576 x"),
    "padding": ([node("Pad", ["images", "pads"], ["c"])], [PADS], "computes a tensor of 1 x 1 x 1048624 x 1048624"),
    "resize": ([node("Resize", ["images", "", "scales"], ["c"])], [SCALES], "computes a tensor of 1 x 1 x 4800000 x"),
    "transposed convolution": (
        [node("ConvTranspose", ["images", "kernel"], ["c"], strides=[1 << 20, 1 << 20])],
        [KERNEL],
        "computes a tensor of 1 x 1 x 49283073 x 49283073",
    ),
    "padded convolution": (
        [node("Conv", ["images", "kernel"], ["c"], pads=[1 << 20] * 4)],
        [KERNEL],
        "computes a tensor of 1 x 1 x 2097200 x 2097200",
    ),
    "growing chain": (
        [node("Concat", [f"c{i}", f"c{i}"], [f"c{i + 1}"], axis=1) for i in range(40)],
        [constant("c0", np.ones((1, 1000), np.float32))],
        "computes a tensor of 1 x 8192000 values",
    ),
    "endless work": (
        [node("MatMul", [f"m{i}" if i else "tall", "tall"], [f"m{i + 1}"]) for i in range(50)],
        [TALL],
        "takes more than 1,000,000,000,000 multiply-adds",
    ),
    "random numbers": ([node("RandomNormal", [], ["c"], shape=[1 << 30])], [], "has the operation RandomNormal"),
    "other domain": ([node("Gelu", ["images"], ["c"], domain="com.evil")], [], "has an operation of com.evil"),
    "missing input": ([node("Add", ["nothing", "images"], ["c"])], [], "has an operation whose inputs do not fit it"),
    "shape from the image": (
        [node("Reshape", ["images", "u"], ["c"])],
        [constant("u", np.ones(100, np.int64))],
        "has an operation Reshape whose shape depends on the image",
    ),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_graph_is_refused_before_a_session_is_made(
    name: str, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(session, "_Session")
    nodes, tensors, words = HOSTILE[name]
    assert f"is not opened, since its graph {words}" in error_of(write(path, nodes, tensors))


@pytest.mark.parametrize("place", ["/etc/passwd", "../../etc/passwd", "secret.bin", "/dev/zero"])
def test_tensor_in_another_file_is_refused(place: str, path: Path) -> None:
    outside = TensorProto(name="row", data_type=TensorProto.FLOAT, dims=[1, 7], data_location=TensorProto.EXTERNAL)
    outside.external_data.add(key="location", value=place)
    message = error_of(write(path, [*MEAN, node("Mul", ["u", "row"], ["logits"])], [ONE, outside]))
    assert "its graph has tensors in other files" in message


@pytest.mark.parametrize(("dims", "kind"), [([1 << 40], 1), ([-1], 1), ([1, 7], 8), ([1, 7], 99), ([1 << 62, 4], 7)])
def test_tensor_with_fewer_values_than_its_shape_is_refused(dims: list[int], kind: int, path: Path) -> None:
    tensor = TensorProto(name="row", data_type=kind, dims=dims, raw_data=bytes(28))
    assert "its graph has a tensor" in error_of(write(path, list(MEAN), [ONE, tensor]))


@pytest.mark.parametrize(
    "data",
    [b"", b"\x00", b"\xff" * 100, bytes(range(256)), b"\x3a\xff\xff\xff\xff\x0f", b"\x3a\x02\x08"],
    ids=["empty", "zero", "ones", "counting", "length past the end", "cut varint"],
)
def test_file_that_is_no_model_is_one_sentence(data: bytes, path: Path) -> None:
    path.write_bytes(data)
    assert error_of(path) == f"{path} is damaged or is not an ONNX model: download or export it again"


def test_many_small_parts_are_refused(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.models.onnx_wire.MAX_FIELDS", 1000)
    path.write_bytes(b"\x3a\xd0\x0f" + b"\x0a\x00" * 1000)
    assert "its graph has too many parts" in error_of(path)


def test_detector_file_is_checked_too(path: Path) -> None:
    with pytest.raises(WeightsError, match="has the operation ConstantOfShape"):
        YuNet(write(path, [node("ConstantOfShape", ["size"], ["c"])], [GIGABYTES]))


@pytest.mark.parametrize("name", shipped_models())
def test_shipped_graph_passes_and_is_read_as_onnx_reads_it(name: str) -> None:
    file = shipped_models()[name]
    check_graph(file)
    expected, found = onnx.load(file).graph, read_graph(file)
    assert [(each.op_type, list(each.input), list(each.output)) for each in expected.node] == [
        (each.op, each.inputs, each.outputs) for each in found.nodes
    ]
    assert {each.name: tuple(each.dims) for each in expected.initializer} == {
        name: tensor.shape for name, tensor in found.tensors.items()
    }


def stored(**changes: object) -> str:
    return json.dumps(METADATA | changes)


@pytest.mark.parametrize(
    ("metadata", "words"),
    [
        ("[" * 100_000, "metadata of .* must be a JSON object"),
        (stored(config={}).replace("{}", '{"a":' * 50 + "1" + "}" * 50), "metadata of .* must be a JSON object"),
        ('{"format": ' + "9" * 5000 + "}", "metadata of .* must be a JSON object"),
        (stored(classes=[["a"]] * 7), "classes in .* must be a list of one or more distinct class names, got [['a'],"),
        (stored(classes=["\ud800", *"bcdefg"]), "classes in .* must be a list"),
        (stored(network=3), "network in .* must be a text, got 3"),
        (stored(network=["x"] * 500), "network in .* must be a text, got ['x', 'x'"),
        (stored(weights={"a": 1}), "weights in .* must be a text"),
        (stored(log_row=[1]), "log_row in .* must be an object of numbers, got [1]"),
        (stored(log_row={"epoch": "x"}), "log_row in .* must be an object of numbers"),
        (stored(metrics={"public": 3}), "metrics in .* must be an object of objects"),
        (stored(config="x"), "config in .* must be an object, got 'x'"),
        (stored(preprocessing=METADATA["preprocessing"] | {"size": 10**9}), "preprocessing needs a whole size"),
        (stored(preprocessing=METADATA["preprocessing"] | {"mean": float("nan")}), "preprocessing needs a whole size"),
        (stored(preprocessing=METADATA["preprocessing"] | {"std": float("inf")}), "preprocessing needs a whole size"),
        (stored(preprocessing=METADATA["preprocessing"] | {"mean": 10**400}), "preprocessing needs a whole size"),
    ],
)
def test_metadata_of_another_type_is_named(metadata: str, words: str, path: Path) -> None:
    message = error_of(write(path, [*MEAN, node("Mul", ["u", "row"], ["logits"])], metadata=metadata))
    assert "\n" not in message
    for part in words.split(" .* "):
        assert part in message
