"""A network as an ONNX file."""

from __future__ import annotations

import logging
import re
import warnings
from pathlib import Path
from typing import cast

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import numpy_helper
from onnxscript import optimizer
from torch import Tensor, nn

_PARAMETER = re.compile(r"(?P<folded>ConvBnFusion_W_)?network\.(?P<name>.+?)(?:_DequantizeLinear_Output)?")
"""What the exporter, the optimizer that folds batch norms, and the quantizer make of a parameter's name."""


class _Tensors(nn.Module):
    """A network that gives its logits, and each mask's mean over channels, as plain tensors."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        outputs = self.network(images)
        return outputs.logits, *(mask.mean(dim=1) for mask in outputs.masks)


def write(network: nn.Module, channels: int, size: int, path: Path, metadata: dict[str, str]) -> None:
    """Writes the part of a network that gives logits and masks, as ONNX.

    The file takes `images`, (batch, channels, size, size), any batch, and gives `logits`, (batch, K), and for each
    masked stage `mask_1`, `mask_2` and so on, (batch, h, w), the mask's mean over channels.

    Args:
        network: (N, C, H, W) -> Outputs; it is put into evaluation mode.
        channels: C.
        size: H and W.
        path: The file.
        metadata: Texts to be kept in the file.
    """
    example = torch.zeros(2, channels, size, size)
    whole = _Tensors(network.eval())
    with torch.inference_mode():
        masks = len(whole(example)) - 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own future, nothing the person can act on
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            whole,
            (example,),
            input_names=["images"],
            output_names=["logits", *(f"mask_{stage}" for stage in range(1, masks + 1))],
            dynamic_shapes={"images": {0: "batch"}},
            dynamo=True,
            optimize=False,  # it would fold batch norms into weights, which are no half precision numbers then
            verbose=False,
        )
    assert program is not None
    optimizer.fold_constants(program.model)
    optimizer.remove_unused_nodes(program.model)
    model = program.model_proto
    _strip_traces(model)
    _halve_lossless(model.graph)
    onnx.helper.set_model_props(model, metadata)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def read(path: Path, network: nn.Module) -> dict[str, Tensor]:
    """The weights of a file that `write` wrote, also after batch norms were folded and weights made 8-bit integers.

    A batch norm that was folded comes back as one that only shifts, behind a convolution that has its scale: in
    evaluation mode the network gives what the file gives, to the rounding of its maps. To train from there, see
    `only_shifts`.

    Args:
        path: The file.
        network: Of the kind that was written.

    Returns:
        A tensor for each parameter and buffer that is in the file, by the network's names. What `write` leaves out
        is not: decoders, auxiliary heads.
    """
    graph = onnx.load(path).graph
    stored = _constants(graph)
    norms = _norms_behind(network, [axis.dim_value or 1 for axis in graph.input[0].type.tensor_type.shape.dim])
    known = network.state_dict().keys()
    weights: dict[str, Tensor] = {}
    for node in graph.node:
        if node.output[0] in stored:
            continue
        for place, given in enumerate(node.input):
            parameter = _PARAMETER.fullmatch(given)
            if parameter is None or given not in stored:
                continue
            name = parameter["name"]
            if name not in known and (copied := name.rstrip("0123456789")) in known:
                name = copied  # of a layer that is used twice the quantizer makes two, and numbers the second
            weights[name] = torch.tensor(stored[given])
            convolution = name.removesuffix(".weight")
            if parameter["folded"] and convolution in norms:
                # By its place, for its name may be another's: the optimizer keeps equal ones once.
                shift = torch.tensor(stored[node.input[place + 1]])
                weights |= _unfolded(convolution, norms[convolution], shift, network)
    return weights


def only_shifts(norm: nn.BatchNorm2d) -> bool:
    """Whether a batch norm is one that `read` found folded: it knows nothing of the maps before it.

    A new one has a variance of 1, not of 1 less eps.
    """
    variance = norm.running_var
    return variance is not None and bool((variance == torch.full_like(variance, 1 - norm.eps)).all())


def _norms_behind(network: nn.Module, shape: list[int]) -> dict[str, str]:
    """The batch norm that takes what a convolution gives, for each convolution that has one, by name."""
    maps: list[tuple[Tensor, str]] = []  # kept, lest another tensor takes a lost one's place
    norms: dict[str, str] = {}

    def remember(name: str, output: Tensor) -> None:
        maps.append((output, name))

    def look_up(name: str, taken: Tensor) -> None:
        norms.update({convolution: name for output, convolution in maps if output is taken})

    hooks = []
    for name, part in network.named_modules():
        if isinstance(part, nn.Conv2d | nn.ConvTranspose2d):
            hooks.append(part.register_forward_hook(lambda _, __, output, name=name: remember(name, output)))
        elif isinstance(part, nn.BatchNorm2d):
            hooks.append(part.register_forward_pre_hook(lambda _, inputs, name=name: look_up(name, inputs[0])))
    with torch.no_grad():
        network.eval()(torch.zeros(shape))
    for hook in hooks:
        hook.remove()
    return norms


def _unfolded(convolution: str, norm: str, shift: Tensor, network: nn.Module) -> dict[str, Tensor]:
    """What else belongs to a convolution with its batch norm's scale: no bias, and a batch norm that only shifts."""
    variance = 1 - cast(nn.BatchNorm2d, network.get_submodule(norm)).eps
    parts = {
        f"{norm}.weight": torch.ones_like(shift),
        f"{norm}.bias": shift,
        f"{norm}.running_mean": torch.zeros_like(shift),
        f"{norm}.running_var": torch.full_like(shift, variance),
    }
    if network.get_submodule(convolution).bias is not None:
        parts[f"{convolution}.bias"] = torch.zeros_like(shift)
    return parts


