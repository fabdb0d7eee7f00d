"""Paths as a config names them, and files written so that a reader never sees half of one."""

from __future__ import annotations

import errno
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_OF_DISKS = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO}
"""What the system says of an open file where the disk is full or broken."""


def at_home(path: str | Path) -> Path:
    """A path in which ~ is the home folder, for what no shell has seen; one of nobody's home stays as it is."""
    return Path(os.path.expanduser(path))  # noqa: PTH111 - Path.expanduser raises there


@contextmanager
def replaced(path: Path) -> Iterator[Path]:
    """Gives a path to write to; puts it in the place of `path` when the block ends, and removes it on an error.

    Where `path` is a link, the file that it leads to is replaced.

    Raises:
        OSError: The folder cannot be written, the disk is full, or `path` is a folder, a pipe or a device; it names
            `path`.
    """
    path = Path(os.path.realpath(path)) if path.is_symlink() else path
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, "it is a folder, and a file is to be written", str(path))
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is a pipe or a device, and a file is to be written", str(path))
    part = path.with_name(f".mien-{uuid.uuid4().hex}{path.suffix}")
    try:
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))  # less the umask
        mode = stat.S_IMODE(part.stat().st_mode)
    except OSError as error:  # it is about the file that was to be, not about the part
        raise OSError(error.errno, error.strerror, str(path)) from None
    try:
        yield part
        _to_disk(part)
        part.chmod(mode)  # some writers put another file there, for the owner alone
        part.replace(path)
    except OSError as error:  # a full disk has no name, and the part's would say nothing
        if error.filename == str(part) or (error.filename is None and error.errno in _OF_DISKS):
            raise OSError(error.errno, error.strerror, str(path)) from None
        raise
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """Writes a text file whole or not at all."""
    with replaced(path) as part:
        part.write_text(text, encoding="utf-8")


def printable(text: str) -> str:
    """Text that may hold a file's name, as Unicode that can be written anywhere: bytes that are no text are escaped."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _to_disk(file: Path) -> None:
    """Waits until a file's content is on the disk: else a power cut could leave its name with nothing behind it."""
    with file.open("rb+") as stream:
        os.fsync(stream.fileno())
