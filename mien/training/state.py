"""The state of a run as one file: a state dict is split into tensors and JSON, and put together again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from mien.models import checkpoint

TENSORS = ("network", "averaged", "optimizer")
"""Entries of a state dict that hold tensors; all others hold JSON values."""


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Writes a state dict, whole or not at all.

    Args:
        path: The file.
        state: Entry -> value. Values of TENSORS are nested dicts of tensors, all others must be JSON.

    Raises:
        OSError: The disk is full or the folder cannot be written; an existing file is unchanged.
    """
    tensors: dict[str, Tensor] = {}
    for name in TENSORS:
        tensors |= _flattened(state[name], f"{name}.")
    checkpoint.save(path, tensors, {name: value for name, value in state.items() if name not in TENSORS})


def load_state(path: Path) -> dict[str, Any]:
    """Reads what `save_state` wrote; tensors are on the CPU and their dicts one level deep, with dotted keys.

    Raises:
        WeightsError: The file is missing, damaged, or not a checkpoint of mien.
    """
    tensors, state = checkpoint.load(path)
    return state | {name: checkpoint.strip_prefix(tensors, name) for name in TENSORS}


def optimizer_state(tensors: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    """Groups an optimizer's tensors by parameter: "0.momentum_buffer" becomes [0]["momentum_buffer"]."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = tensor
    return state


def config_differences(new: dict[str, Any], old: dict[str, Any]) -> list[str]:
    """Returns a phrase for each setting that differs between a config and the one of a checkpoint.

    data.path does not count: the faces themselves are compared, wherever they are stored.
    """
    return [
        f"{section}.{key} is {value!r} and was {old.get(section, {}).get(key)!r}"
        for section, fields in new.items()
        for key, value in fields.items()
        if old.get(section, {}).get(key) != value and (section, key) != ("data", "path")
    ]


def _flattened(values: dict[Any, Any], prefix: str) -> dict[str, Tensor]:
    flat: dict[str, Tensor] = {}
    for key, value in values.items():
        flat |= _flattened(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
