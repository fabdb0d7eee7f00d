"""Tables of measured numbers as CSV: one row a dataclass, replaced where it is measured again."""

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
        """What a table has one row of."""


class OfFaces(Row, Protocol):
    """A row of some faces."""

    @property
    def split(self) -> str:
        """Which of the data."""

    @property
    def n(self) -> int:
        """How many."""


R = TypeVar("R", bound=Row)
F = TypeVar("F", bound=OfFaces)


def load(path: Path, kind: type[R]) -> list[R]:
    """Reads a table; one that does not exist is empty.

    Args:
        path: The file.
        kind: The dataclass of its rows. An empty cell is None where the field may be that.

    Raises:
        DataError: It is no text, a column is missing, or a value is of the wrong type; names the row, of which the
            header is the first.
    """
    if not path.exists():
        return []
    hints = typing.get_type_hints(kind)
    rows = []
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            found = list(csv.DictReader(stream))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is no table: {error}; name another one") from None
    for number, cells in enumerate(found, start=2):
        try:
            rows.append(kind(**{field.name: _value(cells[field.name], hints[field.name]) for field in fields(kind)}))
        except (KeyError, ValueError, TypeError) as error:
            raise DataError(f"row {number} of {path} cannot be read: {error!r}; mend it or remove it") from None
    return rows


def add(path: Path, *added: Row) -> None:
    """Puts rows of one kind into a table, all or none; each in the place of the one with the same key if there is one.

    Several processes of one user and machine may add to one table.

    Raises:
        DataError: The table is damaged; nothing is written.
        OSError: It cannot be written.
    """
    filelock = require("filelock", "train")
    path.parent.mkdir(parents=True, exist_ok=True)
    place = hashlib.sha256(os.fsencode(path.resolve())).hexdigest()[:16]
    # Others may write to the same table: rows are added to what was read just before.
    with filelock.FileLock(Path(tempfile.gettempdir()) / f"mien-{place}.lock"):
        rows = {row.key: row for row in (*load(path, type(added[0])), *added)}
        text = io.StringIO()
        writer = csv.DictWriter(text, [field.name for field in fields(added[0])], lineterminator="\n")
        writer.writeheader()
        for each in rows.values():
            writer.writerow({name: _cell(value) for name, value in vars(each).items()})
        write_text(path, text.getvalue())


def check_same_faces(path: Path, kind: type[F], split: str, n: int) -> None:
    """Refuses a table whose rows of a split are of other faces than those to come: they would be taken for the same.

    Raises:
        DataError: It has rows of another number of faces, or is damaged.
    """
    if others := [row for row in load(path, kind) if row.split == split and row.n != n]:
        raise DataError(
            f"{path} has rows of {others[0].n:,} faces of the split {split}, and these are {n:,}, so others: name "
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
