"""Picture files below a folder, and the face in each of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence, Set
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
"""Suffixes of picture files, in lower case. Pillow alone cannot read .heic and .heif: an error about such a picture is
better than leaving it out silently."""


def is_junk(name: str) -> bool:
    """Returns whether an operating system made a file or folder of this name: hidden ones and macOS's __MACOSX."""
    return name.startswith(".") or name == "__MACOSX"


def files(folder: Path, suffixes: Set[str]) -> list[Path]:
    """Lists all files below a folder with one of the suffixes (lower case), in the same order on every machine.

    Follows links to folders, except back to a folder above; leaves out junk.

    Raises:
        DataError: A folder cannot be listed.
    """
    return [Path(path) for path in walk(folder, suffixes)]


def find_pictures(paths: Sequence[Path]) -> tuple[Path, ...]:
    """Lists the given files, and all pictures below the given folders, in the same order on every machine.

    Raises:
        DataError: A folder cannot be listed, or there is no picture at all.
    """
    pictures = tuple(picture for path in paths for picture in (files(path, SUFFIXES) if path.is_dir() else [path]))
    if not pictures:
        raise DataError(
            f"there is no picture below {', '.join(map(str, paths))}: expected {', '.join(sorted(SUFFIXES))}"
        )
    return pictures


def walk(folder: str | Path, suffixes: Set[str] = SUFFIXES) -> Iterator[str]:
    """Yields what `files` lists, reading one folder at a time.

    Raises:
        DataError: A folder cannot be listed.
    """
    yield from _walk(os.fspath(folder), tuple(suffixes), ())


def _walk(folder: str, suffixes: tuple[str, ...], above: tuple[str, ...]) -> Iterator[str]:
    real = os.path.realpath(folder)
    if real in above:
        return
    try:
        with os.scandir(folder) as entries:
            # With its slash, a folder has the place that its files have in the order of all paths.
            names = sorted(filter(None, (_listed_name(entry, suffixes) for entry in entries)))
    except OSError as error:
        raise DataError(f"the folder {folder} cannot be read: {error.strerror}; check its permissions") from None
    for name in names:
        path = os.path.join(folder, name.rstrip("/"))  # noqa: PTH118 - there may be millions
        if name.endswith("/"):
            yield from _walk(path, suffixes, (*above, real))
        else:
            yield path


def _listed_name(entry: os.DirEntry[str], suffixes: tuple[str, ...]) -> str:
    """Returns the name of a file with one of the suffixes, or of a folder with a slash at its end; else nothing."""
    if is_junk(entry.name):
        return ""
    if _is(entry.is_dir):
        return f"{entry.name}/"
    return entry.name if entry.name.lower().endswith(suffixes) and _is(entry.is_file) else ""


def _is(kind: Callable[[], bool]) -> bool:
    """Calls an entry's `is_dir` or `is_file`; a link to itself is neither."""
    try:
        return kind()
    except OSError:
        return False


def read_face(source: Path | BinaryIO, size: int) -> NDArray[np.uint8]:
    """Reads a picture of one face -> (size, size) gray, values 0..255.

    A picture that is not square is padded by repeating its edges, as the recogniser pads a crop. See also
    `mien.pixels.read`.

    Raises:
        ImageError: The picture cannot be read; the message says why and does not name the file.
    """
    gray = pixels.to_array(pixels.read(source), "L")
    height, width = gray.shape
    square = gray if height == width else crop(gray, Box(0, 0, width, height))
    return np.asarray(Preprocessing(size=size).resize([square])[0])
