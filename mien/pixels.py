"""Reads any picture as upright 8-bit pixels, for training and recognition alike; and writes marked PNG files."""

from __future__ import annotations

import os
import re
import stat
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, PngImagePlugin, UnidentifiedImageError
from PIL.JpegImagePlugin import JpegImageFile

from mien import heif
from mien.errors import ImageError, error_text, shortened
from mien.files import MARK, replaced

FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF", "HEIF", "JPEG2000", "PPM", "TGA")
"""Pillow's names of the formats that are opened; HEIF needs a plugin. Pillow knows 30 more. They are not photographs,
and some are read by other programs: Ghostscript would run the PostScript in a file called photo.jpg."""
MAX_PIXELS = 110_000_000
"""Most pixels (width times height) of a picture, unless the environment variable MIEN_MAX_PIXELS says otherwise; with
8 bytes for each, a picture takes less than a gigabyte. The largest photographs of current phones but few have 108
million."""
MAX_SIDE = 65_535
"""Longest side, pixels; that of the largest JPEG."""
MAX_FILE_BYTES = 512 << 20
"""Largest file, bytes: some decoders read it into memory whole."""
COSTLY_FORMATS = {"progressive JPEG": 2, "TIFF": 2, "WEBP": 3, "AVIF": 3, "HEIF": 3, "JPEG2000": 4}
"""Format whose decoder is slow or holds the picture in memory several times -> divisor of MAX_PIXELS."""
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
MAX_SCANNED_PIXELS = 2_000_000_000
"""Most pixels of a JPEG times its scans; each scan takes a pass over all pixels."""
_BAND_PIXELS = 1 << 20
"""Pixels that are converted at once: a conversion of all of them would hold each in memory several times."""
_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")  # 00 and D0 to D7 are part of the compressed data


def read(
    source: str | Path | BinaryIO | Image.Image,
    formats: tuple[str, ...] | None = None,
    max_pixels: int | None = None,
    raised_by: str = "raise max_pixels to",
) -> Image.Image:
    """Reads a picture.

    Turns it upright by its EXIF orientation, scales 16-bit values to 8 bits, replaces transparency by white, and reads
    the first frame of an animation. All limits are checked before its pixels are decompressed.

    Args:
        source: A file, or an image opened with Pillow.
        formats: Pillow's names of the allowed formats, of FORMATS; None allows all of these.
        max_pixels: Most pixels (width times height); None is the environment variable MIEN_MAX_PIXELS, or else
            MAX_PIXELS. Both are divided for COSTLY_FORMATS.
        raised_by: What raises `max_pixels`, for error messages; it is followed by a number.

    Returns:
        An image of mode L if the picture is gray, or else of mode RGB.

    Raises:
        ImageError: The file is not a picture, is damaged, or is too large or slow to decode safely. The message says
            why and does not name the file.
    """
    limit = _pixel_limit(max_pixels)
    raised_by = raised_by if max_pixels else "set the environment variable MIEN_MAX_PIXELS to"
    try:
        if isinstance(source, Image.Image):
            with _no_pillow_warnings():
                return _decode(source, limit, raised_by, shared=True)
        if not hasattr(source, "read"):
            _check_file(source)
        if heif.FORMAT in (formats or FORMATS) and heif.is_heif(source):
            heif.register()
        with _no_pillow_warnings(), Image.open(source, formats=_available(formats)) as image:
            return _decode(image, limit, raised_by)
    except ImageError:
        raise
    except UnidentifiedImageError:
        raise ImageError(f"it is empty, or its format is not one of {', '.join(_available(formats))}") from None
    except FileNotFoundError:
        raise ImageError("there is no such file; check the path") from None
    except IsADirectoryError:
        raise ImageError("it is a folder; name the pictures in it") from None
    except Image.DecompressionBombError as error:
        pixels = int(re.search(r"\d+", str(error))[0])  # type: ignore[index]  # Image size (196000000 pixels) exceeds
        raise _size_error(f"{pixels:,} pixels", f"{limit:,} are allowed", pixels, raised_by) from None
    except MemoryError:
        raise ImageError("there is not enough memory to decode it; make it smaller") from None
    # Pillow's parsers raise many kinds of errors, whose only common parent is Exception.
    except Exception as error:
        raise ImageError(error_text(error)) from None


def to_array(image: Image.Image, mode: str) -> NDArray[np.uint8]:
    """Converts what `read` returned to an array, in bands, so that few copies of the pixels are in memory at once.

    Args:
        image: An image of mode L or RGB.
        mode: L or RGB.

    Returns:
        (H, W) for L, (H, W, 3) for RGB, values 0..255.
    """
    if image.width * image.height <= _BAND_PIXELS:
        return np.array(image.convert(mode))
    array = np.empty((image.height, image.width, *([3] if mode == "RGB" else [])), np.uint8)
    for top, bottom in _bands(image):
        array[top:bottom] = np.asarray(image.crop((0, top, image.width, bottom)).convert(mode))
    return array


