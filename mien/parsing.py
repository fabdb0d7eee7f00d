"""Parses TOML and JSON of unknown origin: limits on size and depth hold before a parser can exhaust time or memory."""

from __future__ import annotations

import json
import re
import sys
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MAX_TOML_BYTES = 1 << 20
"""Largest TOML document, bytes; the longest config of mien has three thousand."""
MAX_DEPTH = 16
"""Most levels of tables and lists in each other; configs have 3, the state of a training run has 4."""
_STRING_OR_COMMENT = re.compile(
    r'"""(?:\\.|[^\\])*?"""|' r"'''.*?'''|" r'"(?:\\.|[^"\\\n])*"|' r"'[^'\n]*'|" r"\#[^\n]*", re.DOTALL
)
_BRACKET = re.compile(r"[\[{\]}]")
_PLAIN = re.compile(r"[^\n=,\[\]{}]+")


def parse_toml(document: bytes) -> dict[str, Any]:
    """Parses a TOML document in UTF-8.

    Raises:
        ValueError: It is not TOML, is too long, or is nested too deep.
    """
    if len(document) > MAX_TOML_BYTES:
        raise ValueError(f"it has more than the {MAX_TOML_BYTES:,} bytes allowed")
    text = document.decode()
    _check_toml_depth(text)
    return tomllib.loads(text)


def parse_json(text: str | bytes) -> Any:
    """Parses a JSON document.

    Raises:
        ValueError: The text is not JSON, is nested too deep, or has a number of thousands of digits.
    """
    try:
        value = json.loads(text)
    except RecursionError:  # the parser ends at the recursion limit without harm
        raise ValueError(f"it has more than the {MAX_DEPTH} levels of nesting allowed") from None
    _check_depth(value)
    return value


def _check_toml_depth(text: str) -> None:
    """Checks how deep brackets and dotted keys nest; a dotted key takes quadratic time to parse."""
    depth = 0
    plain = _STRING_OR_COMMENT.sub("s", text)
    for bracket in _BRACKET.finditer(plain):
        depth += 1 if bracket[0] in "[{" else -1
        if depth > MAX_DEPTH:
            break
    dots = max((key[0].count(".") for key in _PLAIN.finditer(plain)), default=0)
    if max(depth, dots) > MAX_DEPTH:
        raise ValueError(f"it has more than the {MAX_DEPTH} levels of nesting allowed")


def _check_depth(value: object) -> None:
    """Checks how deep lists and objects nest, level by level, since recursion would exhaust the stack."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        level = [
            child
            for each in level
            if isinstance(each, dict | list)
            for child in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return
    raise ValueError(f"it has more than the {MAX_DEPTH} levels of nesting allowed")
