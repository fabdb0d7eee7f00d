"""Checks the graph of an ONNX file before ONNX Runtime opens it: known operations, and bounded tensors and work.

ONNX Runtime computes what does not depend on the input when it opens a file, and whatever else a graph asks for when it
runs. A file of a kilobyte can thus take all memory, or never end.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mien.models.onnx_wire import Graph, Node, Tensor, read_graph

Shape = tuple[int, ...]

MAX_NODES = 20_000
"""Most operations; the largest network of mien has 2,000."""
MAX_CONSTANT = 1 << 22
"""Most values of a computed tensor, unless an input or a stored tensor explains more."""
MAX_GROWTH = 512
"""Most values of a tensor for each value of the input; networks of mien have up to 64."""
MAX_MULTIPLY_ADDS = 10**12
"""Most multiply-adds for one image; the largest network of mien has 22 billion."""
FREE_SIDE = 640
"""Height and width of an input of any size, for the check."""


def check_graph(path: Path) -> None:
    """Checks that the graph of a file could be a network of mien or a detector that it knows.

    Raises:
        ValueError: It could not; the text says why, and is empty for a file that is no ONNX model at all.
        OSError: The file cannot be read.
    """
    graph = read_graph(path)
    if len(graph.nodes) > MAX_NODES:
        raise ValueError(f"has {len(graph.nodes):,} operations and {MAX_NODES:,} are allowed")
    try:
        _Shapes(graph).check(graph.nodes)
    except (IndexError, KeyError, TypeError, ZeroDivisionError, OverflowError, AttributeError):
        raise ValueError("has an operation whose inputs do not fit it") from None


class _Shapes:
    """The shape of every tensor for one image, and the values of those tensors that give shapes."""

    def __init__(self, graph: Graph) -> None:
        self.shapes: dict[str, Shape] = {name: tensor.shape for name, tensor in graph.tensors.items()}
        self.values: dict[str, tuple[float, ...]] = {
            name: tensor.values for name, tensor in graph.tensors.items() if tensor.values is not None
        }
        for name, shape in graph.inputs.items():
            self.shapes[name] = tuple(
                (1 if axis == 0 else FREE_SIDE) if size is None else size for axis, size in enumerate(shape)
            )
        stored = [math.prod(tensor.shape) for tensor in graph.tensors.values()]
        given = [math.prod(self.shapes[name]) for name in graph.inputs]
        self.largest = max(MAX_CONSTANT, *stored, MAX_GROWTH * max(given, default=0), 0)
        self.multiply_adds = 0

    def check(self, nodes: list[Node]) -> None:
        for node in nodes:
            rule = RULES.get(node.op)
            if rule is None:
                raise ValueError(f"has the operation {node.op[:40]}, which no network of mien has")
            shapes = rule(self, node)
            for name, shape in zip(node.outputs, shapes, strict=False):
                if math.prod(shape) > self.largest or min(shape, default=0) < 0:
                    raise ValueError(
                        f"computes a tensor of {' x '.join(map(str, shape))[:60]} values, more than any network of mien"
                    )
                self.shapes[name] = shape
            if self.multiply_adds > MAX_MULTIPLY_ADDS:
                raise ValueError(f"takes more than {MAX_MULTIPLY_ADDS:,} multiply-adds, more than any network of mien")

    def inputs(self, node: Node) -> list[Shape]:
        return [self.shapes[name] for name in node.inputs if name]

    def integers(self, node: Node, position: int, attribute: str) -> list[int] | None:
        """Returns an operand that older versions of an operation have as an attribute; None if it is left out.

        Raises:
            ValueError: It is computed from the image.
        """
        if attribute in node.attributes:
            value = node.attributes[attribute]
            return value if isinstance(value, list) else [value]
        if len(node.inputs) <= position or not node.inputs[position]:
            return None
        if (values := self.values.get(node.inputs[position])) is None:
            raise ValueError(f"has an operation {node.op[:40]} whose {attribute} depends on the image")
        return [int(value) for value in values]


Rule = Callable[[_Shapes, Node], list[Shape]]


def _same(shapes: _Shapes, node: Node) -> list[Shape]:
    """All outputs are as large as the first input; the other inputs are smaller parameters."""
    if node.inputs[0] in shapes.values and node.op in ("Cast", "Identity"):
        shapes.values[node.outputs[0]] = shapes.values[node.inputs[0]]
    return [shapes.shapes[node.inputs[0]]] * len(node.outputs)


def _broadcast(shapes: _Shapes, node: Node) -> list[Shape]:
    return [_broadcast_shape(*shapes.inputs(node))]


def _broadcast_shape(*inputs: Shape) -> Shape:
    rank = max(map(len, inputs))
    padded = [(1,) * (rank - len(shape)) + shape for shape in inputs]
    return tuple(max(sizes) if min(sizes) else 0 for sizes in zip(*padded, strict=True))


def _expand(shapes: _Shapes, node: Node) -> list[Shape]:
    return [_broadcast_shape(shapes.shapes[node.inputs[0]], tuple(shapes.integers(node, 1, "shape") or ()))]


def _windows(shapes: _Shapes, node: Node, kernel: list[int], sides: Shape) -> Shape:
    """Returns height and width of what a window slides to."""
    attributes, rank = node.attributes, len(sides)
    strides = attributes.get("strides") or [1] * rank
    dilations = attributes.get("dilations") or [1] * rank
    pads = attributes.get("pads") or [0] * 2 * rank
    if min(*strides, *dilations, *kernel) < 1 or min(pads) < 0:
        raise ValueError("has an operation whose inputs do not fit it")
    automatic = attributes.get("auto_pad", "NOTSET")
    if automatic.startswith("SAME"):
        return tuple(-(-side // stride) for side, stride in zip(sides, strides, strict=True))
    ceil = bool(attributes.get("ceil_mode"))
    outputs = []
    for axis, side in enumerate(sides):
        room = side + pads[axis] + pads[axis + rank] - dilations[axis] * (kernel[axis] - 1) - 1
        outputs.append((-(-room // strides[axis]) if ceil else room // strides[axis]) + 1)
    return tuple(outputs)


def _conv(shapes: _Shapes, node: Node) -> list[Shape]:
    (images, _, *sides), (filters, per_group, *kernel), *_ = shapes.inputs(node)
    output = (images, filters, *_windows(shapes, node, kernel, tuple(sides)))
    shapes.multiply_adds += math.prod(output) * per_group * math.prod(kernel)
    return [output]


def _conv_transpose(shapes: _Shapes, node: Node) -> list[Shape]:
    (images, channels, *sides), (_, per_group, *kernel), *_ = shapes.inputs(node)
    attributes, rank = node.attributes, len(sides)
    strides = attributes.get("strides") or [1] * rank
    dilations = attributes.get("dilations") or [1] * rank
    pads = attributes.get("pads") or [0] * 2 * rank
    extra = attributes.get("output_padding") or [0] * rank
    if "output_shape" in attributes or min(*strides, *dilations, *kernel) < 1 or min(*pads, *extra) < 0:
        raise ValueError("has an operation whose inputs do not fit it")
    outputs = [
        strides[axis] * (side - 1) + extra[axis] + dilations[axis] * (kernel[axis] - 1) + 1
        - (0 if attributes.get("auto_pad", "NOTSET") != "NOTSET" else pads[axis] + pads[axis + rank])
        for axis, side in enumerate(sides)
    ]  # fmt: skip
    shapes.multiply_adds += images * channels * math.prod(sides) * per_group * math.prod(kernel)
    return [(images, per_group * (attributes.get("group") or 1), *outputs)]


def _pool(shapes: _Shapes, node: Node) -> list[Shape]:
    images, channels, *sides = shapes.shapes[node.inputs[0]]
    kernel = node.attributes["kernel_shape"]
    output = (images, channels, *_windows(shapes, node, kernel, tuple(sides)))
    shapes.multiply_adds += math.prod(output) * math.prod(kernel)
    return [output] * len(node.outputs)


def _global_pool(shapes: _Shapes, node: Node) -> list[Shape]:
    images, channels, *sides = shapes.shapes[node.inputs[0]]
    return [(images, channels, *[1] * len(sides))]


def _reduce(shapes: _Shapes, node: Node) -> list[Shape]:
    shape = shapes.shapes[node.inputs[0]]
    axes = shapes.integers(node, 1, "axes")
    reduced = {axis % len(shape) for axis in (range(len(shape)) if axes is None else axes)}
    keeps = node.attributes.get("keepdims", 1)
    return [tuple(1 if axis in reduced else size for axis, size in enumerate(shape) if keeps or axis not in reduced)]


def _concat(shapes: _Shapes, node: Node) -> list[Shape]:
    inputs = shapes.inputs(node)
    axis = node.attributes["axis"] % len(inputs[0])
    if all(name in shapes.values for name in node.inputs):
        shapes.values[node.outputs[0]] = tuple(value for name in node.inputs for value in shapes.values[name])
    return [(*inputs[0][:axis], sum(shape[axis] for shape in inputs), *inputs[0][axis + 1 :])]


def _slice(shapes: _Shapes, node: Node) -> list[Shape]:
    shape = list(shapes.shapes[node.inputs[0]])
    starts, ends = shapes.integers(node, 1, "starts") or [], shapes.integers(node, 2, "ends") or []
    axes = shapes.integers(node, 3, "axes") or list(range(len(starts)))
    steps = shapes.integers(node, 4, "steps") or [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        if len(shape) == 1 and node.inputs[0] in shapes.values:
            shapes.values[node.outputs[0]] = shapes.values[node.inputs[0]][start:end:step]
        shape[axis] = len(range(*slice(start, end, step).indices(shape[axis])))
    return [tuple(shape)]


def _split(shapes: _Shapes, node: Node) -> list[Shape]:
    shape, count = shapes.shapes[node.inputs[0]], len(node.outputs)
    axis = node.attributes.get("axis", 0) % len(shape)
    sizes = shapes.integers(node, 1, "split") or [-(-shape[axis] // count)] * count
    return [(*shape[:axis], size, *shape[axis + 1 :]) for size in sizes]


def _transpose(shapes: _Shapes, node: Node) -> list[Shape]:
    shape = shapes.shapes[node.inputs[0]]
    return [tuple(shape[axis] for axis in node.attributes.get("perm") or reversed(range(len(shape))))]


def _reshape(shapes: _Shapes, node: Node) -> list[Shape]:
    shape = shapes.shapes[node.inputs[0]]
    sizes = [shape[axis] if size == 0 else size for axis, size in enumerate(shapes.integers(node, 1, "shape") or [])]
    if -1 in sizes:
        sizes[sizes.index(-1)] = math.prod(shape) // math.prod(size for size in sizes if size != -1)
    _pass_values(shapes, node)
    return [tuple(sizes)]


def _flatten(shapes: _Shapes, node: Node) -> list[Shape]:
    shape, axis = shapes.shapes[node.inputs[0]], node.attributes.get("axis", 1)
    return [(math.prod(shape[:axis]), math.prod(shape[axis:]))]


def _squeeze(shapes: _Shapes, node: Node) -> list[Shape]:
    shape = shapes.shapes[node.inputs[0]]
    axes = shapes.integers(node, 1, "axes")
    gone = (
        {axis % len(shape) for axis in axes} if axes is not None else {n for n, size in enumerate(shape) if size == 1}
    )
    _pass_values(shapes, node)
    return [tuple(size for axis, size in enumerate(shape) if axis not in gone)]


def _unsqueeze(shapes: _Shapes, node: Node) -> list[Shape]:
    shape, axes = list(shapes.shapes[node.inputs[0]]), shapes.integers(node, 1, "axes") or []
    for axis in sorted(axis % (len(shape) + len(axes)) for axis in axes):
        shape.insert(axis, 1)
    _pass_values(shapes, node)
    return [tuple(shape)]


def _pass_values(shapes: _Shapes, node: Node) -> None:
    if node.inputs[0] in shapes.values:
        shapes.values[node.outputs[0]] = shapes.values[node.inputs[0]]


def _shape(shapes: _Shapes, node: Node) -> list[Shape]:
    shape = shapes.shapes[node.inputs[0]]
    shape = shape[node.attributes.get("start") or 0 : node.attributes.get("end")]
    shapes.values[node.outputs[0]] = shape
    return [(len(shape),)]


def _gather(shapes: _Shapes, node: Node) -> list[Shape]:
    (data, indices), axis = shapes.inputs(node), node.attributes.get("axis", 0)
    if len(data) == 1 and all(name in shapes.values for name in node.inputs):
        values, chosen = (shapes.values[name] for name in node.inputs)
        shapes.values[node.outputs[0]] = tuple(values[int(index)] for index in chosen)
    axis %= len(data)
    return [(*data[:axis], *indices, *data[axis + 1 :])]


def _constant(shapes: _Shapes, node: Node) -> list[Shape]:
    value: Any = next(iter(node.attributes.values()))
    if isinstance(value, Tensor):
        if value.values is not None:
            shapes.values[node.outputs[0]] = value.values
        return [value.shape]
    if value is not None and not isinstance(value, str):
        shapes.values[node.outputs[0]] = tuple(value) if isinstance(value, list) else (value,)
    return [(len(value),) if isinstance(value, list) else ()]


def _pad(shapes: _Shapes, node: Node) -> list[Shape]:
    shape, pads = shapes.shapes[node.inputs[0]], shapes.integers(node, 1, "pads") or []
    axes = shapes.integers(node, 3, "axes") or list(range(len(shape)))
    padded = list(shape)
    for position, axis in enumerate(axes):
        padded[axis] += pads[position] + pads[position + len(axes)]
    return [tuple(padded)]


def _resize(shapes: _Shapes, node: Node) -> list[Shape]:
    shape = shapes.shapes[node.inputs[0]]
    scales_at = 1 if len(node.inputs) == 2 else 2
    if len(node.inputs) > 3 and node.inputs[3]:
        return [tuple(shapes.integers(node, 3, "sizes") or ())]
    scales = shapes.values[node.inputs[scales_at]]
    return [tuple(int(size * scale) for size, scale in zip(shape, scales, strict=True))]


def _matmul(shapes: _Shapes, node: Node) -> list[Shape]:
    left, right = shapes.inputs(node)[:2]
    output = (*_broadcast_shape(left[:-2], right[:-2]), left[-2], right[-1])
    shapes.multiply_adds += math.prod(output) * left[-1]
    return [output]


def _gemm(shapes: _Shapes, node: Node) -> list[Shape]:
    left, right = shapes.inputs(node)[:2]
    rows, inner = reversed(left) if node.attributes.get("transA") else left
    columns = right[0] if node.attributes.get("transB") else right[1]
    shapes.multiply_adds += rows * inner * columns
    return [(rows, columns)]


_SAME_SHAPE = (
    "Abs", "BatchNormalization", "Cast", "Clip", "DequantizeLinear", "Dropout", "Elu", "Erf", "Exp", "Gelu",
    "HardSigmoid", "HardSwish", "Identity", "InstanceNormalization", "LRN", "LayerNormalization", "LeakyRelu", "Log",
    "Neg", "QuantizeLinear", "Reciprocal", "Relu", "Sigmoid", "Softmax", "Softplus", "Sqrt", "Tanh",
)  # fmt: skip
RULES: dict[str, Rule] = {
    **dict.fromkeys(_SAME_SHAPE, _same),
    **dict.fromkeys(("Add", "Div", "Max", "Min", "Mul", "PRelu", "Pow", "Sub"), _broadcast),
    **dict.fromkeys(("AveragePool", "MaxPool"), _pool),
    **dict.fromkeys(("GlobalAveragePool", "GlobalMaxPool"), _global_pool),
    **dict.fromkeys(("ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"), _reduce),
    "Concat": _concat,
    "Constant": _constant,
    "Conv": _conv,
    "ConvTranspose": _conv_transpose,
    "Expand": _expand,
    "Flatten": _flatten,
    "Gather": _gather,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "Pad": _pad,
    "Reshape": _reshape,
    "Resize": _resize,
    "Shape": _shape,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
"""Operation -> the rule for the shapes of its outputs. These are the operations of mien's networks and detectors, and
those that other settings of torch's exporter write for the same networks."""
