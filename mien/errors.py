"""Every error that mien raises on purpose.

    MienError            one sentence for the person: what was expected, what came, where, what to do
      ImageError         a file that is no picture, or a picture that cannot be used
      VideoError         a video or camera that cannot be read, or a copy that cannot be written
      DataError          a data set that is not what it should be
      ConfigError        a configuration that cannot be run
      TrainingError      a training that cannot go on
      WeightsError       a model file that is missing, damaged or of another kind
      MissingExtraError  a package that this command needs is not installed

The command line prints the sentence and exits with 2; anything else that escapes is a bug and keeps its traceback.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType


class MienError(Exception):
    """The parent of all errors raised on purpose; its text is one sentence for the person."""


class ImageError(MienError):
    """A file that is no picture, or a picture that cannot be used."""


class VideoError(MienError):
    """A video or camera that cannot be read, or a copy that cannot be written."""


class DataError(MienError):
    """A data set that is not what it should be."""


class ConfigError(MienError):
    """A configuration that cannot be run."""


class TrainingError(MienError):
    """A training that cannot go on."""


class WeightsError(MienError):
    """A model file that is missing, damaged or of another kind."""


class MissingExtraError(MienError):
    """A package that this command needs is not installed."""


def require(module: str, extra: str) -> ModuleType:
    """Imports an optional package.

    Raises:
        MissingExtraError: It is not installed; the sentence names the extra of mien that brings it.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        package = (error.name or module).partition(".")[0]
        raise MissingExtraError(
            f"this needs the package {package}, which is not installed: pip install 'mien[{extra}]'"
        ) from None


def error_text(error: BaseException) -> str:
    """What an error of others says, in one line; the name of its class where it says nothing, as MemoryError does."""
    return (str(getattr(error, "strerror", None) or error).strip() or type(error).__name__).splitlines()[0]


def near(name: str, known: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: the known names near it, or all of them."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return f"did you mean {' or '.join(close)}?" if close else f"known are {', '.join(names)}"
