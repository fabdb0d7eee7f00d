"""Picture files below a folder, and the face that each of them holds."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence, Set
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from mien import pixels
from mien.errors import DataError
from mien.preprocess import Preprocessing, crop
from mien.types import Box

SUFFIXES = frozenset(
    {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".avif", ".jp2"}
    | {".pbm", ".pgm", ".ppm", ".tga", ".heic", ".heif"}
)
"""Endings of picture files, in lower case. The last two cannot be read by Pillow alone, which is better said than that
such pictures are left out unsaid."""


def is_junk(name: str) -> bool:
    """Whether a file or folder of this name is an operating system's own: hidden, or macOS's shadow of an archive."""
    return name.startswith(".") or name == "__MACOSX"


def files(folder: Path, suffixes: Set[str]) -> list[Path]:
    """All files below a folder that end in one of `suffixes` (lower case), in the same order on every machine.

    Linked folders are followed, one that leads back to a folder above itself is not; junk is left out.

    Raises:
        DataError: A folder cannot be listed.
    """
    return sorted(_below(folder, suffixes, ()), key=lambda path: path.relative_to(folder).as_posix())


def find_pictures(paths: Sequence[Path]) -> tuple[Path, ...]:
    """Files as they are, and all pictures below folders, in the same order on every machine.

    Raises:
        DataError: A folder cannot be listed, or there is no picture in any.
    """
    found = tuple(picture for path in paths for picture in (files(path, SUFFIXES) if path.is_dir() else [path]))
    if not found:
        raise DataError(
            f"there is no picture below {', '.join(map(str, paths))}: expected {', '.join(sorted(SUFFIXES))}"
        )
    return found


def _below(folder: Path, suffixes: Set[str], above: tuple[str, ...]) -> list[Path]:
    real = os.path.realpath(folder)
    if real in above:
        return []
    found: list[Path] = []
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if is_junk(entry.name):
                    continue
                if _leads_to(entry.is_dir):
                    found += _below(folder / entry.name, suffixes, (*above, real))
                elif entry.name.lower().endswith(tuple(suffixes)) and _leads_to(entry.is_file):
                    found.append(folder / entry.name)
    except OSError as error:
        raise DataError(f"the folder {folder} cannot be read: {error.strerror}; check its permissions") from None
    return found


def _leads_to(kind: Callable[[], bool]) -> bool:
    try:
        return kind()
    except OSError:  # a link that leads to itself
        return False


def read_face(source: Path | BinaryIO, size: int) -> NDArray[np.uint8]:
    """Reads a picture that shows one face: (size, size) gray, values 0..255.

    See `mien.pixels.read`. A picture that is not square is made so as the recogniser does it, by repeating its edges.

    Raises:
        ImageError: It is no picture, or a damaged one; the sentence says why and leaves the name to the caller.
    """
    gray = np.asarray(pixels.read(source).convert("L"))
    height, width = gray.shape
    square = gray if height == width else crop(gray, Box(0, 0, width, height))
    return np.asarray(Preprocessing(size=size).resize([square])[0])
