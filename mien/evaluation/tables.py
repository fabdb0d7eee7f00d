"""Tables of measurements as CSV files: one dataclass per row, and a new measurement replaces the old row."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import tempfile
import types
import typing
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Protocol, TypeVar

from mien.errors import DataError, require, shortened
from mien.files import check_folder, check_output, write_text


class Row(Protocol):
    """A frozen dataclass of numbers and texts."""

    __dataclass_fields__: typing.ClassVar[dict[str, Any]]

    @property
    def key(self) -> tuple[object, ...]:
        """Identifies the row: a table has one row per key."""


class SplitRow(Row, Protocol):
    """A row that was measured on a split of a data set."""

    @property
    def split(self) -> str:
        """Name of the split."""

    @property
    def n(self) -> int:
        """Number of faces."""


R = TypeVar("R", bound=Row)
S = TypeVar("S", bound=SplitRow)


def load(path: Path, kind: type[R]) -> list[R]:
    """Reads a table; a file that does not exist is an empty table.

    Args:
        path: The CSV file.
        kind: The dataclass of the rows. An empty cell is read as None if the field may be None.

    Raises:
        DataError: The file is not text, a column is missing, or a value has the wrong type; the message counts the
            header as row 1.
    """
    if not path.exists():
        return []
    hints = typing.get_type_hints(kind)
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream)
            lines, columns = list(reader), reader.fieldnames or ()
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} must be a CSV file, and reading it failed: {error}; choose another file") from None
    if columns and not lines and (missing := [field.name for field in fields(kind) if field.name not in columns]):
        raise DataError(f"{path} is not a table of mien: it has no column {missing[0]}; choose another file")
    rows = []
    for number, cells in enumerate(lines, start=2):
        try:
            rows.append(kind(**{field.name: _value(cells[field.name], hints[field.name]) for field in fields(kind)}))
        except (KeyError, ValueError, TypeError) as error:
            raise DataError(f"row {number} of {path} cannot be read: {error!r}; fix or remove that row") from None
    return rows


def add(path: Path, *added: Row) -> None:
    """Adds rows of one kind to a table, all or none; a row replaces the one with the same key.

    Several processes of one user on one machine may add rows to the same table.

    Raises:
        DataError: The table is damaged, or has further columns, which would be lost; nothing is written.
        OSError: The file cannot be written.
    """
    filelock = require("filelock", "batch")
    path.parent.mkdir(parents=True, exist_ok=True)
    lock_name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:16]
    # The table is read and written under one lock, so that rows of other processes are kept.
    with filelock.FileLock(Path(tempfile.gettempdir()) / f"mien-{lock_name}.lock"):
        rows = {row.key: row for row in (*load(path, type(added[0])), *added)}
        _check_columns(path, {field.name for field in fields(added[0])})
        text = io.StringIO()
        writer = csv.DictWriter(text, [field.name for field in fields(added[0])], lineterminator="\n")
        writer.writeheader()
        for row in rows.values():
            writer.writerow({name: _cell(value) for name, value in vars(row).items()})
        write_text(path, text.getvalue())


def check_same_faces(path: Path, kind: type[S], split: str, n: int) -> None:
    """Checks that the rows of a split were measured on as many faces as the rows that are about to be added.

    Raises:
        DataError: A row has another number of faces, or the table is damaged.
    """
    if others := [row for row in load(path, kind) if row.split == split and row.n != n]:
        raise DataError(
            f"{path} already has a row for {others[0].n:,} faces of the split {split}, and this data has {n:,}: choose "
            "another table"
        )


def check_files(path: Path, figures: Sequence[Path], overwrite: bool) -> None:
    """Checks, before hours of measuring, that a table and its figures can be written.

    Figures beside a table are its own; where there is no table yet, they must not replace a file of someone else.

    Args:
        path: The table; its folder may still have to be created.
        figures: The figures beside it.
        overwrite: Whether the figures may replace any file.

    Raises:
        ConfigError: A file cannot be written, or would replace one that mien has not written.
    """
    check_folder(path.parent)
    for figure in figures if path.parent.is_dir() else ():
        check_output(figure, overwrite or (path.exists() and not figure.is_symlink()))


def _check_columns(path: Path, known: set[str]) -> None:
    if not path.exists():
        return
    with path.open(encoding="utf-8", newline="") as stream:
        columns = csv.DictReader(stream).fieldnames or ()
    if others := [column for column in columns if column not in known]:
        raise DataError(
            f"{path} has the column {shortened(others[0])}, which would be lost: remove it or choose another table"
        )


def _value(text: str, hint: Any) -> object:
    if isinstance(hint, types.UnionType):
        if text == "":
            return None
        (hint,) = set(typing.get_args(hint)) - {type(None)}
    return hint(text)


def _cell(value: object) -> object:
    return f"{value:.4f}" if isinstance(value, float) else value
