"""Reads a person's picture, of any type, as an upright RGB array."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien import pixels
from mien.deprecation import moved_names
from mien.errors import ImageError

Picture = str | Path | bytes | Image.Image | NDArray[np.uint8]
"""A path, the bytes of a file, a Pillow image, or an RGB or gray array."""


def read(
    picture: Picture,
    name: str | None = None,
    formats: tuple[str, ...] | None = None,
    max_pixels: int | None = None,
) -> NDArray[np.uint8]:
    """Reads a picture. Gray, CMYK and palette images become RGB; see `mien.pixels.read` for all conversions.

    Args:
        picture: The picture. An array must be (H, W, 3) RGB or (H, W) gray, with values 0..255.
        name: What error messages call the picture; None uses its path.
        formats: Pillow's names of the accepted file formats; None accepts all.
        max_pixels: The largest accepted number of pixels of a file; None accepts what Pillow considers safe.

    Returns:
        (H, W, 3), values 0..255.

    Raises:
        ImageError: The file is not a picture, is damaged, or is too large to decode safely; or the array has another
            shape or type.
    """
    if isinstance(picture, np.ndarray):
        return _from_array(picture)
    source = io.BytesIO(picture) if isinstance(picture, bytes) else picture
    try:
        return np.array(pixels.read(source, formats, max_pixels).convert("RGB"))
    except ImageError as error:
        raise ImageError(f"{name or _name(picture)} cannot be read as a picture: {error}") from None


def to_gray(image_rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Converts an image (H, W, 3) to gray (H, W), with the luma weights of ITU-R BT.601 as Pillow applies them."""
    return np.asarray(Image.fromarray(image_rgb).convert("L"))


def _name(picture: str | Path | bytes | Image.Image) -> str:
    if isinstance(picture, bytes):
        return "the picture given as bytes"
    if isinstance(picture, Image.Image):
        return f"the Pillow image {getattr(picture, 'filename', '')}".rstrip()
    return str(picture)


def _from_array(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    is_rgb = array.ndim == 3 and array.shape[2] == 3
    if array.dtype != np.uint8 or not (is_rgb or array.ndim == 2) or array.size == 0:
        raise ImageError(
            f"an array must be (H, W, 3) RGB or (H, W) gray of type uint8, got {array.shape} of {array.dtype}"
        )
    return np.ascontiguousarray(array) if is_rgb else np.repeat(array[:, :, None], 3, axis=2)


if not TYPE_CHECKING:
    __getattr__ = moved_names(__name__, {"gray": "mien.recognition.photo.to_gray"})
