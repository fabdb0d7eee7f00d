"""The schema of what mien stores beside weights, in checkpoints and .onnx files, and its check."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from mien.errors import WeightsError, shortened

MAX_COUNT = 2**53
"""Largest whole number: above it, floats no longer represent each."""
MAX_TEXT = 10_000
"""Most characters of a text."""
MAX_CLASSES = 10_000
"""Most class names."""


def is_number(value: object) -> bool:
    """Returns whether a value is a float, or a whole number of usual size."""
    return type(value) is float or (type(value) is int and abs(value) <= MAX_COUNT)


def is_count(value: object) -> bool:
    """Returns whether a value is a whole number from 0 on."""
    return type(value) is int and 0 <= value <= MAX_COUNT


def is_text(value: object) -> bool:
    """Returns whether a value is valid Unicode text of usual length."""
    return isinstance(value, str) and len(value) <= MAX_TEXT and not any("\ud800" <= c <= "\udfff" for c in value)


def is_table(value: object) -> bool:
    """Returns whether a value is an object."""
    return isinstance(value, dict)


def is_row(value: object) -> bool:
    """Returns whether a value is an object of numbers."""
    return isinstance(value, dict) and all(map(is_number, value.values()))


def is_class_list(value: object) -> bool:
    """Returns whether a value lists one or more distinct names."""
    return (
        isinstance(value, list) and 0 < len(value) <= MAX_CLASSES and all(map(is_text, value))
        and len(set(value)) == len(value)
    )  # fmt: skip


def _list_of(kind: Callable[[object], bool]) -> Callable[[object], bool]:
    return lambda value: isinstance(value, list) and all(map(kind, value))


SCHEMA: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "best_accuracy": ("a number", is_number),
    "best_epoch": ("a whole number", is_count),
    "calibration": ("an object", lambda value: value is None or is_table(value)),
    "classes": ("a list of one or more distinct class names", is_class_list),
    "config": ("an object", is_table),
    "data": ("a text", is_text),
    "epoch": ("a whole number", is_count),
    "learning_rates": ("a list of numbers", _list_of(is_number)),
    "licence": ("a text", is_text),
    "log": ("a list of objects of numbers", _list_of(is_row)),
    "log_row": ("an object of numbers", is_row),
    "meters": ("an object of numbers", is_row),
    "metrics": ("an object of objects", lambda value: is_table(value) and all(map(is_table, value.values()))),
    "mien": ("a text", is_text),
    "network": ("a text", is_text),
    "quantized": ("an object", is_table),
    "row": ("an object of numbers", is_row),
    "scheduler": ("an object", is_table),
    "step": ("a whole number", is_count),
    "weights": ("a text", is_text),
}
"""Key -> what its value must be, in words and as a function. Other keys may have any value."""


def check_stored(values: dict[str, Any], where: str) -> None:
    """Checks the values that mien stored beside weights.

    Args:
        values: The JSON object.
        where: What holds it, for the message.

    Raises:
        WeightsError: A value has another type or size than mien writes.
    """
    for key, (words, is_valid) in SCHEMA.items():
        if key in values and not is_valid(values[key]):
            raise WeightsError(f"{key} in {where} must be {words}, got {_shown(values[key])}: restore it from a backup")


def _shown(value: object) -> str:
    try:
        return shortened(repr(value))
    except ValueError:  # Python does not convert integers of more than 4,300 digits
        return "a number with thousands of digits"
