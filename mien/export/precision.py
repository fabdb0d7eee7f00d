"""Copies of an exported network in 32 or 16 bits, for devices that do not run 8-bit integers well."""

from __future__ import annotations

import json
from collections.abc import Sequence
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from PIL import Image

from mien.errors import ConfigError, shortened
from mien.files import replaced
from mien.models.onnx_constants import evaluate_constants
from mien.models.onnx_model import METADATA_KEY, OnnxModel

Precision = Literal["32", "16"]
NOISE_IMAGES = 256


def write(model: OnnxModel, path: Path, precision: Precision) -> OnnxModel:
    """Writes a copy of a network without 8-bit integers.

    The copy has the rounded weights of the original, and limits each activation to the range of its integers, as the
    original does. What differs is that activations are not rounded. Calibration and labels are kept.

    Args:
        model: The network, in 8 bits or not.
        path: The file to write; an existing file is replaced only once the new one is complete.
        precision: Bits of the weights and of the computation. Images and logits have 32 bits in any case.

    Returns:
        The written model.

    Raises:
        ConfigError: The name of the file does not end in .onnx.
    """
    if path.suffix != ".onnx":
        raise ConfigError(f"the name of an exported network must end in .onnx, got {shortened(path.name)}")
    graph = onnx.load(model.path)
    remove_quantization(graph.graph)
    if precision == "16":
        from onnxruntime.transformers.float16 import convert_float_to_float16

        graph = convert_float_to_float16(graph, keep_io_types=True)
        _sort(graph.graph)  # it puts casts behind the nodes that need them
    metadata = {key: value for key, value in model.metadata.items() if key not in ("metrics", "quantized")}
    metadata |= {"weights": f"{model.digest}-float{precision}", "precision": int(precision)}
    helper.set_model_props(graph, {METADATA_KEY: json.dumps(metadata)})
    onnx.checker.check_model(graph)
    with replaced(path) as part:
        part.write_bytes(graph.SerializeToString())
    return OnnxModel(path)


def noise(size: int) -> NDArray[np.uint8]:
    """Returns NOISE_IMAGES smooth random images (N, size, size), always the same, for comparisons without data."""
    coarse = np.random.default_rng(0).integers(0, 256, (NOISE_IMAGES, 8, 8), dtype=np.uint8)
    resized = [Image.fromarray(image).resize((size, size), Image.Resampling.BICUBIC) for image in coarse]
    return np.stack([np.asarray(image) for image in resized])


def remove_quantization(graph: onnx.GraphProto) -> None:
    """Replaces the 8-bit integers of a graph by numbers of 32 bits, in place.

    Weights become the numbers that the integers stand for. Where activations are rounded to integers, they are limited
    to the same range instead: the quantizer has removed the ReLUs that this range makes unnecessary.
    """
    constants = evaluate_constants(graph)
    stored = {tensor.name for tensor in graph.initializer}
    computed = constants.keys() - stored
    new_names: dict[str, str] = {}
    nodes: list[onnx.NodeProto] = []
    limits: dict[str, NDArray[Any]] = {}
    for node in graph.node:
        if node.output[0] in computed:
            continue
        inputs = [new_names.get(name, name) for name in node.input]
        if node.op_type == "QuantizeLinear":
            name = node.output[0]
            low, high, new_names[name] = f"{name}_low", f"{name}_high", f"{name}_limited"
            limits[low], limits[high] = _range(node, constants)
            nodes.append(helper.make_node("Clip", [inputs[0], low, high], [new_names[name]]))
        elif node.op_type == "DequantizeLinear":
            new_names[node.output[0]] = inputs[0]
        else:
            del node.input[:]
            node.input.extend(inputs)
            nodes.append(node)
    for output in graph.output:
        if output.name in new_names:
            nodes.append(helper.make_node("Identity", [new_names[output.name]], [output.name]))
    used = {name for node in nodes for name in node.input}
    values = {name: value for name, value in (constants | limits).items() if name in used}
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in nodes]  # del frees the originals
    for field in (graph.node, graph.initializer, graph.value_info):
        del field[:]
    graph.node.extend(copies)
    graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name) for name, value in values.items())


def keep_outputs(graph: onnx.GraphProto, names: Sequence[str]) -> None:
    """Removes all other outputs of a graph, in place, with the nodes and constants that only they need."""
    needed, nodes = set(names), []
    for node in reversed(graph.node):
        if needed & set(node.output):
            needed |= set(node.input)
            nodes.append(node)
    outputs = [output for output in graph.output if output.name in names]
    constants = [tensor for tensor in graph.initializer if tensor.name in needed]
    for field, kept in ((graph.node, nodes[::-1]), (graph.output, outputs), (graph.initializer, constants)):
        copies = [type(each).FromString(each.SerializeToString()) for each in kept]
        del field[:]
        field.extend(copies)


def _sort(graph: onnx.GraphProto) -> None:
    """Puts each node of a graph behind those whose outputs it takes, in place."""
    producers = {name: index for index, node in enumerate(graph.node) for name in node.output}
    sorter = TopologicalSorter(
        {index: {producers[name] for name in node.input if name in producers} for index, node in enumerate(graph.node)}
    )
    nodes = [onnx.NodeProto.FromString(graph.node[index].SerializeToString()) for index in sorter.static_order()]
    del graph.node[:]
    graph.node.extend(nodes)


def _range(node: onnx.NodeProto, constants: dict[str, NDArray[np.generic]]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Returns the smallest and the largest number that the integers of a QuantizeLinear stand for, each ()."""
    scale = constants[node.input[1]].astype(np.float32)
    zero_point: NDArray[Any] = constants[node.input[2]] if len(node.input) > 2 else np.zeros((), np.uint8)
    integers = np.iinfo(zero_point.dtype)
    low, high = ((np.float32(limit) - zero_point.astype(np.float32)) * scale for limit in (integers.min, integers.max))
    return np.asarray(low, np.float32), np.asarray(high, np.float32)
