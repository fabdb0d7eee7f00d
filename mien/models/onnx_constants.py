"""The values of an ONNX graph that do not depend on its input, without running it."""

from __future__ import annotations

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper


def evaluate_constants(graph: onnx.GraphProto) -> dict[str, NDArray[np.generic]]:
    """The values that do not depend on the input: initializers, and their casts and dequantized copies."""
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if not node.input or node.input[0] not in values:
            continue
        if node.op_type == "Cast":
            values[node.output[0]] = values[node.input[0]].astype(np.float32)
        elif node.op_type == "DequantizeLinear":
            integers, scale, *zero_points = (values[name] for name in node.input)
            axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
            shape = [-1 if dimension == axis else 1 for dimension in range(integers.ndim)] if scale.ndim else []
            zero_point = zero_points[0].reshape(shape) if zero_points else 0
            difference = integers.astype(np.float32) - zero_point  # of biases, numpy would give doubles
            values[node.output[0]] = np.asarray(difference * scale.reshape(shape), np.float32)
    return values
