"""What the service is sent and what it answers: requests are read, answers described for its OpenAPI."""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncGenerator
from typing import Any

import anyio
from fastapi import HTTPException, Request
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from mien.service.batching import FORMATS, Limits, Picture


class _Described(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Face(_Described):
    """One face; lengths are pixels of the upright picture."""

    box: tuple[float, float, float, float] = Field(description="x0, y0, x1, y1; it may reach over the picture's edge")
    score: float = Field(ge=0, le=1, description="how sure the detector is")
    expression: str = Field(description="the most probable one")
    confidence: float = Field(ge=0, le=1, description="its probability")
    uncertain: bool = Field(description="whether even that is too improbable to be relied on")
    probabilities: dict[str, float]
    landmarks: dict[str, tuple[float, float]] = Field(description="right and left are the person's own")


class Recognized(_Described):
    """A picture and its faces, from left to right."""

    name: str
    width: int
    height: int
    faces: list[Face]


class Unreadable(_Described):
    """A picture that could not be read, among others that could."""

    name: str
    error: str


class Answer(_Described):
    """What is recognised in the pictures of one request, in the order sent."""

    model: str
    pictures: list[Recognized | Unreadable]


class Refused(_Described):
    """Why there is no answer, in one sentence."""

    error: str


class Model(_Described):
    """A network that a browser may fetch, and all that it needs to use it."""

    name: str
    network: str
    classes: list[str]
    colours: dict[str, str] = Field(description="class -> #rrggbb")
    preprocessing: dict[str, float]
    calibration: dict[str, float]
    file: str = Field(description="where it is, below this service")


class Models(_Described):
    """The networks that there are, and the one that recognises for /v1/recognize."""

    default: str
    models: list[Model]


class State(_Described):
    """What the service says of itself."""

    status: str


ASTRONAUT: dict[str, Any] = {
    "name": "astronaut.jpg",
    "width": 512,
    "height": 512,
    "faces": [
        {
            "box": [167.64, 55.98, 285.18, 173.53],
            "score": 0.9381,
            "expression": "happy",
            "confidence": 0.961228,
            "uncertain": False,
            "probabilities": {
                "angry": 0.001686,
                "disgust": 0.001082,
                "fear": 0.002719,
                "happy": 0.961228,
                "sad": 0.001933,
                "surprise": 0.00638,
                "neutral": 0.024972,
            },
            "landmarks": {
                "right_eye": [204.92, 101.12],
                "left_eye": [247.78, 105.49],
                "nose": [222.86, 129.74],
                "mouth": [221.08, 147.27],
                "right_ear": [181.56, 104.99],
                "left_ear": [272.92, 114.35],
            },
        }
    ],
}
"""What the shipped network sees in examples/astronaut.jpg."""

EXAMPLE: dict[str, Any] = {
    "model": "small",
    "pictures": [
        ASTRONAUT,
        {
            "name": "notes.jpg",
            "error": f"notes.jpg cannot be read as a picture: it is empty or in none of {', '.join(FORMATS)}",
        },
    ],
}
"""An answer to two pictures, of which one is none."""

MOST_PARTS = 10_000
"""Values that JSON may have: each takes some hundred bytes of memory, many times what a small one takes of the body."""

REASONS = {
    400: "The body is not the form or the JSON that its media type says.",
    401: "The token is missing or wrong.",
    413: "The request or the number of its pictures is over a limit.",
    415: "The media type is neither multipart/form-data nor application/json.",
    422: "There is no picture, or the only one cannot be read.",
    503: "Too many pictures wait, or the service is shutting down; Retry-After says when to come back.",
    504: "It took longer than a request may.",
}
"""Why /v1/recognize may have no answer, by status."""

PICTURES_SENT: dict[str, Any] = {
    "required": True,
    "content": {
        "multipart/form-data": {
            "schema": {
                "type": "object",
                "required": ["pictures"],
                "properties": {"pictures": {"type": "array", "items": {"type": "string", "format": "binary"}}},
            }
        },
        "application/json": {
            "schema": {
                "type": "object",
                "required": ["pictures"],
                "properties": {"pictures": {"type": "array", "items": {"type": "string", "format": "byte"}}},
            },
            "example": {
                "pictures": [
                    "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAAAAAA6mKC9AAAAEUlEQVR42mNsYEAFTAwjWgAAmZAAoFDIQrAAAAAASUVORK5CYII="
                ]
            },
        },
    },
}
"""The body of a request for /v1/recognize; the example is a picture of 16 x 16 gray pixels."""


def check_byte_count(got: int, limit: int, what: str) -> None:
    """Refuses what is too large.

    Raises:
        HTTPException: It is.
    """
    if got > limit:
        raise HTTPException(413, f"{what} may have {limit:,} bytes, got {got:,} or more", {"Connection": "close"})


async def _body(request: Request, limit: int) -> AsyncGenerator[bytes, None]:
    """The body, piece by piece, as long as it is within the limit."""
    declared = request.headers.get("content-length", "")
    check_byte_count(int(declared) if declared.isdecimal() else 0, limit, "a request")
    came = 0
    async for chunk in request.stream():
        came += len(chunk)
        check_byte_count(came, limit, "a request")
        yield chunk


class _FormInMemory(MultiPartParser):
    """Never writes a picture to the disk."""

    spool_max_size = 2**62


async def pictures_of(request: Request, limits: Limits) -> list[Picture]:
    """The pictures of a request.

    Raises:
        HTTPException: They were sent otherwise than described, or are over a limit.
    """
    body = _body(request, limits.request_bytes)
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type == "multipart/form-data":
        pictures = await _from_form(request, body)
    elif media_type == "application/json":
        encoded = b"".join([chunk async for chunk in body])
        pictures = await anyio.to_thread.run_sync(_from_json, encoded, limits.pictures)
    else:
        raise HTTPException(
            415, f"expected multipart/form-data or application/json, got {media_type or 'no media type'}"
        )
    if not pictures:
        raise HTTPException(422, "expected one or more files named pictures, got none")
    _refuse_number(len(pictures), limits.pictures)
    return pictures


def _refuse_number(got: int, limit: int) -> None:
    if got > limit:
        raise HTTPException(413, f"a request may have {limit} pictures, got {got}")


async def _from_form(request: Request, body: AsyncGenerator[bytes, None]) -> list[Picture]:
    try:
        form = await _FormInMemory(request.headers, body).parse()
    except MultiPartException as error:
        raise HTTPException(400, f"the form cannot be read: {error.message}") from None
    pictures = []
    for number, sent in enumerate(form.getlist("pictures"), start=1):
        if not isinstance(sent, UploadFile):
            raise HTTPException(422, "each field named pictures must be a file, got text; give it a file name")
        # A form may name a charset that makes halves of characters, which no answer could hold.
        name = (sent.filename or f"picture {number}").encode("utf-8", "replace").decode()
        pictures.append(Picture(name, await sent.read()))
    return pictures


def _from_json(encoded: bytes, most: int) -> list[Picture]:
    other_form = HTTPException(422, 'expected {"pictures": ["BASE64", ...]}, got JSON of another form')
    if sum(map(encoded.count, (b",", b"[", b"{"))) > MOST_PARTS:
        raise other_form
    try:
        sent = json.loads(encoded)
    except (ValueError, RecursionError) as error:
        raise HTTPException(400, f"the body is not JSON: {error}") from None
    listed = sent.get("pictures") if isinstance(sent, dict) else None
    if not isinstance(listed, list) or not all(isinstance(each, str) for each in listed):
        raise other_form
    _refuse_number(len(listed), most)
    return [_from_base64(f"picture {number}", text) for number, text in enumerate(listed, start=1)]


def _from_base64(name: str, text: str) -> Picture:
    if text.startswith("data:"):
        text = text.partition(",")[2]
    try:
        return Picture(name, base64.b64decode(text, validate=True))
    except ValueError as error:
        raise HTTPException(422, f"{name} is not base64: {error}") from None
