"""Reads a person's picture, of any type, as an upright RGB array."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien import pixels
from mien.deprecation import moved_names
from mien.errors import ImageError, error_text, shortened_path
from mien.files import is_special, printable
from mien.recognition.data_uri import DATA_URI, decode_text

Picture = str | Path | bytes | bytearray | memoryview | BinaryIO | Image.Image | NDArray[Any]
"""A path, a data URI, the bytes of a file, a binary file object, a Pillow image, or an array."""
VIDEO_SUFFIXES = (
    ".mp4",
    ".m4v",
    ".mov",
    ".mkv",
    ".webm",
    ".avi",
    ".wmv",
    ".mpg",
    ".mpeg",
    ".ts",
    ".mts",
    ".3gp",
    ".flv",
)
"""Suffixes of common video files, in lower case."""
_BYTES = (bytes, bytearray, memoryview)
_FORMS = (str, os.PathLike, *_BYTES, Image.Image)


def read(
    picture: Picture,
    name: str | None = None,
    formats: tuple[str, ...] | None = None,
    max_pixels: int | None = None,
    raised_by: str = "raise max_pixels to",
) -> NDArray[np.uint8]:
    """Reads a picture. Gray, CMYK and palette images become RGB; see `mien.pixels.read` for all conversions.

    Args:
        picture: The picture. A file object is read from its beginning if it can be, and stays open. An array must be
            (H, W) or (H, W, 1) gray, (H, W, 3) RGB or (H, W, 4) RGBA; of type uint8 with values 0..255, uint16 with
            values 0..65535, or float with values 0..1.
        name: What error messages call the picture; None uses its path.
        formats: Pillow's names of the accepted file formats; None accepts those of `mien.pixels.FORMATS`.
        max_pixels: The largest accepted number of pixels of a file; None is the default of `mien.pixels.read`.
        raised_by: What raises `max_pixels`, for error messages; it is followed by a number.

    Returns:
        (H, W, 3), values 0..255.

    Raises:
        ImageError: The file is not a picture, is damaged, or is too large to decode safely; the array has another
            shape, type or range; or the value is no picture at all.
    """
    if isinstance(picture, np.ndarray):
        return _from_array(picture)
    if not isinstance(picture, _FORMS) and not hasattr(picture, "read"):
        raise ImageError(
            "a picture must be a path, the bytes of a file, a binary file object, a Pillow image or an array, got "
            f"{type(picture).__name__}"
        )
    try:
        return pixels.to_array(pixels.read(_source(picture), formats, max_pixels, raised_by), "RGB")
    except ImageError as error:
        hint = "; if it is a video, use mien video" if _is_video_name(picture) else ""
        raise ImageError(f"{name or _name(picture)} cannot be read as a picture: {error}{hint}") from None


def to_gray(image_rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Converts an image (H, W, 3) to gray (H, W), with the luma weights of ITU-R BT.601 as Pillow applies them."""
    gray = np.empty(image_rgb.shape[:2], np.uint8)
    rows = max(1, (1 << 20) // max(1, image_rgb.shape[1]))  # in bands, for Pillow's RGB image is larger than the array
    for top in range(0, len(gray), rows):
        gray[top : top + rows] = np.asarray(Image.fromarray(image_rgb[top : top + rows]).convert("L"))
    return gray


def _source(picture: Any) -> str | BinaryIO | Image.Image:
    """Returns a picture in a form that `mien.pixels.read` takes."""
    if isinstance(picture, str) and DATA_URI.match(picture):
        return io.BytesIO(decode_text(picture, "it"))
    if isinstance(picture, Image.Image):
        return picture
    if isinstance(picture, str | os.PathLike):
        path = os.fsdecode(picture)
        if is_special(path):
            raise ImageError("it is a pipe, a device or a socket; give a file, or - for standard input")
        return path
    if isinstance(picture, _BYTES):
        return io.BytesIO(bytes(picture))
    return io.BytesIO(_content(picture))


def _content(file: Any) -> bytes:
    """Reads a file object, from its beginning if it can go back."""
    try:
        if hasattr(file, "seekable") and file.seekable():
            file.seek(0)
        content = file.read()
    except (OSError, ValueError) as error:  # ValueError: it is closed, or its text is not UTF-8
        raise ImageError(error_text(error)) from None
    if not isinstance(content, _BYTES):
        raise ImageError(f"it gives {type(content).__name__} instead of bytes; open the file with mode 'rb'")
    return bytes(content)


def _name(picture: Any) -> str:
    """Returns what messages call a picture, with at most 80 characters of its path."""
    if isinstance(picture, Image.Image):
        return f"the Pillow image {shortened_path(getattr(picture, 'filename', ''))}".rstrip()
    if isinstance(picture, str) and DATA_URI.match(picture):
        return "the data URI"
    if isinstance(picture, str | os.PathLike):
        return shortened_path(os.fsdecode(picture))
    if isinstance(picture, _BYTES):
        return "the picture given as bytes"
    name = getattr(picture, "name", None)
    return f"the file object {shortened_path(name) if isinstance(name, str) else ''}".rstrip()


def path_of(picture: Any) -> str:
    """Returns the path of a picture that is given by its path, as files of results hold it, or else an empty text."""
    is_path = isinstance(picture, str | os.PathLike) and not (isinstance(picture, str) and DATA_URI.match(picture))
    return printable(os.fsdecode(picture)) if is_path else ""


def _is_video_name(picture: object) -> bool:
    """Returns whether a picture is a file whose suffix is that of videos."""
    return isinstance(picture, str | os.PathLike) and os.fsdecode(picture).lower().endswith(VIDEO_SUFFIXES)


def _from_array(array: NDArray[Any]) -> NDArray[np.uint8]:
    """Converts an array to (H, W, 3) RGB, as `mien.pixels.read` converts a file with the same content."""
    channels = array.shape[2] if array.ndim == 3 else 1
    known_type = array.dtype in (np.uint8, np.uint16) or np.issubdtype(array.dtype, np.floating)
    if array.ndim not in (2, 3) or channels not in (1, 3, 4) or not known_type or array.size == 0:
        raise ImageError(
            "an array must be (H, W) gray, (H, W, 3) RGB or (H, W, 4) RGBA of type uint8, uint16 or float, got "
            f"{array.shape} of {array.dtype}"
        )
    if array.dtype == np.uint16:
        array = np.round(array / 257)
    elif array.dtype != np.uint8:
        low, high = float(array.min()), float(array.max())
        if not 0 <= low <= high <= 1:  # this form also rejects nan
            raise ImageError(
                f"an array of floats must have values 0..1, got {low:g}..{high:g}; convert 0..255 to uint8"
            )
        array = np.round(array * 255)
    array = array.astype(np.uint8, copy=False)
    if channels == 4:
        array = np.asarray(pixels.read(Image.fromarray(np.ascontiguousarray(array), "RGBA")))
    elif channels == 1:
        array = np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=2)
    return np.ascontiguousarray(array)


if not TYPE_CHECKING:
    __getattr__ = moved_names(__name__, {"gray": "mien.recognition.photo.to_gray"})
