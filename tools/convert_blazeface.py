"""Converts MediaPipe's BlazeFace (full range) from TFLite to ONNX, and checks that both give the same output.

    npm pack @mediapipe/face_detection@0.4.1657300184 && tar xzf mediapipe-face_detection-*.tgz
    pip install tflite ai-edge-litert onnx onnxruntime pillow
    python tools/convert_blazeface.py package/face_detection_full_range.tflite \
        mien/models/zoo/blazeface_full_range.onnx picture.jpg ...

The graph is rebuilt operator by operator. NHWC becomes NCHW, and the batch size becomes variable. The weights keep the
float16 values of the original, each followed by a Cast to float32 that ONNX Runtime folds when it loads the file, so
nothing is rounded and the file stays small. The script has been run once; its output is part of the package.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import tflite
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from PIL import Image

TOLERANCE = 1e-3
"""Largest absolute difference allowed between the two runtimes: raw boxes are pixels of 192, raw scores are logits."""

SIZE = 192
ANCHORS = 2304
OPERATORS = {number: name for name, number in vars(tflite.BuiltinOperator).items() if isinstance(number, int)}


class Converter:
    """Reads a TFLite graph and collects the nodes and weights of the equivalent ONNX graph."""

    def __init__(self, data: bytes) -> None:
        self.model = tflite.Model.GetRootAsModel(data, 0)
        self.graph = self.model.Subgraphs(0)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, NDArray[Any]] = {}
        self.halves: dict[int, int] = {}  # dequantized tensor -> the float16 constant that it comes from
        self.cast: dict[str, str] = {}

    def convert(self, sha256: str) -> onnx.ModelProto:
        """Converts to a model: `images` (N, 3, 192, 192), -1..1 -> `boxes` (N, 2304, 16), `scores` (N, 2304, 1)."""
        for i in range(self.graph.OperatorsLength()):
            operator = self.graph.Operators(i)
            code = self.model.OperatorCodes(operator.OpcodeIndex())
            name = OPERATORS[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
            method = getattr(self, f"_{name.lower()}", None)
            if method is None:
                sys.exit(f"operator {i} of the TFLite file is {name}, which this script cannot convert")
            inputs = operator.InputsAsNumpy().tolist()
            method(operator.BuiltinOptions(), inputs, operator.Outputs(0))
        boxes, scores = self.graph.OutputsAsNumpy().tolist()
        self._node("Identity", [self._name(boxes)], "boxes")
        self._node("Identity", [self._name(scores)], "scores")
        graph = helper.make_graph(
            self.nodes,
            "blazeface_full_range",
            [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 3, SIZE, SIZE])],
            [
                helper.make_tensor_value_info("boxes", TensorProto.FLOAT, ["N", ANCHORS, 16]),
                helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N", ANCHORS, 1]),
            ],
            [numpy_helper.from_array(array, name) for name, array in self.weights.items()],
        )
        model = helper.make_model(
            graph, producer_name="tools/convert_blazeface.py", opset_imports=[helper.make_opsetid("", 17)], ir_version=8
        )
        helper.set_model_props(
            model,
            {
                "source": "face_detection_full_range.tflite of @mediapipe/face_detection (MediaPipe BlazeFace)",
                "source_sha256": sha256,
                "license": "Apache-2.0",
                "changes": "converted from TFLite to ONNX, NHWC to NCHW; weights unchanged",
            },
        )
        onnx.checker.check_model(model, full_check=True)
        return model

    def _name(self, tensor: int) -> str:
        return "images" if tensor == self.graph.Inputs(0) else f"t{tensor}"

    def _shape(self, tensor: int) -> list[int]:
        return list(map(int, self.graph.Tensors(tensor).ShapeAsNumpy()))

    def _node(self, kind: str, inputs: Sequence[str], output: str, **attributes: object) -> None:
        self.nodes.append(helper.make_node(kind, inputs, [output], **attributes))

    def _constant(self, tensor: int) -> NDArray[Any]:
        """The values of a constant, or of the float16 constant in front of a DEQUANTIZE."""
        tensor = self.halves.get(tensor, tensor)
        kinds = {tflite.TensorType.FLOAT16: np.float16, tflite.TensorType.INT32: np.int32}
        source = self.graph.Tensors(tensor)
        data = self.model.Buffers(source.Buffer()).DataAsNumpy()
        return np.frombuffer(data.tobytes(), kinds[source.Type()]).reshape(self._shape(tensor))

    def _weight(self, tensor: int, array: NDArray[Any]) -> str:
        """Stores a float16 weight and returns the name of its float32 copy."""
        name = f"w{tensor}"
        if name not in self.cast:
            self.weights[name] = np.ascontiguousarray(array)
            self.cast[name] = f"{name}_float"
            self._node("Cast", [name], self.cast[name], to=TensorProto.FLOAT)
        return self.cast[name]

    def _pads(self, options: Any, tensor: int, kernel: Sequence[int]) -> list[int]:
        """Converts TFLite's padding to ONNX's top, left, bottom, right; SAME puts the odd pixel at the end."""
        if options.Padding() == tflite.Padding.VALID:
            return [0, 0, 0, 0]
        before, after = [], []
        lengths, strides = self._shape(tensor)[1:3], (options.StrideH(), options.StrideW())
        for length, stride, extent in zip(lengths, strides, kernel, strict=True):
            missing = max((-(-length // stride) - 1) * stride + extent - length, 0)
            before.append(missing // 2)
            after.append(missing - missing // 2)
        return before + after

    def _dequantize(self, table: Any, inputs: list[int], output: int) -> None:
        self.halves[output] = inputs[0]

    def _convolution(self, options: Any, inputs: list[int], output: int, weight: NDArray[Any], group: int) -> None:
        """Adds a Conv with bias; `weight` has ONNX's order (out, in / group, height, width)."""
        if options.FusedActivationFunction() != tflite.ActivationFunctionType.NONE or options.DilationHFactor() != 1:
            sys.exit(f"the convolution to tensor {output} must have no fused activation and no dilation")
        x, kernel, bias = inputs
        self._node(
            "Conv",
            [self._name(x), self._weight(kernel, weight), self._weight(bias, self._constant(bias))],
            self._name(output),
            strides=[options.StrideH(), options.StrideW()],
            pads=self._pads(options, x, weight.shape[2:]),
            group=group,
        )

    def _conv_2d(self, table: Any, inputs: list[int], output: int) -> None:
        weight = self._constant(inputs[1]).transpose(0, 3, 1, 2)
        self._convolution(_options(tflite.Conv2DOptions, table), inputs, output, weight, 1)

    def _depthwise_conv_2d(self, table: Any, inputs: list[int], output: int) -> None:
        weight = self._constant(inputs[1]).transpose(3, 0, 1, 2)
        self._convolution(_options(tflite.DepthwiseConv2DOptions, table), inputs, output, weight, len(weight))

    def _relu(self, table: Any, inputs: list[int], output: int) -> None:
        self._node("Relu", [self._name(inputs[0])], self._name(output))

    def _add(self, table: Any, inputs: list[int], output: int) -> None:
        self._node("Add", [self._name(x) for x in inputs], self._name(output))

    def _max_pool_2d(self, table: Any, inputs: list[int], output: int) -> None:
        options = _options(tflite.Pool2DOptions, table)
        kernel = [options.FilterHeight(), options.FilterWidth()]
        strides = [options.StrideH(), options.StrideW()]
        pads = self._pads(options, inputs[0], kernel)
        self._node(
            "MaxPool", [self._name(inputs[0])], self._name(output), kernel_shape=kernel, strides=strides, pads=pads
        )

    def _pad(self, table: Any, inputs: list[int], output: int) -> None:
        before, after = self._constant(inputs[1])[[0, 3, 1, 2]].T
        name = f"p{inputs[1]}"
        self.weights[name] = np.concatenate([before, after]).astype(np.int64)
        self._node("Pad", [self._name(inputs[0]), name], self._name(output))

    def _resize_bilinear(self, table: Any, inputs: list[int], output: int) -> None:
        options = _options(tflite.ResizeBilinearOptions, table)
        if options.AlignCorners() or not options.HalfPixelCenters():
            sys.exit(f"the resize to tensor {output} must use half-pixel centres")
        before, after = self._shape(inputs[0]), self._shape(output)
        name = f"s{output}"
        self.weights[name] = np.array([1, 1, after[1] / before[1], after[2] / before[2]], np.float32)
        self._node(
            "Resize",
            [self._name(inputs[0]), "", name],
            self._name(output),
            mode="linear",
            coordinate_transformation_mode="half_pixel",
        )

    def _reshape(self, table: Any, inputs: list[int], output: int) -> None:
        """TFLite flattens (row, column, value), so the values are moved to the last axis before the reshape."""
        name, last = f"r{output}", f"{self._name(output)}_last"
        self.weights[name] = np.array([-1, *self._shape(output)[1:]], np.int64)
        self._node("Transpose", [self._name(inputs[0])], last, perm=[0, 2, 3, 1])
        self._node("Reshape", [last, name], self._name(output))


