"""Recognised faces as plain values: JSON records, CSV rows, a Parquet schema and a table for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.table import Table
from rich.text import Text

from mien.deprecation import moved_names
from mien.detection.whole_image import may_be_crop
from mien.errors import require
from mien.files import escape_controls, printable
from mien.labels import class_colours
from mien.types import Face

BOX_COLUMNS = ("x0", "y0", "x1", "y1")
"""The columns of a face's box, in pixels."""

PREDICTION_COLUMNS = ("score", "expression", "confidence", "uncertain")
"""The columns between a face's box and its probabilities."""

FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "'")
"""Beginnings of a text that get an apostrophe in CSV; see `csv_cell`."""


def to_record(path: str, image_rgb: NDArray[np.uint8], faces: Sequence[Face]) -> dict[str, Any]:
    """Converts a picture and its faces to a record.

    Args:
        path: The path as the user gave it.
        image_rgb: (H, W, 3); only its size is used.
        faces: Faces in pixels of this image.

    Returns:
        `path`, `width` and `height` in pixels, and `faces`; each face has `box` (x0, y0, x1, y1) in pixels, `score`,
        `expression`, `confidence`, `uncertain`, `probabilities` in [0, 1], and `landmarks` in pixels.
    """
    height, width = image_rgb.shape[:2]
    return {"path": path, "width": width, "height": height, "faces": [face_record(face) for face in faces]}


def face_record(face: Face) -> dict[str, Any]:
    """Converts a face to a record; see `to_record`."""
    return {
        "box": [round(value, 2) for value in face.box.xyxy],
        "score": round(face.score, 6),
        "expression": face.expression.name,
        "confidence": round(face.expression.confidence, 6),
        "uncertain": face.expression.uncertain,
        "probabilities": round_probabilities(face.expression.probabilities),
        "landmarks": {name: [round(x, 2), round(y, 2)] for name, (x, y) in face.landmarks.items()},
    }


def round_probabilities(probabilities: Mapping[str, float]) -> dict[str, float]:
    """Rounds probabilities to six digits after the point."""
    return {name: round(value, 6) for name, value in probabilities.items()}


def column_names(classes: Sequence[str]) -> tuple[str, ...]:
    """Returns the columns of the rows that `to_rows` makes, for a model with these classes."""
    return ("path", "face", *BOX_COLUMNS, *PREDICTION_COLUMNS, *classes)


def file_columns(classes: Sequence[str]) -> tuple[str, ...]:
    """Returns the columns of Parquet files, and of the rows that `to_file_rows` makes."""
    path_column, *face_columns = column_names(classes)
    return (path_column, "width", "height", "error", *face_columns)


def to_file_rows(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Converts a picture's record to one row per face, with the size of the picture; at least one row."""
    size = {"width": record["width"], "height": record["height"]}
    return [size | row for row in to_rows(record)] or [size | {"path": record["path"]}]


def to_rows(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Converts a picture's record to one row per face; `face` counts from 1."""
    return [
        {"path": record["path"], "face": number, **face_cells(face)}
        for number, face in enumerate(record["faces"], start=1)
    ]


def face_cells(face: dict[str, Any]) -> dict[str, Any]:
    """Returns the cells of a face's record that the rows of pictures and of videos have in common."""
    return {
        **dict(zip(BOX_COLUMNS, face["box"], strict=True)),
        **{name: face[name] for name in PREDICTION_COLUMNS},
        **face["probabilities"],
    }


def to_csv(records: Sequence[dict[str, Any]], classes: Sequence[str]) -> str:
    """Converts records to CSV with one line per face; a picture without faces has a line with its path alone."""
    columns = column_names(classes)
    rows = [row for record in records for row in to_rows(record) or [{"path": record["path"]}]]
    return csv_line(columns) + "".join(csv_line(map(row.get, columns)) for row in rows)


def csv_line(values: Iterable[object]) -> str:
    """Formats one line of CSV: booleans in lower case, None as an empty cell, text as `csv_cell` does."""
    return ",".join(map(csv_cell, values)) + "\n"


def csv_cell(value: object) -> str:
    """Formats a cell of CSV as RFC 4180 requires.

    Spreadsheets take text that begins with one of `FORMULA_STARTS` for a formula, which can start programs and call
    addresses. Such text gets an apostrophe in front, and so does text that begins with an apostrophe: whoever removes
    one leading apostrophe has the exact text.
    """
    if not isinstance(value, str):
        return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    text = printable(value)
    if text.startswith(FORMULA_STARTS):
        text = f"'{text}"
    return '"{}"'.format(text.replace('"', '""')) if any(special in text for special in ',"\r\n') else text


def parquet_schema(columns: Sequence[str]) -> Any:
    """Returns the Parquet schema for columns of pictures or of videos, and `width`, `height` and `error`.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    pyarrow = require("pyarrow", "batch")
    types = dict.fromkeys(("path", "expression", "error"), pyarrow.string())
    types |= dict.fromkeys(("face", "frame", "track", "width", "height"), pyarrow.int32())
    types |= {"uncertain": pyarrow.bool_(), "time_s": pyarrow.float64()}
    return pyarrow.schema([(name, types.get(name, pyarrow.float32())) for name in columns])


def to_table(records: Sequence[dict[str, Any]]) -> Table:
    """Makes a table for the terminal: one row per face, with its two most probable expressions."""
    table = Table("picture", "face", "box, px", "expression", "second", box=box.SIMPLE, pad_edge=False)
    table.columns[0].overflow = "fold"
    for column in table.columns[1:]:
        column.no_wrap = True
        column.justify = "left" if column.header in ("expression", "second") else "right"
    for record in records:
        path = Text(escape_controls(record["path"]))
        if not record["faces"]:
            is_small = may_be_crop(record["width"], record["height"])
            table.add_row(path, "-", "", "no face", "one cropped face? --detector none" if is_small else "")
        for number, face in enumerate(record["faces"], start=1):
            corners = " ".join(f"{value:.0f}" for value in face["box"]) if face["score"] else "the whole picture"
            first, *others = sorted(face["probabilities"].items(), key=lambda item: -item[1])
            colour = class_colours(tuple(face["probabilities"]))[face["expression"]]
            name = Text(_percentage(*first), style=colour if face["uncertain"] else f"bold {colour}")
            if face["uncertain"]:
                name.append(", uncertain", style="dim")
            second = Text(_percentage(*others[0]) if others else "")
            table.add_row(path if number == 1 else "", str(number), corners, name, second)
    return table


def _percentage(name: str, probability: float) -> str:
    return f"{escape_controls(name)} {probability:.0%}"


if not TYPE_CHECKING:
    __getattr__ = moved_names(
        __name__,
        {"columns": "mien.recognition.records.column_names", "flat": "mien.recognition.records.to_rows"},
    )
