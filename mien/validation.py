"""The base of a config's sections: pydantic validates the values, and its errors become one sentence."""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import Any, Literal

from pydantic import ConfigDict, ValidationError, model_validator
from pydantic.dataclasses import dataclass

from mien.errors import ConfigError, near, shortened

STRICT = ConfigDict(strict=True, extra="forbid")
"""No value is converted, except a whole number to a float, and unknown keys are errors."""


@dataclass(frozen=True, config=STRICT)
class Section:
    """The base of all sections, frozen pydantic dataclasses whose values are validated when they are made.

    The name of a subclass is that of its table in TOML and `Config`, which error messages use: `TrainingConfig` is the
    section `training`, and `Config` is the whole file.

    Raises:
        ConfigError: A key is unknown, or a value has the wrong type or is out of range.
    """

    @model_validator(mode="wrap")
    @classmethod
    def _raise_config_error(cls, value: Any, validate: Callable[[Any], Any]) -> Any:
        if isinstance(value, dict):  # a table of a TOML file; strict validation accepts only instances
            return cls(**value)
        try:
            return validate(value)
        except ValidationError as error:
            raise _config_error(cls, error) from None


TYPE_NAMES: dict[Any, str] = {
    int: "a whole number",
    float: "a number",
    str: "a string",
    bool: "true or false",
    tuple[str, ...]: "a list of strings",
    dict[str, str]: "a table of strings",
}
"""Type of a field -> its name in messages."""


def _config_error(section: Any, error: ValidationError) -> ConfigError:
    """Describes the first problem that pydantic found in a section, in one sentence."""
    problem = error.errors()[0]
    value, fields = problem["input"], section.__pydantic_fields__
    prefix = section.__name__.removesuffix("Config").lower()  # empty for Config itself
    if not problem["loc"]:
        return ConfigError(f"{prefix} must be a table, got {_shown(value, quoted=True)}")
    key = problem["loc"][0]
    if isinstance(key, int) and key < len(fields):  # a positional argument
        key = list(fields)[key]
    name = f"{prefix}.{key}" if prefix else str(key)
    if key not in fields:
        return ConfigError(f"unknown key {shortened(name)}: {near(str(key), fields)}")
    annotation, limits = fields[key].annotation, fields[key].metadata
    if typing.get_origin(annotation) is Literal:
        expected = f"one of {', '.join(map(_shown, typing.get_args(annotation)))}"
    elif problem["type"] in ("greater_than_equal", "less_than_equal"):
        expected = "..".join(
            _shown(getattr(limit, end)) for end in ("ge", "le") for limit in limits if hasattr(limit, end)
        )
    else:
        return ConfigError(f"{name} must be {TYPE_NAMES[annotation]}, got {_shown(value, quoted=True)}")
    return ConfigError(f"{name} must be {expected}, got {_shown(value)}")


def _shown(value: object, quoted: bool = False) -> str:
    if isinstance(value, str) and not quoted:
        return shortened(value) or "empty"
    try:
        return f"{value:g}" if isinstance(value, float) else shortened(repr(value))
    except ValueError:  # Python does not convert integers of more than 4,300 digits
        return "a number with thousands of digits"
