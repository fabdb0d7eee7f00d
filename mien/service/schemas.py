"""Schemas of the answers, an example, and the request body, for the service's OpenAPI document.

The class names are the schema names in that document. Programs of users depend on them.
"""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from mien.service.worker import FORMATS


class _Schema(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Face(_Schema):
    """One face; lengths are in pixels of the upright picture."""

    box: tuple[float, float, float, float] = Field(description="x0, y0, x1, y1; may reach beyond the picture's edge")
    score: float = Field(
        ge=0, le=1, description="how probable it is that this is a face; below 0.5, the expression is uncertain"
    )
    expression: str = Field(description="the most probable class")
    confidence: float = Field(ge=0, le=1, description="the probability of that class")
    uncertain: bool = Field(description="whether the confidence is too low to rely on")
    probabilities: dict[str, float] = Field(description="class -> probability")
    landmarks: dict[str, tuple[float, float]] = Field(
        description="x, y by name; right and left are the person's own; empty for some detectors"
    )


class Recognized(_Schema):
    """A picture and its faces, from left to right."""

    name: str
    width: int
    height: int
    faces: list[Face]


class Unreadable(_Schema):
    """One of several pictures that could not be read."""

    name: str
    error: str


class Answer(_Schema):
    """The recognised pictures of one request, in the order sent."""

    model: str
    pictures: list[Recognized | Unreadable]


class Refused(_Schema):
    """The reason for an error, in one sentence."""

    error: str


class Model(_Schema):
    """A model that a browser may fetch, and the settings it needs to run it."""

    name: str
    network: str
    classes: list[str]
    colours: dict[str, str] = Field(description="class -> #rrggbb")
    preprocessing: dict[str, float]
    calibration: dict[str, float]
    file: str = Field(description="path of the ONNX file on this service")
    sha256: str = Field(description="of the ONNX file; with ?sha256=... added, its path may be cached for ever")
    bytes: int = Field(description="size of the ONNX file")


class DetectorFile(_Schema):
    """A file of the face detector."""

    file: str = Field(description="path of the ONNX file on this service")
    sha256: str = Field(description="of the ONNX file")
    bytes: int = Field(description="size of the ONNX file")


class Models(_Schema):
    """The available models, and the name of the one that /v1/recognize uses."""

    default: str
    models: list[Model]
    detector: list[DetectorFile]


class State(_Schema):
    """The state of the service."""

    status: str
    device: str = Field("", description="what runs the networks of a service that is ready, such as cpu")


ASTRONAUT: dict[str, Any] = {
    "name": "astronaut.jpg",
    "width": 512,
    "height": 512,
    "faces": [
        {
            "box": [169.78, 65.38, 277.9, 173.5],
            "score": 0.9871,
            "expression": "happy",
            "confidence": 0.962755,
            "uncertain": False,
            "probabilities": {
                "angry": 0.002073,
                "disgust": 0.001201,
                "fear": 0.00323,
                "happy": 0.962755,
                "sad": 0.002073,
                "surprise": 0.006842,
                "neutral": 0.021824,
            },
            "landmarks": {
                "right_eye": [200.7, 103.53],
                "left_eye": [245.94, 104.3],
                "nose": [221.28, 124.69],
                "mouth_right": [202.29, 142.61],
                "mouth_left": [241.04, 143.31],
            },
        }
    ],
}
"""The answer of the shipped network for examples/astronaut.jpg."""

EXAMPLE: dict[str, Any] = {
    "model": "small",
    "pictures": [
        ASTRONAUT,
        {
            "name": "notes.jpg",
            "error": "notes.jpg cannot be read as a picture: it is empty, or its format is not one of "
            f"{', '.join(FORMATS)}",
        },
    ],
}
"""An answer to two files, the second of which is not a picture."""

ERRORS = {
    400: "The body is not the form or the JSON that its media type announces.",
    401: "The token is missing or wrong.",
    413: "The size of the request or its number of pictures is over a limit.",
    415: "The media type is neither multipart/form-data nor application/json.",
    422: "There is no picture, or the only picture cannot be read.",
    500: "The service failed at this request; the error has the request id under which its log has the details.",
    503: "Too many pictures are waiting, or the service is shutting down; Retry-After says when to try again.",
    504: "The request exceeded its time limit.",
}
"""Error status of /v1/recognize -> reason."""

REQUEST_BODY: dict[str, Any] = {
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
                "properties": {
                    "pictures": {"type": "array", "items": {"type": "string", "format": "byte", "minLength": 1}}
                },
            },
            "example": {
                "pictures": [
                    "iVBORw0KGgoAAAANSUhEUgAAABAAAAAQCAAAAAA6mKC9AAAAEUlEQVR42mNsYEAFTAwjWgAAmZAAoFDIQrAAAAAASUVORK5CYII="
                ]
            },
        },
    },
}
"""The request body of /v1/recognize; the example is a gray picture of 16 x 16 pixels."""
