"""Every error that mien raises on purpose, and parts of their messages.

    MienError            one sentence for the person: what was expected, what came, where, and what to do
      ImageError         a picture that cannot be read or used
      VideoError         a video or camera that cannot be read, or a video file that cannot be written
      DataError          a data set, or a file of results, with wrong content
      ConfigError        a configuration or an option that cannot be used
      TrainingError      a training run that cannot continue
      WeightsError       a model file that is missing, damaged or of the wrong kind
      MissingExtraError  a package that a command or a module needs and that is not installed; also an ImportError

Catch `MienError` for all of them. The command line prints the sentence and exits with code 2; any other exception is a
bug and keeps its traceback.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterable
from types import ModuleType

MAX_LETTERS = 80
"""Most characters of a person's value that a message repeats."""
MAX_NAMES = 40
"""Most known names that a message lists."""


class MienError(Exception):
    """The parent of all errors raised on purpose; its text is one sentence for the person."""


class ImageError(MienError):
    """A picture cannot be read or used."""


class VideoError(MienError):
    """A video or camera cannot be read, or a video file cannot be written."""


class DataError(MienError):
    """A data set, or a file of results, has wrong content."""


class ConfigError(MienError):
    """A configuration or an option cannot be used."""


class TrainingError(MienError):
    """A training run cannot continue."""


class WeightsError(MienError):
    """A model file is missing, damaged or of the wrong kind."""


class MissingExtraError(MienError, ImportError):
    """A package that a command or a module needs is not installed."""


def require(module: str, extra: str) -> ModuleType:
    """Imports an optional package.

    Args:
        module: Name of the module, such as "pyarrow.parquet".
        extra: Extra of mien that installs it.

    Raises:
        MissingExtraError: It is not installed; the message names the extra.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise missing_package(error.name or module, extra) from None


def missing_package(module: str, extra: str) -> MissingExtraError:
    """Returns the error of a package that is not installed, with the command that installs its extra.

    Args:
        module: Name of the package or of a module in it.
        extra: Extra of mien that installs it.
    """
    from mien.installation import install_command  # its imports would slow down every command

    package = module.partition(".")[0]
    return MissingExtraError(f"this needs the package {package}, which is not installed: {install_command(extra)}")


def error_text(error: BaseException) -> str:
    """Returns the first line of another library's error, or the name of its class if it has no text."""
    return (str(getattr(error, "strerror", None) or error).strip() or type(error).__name__).splitlines()[0]


def near(name: str, known: Iterable[str]) -> str:
    """Returns the end of a message about an unknown name: the most similar known names, or the first MAX_NAMES."""
    names = sorted(known)
    close = difflib.get_close_matches(name[:MAX_LETTERS], names, n=3, cutoff=0.55)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"known are {', '.join(names[:MAX_NAMES])}{', ...' if len(names) > MAX_NAMES else ''}"


def shortened_path(path: object) -> str:
    """Returns the end of a path for a message: the last MAX_LETTERS characters, which hold the file's name."""
    text = str(path)
    return text if len(text) <= MAX_LETTERS else f"...{text[-MAX_LETTERS:]}"


def shortened(value: object) -> str:
    """Returns a person's value for a message, cut after MAX_LETTERS characters."""
    text = str(value)
    return text if len(text) <= MAX_LETTERS else f"{text[:MAX_LETTERS]}..."
