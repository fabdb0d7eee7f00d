"""Small linear models in the format of `mien export`, whose outputs a test can compute."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from mien.calibration import Calibration
from mien.labels import EXPRESSIONS

SIZE = 8
METADATA = {
    "format": 1,
    "mien": "0.1.0",
    "network": "stub",
    "classes": list(EXPRESSIONS),
    "preprocessing": {"size": SIZE, "channels": 1, "mean": 0.0, "std": 1.0},
    "config": {},
    "metrics": {},
    "licence": "MIT",
}
WriteClassifier = Callable[..., Path]


@pytest.fixture(scope="session")
def write_classifier(tmp_path_factory: pytest.TempPathFactory) -> WriteClassifier:
    """Writes a linear model as an .onnx file."""

    def write(
        weights: NDArray[np.float32],
        bias: NDArray[np.float32] | float = 0,
        stored: str | None = None,
        batch: str | int = "batch",
        names: tuple[str, str] = ("images", "logits"),
        **metadata: Any,
    ) -> Path:
        """Writes weights (C * 8 * 8, K) and bias (K,); `stored` replaces all metadata, `metadata` single keys of it."""
        channels, classes = len(weights) // SIZE**2, weights.shape[1]
        given, gives = names
        graph = helper.make_graph(
            [
                helper.make_node("Flatten", [given], ["row"]),
                helper.make_node("Gemm", ["row", "weights", "bias"], [gives]),
            ],
            "stub",
            [helper.make_tensor_value_info(given, TensorProto.FLOAT, [batch, channels, SIZE, SIZE])],
            [helper.make_tensor_value_info(gives, TensorProto.FLOAT, [batch, classes])],
            [
                numpy_helper.from_array(weights.astype(np.float32), "weights"),
                numpy_helper.from_array(np.broadcast_to(np.float32(bias), classes).copy(), "bias"),
            ],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
        if stored != "":
            helper.set_model_props(model, {"mien": stored or json.dumps(METADATA | metadata)})
        path = tmp_path_factory.mktemp("classifier") / "stub.onnx"
        onnx.save(model, path)
        return path

    return write


@pytest.fixture(scope="session")
def by_brightness(write_classifier: WriteClassifier) -> Path:
    """Predicts sad for faces darker than half, and surprise for brighter ones, with confidence growing from there."""
    weights, bias = np.zeros((SIZE**2, len(EXPRESSIONS))), np.full(len(EXPRESSIONS), -20.0)
    for name, sign in (("sad", -1), ("surprise", 1)):
        weights[:, EXPRESSIONS.index(name)] = sign * 10 / SIZE**2
        bias[EXPRESSIONS.index(name)] = sign * -5
    return write_classifier(weights, bias)


@pytest.fixture(scope="session")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with two masks that is always uncertain."""
    return write_model(tmp_path_factory.mktemp("models") / "masked.onnx", masks=True, uncertain_below=0.99)


@pytest.fixture(scope="session")
def maskless(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model without masks that is always certain."""
    return write_model(tmp_path_factory.mktemp("models") / "maskless.onnx", masks=False, uncertain_below=0)


def write_model(path: Path, masks: bool, uncertain_below: float) -> Path:
    """Writes a linear model with random weights, and two masks if wanted."""
    size, random = 8, np.random.default_rng(3)
    nodes = [
        helper.make_node("Flatten", ["images"], ["row"]),
        helper.make_node("Gemm", ["row", "weights"], ["logits"]),
        helper.make_node("ReduceMean", ["images", "channel"], ["mask_1"], keepdims=0),
        helper.make_node("AveragePool", ["images"], ["coarse"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("ReduceMean", ["coarse", "channel"], ["mask_2"], keepdims=0),
    ]
    shapes = {"logits": [7], "mask_1": [size, size], "mask_2": [size // 2, size // 2]}
    outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", *shape]) for name, shape in shapes.items()]
    graph = helper.make_graph(
        nodes if masks else nodes[:2],
        "linear",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["n", 1, size, size])],
        outputs if masks else outputs[:1],
        [
            numpy_helper.from_array(random.normal(0, 0.05, (size**2, 7)).astype(np.float32), "weights"),
            numpy_helper.from_array(np.array([1]), "channel"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    calibration = Calibration(1.5, 0.6, uncertain_below, 0.8, 0.5, 9).to_dict()
    metadata = {"format": 1, "network": path.stem, "classes": list(EXPRESSIONS), "calibration": calibration}
    metadata["preprocessing"] = {"size": size, "channels": 1, "mean": 0.0, "std": 1.0}
    helper.set_model_props(model, {"mien": json.dumps(metadata)})
    onnx.save(model, path)
    return path
