"""A picture of any kind as upright 8-bit pixels: training and recognition read pictures alike."""

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
"""What brings a picture of that EXIF orientation upright."""
SCANS = 100
"""Most passes over a JPEG's pixels, as libtiff allows them too; a progressive one has about 10."""
_MARKER = re.compile(rb"\xff([^\x00\xff\xd0-\xd7])")  # 0 and D0 to D7 are part of compressed values


def read(
    source: str | Path | BinaryIO | Image.Image, formats: tuple[str, ...] | None = None, most_pixels: int | None = None
) -> Image.Image:
    """Reads a picture.

    It is turned upright as its EXIF says; 16-bit values are scaled to 8 bits, what is transparent becomes white, and
    of an animation the first frame is taken.

    Args:
        source: A file, or a picture that Pillow has opened.
        formats: Pillow's names of those that a file may have; None takes all.
        most_pixels: Width times height, looked at before a picture is unpacked; None takes what Pillow holds for safe.

    Returns:
        A picture of mode L where it is gray, else of mode RGB.

    Raises:
        ImageError: It is no picture, a damaged one, or one too large or slow to unpack safely; the text says why and
            leaves the name to the caller.
    """
    try:
        with _quiet_pillow(), _opened(source, formats) as opened:
            if most_pixels and opened.width * opened.height > most_pixels:
                raise ImageError(f"it has {opened.width} x {opened.height} pixels and {most_pixels:,} are allowed")
            if isinstance(opened, JpegImageFile):
                _check_scan_count(opened)
            return _eight_bits(_upright(opened))
    except ImageError:
        raise
    except UnidentifiedImageError:
        known = ", ".join(formats) if formats else "the formats that Pillow reads, such as JPEG and PNG"
        raise ImageError(f"it is empty or in none of {known}") from None
    except FileNotFoundError:
        raise ImageError("there is no such file; check the path") from None
    except IsADirectoryError:
        raise ImageError("it is a folder; name the pictures in it") from None
    except Image.DecompressionBombError:
        safe = 2 * (Image.MAX_IMAGE_PIXELS or 0)
        allowed = min(most_pixels or safe, safe)
        raise ImageError(f"it has more than the {allowed:,} pixels allowed; make it smaller") from None
    # Pillow's readers let the errors of their own parsing through, which have no common parent but this one.
    except Exception as error:
        raise ImageError(error_text(error)) from None


def _opened(
    source: str | Path | BinaryIO | Image.Image, formats: tuple[str, ...] | None
) -> AbstractContextManager[Image.Image]:
    return nullcontext(source) if isinstance(source, Image.Image) else Image.open(source, formats=formats)


_quiet = ExitStack()
_quiet_lock, _quiet_readers = threading.Lock(), 0


@contextmanager
def _quiet_pillow() -> Iterator[None]:
    """Without Pillow's warnings of large pictures and odd metadata: only an error matters here.

    The filters of warnings belong to the whole process, so that threads that each put them back would leave it with
    another's: the first reader changes them and the last one puts them back.
    """
    global _quiet_readers
    with _quiet_lock:
        if not _quiet_readers:
            _quiet.enter_context(warnings.catch_warnings())
            warnings.filterwarnings("ignore", module="PIL")
        _quiet_readers += 1
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_readers -= 1
            if not _quiet_readers:
                _quiet.close()


def _check_scan_count(picture: JpegImageFile) -> None:
    """A scan of a few bytes that changes nothing costs a pass over all pixels: a small file could take hours."""
    if picture.fp is None:  # it is unpacked already
        return
    place = picture.fp.tell()
    picture.fp.seek(0)
    scans = _scans(picture.fp.read())
    picture.fp.seek(place)
    if scans > SCANS:
        raise ImageError(f"it has {scans:,} scans and {SCANS} are allowed; save it anew")


def _scans(jpeg: bytes) -> int:
    """How many scans a JPEG has; those of a preview in its metadata and of what lies behind its end do not count."""
    place = scans = 0
    while found := _MARKER.search(jpeg, place):
        place = found.end()
        if found[1] == b"\xd9":  # its end
            break
        if found[1] not in (b"\xd8", b"\x01"):  # all others begin with their length
            place += int.from_bytes(jpeg[place : place + 2], "big")
        scans += found[1] == b"\xda"
    return scans


def _upright(picture: Image.Image) -> Image.Image:
    picture.load()  # first, for Pillow turns a TIFF by itself then
    try:
        orientation = picture.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # damaged EXIF, of which Pillow's errors have no common parent; the pixels are whole
        orientation = None
    # Pillow's own exif_transpose writes all of the EXIF anew and fails where one entry is odd.
    return picture.transpose(TURNS[orientation]) if orientation in TURNS else picture


def _eight_bits(picture: Image.Image) -> Image.Image:
    if picture.mode == "F":
        raise ImageError("its pixels are fractions of no known range; save it with 8 or 16 bits")
    if picture.mode.startswith("I"):  # Pillow's own conversion would cut these values at 255
        values = np.asarray(picture)
        if values.min() < 0 or values.max() > 65535:
            raise ImageError(f"its pixels must be 0..65535, got {values.min()}..{values.max()}; save it with 16 bits")
        return Image.fromarray(np.round(values / 257).astype(np.uint8))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        picture = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture)
    return picture.convert("L" if picture.mode in ("1", "L") else "RGB")
