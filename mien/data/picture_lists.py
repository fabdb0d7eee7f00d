"""Streams long lists of pictures: folders, patterns, text files and Parquet files, on this machine or at URLs."""

from __future__ import annotations

import glob
import io
import os
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, BinaryIO, cast

from mien.data.pictures import SUFFIXES, is_junk, walk
from mien.errors import DataError, error_text, require, shortened, shortened_path
from mien.storage import file_system_of, is_url

COLUMNS = ("path", "url", "uri", "file", "image", "filename")
"""The column of a Parquet file with the pictures: the first of these that it has, or else its only column of text."""
_ROWS = 2**16
_PATTERN = frozenset("*?[")


def find(names: Iterable[str]) -> Iterator[str]:
    """Yields the paths and URLs of pictures, one by one.

    Args:
        names: Each is a path or a URL of

            - a folder: all pictures below it, in the order of their paths;
            - a pattern with *, ? or [...]: the files that match, of which ** also matches folders;
            - a .txt file: one path or URL a line;
            - a .parquet file: the paths or URLs in one of its COLUMNS;
            - anything else: a picture.

    Raises:
        DataError: A list or a folder cannot be read.
        ConfigError: A URL cannot be opened.
        MissingExtraError: The packages for URLs or for Parquet are not installed.
    """
    for name in names:
        suffix = os.path.splitext(name)[1].lower()  # noqa: PTH122 - it may be a URL
        if suffix == ".txt" and not _is_folder(name):
            yield from _lines(name)
        elif suffix == ".parquet" and not _is_folder(name):
            yield from _column(name)
        elif is_url(name):
            yield from _at_url(name)
        elif Path(name).is_dir():
            yield from walk(name)
        elif _PATTERN & set(name) and not Path(name).exists():
            yield from _matches(name)
        else:
            yield name


def _is_folder(name: str) -> bool:
    return not is_url(name) and Path(name).is_dir()


def _open(name: str) -> AbstractContextManager[BinaryIO]:
    if is_url(name):
        file_system, path = file_system_of(name)
        return cast("AbstractContextManager[BinaryIO]", file_system.open(path, "rb"))
    return Path(name).open("rb")


def _lines(name: str) -> Iterator[str]:
    """Yields the lines of a text file that are not empty; names that are not UTF-8 keep their bytes."""
    try:
        with _open(name) as file, io.TextIOWrapper(file, "utf-8-sig", "surrogateescape") as lines:
            yield from filter(None, (line.strip("\r\n") for line in lines))
    except OSError as error:
        raise DataError(f"the list {shortened_path(name)} cannot be read: {error_text(error)}") from None


def _column(name: str) -> Iterator[str]:
    pyarrow, parquet = require("pyarrow", "batch"), require("pyarrow.parquet", "batch")
    try:
        with _open(name) as file:
            table = parquet.ParquetFile(file)
            text = [field.name for field in table.schema_arrow if _is_text(pyarrow, field.type)]
            column = next((known for known in COLUMNS if known in text), text[0] if len(text) == 1 else None)
            if column is None:
                raise DataError(
                    f"the list {shortened_path(name)} needs a column of text named {', '.join(COLUMNS[:-1])} or "
                    f"{COLUMNS[-1]}, and has {shortened(', '.join(table.schema_arrow.names))}"
                )
            for rows in table.iter_batches(_ROWS, columns=[column]):
                yield from filter(None, rows.column(0).to_pylist())
    except (OSError, pyarrow.ArrowException) as error:
        raise DataError(f"the list {shortened_path(name)} cannot be read: {shortened(error_text(error))}") from None


def _is_text(pyarrow: Any, kind: Any) -> bool:
    return bool(pyarrow.types.is_string(kind) or pyarrow.types.is_large_string(kind))


def _matches(pattern: str) -> Iterator[str]:
    """Yields the files of a pattern; nothing is said about their names, since the pattern says it."""
    found = False
    for path in sorted(glob.iglob(pattern, recursive=True)):  # noqa: PTH207 - ** follows no links in Path.glob
        if Path(path).is_file():
            found = True
            yield path
    if not found:
        raise DataError(f"no file matches {shortened_path(pattern)}: check the pattern and its quotes")


def _at_url(url: str) -> Iterator[str]:
    """Yields a picture, or the pictures of a pattern or below a folder."""
    scheme = url.partition("://")[0].lower()
    if scheme in ("http", "https"):  # a web server has no folders, and * and ? may be parts of its addresses
        yield url
        return
    file_system, path = file_system_of(url)
    try:
        found: Iterable[str]
        if _PATTERN & set(path):
            found = sorted(file_system.glob(path))
        elif path.lower().endswith(tuple(SUFFIXES)):
            found = [path]
        else:
            found = (each for each in _below(file_system, path) if _is_picture(each[len(path) :]))
        yield from (f"{scheme}://{each.lstrip('/') if scheme != 'file' else each}" for each in found)
    except OSError as error:
        raise DataError(f"{shortened_path(url)} cannot be listed: {error_text(error)}") from None


def _is_picture(path: str) -> bool:
    return path.lower().endswith(tuple(SUFFIXES)) and not any(is_junk(name) for name in path.split("/") if name)


def _below(file_system: Any, path: str) -> Iterator[str]:
    """Yields the files below a folder: of S3 in pages, of others a folder at a time."""
    if "s3" in file_system.protocol:
        bucket, _, prefix = path.partition("/")
        request = {"Bucket": bucket, "Prefix": f"{prefix.rstrip('/')}/" if prefix else ""}
        while True:
            page = file_system.call_s3("list_objects_v2", **request)
            yield from (f"{bucket}/{entry['Key']}" for entry in page.get("Contents", ()))
            if not page.get("IsTruncated"):
                return
            request["ContinuationToken"] = page["NextContinuationToken"]
    for folder, folders, files in file_system.walk(path):
        folders.sort()  # in place: the order in which the walk goes on
        yield from (f"{folder}/{name}" for name in sorted(files))
