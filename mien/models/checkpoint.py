"""Checkpoints: safetensors files that also hold the training state as JSON."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import safetensors
from safetensors.torch import save_file
from torch import Tensor

from mien.errors import WeightsError, error_text
from mien.files import replaced
from mien.models.stored import check_stored
from mien.parsing import parse_json

FORMAT = "mien-checkpoint-1"
"""The key of the safetensors metadata that holds the JSON state.

Tensors and state are one file, replaced in one step, so that they always belong together. Nothing is pickled.
"""
LAST = "last.safetensors"
"""File name of a run's full training state, from which the run resumes."""
BEST = "best.safetensors"
"""File name of a run's averaged weights after the epoch with the best PublicTest accuracy, `to_half_precision`."""


def save(path: Path, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
    """Writes a checkpoint; an existing file is replaced only once the new one is complete.

    Args:
        path: The file.
        tensors: Tensors by name, on any device.
        state: A JSON object.

    Raises:
        OSError: The disk is full or the folder is not writable; an existing file at `path` is kept.
    """
    with replaced(path) as part:
        try:
            save_file(
                {name: tensor.contiguous() for name, tensor in tensors.items()}, part, {FORMAT: json.dumps(state)}
            )
        except safetensors.SafetensorError as error:  # safetensors wraps errors of the operating system in it
            raise OSError(errno.EIO, error_text(error), str(path)) from None


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads the tensors, onto the CPU, and the state of a checkpoint.

    Raises:
        WeightsError: The file is missing or damaged, or mien did not write it.
    """
    if not path.is_file():
        raise WeightsError(f"there is no checkpoint {path}: check the path")
    try:
        with safetensors.safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is not a dict)
    except (safetensors.SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is damaged or is not a safetensors file: {error}") from None
    if FORMAT not in metadata:
        raise WeightsError(f"{path} is not a checkpoint of mien: its metadata has no {FORMAT}")
    try:
        state = parse_json(metadata[FORMAT])
    except ValueError as error:
        raise WeightsError(f"{path} is damaged: its {FORMAT} is not JSON ({error})") from None
    if not isinstance(state, dict):
        raise WeightsError(f"{path} is damaged: its {FORMAT} is not a JSON object")
    check_stored(state, f"the {FORMAT} of {path}")
    return tensors, state


def to_half_precision(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rounds the weights of convolutions and linear layers to half precision; biases and batch norms stay as they are.

    Weights rounded when they are saved have the same values in torch and in an exported file of half the size.
    """
    return {name: tensor.half() if tensor.ndim > 1 else tensor for name, tensor in weights.items()}


def strip_prefix(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """Selects the tensors whose key starts with `name.`, and removes that prefix."""
    prefix = f"{name}."
    return {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}


def add_prefix(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """Puts `name.` in front of every key."""
    return {f"{name}.{key}": tensor for key, tensor in tensors.items()}
