"""Results as tables for Arrow, pandas and Polars, with the columns of mien's files, and for supervision."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from mien.errors import require
from mien.types import Face

EXTRA = "tables"
"""The extra of mien that installs the packages of this module."""


class Table:
    """Rows with the columns of mien's Parquet files.

    Attributes:
        rows: Column -> value for each row; a column that is missing is empty.
        columns: The names of the columns, in order.
    """

    def __init__(self, rows: Sequence[dict[str, Any]], columns: Sequence[str]) -> None:
        self.rows, self.columns = list(rows), tuple(columns)

    def to_arrow(self) -> Any:
        """Returns a pyarrow.Table.

        Raises:
            MissingExtraError: pyarrow is not installed.
        """
        from mien.recognition import records  # here and below: it imports rich, which most programs do not need

        pyarrow = require("pyarrow", EXTRA)
        return pyarrow.Table.from_pylist(self.rows, records.parquet_schema(self.columns))

    def to_pandas(self) -> Any:
        """Returns a pandas.DataFrame.

        Raises:
            MissingExtraError: pandas or pyarrow is not installed.
        """
        require("pandas", EXTRA)
        return self.to_arrow().to_pandas()

    def to_polars(self) -> Any:
        """Returns a polars.DataFrame.

        Raises:
            MissingExtraError: Polars or pyarrow is not installed.
        """
        return require("polars", EXTRA).from_arrow(self.to_arrow())


class Faces(tuple[Face, ...]):
    """The faces in one picture, from left to right: a tuple that can also be a table.

    Attributes:
        classes: The classes of the model, in order.
        size: Width and height of the upright picture, pixels.
        path: The path of the picture; empty if it was given in another form.
    """

    classes: tuple[str, ...]
    size: tuple[int, int]
    path: str

    def __new__(cls, faces: Iterable[Face], classes: tuple[str, ...], size: tuple[int, int], path: str = "") -> Faces:
        """Makes a tuple of the faces."""
        self = super().__new__(cls, faces)
        self.classes, self.size, self.path = classes, size, path
        return self

    def __getnewargs__(self) -> tuple[Any, ...]:
        return tuple(self), self.classes, self.size, self.path

    @property
    def table(self) -> Table:
        """One row per face, with the columns of the Parquet files of `mien recognize`; at least one row."""
        from mien.recognition import records

        width, height = self.size
        record = {"path": self.path, "width": width, "height": height, "faces": list(map(records.face_record, self))}
        return Table(records.to_file_rows(record), records.file_columns(self.classes))

    def to_arrow(self) -> Any:
        """Returns `table` as a pyarrow.Table; see `Table.to_arrow`."""
        return self.table.to_arrow()

    def to_pandas(self) -> Any:
        """Returns `table` as a pandas.DataFrame; see `Table.to_pandas`."""
        return self.table.to_pandas()

    def to_polars(self) -> Any:
        """Returns `table` as a polars.DataFrame; see `Table.to_polars`."""
        return self.table.to_polars()

    def to_supervision(self) -> Any:
        """Returns supervision.Detections; see `to_supervision`."""
        return to_supervision(self, self.classes)


def to_supervision(faces: Sequence[Face], classes: Sequence[str], tracks: Sequence[int | None] | None = None) -> Any:
    """Converts the faces of an image for the annotators, zones and sinks of the package supervision.

    Args:
        faces: The faces.
        classes: The classes of the model, in order.
        tracks: The number of each face's track, in a video; None for a face without one.

    Returns:
        supervision.Detections with `xyxy` in pixels, `confidence` of the expression, `class_id`, its position in
        `classes`, `tracker_id`, which is -1 for a face without a track, and in `data` the `class_name`, the `score` of
        the detector and whether the expression is `uncertain`.

    Raises:
        MissingExtraError: supervision is not installed.
    """
    names = [face.expression.name for face in faces]
    return require("supervision", EXTRA).Detections(
        xyxy=np.array([face.box.xyxy for face in faces], np.float32).reshape(-1, 4),
        confidence=np.array([face.expression.confidence for face in faces], np.float32),
        class_id=np.array([list(classes).index(name) for name in names], np.int64),
        tracker_id=None if tracks is None else np.array([-1 if n is None else n for n in tracks], np.int64),
        data={
            "class_name": np.array(names, np.str_),
            "score": np.array([face.score for face in faces], np.float32),
            "uncertain": np.array([face.expression.uncertain for face in faces], np.bool_),
        },
    )
