"""HEIC and HEIF photographs, as iPhones write them, through the package pi-heif."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from mien.errors import ImageError, MissingExtraError, require

FORMAT = "HEIF"
"""Pillow's name of the format."""
_HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs")
_ANY_CODEC_BRANDS = (b"mif1", b"msf1", b"mif2")
"""Brands that name the container alone; Pillow itself reads such a file if its pictures are AVIF."""
_HEADER_BYTES = 64


def is_heif(source: str | Path | BinaryIO) -> bool:
    """Returns whether a file begins like a HEIC or HEIF photograph that is not AVIF.

    Raises:
        OSError: The file cannot be read.
    """
    if isinstance(source, str | Path):
        with Path(source).open("rb") as file:
            header = file.read(_HEADER_BYTES)
    else:
        header = source.read(_HEADER_BYTES)
        source.seek(0)
    brand, others = header[8:12], header[16 : int.from_bytes(header[:4], "big")]
    is_known = brand in _HEIC_BRANDS or (brand in _ANY_CODEC_BRANDS and b"avif" not in others)
    return header[4:8] == b"ftyp" and is_known


def register() -> None:
    """Teaches Pillow to read HEIC and HEIF.

    Raises:
        ImageError: pi-heif is not installed; the message says how to install it, and does not name the file.
    """
    try:
        require("pi_heif", "heic").register_heif_opener()
    except MissingExtraError as error:
        raise ImageError(f"it is a HEIC photograph, and {error}; or save it as JPEG") from None
