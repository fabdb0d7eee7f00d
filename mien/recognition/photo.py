"""Pictures of any kind as upright 8-bit RGB."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien import pixels
from mien.errors import ImageError

Picture = str | Path | bytes | Image.Image | NDArray[np.uint8]
"""A path, a file's bytes, a Pillow image, or an RGB or gray array."""


def read(picture: Picture) -> NDArray[np.uint8]:
    """Reads a picture as `mien.pixels.read` does; gray, CMYK and palettes become RGB.

    Args:
        picture: See `Picture`. An array is (H, W, 3) RGB or (H, W) gray, values 0..255.

    Returns:
        (H, W, 3), values 0..255.

    Raises:
        ImageError: It is no picture, a damaged one, or one too large to unpack safely; the sentence names it.
    """
    if isinstance(picture, np.ndarray):
        return _from_array(picture)
    name = str(picture)
    if isinstance(picture, bytes):
        name = "the picture given as bytes"
    elif isinstance(picture, Image.Image):
        name = f"the Pillow image {getattr(picture, 'filename', '')}".rstrip()
    try:
        return np.array(pixels.read(io.BytesIO(picture) if isinstance(picture, bytes) else picture).convert("RGB"))
    except ImageError as error:
        raise ImageError(f"{name} cannot be read as a picture: {error}") from None


def gray(image_rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(H, W, 3) -> (H, W), by the luma weights of ITU-R 601, as Pillow has them."""
    return np.asarray(Image.fromarray(image_rgb).convert("L"))


def _from_array(array: NDArray[np.uint8]) -> NDArray[np.uint8]:
    rgb = array.ndim == 3 and array.shape[2] == 3
    if array.dtype != np.uint8 or not (rgb or array.ndim == 2) or array.size == 0:
        raise ImageError(
            f"an array must be (H, W, 3) RGB or (H, W) gray of uint8 values, got {array.shape} of {array.dtype}"
        )
    return np.ascontiguousarray(array) if rgb else np.repeat(array[:, :, None], 3, axis=2)
