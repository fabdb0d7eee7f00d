"""Reads any picture as upright 8-bit pixels, for training and recognition alike."""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import ExifTags, Image, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from mien.errors import ImageError, error_text

TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""EXIF orientation -> operation that turns the picture upright."""
MAX_SCANS = 100
"""Most scans of a JPEG, the same limit as libtiff's; a progressive JPEG has about 10."""
_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")  # 00 and D0 to D7 are part of the compressed data


def read(
    source: str | Path | BinaryIO | Image.Image, formats: tuple[str, ...] | None = None, max_pixels: int | None = None
) -> Image.Image:
    """Reads a picture.

    Turns it upright by its EXIF orientation, scales 16-bit values to 8 bits, replaces transparency by white, and reads
    the first frame of an animation.

    Args:
        source: A file, or an image opened with Pillow.
        formats: Pillow's names of the allowed formats; None allows all.
        max_pixels: Most pixels (width times height), checked before decoding; None is Pillow's own limit.

    Returns:
        An image of mode L if the picture is gray, or else of mode RGB.

    Raises:
        ImageError: The file is not a picture, is damaged, or is too large or slow to decode safely. The message says
            why and does not name the file.
    """
    try:
        with _no_pillow_warnings(), _open(source, formats) as image:
            if max_pixels and image.width * image.height > max_pixels:
                raise ImageError(f"it has {image.width} x {image.height} pixels and {max_pixels:,} are allowed")
            if isinstance(image, JpegImageFile):
                _check_scan_count(image)
            return _to_eight_bits(_to_upright(image))
    except ImageError:
        raise
    except UnidentifiedImageError:
        known = ", ".join(formats) if formats else "those that Pillow reads, such as JPEG and PNG"
        raise ImageError(f"it is empty, or its format is not one of {known}") from None
    except FileNotFoundError:
        raise ImageError("there is no such file; check the path") from None
    except IsADirectoryError:
        raise ImageError("it is a folder; name the pictures in it") from None
    except Image.DecompressionBombError:
        pillow_limit = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        allowed = min(max_pixels or pillow_limit, pillow_limit)
        raise ImageError(f"it has more than the {allowed:,} pixels allowed; make it smaller") from None
    # Pillow's parsers raise many kinds of errors, whose only common parent is Exception.
    except Exception as error:
        raise ImageError(error_text(error)) from None


def _open(
    source: str | Path | BinaryIO | Image.Image, formats: tuple[str, ...] | None
) -> AbstractContextManager[Image.Image]:
    return nullcontext(source) if isinstance(source, Image.Image) else Image.open(source, formats=formats)


_filters = ExitStack()
_filters_lock, _readers = threading.Lock(), 0


@contextmanager
def _no_pillow_warnings() -> Iterator[None]:
    """Silences Pillow's warnings about large pictures and odd metadata.

    Warning filters belong to the whole process. If each thread restored the filters that it found, the last one could
    restore another thread's change. So the first reader changes the filters and the last one restores them.
    """
    global _readers
    with _filters_lock:
        if not _readers:
            _filters.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", module="PIL")
        _readers += 1
    try:
        yield
    finally:
        with _filters_lock:
            _readers -= 1
            if not _readers:
                _filters.close()


def _check_scan_count(image: JpegImageFile) -> None:
    """Rejects a JPEG with very many scans: each takes a pass over all pixels, so a small file could take hours."""
    if image.fp is None:  # already decoded
        return
    position = image.fp.tell()
    image.fp.seek(0)
    scans = _count_scans(image.fp.read())
    image.fp.seek(position)
    if scans > MAX_SCANS:
        raise ImageError(f"it has {scans:,} scans and {MAX_SCANS} are allowed; save it again as a plain JPEG")


def _count_scans(jpeg: bytes) -> int:
    """Counts the scans of a JPEG, without those of a preview in its metadata or of data after its end."""
    position = scans = 0
    while marker := _MARKER.search(jpeg, position):
        position = marker.end()
        if marker[1] == b"\xd9":  # end of image
            break
        if marker[1] not in (b"\xd8", b"\x01"):  # every other segment starts with its length
            position += int.from_bytes(jpeg[position : position + 2], "big")
        scans += marker[1] == b"\xda"
    return scans


def _to_upright(image: Image.Image) -> Image.Image:
    image.load()  # before reading the orientation: Pillow turns a TIFF by itself on loading
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # damaged EXIF raises errors without another common parent; the pixels are intact
        orientation = None
    # Pillow's exif_transpose rewrites the whole EXIF and fails on a single odd entry.
    return image.transpose(TURNS[orientation]) if orientation in TURNS else image


def _to_eight_bits(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ImageError("its pixels are fractions of unknown range; save it with 8 or 16 bits")
    if image.mode.startswith("I"):  # Pillow's conversion would clip these values at 255
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ImageError(f"its pixels must be 0..65535, got {values.min()}..{values.max()}; save it with 16 bits")
        return Image.fromarray(np.round(values / 257).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert("L" if image.mode in ("1", "L") else "RGB")
