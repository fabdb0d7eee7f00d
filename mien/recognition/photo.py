"""Pictures of any kind as upright 8-bit RGB."""

from __future__ import annotations

import io
import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from mien.errors import ImageError

Picture = str | Path | bytes | Image.Image | NDArray[np.uint8]
"""A path, a file's bytes, a Pillow image, or an RGB or gray array."""


def read(picture: Picture) -> NDArray[np.uint8]:
    """Reads a picture.

    EXIF rotation is applied, transparent parts are laid on white, 16-bit and float values are brought to 8 bit, CMYK
    and palettes become RGB, and of an animation the first frame is taken.

    Args:
        picture: See `Picture`. An array is (H, W, 3) RGB or (H, W) gray, values 0..255.

    Returns:
        (H, W, 3), values 0..255.

    Raises:
        ImageError: It is no picture, is cut off, or has more pixels than Pillow deems safe to unpack.
    """
    if isinstance(picture, np.ndarray):
        return _from_array(picture)
    if isinstance(picture, Image.Image):
        return _from_pillow(picture)
    name = "the bytes given" if isinstance(picture, bytes) else str(picture)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # large is fine, huge is an error
            with Image.open(io.BytesIO(picture) if isinstance(picture, bytes) else picture) as image:
                return _from_pillow(image)
    except UnidentifiedImageError:
        raise ImageError(
            f"{name} is not a picture: expected JPEG, PNG, WebP or another format that Pillow reads"
        ) from None
    except Image.DecompressionBombError as error:
        raise ImageError(f"{name} is too large to unpack safely: {error}; make it smaller first") from None
    except IsADirectoryError:
        raise ImageError(f"{name} is a folder: name the pictures in it") from None
    except FileNotFoundError:
        raise ImageError(f"there is no picture {name}") from None
    except (OSError, SyntaxError, ValueError, EOFError) as error:  # what Pillow's decoders raise on damaged files
        raise ImageError(f"{name} is damaged or cannot be read: {error}") from None


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


def _from_pillow(image: Image.Image) -> NDArray[np.uint8]:
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I") or image.mode == "F":
        return _from_array(_to_8_bit(np.asarray(image)))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.array(image.convert("RGB"))


def _to_8_bit(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Gray values of more than 8 bit, or floats, to 0..255: Pillow's own conversion would cut them off at 255."""
    floats = values.astype(np.float64)
    high = floats.max()
    scale = 255 if high <= 1 and values.dtype.kind == "f" else 1 if high <= 255 else 255 / 65535
    return np.clip(np.rint(floats * scale), 0, 255).astype(np.uint8)