def _constants(graph: onnx.GraphProto) -> dict[str, NDArray[np.generic]]:
    """What does not depend on the input: initializers, as they are, cast, and as integers stand for."""
    values = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if not node.input or node.input[0] not in values:
            continue
        if node.op_type == "Cast":
            values[node.output[0]] = values[node.input[0]].astype(np.float32)
        elif node.op_type == "DequantizeLinear":
            integers, scale, *zeros = (values[name] for name in node.input)
            axis = next((attribute.i for attribute in node.attribute if attribute.name == "axis"), 1)
            shape = [-1 if dimension == axis else 1 for dimension in range(integers.ndim)] if scale.ndim else []
            zero = zeros[0].reshape(shape) if zeros else 0
            values[node.output[0]] = (integers.astype(np.float32) - zero) * scale.reshape(shape)
    return values


def restamp(source: Path, path: Path, metadata: dict[str, str]) -> None:
    """Copies a file with other texts kept in it; the network stays as it is, to the bit."""
    model = onnx.load(source)
    onnx.helper.set_model_props(model, metadata)
    path.write_bytes(model.SerializeToString())


def _halve_lossless(graph: onnx.GraphProto) -> None:
    """Stores weights in half precision where each is the same number there, with a Cast back to single.

    ONNX Runtime casts them once, when it opens the file: half the size, and nothing lost.
    """
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or len(tensor.dims) < 2:
            continue
        values = onnx.numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if not np.array_equal(half.astype(np.float32), values):
            continue
        name = tensor.name
        tensor.CopyFrom(onnx.numpy_helper.from_array(half, f"{name}_half"))
        casts.append(onnx.helper.make_node("Cast", [tensor.name], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _strip_traces(model: onnx.ModelProto) -> None:
    """Takes out the exporter's notes on each node: source lines of the machine it ran on, and a third of the file."""
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for value in [*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer]:
        value.doc_string = ""
        del value.metadata_props[:]
    del model.graph.metadata_props[:]
    del model.metadata_props[:]
    model.doc_string = ""
