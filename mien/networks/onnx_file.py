"""A network as an ONNX file."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import numpy as np
import onnx
import torch
from onnxscript import optimizer
from torch import Tensor, nn


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
