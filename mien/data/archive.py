"""Opens a CSV file, plain or in an archive, as lines, within limits that a damaged or hostile file cannot exceed."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any

from mien.data.pictures import SUFFIXES, is_junk
from mien.errors import DataError, error_text, shortened

CSV_NAMES = ("fer2013.csv", "icml_face_data.csv")
"""Names of the CSV file inside archives, in lower case."""
ARCHIVE_SUFFIXES = frozenset({".zip", ".tar", ".gz", ".tgz"})
"""Suffixes of archives, in lower case."""
MAX_ROW = 1 << 17
"""Most characters of a row; a row of FER2013 has up to 9,234."""
MAX_EMPTY_ROWS = 1000
"""Most empty rows in a file."""
MAX_RATIO = 100
"""Most times that an archive's content may be larger than the archive; FER2013's is three times as large."""
MIN_UNPACKED_BYTES = 64 << 20
"""Content up to this size is never too large, whatever the ratio."""
MAX_MEMBERS = 100_000
"""Most members of a tar archive before the CSV file."""
MAX_TAR_HEADER_BYTES = 1 << 20
"""Largest extended header of a tar member, which is read into memory whole."""
DAMAGE = (
    OSError, EOFError, UnicodeDecodeError, OverflowError, csv.Error, tarfile.TarError, zipfile.BadZipFile, zlib.error,
    lzma.LZMAError,
)  # fmt: skip
"""What reading a damaged file raises."""
_TAR_EXTENSIONS = {
    tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK,
    tarfile.GNUTYPE_SPARSE,
}  # fmt: skip
_DECOMPRESSORS: dict[bytes, Callable[[Path], Any]] = {b"\x1f\x8b": gzip.open, b"BZ": bz2.open, b"\xfd7": lzma.open}
"""First two bytes of a compressed file -> what opens it."""


@contextmanager
def open_csv(path: Path) -> Iterator[tuple[Iterator[str], str]]:
    """Opens the CSV file in an archive (.tar.gz, .tgz, .tar, .zip, .csv.gz), or the CSV file itself.

    Yields:
        The lines, and the name for messages.

    Raises:
        DataError: The archive has no such file, or is larger or has longer rows than any data set.
        OSError: The file cannot be read; see DAMAGE for the other errors of a damaged one.
    """
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if not path.is_file():  # opening a pipe would wait for ever
        raise DataError(f"{path} is a pipe or a device; expected a file")
    if suffixes[-1:] == [".zip"]:
        with zipfile.ZipFile(path) as archive:
            member = _zip_member(archive, path)
            try:
                packed = archive.open(member)
            except RuntimeError as error:  # a password, or a compression that this Python was built without
                raise DataError(
                    f"{path.name}:{member.filename} cannot be unpacked: {error_text(error)}; unpack it yourself"
                ) from None
            with packed, _limited(packed, path) as stream:
                name = f"{path.name}:{member.filename}"
                yield read_lines(stream, name), name
    elif suffixes[-2:] == [".csv", ".gz"]:
        with _decompressed(path) as unpacked, _limited(unpacked, path) as stream:
            yield read_lines(stream, path.name), path.name
    elif suffixes[-1:] and suffixes[-1] in ARCHIVE_SUFFIXES:
        # "r|" reads on and never back, so that the limit counts every byte once.
        with (
            _decompressed(path) as unpacked,
            _limited(unpacked, path) as stream,
            tarfile.open(fileobj=stream, mode="r|", tarinfo=_TarMember) as tar,
        ):
            entry = _tar_member(tar, path)
            data, name = tar.extractfile(entry), f"{path.name}:{entry.name}"
            assert data is not None  # it is a regular file
            with _limited(data, path) as content:  # also hides that data cannot say whether it is seekable
                yield read_lines(content, name), name
    else:
        with path.open("rb") as stream:
            yield read_lines(stream, path.name), path.name


class _Limited(io.RawIOBase):
    """A binary stream that raises DataError after a number of bytes."""

    def __init__(self, stream: IO[bytes], limit: int, name: str) -> None:
        self._stream, self._limit, self._left, self._name = stream, limit, limit, name

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._stream.read(len(buffer))
        self._left -= len(data)
        if self._left < 0:
            raise DataError(
                f"{self._name} unpacks to more than {self._limit:,} bytes, {MAX_RATIO} times its size, which no data "
                "set does: unpack it yourself if you trust it"
            )
        buffer[: len(data)] = data
        return len(data)


class _TarMember(tarfile.TarInfo):
    """A member whose extended header is checked before it is read."""

    @classmethod
    def frombuf(cls, buf: bytes | bytearray, encoding: str, errors: str) -> _TarMember:
        member = super().frombuf(buf, encoding, errors)
        if member.type in _TAR_EXTENSIONS and member.size > MAX_TAR_HEADER_BYTES:
            raise tarfile.TarError(f"a header has {member.size:,} bytes and {MAX_TAR_HEADER_BYTES:,} are allowed")
        return member


def _limited(stream: IO[bytes], path: Path) -> io.BufferedReader:
    limit = max(MIN_UNPACKED_BYTES, MAX_RATIO * path.stat().st_size)
    return io.BufferedReader(_Limited(stream, limit, path.name))


def _decompressed(path: Path) -> Any:
    """Opens a file and undoes the compression that its first bytes show."""
    with path.open("rb") as file:
        start = file.read(2)
    return _DECOMPRESSORS[start](path) if start in _DECOMPRESSORS else path.open("rb")


def read_lines(stream: IO[bytes], name: str) -> Iterator[str]:
    """Yields lines of bounded length; a line of a gigabyte would fill the memory before the CSV parser sees it.

    Args:
        stream: UTF-8 text, with or without a byte order mark; closed with the lines.
        name: The name for messages.

    Raises:
        DataError: A line is too long, or too many are empty.
    """
    with io.TextIOWrapper(stream, "utf-8-sig", newline="") as text:
        number = empty = 0
        while line := text.readline(MAX_ROW + 1):
            number += 1
            if len(line) > MAX_ROW:
                raise DataError(
                    f"row {number} of {name} has more than the {MAX_ROW:,} characters allowed; download it again"
                )
            empty += line.isspace()
            if empty > MAX_EMPTY_ROWS:
                raise DataError(f"{name} has more than the {MAX_EMPTY_ROWS:,} empty rows allowed; download it again")
            yield line


def _zip_member(archive: zipfile.ZipFile, path: Path) -> zipfile.ZipInfo:
    other = ""
    for member in archive.infolist():
        if _is_csv(member.filename):
            mode = member.external_attr >> 16
            if not member.is_dir() and stat.S_IFMT(mode) in (0, stat.S_IFREG):
                return member
            other = member.filename
    raise _no_csv_error(archive.namelist(), other, path)


def _tar_member(archive: tarfile.TarFile, path: Path) -> tarfile.TarInfo:
    other, names = "", []
    for entry in archive:  # stops at the CSV file: nothing after it needs unpacking
        names.append(entry.name)
        if len(names) > MAX_MEMBERS:
            raise DataError(f"{path.name} holds more than {MAX_MEMBERS:,} files; name an archive of {CSV_NAMES[0]}")
        if _is_csv(entry.name):
            if entry.isreg() and not entry.issparse():
                return entry
            other = entry.name
    raise _no_csv_error(names, other, path)


def _is_csv(member: str) -> bool:
    if not member.lower().rstrip("/").endswith(CSV_NAMES):  # quick, for an archive may have many members
        return False
    parts = PurePosixPath(member).parts
    return bool(parts) and parts[-1].lower() in CSV_NAMES and not any(map(is_junk, parts))


def _no_csv_error(members: list[str], other: str, path: Path) -> DataError:
    if other:
        return DataError(
            f"{shortened(other)} in {path.name} is a link, a folder or a device; expected a file: unpack the archive "
            "and name the CSV file"
        )
    if any(PurePosixPath(member).suffix.lower() in SUFFIXES for member in members):
        return DataError(
            f"{path.name} holds pictures instead of {CSV_NAMES[0]}; unpack it and name the folder of pictures"
        )
    return DataError(f"{path.name} holds none of {', '.join(CSV_NAMES)}; is it the FER2013 archive?")
