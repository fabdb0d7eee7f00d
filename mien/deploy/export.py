"""A trained network to one ONNX file that can be used without torch and without anything beside it."""

from __future__ import annotations

import json
import logging
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnxscript import optimizer
from torch import Tensor, nn

import mien
from mien import config as configs
from mien.data.dataset import FaceDataset
from mien.errors import WeightsError
from mien.files import replaced
from mien.recognition.classifier import FORMAT, METADATA, Classifier
from mien.training.trained import TrainedNetwork

TOLERANCE = 1e-4
"""Largest difference allowed between a logit of torch and of ONNX Runtime."""
LICENCE = (
    "The weights were trained on FER2013, whose pictures were collected from web searches for a 2013 research "
    "challenge; their rights are unclear. mien gives the weights under the MIT licence as far as it can."
)


class _Logits(nn.Module):
    """A network that gives its logits alone."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images).logits
        return logits


def export(trained: TrainedNetwork, path: Path, public: FaceDataset, metrics: dict[str, Any]) -> float:
    """Writes an ONNX file after its logits were found equal to torch's on all of PublicTest.

    The file takes `images`, (batch, C, size, size) as `mien.preprocess.Preprocessing` gives them, and gives `logits`,
    (batch, K). Its metadata holds what a user of the file needs: see `mien.recognition.classifier.METADATA`.

    Args:
        trained: The network.
        path: The file to write, whole or not at all.
        public: The faces to compare on.
        metrics: What is known of the weights, split -> metric -> value; stored as it is.

    Returns:
        The largest absolute difference of a logit.

    Raises:
        WeightsError: The difference is above TOLERANCE; nothing is written.
    """
    preprocessing = trained.preprocessing
    metadata = {
        "format": FORMAT,
        "mien": mien.__version__,
        "network": trained.title,
        "classes": list(trained.classes),
        "preprocessing": preprocessing.to_dict(),
        "config": configs.to_dict(trained.config),
        "metrics": metrics,
        "licence": LICENCE,
    }
    with replaced(path) as part:
        _write(trained.network, preprocessing.channels, preprocessing.size, part, json.dumps(metadata))
        expected = trained.logits(public.images)
        difference = float(np.abs(Classifier(part).logits(public.images) - expected).max())
        if not difference <= TOLERANCE * max(1, np.abs(expected).max()):
            raise WeightsError(
                f"the exported network differs from torch's by {difference:.2g} in a logit, allowed are {TOLERANCE:g}: "
                f"{path} was not written"
            )
    return difference


def _write(network: nn.Module, channels: int, size: int, path: Path, metadata: str) -> None:
    example = torch.zeros(2, channels, size, size)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter's own future, nothing the person can act on
        logging.getLogger("torch.onnx").setLevel(logging.ERROR)
        program = torch.onnx.export(
            _Logits(network).eval(),
            (example,),
            input_names=["images"],
            output_names=["logits"],
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
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA, metadata
    onnx.checker.check_model(model)
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