def _options(kind: Any, table: Any) -> Any:
    options = kind()
    options.Init(table.Bytes, table.Pos)
    return options


def compare(source: Path, model: onnx.ModelProto, pictures: Sequence[Path]) -> float:
    """Runs both models on pictures and noise, and returns the largest absolute difference of any output value."""
    interpreter = Interpreter(model_path=str(source), num_threads=1)
    interpreter.allocate_tensors()
    network_input = interpreter.get_input_details()[0]["index"]
    network_outputs = [output["index"] for output in interpreter.get_output_details()]
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    noise = np.random.default_rng(0).integers(0, 256, (SIZE, SIZE, 3), np.uint8)
    images = {"noise": noise}
    for picture in pictures:
        with Image.open(picture) as image:
            images[picture.name] = np.asarray(image.convert("RGB").resize((SIZE, SIZE)))
    worst = 0.0
    for name, image in images.items():
        x = (image.astype(np.float32) / np.float32(127.5) - 1)[None]
        interpreter.set_tensor(network_input, x)
        interpreter.invoke()
        expected = [interpreter.get_tensor(index) for index in network_outputs]
        actual = session.run(["boxes", "scores"], {"images": x.transpose(0, 3, 1, 2)})
        differences = [float(np.abs(a - b).max()) for a, b in zip(expected, actual, strict=True)]
        print(f"{name}: boxes differ by at most {differences[0]:.2e} px, scores by {differences[1]:.2e}")
        worst = max(worst, *differences)
    return worst


def main() -> None:
    """Converts the model, and writes it if both models agree."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="face_detection_full_range.tflite")
    parser.add_argument("target", type=Path, help="the .onnx file to write")
    parser.add_argument("pictures", type=Path, nargs="+", help="pictures for the comparison")
    arguments = parser.parse_args()
    data = arguments.source.read_bytes()
    model = Converter(data).convert(hashlib.sha256(data).hexdigest())
    worst = compare(arguments.source, model, arguments.pictures)
    print(f"largest absolute difference: {worst:.2e}, allowed: {TOLERANCE:.0e}")
    if not worst <= TOLERANCE:
        sys.exit(f"the outputs differ by more than {TOLERANCE:.0e}, so {arguments.target} was not written")
    arguments.target.write_bytes(model.SerializeToString(deterministic=True))
    print(f"wrote {arguments.target}: {arguments.target.stat().st_size} bytes")


if __name__ == "__main__":
    main()
