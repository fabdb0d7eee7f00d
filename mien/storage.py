"""Folders and files on this machine or, through fsspec, at a URL such as s3://bucket/photos."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from mien.errors import ConfigError, MienError, error_text, require, shortened_path
from mien.files import remove_temporary_files, replaced

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")  # two letters at least, since C:// is a drive


class Folder(Protocol):
    """A folder whose files appear whole or not at all. Folders can be pickled."""

    def create(self) -> None:
        """Creates the folder unless it exists."""

    def names(self) -> list[str]:
        """The names of the files and folders in it, in order; empty if the folder does not exist."""

    def read(self, name: str, last: int | None = None) -> bytes:
        """Returns a file's content, or only so many of its last bytes."""

    def write(self, name: str, content: bytes) -> None:
        """Writes a file, or replaces it."""

    def remove(self, names: list[str]) -> None:
        """Removes files, and the folder if it is then empty."""


def is_url(path: str) -> bool:
    """Returns whether this is a URL rather than a path."""
    return _URL.match(path) is not None


def open_folder(path: str | Path) -> Folder:
    """Returns a folder by its path or URL; it need not exist.

    Raises:
        ConfigError: Nothing can be read or written at that kind of URL.
        MissingExtraError: It is a URL, and fsspec or its package for that kind of URL is not installed.
    """
    text = os.fspath(path)
    if not is_url(text):
        return LocalFolder(Path(text))
    folder = RemoteFolder(text.rstrip("/"))
    _ = folder.file_system  # to report a wrong URL now
    return folder


def read_file(url: str) -> bytes:
    """Returns the content of the file at a URL.

    Raises:
        FileNotFoundError: There is no such file; PermissionError if it may not be read.
        OSError: The place cannot be reached; other errors of fsspec's packages are raised as they are.
        ConfigError: fsspec knows no such kind of URL.
        MissingExtraError: fsspec, or its package for that kind of URL, is not installed.
    """
    file_system, path = file_system_of(url)
    content: bytes = file_system.cat_file(path)
    return content


def file_system_of(url: str) -> tuple[Any, str]:
    """Returns the fsspec file system of a URL, and the URL's path in it.

    Raises:
        ConfigError: fsspec knows no such kind of URL, or it is malformed.
        MissingExtraError: fsspec, or its package for that kind of URL, is not installed.
    """
    core = require("fsspec.core", "cluster")
    if url.lower().startswith("s3://"):
        require("s3fs", "cluster")
    try:
        file_system, inner = core.url_to_fs(url)
    except ImportError as error:
        raise MienError(f"{shortened_path(url)} cannot be opened: {error_text(error)}") from None
    except ValueError as error:
        raise ConfigError(f"{shortened_path(url)} cannot be opened: {error_text(error)}; check the URL") from None
    return file_system, str(inner)


@dataclass(frozen=True)
class LocalFolder:
    """A folder on this machine; see `Folder`."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def create(self) -> None:
        """Creates the folder and those above it."""
        self.path.mkdir(parents=True, exist_ok=True)

    def names(self) -> list[str]:
        """The names of the files and folders in it."""
        return sorted(file.name for file in self.path.iterdir()) if self.path.is_dir() else []

    def read(self, name: str, last: int | None = None) -> bytes:
        """Returns a file's content, or only so many of its last bytes."""
        with (self.path / name).open("rb") as file:
            if last is not None:
                file.seek(max(0, os.fstat(file.fileno()).st_size - last))
            return file.read()

    def write(self, name: str, content: bytes) -> None:
        """Writes a file, or replaces it."""
        with replaced(self.path / name) as temporary:
            temporary.write_bytes(content)

    def remove(self, names: list[str]) -> None:
        """Removes files, the temporary files of killed processes, and the folder if it is then empty."""
        for name in names:
            (self.path / name).unlink(missing_ok=True)
        remove_temporary_files(self.path)
        if not any(self.path.iterdir()):
            self.path.rmdir()


@dataclass(frozen=True)
class RemoteFolder:
    """A folder at a URL; see `Folder`. In an object store, such as S3, a file appears whole."""

    url: str

    def __str__(self) -> str:
        return self.url

    @cached_property
    def file_system(self) -> Any:
        """The fsspec file system."""
        return file_system_of(self.url)[0]

    @cached_property
    def _path(self) -> str:
        return file_system_of(self.url)[1]

    def __getstate__(self) -> dict[str, Any]:
        return {"url": self.url}  # connections stay in their process

    def create(self) -> None:
        """Creates the folder; object stores have none to create."""
        self.file_system.makedirs(self._path, exist_ok=True)

    def names(self) -> list[str]:
        """The names of the files and folders in it."""
        self.file_system.invalidate_cache()
        try:
            paths = self.file_system.ls(self._path, detail=False)
        except FileNotFoundError:
            return []
        return sorted({path.rstrip("/").rpartition("/")[2] for path in paths} - {""})

    def read(self, name: str, last: int | None = None) -> bytes:
        """Returns a file's content, or only so many of its last bytes."""
        content: bytes = self.file_system.cat_file(f"{self._path}/{name}", start=-last if last else None)
        return content

    def write(self, name: str, content: bytes) -> None:
        """Writes a file, or replaces it."""
        self.file_system.pipe_file(f"{self._path}/{name}", content)

    def remove(self, names: list[str]) -> None:
        """Removes files."""
        self.file_system.rm([f"{self._path}/{name}" for name in names])
