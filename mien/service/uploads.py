"""Reads the pictures of a request from a form or from JSON, within the limits."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Callable

import anyio
from fastapi import HTTPException, Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from mien.errors import ImageError, shortened
from mien.recognition.data_uri import decode_text
from mien.service.settings import Limits
from mien.service.worker import Picture

MAX_JSON_VALUES = 10_000
"""Maximum number of values in a JSON body. A parsed value takes some hundred bytes of memory, a small one takes only a
few bytes of the body, so that the limit on the body's size alone would not protect the memory."""


async def read_pictures(request: Request, limits: Limits, hold: Callable[[int], None]) -> list[Picture]:
    """Reads the pictures of a request.

    Args:
        request: The request.
        limits: Limits on what callers may send.
        hold: Called with the size of each piece of the body that is kept; see `ServiceState.accept_request`.

    Raises:
        HTTPException: The body has an unknown media type, is damaged, holds no picture, or is over a limit.
    """
    body = _read_body(request, limits.request_bytes, hold)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "multipart/form-data":
        pictures = await _read_form(request, body)
    elif media_type == "application/json":
        encoded = b"".join([chunk async for chunk in body])
        pictures = await anyio.to_thread.run_sync(_read_json, encoded, limits.pictures)
    else:
        raise HTTPException(
            415, f"expected multipart/form-data or application/json, got {shortened(media_type) or 'no media type'}"
        )
    if not pictures:
        raise HTTPException(422, "expected one or more files named pictures, got none")
    _check_picture_count(len(pictures), limits.pictures)
    return pictures


def check_byte_count(count: int, limit: int, what: str, option: str) -> None:
    """Checks the size of a request or a frame; `option` of `mien serve` raises the limit.

    Raises:
        HTTPException: It is over the limit.
    """
    if count > limit:
        raise HTTPException(
            413,
            f"{what} may have {limit:,} bytes, got {count:,} or more; send less, or start mien serve with a larger "
            f"{option}",
            {"Connection": "close"},
        )


def _check_picture_count(count: int, limit: int) -> None:
    if count > limit:
        raise HTTPException(413, f"a request may have {limit} pictures, got {count}; send several requests")


async def _read_body(request: Request, limit: int, hold: Callable[[int], None]) -> AsyncGenerator[bytes, None]:
    """Yields the chunks of the body and stops with an error at the limit."""
    declared = request.headers.get("content-length", "")
    check_byte_count(int(declared) if declared.isdecimal() else 0, limit, "a request", "--max-bytes")
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        check_byte_count(received, limit, "a request", "--max-bytes")
        hold(len(chunk))
        yield chunk


class _InMemoryFormParser(MultiPartParser):
    """A form parser that never writes pictures to the disk."""

    spool_max_size = 2**62


async def _read_form(request: Request, body: AsyncGenerator[bytes, None]) -> list[Picture]:
    try:
        form = await _InMemoryFormParser(request.headers, body).parse()
    except MultiPartException as error:
        raise HTTPException(400, f"the form cannot be read: {error.message}") from None
    pictures = []
    for number, file in enumerate(form.getlist("pictures"), start=1):
        if not isinstance(file, UploadFile):
            raise HTTPException(422, "each field named pictures must be a file, got text; give it a file name")
        # The charset of a form can produce lone surrogates, which cannot be encoded in the answer.
        name = (file.filename or f"picture {number}").encode("utf-8", "replace").decode()
        pictures.append(Picture(name, await file.read()))
    return pictures


def _read_json(encoded: bytes, max_pictures: int) -> list[Picture]:
    other_form = HTTPException(422, 'expected {"pictures": ["BASE64", ...]}, got JSON of another form')
    if sum(map(encoded.count, (b",", b"[", b"{"))) > MAX_JSON_VALUES:
        raise other_form
    try:
        value = json.loads(encoded)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"the body is not JSON: {error}") from None
    texts = value.get("pictures") if isinstance(value, dict) else None
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise other_form
    _check_picture_count(len(texts), max_pictures)
    return [_decode_base64(f"picture {number}", text) for number, text in enumerate(texts, start=1)]


def _decode_base64(name: str, text: str) -> Picture:
    try:
        return Picture(name, decode_text(text, name))
    except ImageError as error:
        raise HTTPException(422, str(error)) from None
