"""The state of a run as one file: a state dict is split into tensors and JSON, and put together again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from torch import Tensor

from mien.errors import WeightsError, shortened
from mien.models import checkpoint

TENSORS = ("network", "averaged", "optimizer")
"""Entries of a state dict that hold tensors; all others hold JSON values."""
IGNORED = {("data", "path"), ("training", "devices")}
"""Settings that may differ when a run is resumed."""


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
    """Reads the state dict that `save_state` wrote; tensors are on the CPU.

    Raises:
        WeightsError: The file is missing, damaged, or not a checkpoint of mien.
    """
    tensors, state = checkpoint.load(path)
    state |= {name: checkpoint.strip_prefix(tensors, name) for name in TENSORS}
    optimizer: dict[int, dict[str, Tensor]] = {}
    for key, tensor in state["optimizer"].items():  # such as "0.momentum_buffer"
        index, _, name = key.partition(".")
        if not index.isdecimal():
            raise WeightsError(f"{path} is damaged: it has the unknown tensor optimizer.{shortened(key)}")
        optimizer.setdefault(int(index), {})[name] = tensor
    return state | {"optimizer": optimizer}


def config_differences(new: dict[str, Any], old: dict[str, Any]) -> list[str]:
    """Returns a phrase for each setting that differs between a config and the one of a checkpoint.

    data.path does not count: the faces themselves are compared, wherever they are stored. training.devices does not
    either: the images of each step are compared, however many processes share them.
    """
    return [
        f"{section}.{key} is {shortened(repr(value))} and was {shortened(repr(old.get(section, {}).get(key)))}"
        for section, fields in new.items()
        for key, value in fields.items()
        if old.get(section, {}).get(key) != value and (section, key) not in IGNORED
    ]


def _flattened(values: dict[Any, Any], prefix: str) -> dict[str, Tensor]:
    """Returns the tensors of nested dicts in one dict, with dotted keys."""
    flat: dict[str, Tensor] = {}
    for key, value in values.items():
        flat |= _flattened(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
