"""What was recognised in pictures and videos, as records for JSON, CSV and a table in the terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich import box
from rich.table import Table
from rich.text import Text

from mien.errors import require
from mien.labels import class_colours
from mien.types import Face

BOX = ("x0", "y0", "x1", "y1")
SAID = ("score", "expression", "confidence", "uncertain")
"""What a row says of a face besides its box and its probabilities."""


def to_record(path: str, image_rgb: NDArray[np.uint8], faces: Sequence[Face]) -> dict[str, Any]:
    """One picture and its faces as plain values.

    Args:
        path: As the person gave it.
        image_rgb: (H, W, 3); only its size is kept.
        faces: In pixels of that picture.

    Returns:
        path, width and height in pixels, and faces, each with box (x0, y0, x1, y1) and landmarks in pixels, score,
        expression, confidence and probabilities, in [0, 1], and whether it is uncertain.
    """
    height, width = image_rgb.shape[:2]
    return {"path": path, "width": width, "height": height, "faces": [face_record(face) for face in faces]}


def face_record(face: Face) -> dict[str, Any]:
    """One face as plain values; see `to_record`."""
    return {
        "box": [round(value, 2) for value in face.box.xyxy],
        "score": round(face.score, 6),
        "expression": face.expression.name,
        "confidence": round(face.expression.confidence, 6),
        "uncertain": face.expression.uncertain,
        "probabilities": rounded(face.expression.probabilities),
        "landmarks": {name: [round(x, 2), round(y, 2)] for name, (x, y) in face.landmarks.items()},
    }


def rounded(probabilities: Mapping[str, float]) -> dict[str, float]:
    """Probabilities with six digits after the point."""
    return {name: round(value, 6) for name, value in probabilities.items()}


def columns(classes: Sequence[str]) -> tuple[str, ...]:
    """Names of what `flat` gives."""
    return ("path", "face", *BOX, *SAID, *classes)


def flat(record: dict[str, Any]) -> list[dict[str, Any]]:
    """A picture's record as one row a face: path, face from 1, box, score, what was said, and each probability."""
    return [
        {
            "path": record["path"],
            "face": number,
            **cells(face),
        }
        for number, face in enumerate(record["faces"], start=1)
    ]


def cells(face: dict[str, Any]) -> dict[str, Any]:
    """What the rows of pictures and of videos share."""
    return {
        **dict(zip(BOX, face["box"], strict=True)),
        **{name: face[name] for name in SAID},
        **face["probabilities"],
    }


def to_csv(records: Sequence[dict[str, Any]], classes: Sequence[str]) -> str:
    """One line a face; a picture without faces has none."""
    return csv_line(columns(classes)) + "".join(csv_line(row.values()) for record in records for row in flat(record))


def parquet_schema(columns: Sequence[str]) -> Any:
    """The schema of a Parquet file with these columns: those of `flat` or `flat_frame`, and `width`, `height`, `error`.

    Raises:
        MissingExtraError: pyarrow is not installed.
    """
    pyarrow = require("pyarrow", "batch")
    kinds = dict.fromkeys(("path", "expression", "error"), pyarrow.string())
    kinds |= dict.fromkeys(("face", "frame", "track", "width", "height"), pyarrow.int32())
    kinds |= {"uncertain": pyarrow.bool_(), "time_s": pyarrow.float64()}
    return pyarrow.schema([(name, kinds.get(name, pyarrow.float32())) for name in columns])


def csv_line(values: Iterable[object]) -> str:
    """One line of CSV: true and false in small letters, nothing for None."""
    line = io.StringIO()
    cells = [str(value).lower() if isinstance(value, bool) else value for value in values]
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


def to_table(records: Sequence[dict[str, Any]]) -> Table:
    """One row a face, with its two most probable expressions."""
    table = Table("picture", "face", "box, px", "expression", "then", box=box.SIMPLE, pad_edge=False)
    table.columns[0].overflow = "fold"
    for column in table.columns[1:]:
        column.no_wrap = True
        column.justify = "left" if column.header in ("expression", "then") else "right"
    for record in records:
        picture = Text(record["path"])
        if not record["faces"]:
            table.add_row(picture, "-", "", "no face", "")
        for number, face in enumerate(record["faces"], start=1):
            corners = " ".join(f"{value:.0f}" for value in face["box"])
            first, second = sorted(face["probabilities"].items(), key=lambda item: -item[1])[:2]
            colour = class_colours(tuple(face["probabilities"]))[face["expression"]]
            name = Text(_words(*first), style=colour if face["uncertain"] else f"bold {colour}")
            if face["uncertain"]:
                name.append(", uncertain", style="dim")
            table.add_row(picture if number == 1 else "", str(number), corners, name, _words(*second))
    return table


def _words(name: str, probability: float) -> str:
    return f"{name} {probability:.0%}"
