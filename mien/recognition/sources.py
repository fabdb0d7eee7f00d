"""Pictures as they are named on the command line: files, addresses and standard input."""

from __future__ import annotations

import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from mien.errors import ImageError, shortened
from mien.recognition import photo
from mien.recognition.fetch import ADDRESS, fetch

STANDARD_INPUT = "-"
"""The name of the picture that is read from standard input."""
MAX_STANDARD_INPUT_BYTES = 256 << 20
"""The most bytes that are read from standard input."""


def read_named(name: str) -> NDArray[np.uint8]:
    """Reads the picture of a name.

    Args:
        name: The path of a file, an http or https address, or STANDARD_INPUT.

    Returns:
        (H, W, 3), values 0..255.

    Raises:
        ImageError: It cannot be read as a picture, or cannot be downloaded.
    """
    if name == STANDARD_INPUT:
        return photo.read(_read_standard_input(), "standard input")
    if ADDRESS.match(name):
        return photo.read(fetch(name), shortened(name))
    return photo.read(name)


def is_file_name(name: str) -> bool:
    """Returns whether a name is the path of a file, rather than an address or standard input."""
    return name != STANDARD_INPUT and not ADDRESS.match(name)


def stem(name: str) -> str:
    """Returns the name of a picture's file without its suffix, from which the name of an annotated copy is made."""
    if name == STANDARD_INPUT:
        return "picture"
    path = Path(unquote(urlsplit(name).path)) if ADDRESS.match(name) else Path(name)
    return path.stem or "picture"


def _read_standard_input() -> bytes:
    encoded = sys.stdin.buffer.read(MAX_STANDARD_INPUT_BYTES + 1)
    if len(encoded) > MAX_STANDARD_INPUT_BYTES:
        raise ImageError(f"standard input must be one picture of at most {MAX_STANDARD_INPUT_BYTES:,} bytes, got more")
    return encoded
