"""Tables of measurements as CSV files: one dataclass per row, and a new measurement replaces the old row."""

from __future__ import annotations

import csv
import hashlib
import io
import os
import tempfile
import types
import typing
from dataclasses import fields
from pathlib import Path
from typing import Any, Protocol, TypeVar

from mien.errors import DataError, require
from mien.files import write_text


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
            lines = list(csv.DictReader(stream))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} must be a CSV file, and reading it failed: {error}; choose another file") from None
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
        DataError: The table is damaged; nothing is written.
        OSError: The file cannot be written.
    """
    filelock = require("filelock", "train")
    path.parent.mkdir(parents=True, exist_ok=True)
    lock_name = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:16]
    # The table is read and written under one lock, so that rows of other processes are kept.
    with filelock.FileLock(Path(tempfile.gettempdir()) / f"mien-{lock_name}.lock"):
        rows = {row.key: row for row in (*load(path, type(added[0])), *added)}
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


def _value(text: str, hint: Any) -> object:
    if isinstance(hint, types.UnionType):
        if text == "":
            return None
        (hint,) = set(typing.get_args(hint)) - {type(None)}
    return hint(text)


def _cell(value: object) -> object:
    return f"{value:.4f}" if isinstance(value, float) else value
