"""Writes networks as ONNX files, and reads their weights back into torch."""

from __future__ import annotations

import logging
import re
import warnings
from pathlib import Path
from typing import cast

import numpy as np
import onnx
import torch
from onnxscript import optimizer
from torch import Tensor, nn

from mien.models.onnx_constants import evaluate_constants

_PARAMETER = re.compile(r"(?P<folded>ConvBnFusion_W_)?network\.(?P<name>.+?)(?:_DequantizeLinear_Output)?")
"""A parameter's name in the graph: the exporter's, with the prefix of folded batch norms and the quantizer's suffix."""


class _TensorOutputs(nn.Module):
    """Returns a network's logits, and the mean of each mask over its channels, as a tuple of tensors."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        outputs = self.network(images)
        return outputs.logits, *(mask.mean(dim=1) for mask in outputs.masks)


def write(network: nn.Module, channels: int, size: int, path: Path, metadata: dict[str, str]) -> None:
    """Writes the inference part of a network, without decoder and auxiliary heads, as an ONNX file.

    The graph takes `images` (batch, channels, size, size) with a dynamic batch size, and returns `logits` (batch, K)
    and, for each masked stage, `mask_1`, `mask_2` and so on (batch, h, w): the mask's mean over its channels.

    Args:
        network: (N, C, H, W) -> Outputs; it is left in evaluation mode.
        channels: C.
        size: H and W, pixels.
        path: The file.
        metadata: Strings to store in the file, by key.
    """
    example = torch.zeros(2, channels, size, size)
    wrapper = _TensorOutputs(network.eval())
    with torch.inference_mode():
        masks = len(wrapper(example)) - 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they announce changes of the exporter, which the user cannot act on
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            wrapper,
            (example,),
            input_names=["images"],
            output_names=["logits", *(f"mask_{stage}" for stage in range(1, masks + 1))],
            dynamic_shapes={"images": {0: "batch"}},
            dynamo=True,
            optimize=False,  # it folds batch norms into the weights, which half precision then no longer represents
            verbose=False,
        )
    assert program is not None
    optimizer.fold_constants(program.model)
    optimizer.remove_unused_nodes(program.model)
    model = program.model_proto
    _remove_exporter_notes(model)
    _halve_lossless(model.graph)
    onnx.helper.set_model_props(model, metadata)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def read(path: Path, network: nn.Module) -> dict[str, Tensor]:
    """Reads the weights of a file that `write` wrote, even after batch norms were folded and weights quantized.

    A folded batch norm is read as one that only shifts, behind a convolution that holds its scale: in evaluation mode
    the network returns the same logits as the file, up to rounding. Before training from such weights, the batch norms
    need the statistics of real images; `is_folded` finds them.

    Args:
        path: The file.
        network: A network with the same architecture as the exported one.

    Returns:
        A tensor for each parameter and buffer in the file, by its name in the network. Decoders and auxiliary heads
        are missing, since `write` leaves them out.
    """
    graph = onnx.load(path).graph
    constants = evaluate_constants(graph)
    shape = [axis.dim_value or 1 for axis in graph.input[0].type.tensor_type.shape.dim]
    norm_after = _find_batch_norms(network, shape)
    parameters = network.state_dict().keys()
    weights: dict[str, Tensor] = {}
    for node in graph.node:
        if node.output[0] in constants:
            continue
        for position, input_name in enumerate(node.input):
            match = _PARAMETER.fullmatch(input_name)
            if match is None or input_name not in constants:
                continue
            name = match["name"]
            if name not in parameters and (original := name.rstrip("0123456789")) in parameters:
                name = original  # the quantizer copies a layer that is used twice, and numbers the copy
            weights[name] = torch.tensor(constants[input_name])
            convolution = name.removesuffix(".weight")
            if match["folded"] and convolution in norm_after:
                # The shift is found by its position: the optimizer merges equal constants, so its name may be another.
                shift = torch.tensor(constants[node.input[position + 1]])
                weights |= _unfold_batch_norm(convolution, norm_after[convolution], shift, network)
    return weights


def is_folded(norm: nn.BatchNorm2d) -> bool:
    """Whether `read` restored this batch norm from a folded one, so that it lacks the statistics of its input.

    Such a batch norm has a running variance of 1 - eps, a new one of 1.
    """
    variance = norm.running_var
    return variance is not None and bool((variance == torch.full_like(variance, 1 - norm.eps)).all())


def _find_batch_norms(network: nn.Module, shape: list[int]) -> dict[str, str]:
    """Finds the batch norm that directly follows each convolution, by running the network once.

    Returns:
        Name of the convolution -> name of its batch norm.
    """
    outputs: list[tuple[Tensor, str]] = []  # keeps the tensors alive, so that `is` cannot match reused memory
    norms: dict[str, str] = {}

    def remember(name: str, output: Tensor) -> None:
        outputs.append((output, name))

    def look_up(name: str, norm_input: Tensor) -> None:
        norms.update({convolution: name for output, convolution in outputs if output is norm_input})

    hooks = []
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            hooks.append(module.register_forward_hook(lambda _, __, output, name=name: remember(name, output)))
        elif isinstance(module, nn.BatchNorm2d):
            hooks.append(module.register_forward_pre_hook(lambda _, inputs, name=name: look_up(name, inputs[0])))
    with torch.no_grad():
        network.eval()(torch.zeros(shape))
    for hook in hooks:
        hook.remove()
    return norms


def _unfold_batch_norm(convolution: str, norm: str, shift: Tensor, network: nn.Module) -> dict[str, Tensor]:
    """The weights of a batch norm that only shifts, and a zero bias for its convolution if that has one."""
    variance = 1 - cast(nn.BatchNorm2d, network.get_submodule(norm)).eps
    weights = {
        f"{norm}.weight": torch.ones_like(shift),
        f"{norm}.bias": shift,
        f"{norm}.running_mean": torch.zeros_like(shift),
        f"{norm}.running_var": torch.full_like(shift, variance),
    }
    if network.get_submodule(convolution).bias is not None:
        weights[f"{convolution}.bias"] = torch.zeros_like(shift)
    return weights


def replace_metadata(source: Path, path: Path, metadata: dict[str, str]) -> None:
    """Writes a copy of an ONNX file with other metadata; the graph stays the same.

    Args:
        source: The file to copy.
        path: The file to write.
        metadata: Strings to store, by key; they replace all of the source's.
    """
    model = onnx.load(source)
    onnx.helper.set_model_props(model, metadata)
    path.write_bytes(model.SerializeToString())


def _halve_lossless(graph: onnx.GraphProto) -> None:
    """Stores the weights that half precision represents exactly as such, with a Cast back to single precision.

    This halves the file without loss. ONNX Runtime evaluates the casts once, when it opens the file.
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


def _remove_exporter_notes(model: onnx.ModelProto) -> None:
    """Removes the exporter's notes: the source lines behind each node, a third of the file's size."""
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for value in [*model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer]:
        value.doc_string = ""
        del value.metadata_props[:]
    del model.graph.metadata_props[:]
    del model.metadata_props[:]
    model.doc_string = ""
