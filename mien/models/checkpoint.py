"""Checkpoints: one safetensors file each, with its JSON in the file's own metadata. Never pickle.

A single file, replaced whole, so that tensors and the numbers that belong to them cannot be of two moments.
"""

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

FORMAT = "mien-checkpoint-1"


def save(path: Path, tensors: dict[str, Tensor], state: dict[str, Any]) -> None:
    """Writes tensors and their state, whole or not at all.

    Args:
        path: The file.
        tensors: By name, on any device.
        state: Whatever JSON can hold.

    Raises:
        OSError: The disk is full or the folder cannot be written; what stood at `path` is still there.
    """
    with replaced(path) as part:
        try:
            save_file(
                {name: tensor.contiguous() for name, tensor in tensors.items()}, part, {FORMAT: json.dumps(state)}
            )
        except safetensors.SafetensorError as error:  # what it makes of the system's errors
            raise OSError(errno.EIO, error_text(error), str(path)) from None


def load(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Reads what `save` wrote, tensors on the CPU.

    Raises:
        WeightsError: The file is missing, damaged, or no checkpoint of mien.
    """
    if not path.is_file():
        raise WeightsError(f"there is no checkpoint {path}")
    try:
        with safetensors.safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  (it is no dict)
    except (safetensors.SafetensorError, OSError) as error:
        raise WeightsError(f"{path} is damaged or no safetensors file: {error}") from None
    if FORMAT not in metadata:
        raise WeightsError(f"{path} is not a checkpoint of mien: its metadata has no {FORMAT}")
    try:
        state = json.loads(metadata[FORMAT])
    except ValueError as error:
        raise WeightsError(f"{path} is damaged: its {FORMAT} is no JSON ({error})") from None
    if not isinstance(state, dict):
        raise WeightsError(f"{path} is damaged: its {FORMAT} is no object")
    return tensors, state


def part(tensors: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors below `name.`, without that prefix."""
    prefix = f"{name}."
    return {key.removeprefix(prefix): tensor for key, tensor in tensors.items() if key.startswith(prefix)}


def with_prefix(name: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors with `name.` before each key."""
    return {f"{name}.{key}": tensor for key, tensor in tensors.items()}
