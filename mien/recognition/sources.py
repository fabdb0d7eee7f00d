"""Pictures as they are named on the command line: files, addresses and standard input."""

from __future__ import annotations

import re
import sys
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from mien.errors import ImageError, error_text, shortened, shortened_path
from mien.recognition import photo
from mien.storage import is_url, read_file

ADDRESS = re.compile(r"https?://", re.IGNORECASE)
"""The beginning of an address of a picture."""
STANDARD_INPUT = "-"
"""The name of the picture that is read from standard input."""
MAX_STANDARD_INPUT_BYTES = 256 << 20
"""The most bytes that are read from standard input."""
READ_AHEAD = 16
"""How many pictures at URLs are read at the same time."""


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
        return photo.read(_fetch(name), shortened(name))
    return photo.read(name)


def read_ahead(names: Sequence[str]) -> Iterator[Path | bytes | ImageError]:
    """Yields the sources of pictures in order, for `mien.recognition.photo.read`; those at URLs are read ahead.

    Args:
        names: Paths, http or https addresses, and URLs that fsspec knows, such as s3://bucket/photo.jpg.

    Yields:
        A path, the content of the file at a URL, or the error if there is no such file or it may not be read.

    Raises:
        OSError: A place of many pictures cannot be reached; other errors of fsspec's packages are raised as they are.
        MissingExtraError: fsspec, or its package for that kind of URL, is not installed.
    """
    if not any(map(is_url, names)):
        yield from map(Path, names)
        return
    ahead: deque[Future[Path | bytes | ImageError]] = deque()
    with ThreadPoolExecutor(READ_AHEAD) as readers:
        for name in names:
            ahead.append(readers.submit(_source, name))
            if len(ahead) == READ_AHEAD:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()


def _source(name: str) -> Path | bytes | ImageError:
    try:
        if ADDRESS.match(name):
            return _fetch(name)
        return read_file(name) if is_url(name) else Path(name)
    except ImageError as error:
        return error
    except (FileNotFoundError, PermissionError, IsADirectoryError) as error:  # others concern the place, not this file
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else shortened(error_text(error))
        return ImageError(f"{shortened_path(name)} cannot be read as a picture: {reason}")


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


def _fetch(address: str) -> bytes:
    from mien.recognition.fetch import fetch  # its HTTP client takes longer to import than a small picture to recognise

    return fetch(address)