def save_png(image: Image.Image, path: Path) -> None:
    """Writes an image as a PNG file with mien's mark, either completely or not at all.

    Raises:
        OSError: The folder is not writable.
    """
    text = PngImagePlugin.PngInfo()
    text.add_text("Software", MARK)
    with replaced(path) as part:
        image.save(part, "PNG", pnginfo=text)


def _pixel_limit(max_pixels: int | None) -> int:
    """Returns the most pixels of a picture; see `read`."""
    pillow_limit = 2 * (Image.MAX_IMAGE_PIXELS or 1 << 62)
    text = os.environ.get("MIEN_MAX_PIXELS", "")
    if not (max_pixels or text):
        return min(MAX_PIXELS, pillow_limit)
    if not max_pixels and not (text.isascii() and text.isdecimal() and len(text) < 13 and int(text)):
        raise ImageError(
            f"the environment variable MIEN_MAX_PIXELS must be a whole number above 0, got {shortened(text)}"
        )
    limit = max_pixels or int(text)
    if limit > pillow_limit:  # asked for, so Pillow must not refuse it
        Image.MAX_IMAGE_PIXELS = limit
    return limit


def _size_error(size: str, allowed: str, needed: int, raised_by: str) -> ImageError:
    return ImageError(f"it has {size} and {allowed}; make it smaller, or {raised_by} {needed}")


def _available(formats: tuple[str, ...] | None) -> tuple[str, ...]:
    """Returns the allowed formats that are installed; HEIF is the only one that this Pillow may lack altogether."""
    return tuple(name for name in formats or FORMATS if name != "HEIF" or name in Image.OPEN)


def _check_file(path: object) -> None:
    """Checks that a path is a regular file of acceptable size, since Pillow would wait for a pipe for ever."""
    status = os.stat(path)  # type: ignore[arg-type]
    if not stat.S_ISREG(status.st_mode):
        if stat.S_ISDIR(status.st_mode):
            raise IsADirectoryError
        raise ImageError("it is a pipe or a device; expected a file")
    if status.st_size > MAX_FILE_BYTES:
        raise ImageError(f"it has {status.st_size:,} bytes and {MAX_FILE_BYTES:,} are allowed; save it as a JPEG")


def _decode(image: Image.Image, limit: int, raised_by: str, shared: bool = False) -> Image.Image:
    """Checks the size of an opened picture and decodes it.

    Args:
        image: The picture.
        limit: Most pixels, before the division for COSTLY_FORMATS.
        raised_by: What raises the limit, for error messages.
        shared: Whether the image belongs to the caller, and must not be returned itself.
    """
    kind = "progressive JPEG" if image.info.get("progressive") else image.format or ""
    cost = COSTLY_FORMATS.get(kind, 1)
    width, height = image.size
    if max(width, height) > MAX_SIDE:
        raise ImageError(
            f"its longer side has {max(width, height):,} pixels and {MAX_SIDE:,} are allowed; scale it down"
        )
    if width * height * cost > limit:
        allowed = f"{limit // cost:,} are allowed" + (f" in a {kind} file" if cost > 1 else "")
        raise _size_error(f"{width} x {height} pixels", allowed, width * height * cost, raised_by)
    if isinstance(image, JpegImageFile):
        _check_scan_count(image)
    decoded = _to_eight_bits(_to_upright(image))
    return decoded.copy() if shared and decoded is image else decoded


def _bands(image: Image.Image) -> Iterator[tuple[int, int]]:
    """Yields the top and the bottom row of each band."""
    rows = max(1, _BAND_PIXELS // image.width)
    for top in range(0, image.height, rows):
        yield top, min(top + rows, image.height)


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
    allowed = min(MAX_SCANS, MAX_SCANNED_PIXELS // (image.width * image.height))
    if scans > max(allowed, 1):
        raise ImageError(f"it has {scans:,} scans and {allowed} are allowed; save it again as a plain JPEG")


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
    if image.mode in ("L", "RGB") and not image.has_transparency_data:
        return image
    mode = "L" if image.mode == "1" or image.mode.startswith("I") else "RGB"
    if image.width * image.height <= _BAND_PIXELS:
        return _band_to_eight_bits(image, mode)
    converted = Image.new(mode, image.size)
    for top, bottom in _bands(image):
        band = image.crop((0, top, image.width, bottom))
        band.info = image.info  # holds the transparency
        converted.paste(_band_to_eight_bits(band, mode), (0, top))
    return converted


def _band_to_eight_bits(image: Image.Image, mode: str) -> Image.Image:
    if image.mode.startswith("I"):  # Pillow's conversion would clip these values at 255
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise ImageError(f"its pixels must be 0..65535, got {values.min()}..{values.max()}; save it with 16 bits")
        return Image.fromarray(np.round(values / 257).astype(np.uint8))
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image.convert(mode)
