"""mien names the expression on every face.

    from mien import Recognizer
    for face in Recognizer()("photo.jpg"):
        print(face.expression.name, face.expression.confidence)

    from mien import VideoRecognizer
    for frame in VideoRecognizer()("film.mp4"):
        for face in frame.faces:
            print(frame.time_s, face.track, face.steady.name)

Nothing is imported, read or fetched until a name is used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mien.errors import MienError as MienError
    from mien.labels import EXPRESSIONS as EXPRESSIONS
    from mien.recognition.recognizer import Recognizer as Recognizer
    from mien.types import Box as Box
    from mien.types import Expression as Expression
    from mien.types import Face as Face
    from mien.video.recognizer import VideoRecognizer as VideoRecognizer

__version__ = "0.1.0"

_HOME = {
    "Recognizer": "mien.recognition.recognizer",
    "VideoRecognizer": "mien.video.recognizer",
    "Face": "mien.types",
    "Box": "mien.types",
    "Expression": "mien.types",
    "MienError": "mien.errors",
    "EXPRESSIONS": "mien.labels",
}

__all__ = ["EXPRESSIONS", "Box", "Expression", "Face", "MienError", "Recognizer", "VideoRecognizer", "__version__"]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'mien' has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(_HOME[name]), name)
