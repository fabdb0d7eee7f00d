"""Decodes pictures that are given as text: base64 in all common forms, and data URIs."""

from __future__ import annotations

import base64
import binascii
import re
from urllib.parse import unquote_to_bytes

from mien.errors import ImageError

DATA_URI = re.compile(r"\s*data:([^,]*),", re.IGNORECASE)
"""The beginning of a data URI (RFC 2397), up to its comma."""
_WHITESPACE = b" \t\r\n\f\v"
_STANDARD_ALPHABET = bytes.maketrans(b"-_", b"+/")
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]")


def decode_text(text: str | bytes, name: str = "the text") -> bytes:
    """Decodes base64 or a data URI.

    Base64 may use the standard or the URL-safe alphabet, may lack its padding, and may be broken into lines (RFC 4648,
    RFC 2045). A data URI may have any media type and parameters, and its data may be base64 or percent-encoded.

    Args:
        text: The text.
        name: What error messages call the text; they do not repeat its content.

    Raises:
        ImageError: The text is empty, or is neither base64 nor a data URI.
    """
    if isinstance(text, str):
        text = text.encode("utf-8", "surrogatepass")
    header = DATA_URI.match(text[:1000].decode("latin-1"))
    if header:
        text = text[header.end() :]
        if b"%" in text:
            text = unquote_to_bytes(text)
        if not re.search(r";\s*base64\s*$", header[1], re.IGNORECASE):
            return _not_empty(text, name)
    packed = text.translate(_STANDARD_ALPHABET, _WHITESPACE).rstrip(b"=")
    if wrong := _NOT_BASE64.search(packed):
        raise ImageError(
            f"{name} is not base64: expected letters, digits, + and /, or - and _, got "
            f"{_visible(wrong[0])} in place {wrong.start() + 1}"
        )
    try:
        return _not_empty(base64.b64decode(packed + b"=" * (-len(packed) % 4)), name)
    except binascii.Error:  # a single character is left over
        raise ImageError(f"{name} is not base64: its last characters are missing; send it whole") from None


def _not_empty(encoded: bytes, name: str) -> bytes:
    if not encoded:
        raise ImageError(f"{name} is empty; expected a picture as base64")
    return encoded


def _visible(character: bytes) -> str:
    text = character.decode("latin-1")
    return text if text.isascii() and text.isprintable() else f"\\x{character[0]:02x}"
