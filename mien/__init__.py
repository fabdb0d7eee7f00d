"""Recognises the expression on every face in photographs and videos.

    from mien import Recognizer
    for face in Recognizer()("photo.jpg"):
        print(face.expression.name, face.expression.confidence)

    from mien import VideoRecognizer
    for frame in VideoRecognizer()("video.mp4"):
        for face in frame.faces:
            print(frame.time_s, face.track, face.steady.name)

Importing mien is fast: each name is imported when it is first used, and nothing is downloaded on import.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mien import extras

if TYPE_CHECKING:
    from mien.errors import MienError as MienError
    from mien.labels import EXPRESSIONS as EXPRESSIONS
    from mien.recognition.recognizer import Recognizer as Recognizer
    from mien.types import Box as Box
    from mien.types import Expression as Expression
    from mien.types import Face as Face
    from mien.video.recognizer import VideoRecognizer as VideoRecognizer

os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
"""ONNX Runtime reads this when it is imported. Otherwise it reports its use to Microsoft, and writes an identifier of
the machine into the user's cache; set the variable to 0 to allow that."""

extras.install()
__version__ = "0.1.0"

_MODULES = {
    "Recognizer": "mien.recognition.recognizer",
    "VideoRecognizer": "mien.video.recognizer",
    "Face": "mien.types",
    "Box": "mien.types",
    "Expression": "mien.types",
    "MienError": "mien.errors",
    "EXPRESSIONS": "mien.labels",
}

__all__ = ["EXPRESSIONS", "Box", "Expression", "Face", "MienError", "Recognizer", "VideoRecognizer", "__version__"]


def __dir__() -> list[str]:
    return __all__


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module 'mien' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_MODULES[name]), name)
