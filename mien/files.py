"""Paths with ~, files that appear whole or not at all, and text that can be printed anywhere."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mien.errors import ConfigError, shortened_path

_DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
"""Errors of a full or failing disk, which the system reports without a file name."""
_CONTROLS_RANGE = "\\x7f-\\x9f\\u061c\\u200e\\u200f\\u2028-\\u202e\\u2066-\\u2069"
"""Control characters above ASCII's, line separators, and characters that change the direction of text."""
_CONTROLS = re.compile(f"[\\x00-\\x1f{_CONTROLS_RANGE}]")
_NOT_PLAIN_JSON = re.compile(f"[{_CONTROLS_RANGE}\\ud800-\\udfff]")
_OTHER_SURROGATES = re.compile("[\\ud800-\\udc7f\\udd00-\\udfff]")
"""Surrogates that do not stand for a byte of a file name."""
_TEMPORARY_PREFIX = ".mien-"
MARK = "written by mien, which recognises facial expressions"
"""The text by which mien recognises its own files, in the metadata of pictures, videos, reports and Parquet files."""
_SEARCHED_BYTES = 2**16
"""The beginning and the end of a file in which the mark is searched."""


def expand_user(path: str | Path) -> Path:
    """Expands ~ in a path that no shell has expanded; ~NAME of an unknown user stays as it is."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - Path.expanduser raises for an unknown user


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Yields a temporary path to write to, and moves it to `path` when the block ends; on an error it is removed.

    If `path` is a link, the file that it points to is replaced.

    Raises:
        OSError: The folder is not writable, the disk is full, or `path` is a folder, a pipe or a device. The error
            names `path`.
    """
    path = Path(os.path.realpath(path)) if path.is_symlink() else path
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder; a file is expected", str(path))
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is a pipe or a device; a file is expected", str(path))
    temporary = path.with_name(_temporary_name() + path.suffix)
    try:
        os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))  # less the umask
        mode = stat.S_IMODE(temporary.stat().st_mode)
    except OSError as error:  # report the file that was asked for, not the temporary one
        raise OSError(error.errno, error.strerror, str(path)) from None
    try:
        yield temporary
        _sync(temporary)
        temporary.chmod(mode)  # some writers replace the file by one that only its owner may read
        temporary.replace(path)
    except OSError as error:
        names = (error.filename, error.filename2)  # a copy that fails names its source first
        if str(temporary) in names or (names == (None, None) and is_disk_error(error)):
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise
    finally:
        temporary.unlink(missing_ok=True)


def check_output(path: Path, overwrite: bool, beginning: str = "", mark: str = MARK) -> None:
    """Checks, before the work begins, that a file can be written and replaces nothing that mien has not written.

    Args:
        path: Where the output will be; its folder must exist.
        overwrite: Whether any file may be replaced.
        beginning: See `is_replaceable`.
        mark: See `is_replaceable`.

    Raises:
        ConfigError: The path is a folder, the folder of the file is missing or cannot be written, or the file exists
            and mien has not written it.
    """
    if path.is_dir():
        raise ConfigError(f"{shortened_path(path)} is a folder: give the path of a file")
    if not path.parent.is_dir():
        raise ConfigError(
            f"the folder {shortened_path(path.parent)} of {shortened_path(path.name)} does not exist: create it or "
            "choose another folder"
        )
    check_folder(path.parent)
    if not overwrite and not is_replaceable(path, beginning, mark):
        raise ConfigError(
            f"{shortened_path(path)} exists and mien has not written it: choose another name, or add --overwrite to "
            "replace it"
        )


def check_folder(folder: Path) -> None:
    """Checks that files can be written to a folder, or to the nearest existing one above it, by writing one.

    Raises:
        ConfigError: They cannot.
    """
    while not os.path.lexists(folder):
        folder = folder.parent
    if not folder.is_dir():
        raise ConfigError(f"{shortened_path(folder)} is not a folder: choose another folder")
    trial = folder / _temporary_name()
    try:
        os.close(os.open(trial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except OSError as error:
        if is_disk_error(error):  # the writer of the file finds out whether its space suffices
            return
        raise ConfigError(
            f"the folder {shortened_path(folder)} cannot be written ({error.strerror}): choose another folder"
        ) from None
    trial.unlink()


def is_replaceable(path: Path, beginning: str = "", mark: str = MARK) -> bool:
    """Returns whether an output may be written without loss: nothing is there, or an empty file, or one of mien's own.

    A link is never mien's own: what it points to would be replaced.

    Args:
        path: Where the output will be.
        beginning: A regular expression for the beginning of mien's own files of this kind, if they have no mark.
        mark: Text near the beginning or the end of mien's own files.
    """
    if path.is_symlink():
        return False
    if not path.is_file():
        return not path.exists()
    with path.open("rb") as file:
        content = file.read(_SEARCHED_BYTES)
        file.seek(-min(_SEARCHED_BYTES, path.stat().st_size), os.SEEK_END)
        ours = mark.encode() in content or mark.encode() in file.read()
    return not content or ours or bool(beginning and re.match(beginning.encode(), content))


def is_disk_error(error: OSError) -> bool:
    """Returns whether an error says that the disk is full or failing, so that other files cannot be written either."""
    return error.errno in _DISK_ERRORS


def is_special(path: str | Path) -> bool:
    """Returns whether a path is a pipe, a device or a socket: reading it could wait or go on for ever."""
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError):  # there is no such file, or its name is impossible
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def remove_temporary_files(folder: Path) -> None:
    """Removes the temporary files of killed processes from a folder; no other process may be writing there."""
    for file in folder.glob(f"{_TEMPORARY_PREFIX}{'[0-9a-f]' * 32}*"):
        file.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a UTF-8 text file, whole or not at all."""
    with replaced(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def printable(text: str) -> str:
    """Returns text as valid Unicode: bytes of a file name that are not UTF-8 become backslash escapes."""
    text = _OTHER_SURROGATES.sub(lambda surrogate: f"\\u{ord(surrogate[0]):04x}", text)
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def escape_controls(text: str, keep: str = "") -> str:
    """Returns text that cannot control a terminal: control characters and changes of direction become escapes.

    Args:
        text: The text, such as a file name.
        keep: Control characters that stay as they are.
    """
    return _CONTROLS.sub(lambda found: found[0] if found[0] in keep else _escape(found[0]), printable(text))


def json_text(value: object, indent: int | None = None) -> str:
    """Returns a value as JSON that is valid UTF-8 and exact.

    The bytes of a file name that are not UTF-8 are lone surrogates, as Python represents them; they and control
    characters are escaped, so that any JSON parser returns the same string.
    """
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return _NOT_PLAIN_JSON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _temporary_name() -> str:
    return f"{_TEMPORARY_PREFIX}{uuid.uuid4().hex}"


def _escape(character: str) -> str:
    return character.encode("unicode_escape").decode()


def _sync(file: Path) -> None:
    """Waits until the content is on the disk; otherwise a power cut could leave an empty file under the final name."""
    with file.open("rb+") as stream:
        os.fsync(stream.fileno())
