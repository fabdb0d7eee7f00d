"""Predictions as a Parquet file, one row a face, that every metric, figure and comparison reads.

    index           int64    row of the face in its data set
    target          int64    class id
    logit_<class>   float    score before softmax, one column a class

The names of the classes in order, and whatever describes the predictions, are JSON in the schema's metadata.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mien.errors import DataError, require
from mien.files import replaced
from mien.types import Predictions

FORMAT = "mien-predictions-1"
"""Key of the JSON in the schema's metadata."""


def save(predictions: Predictions, path: Path, metadata: dict[str, Any]) -> None:
    """Writes predictions, whole or not at all.

    Args:
        predictions: Their float32 logits are kept to the bit.
        path: The file.
        metadata: What says where they come from, such as network, split and weights; whatever JSON can hold.

    Raises:
        OSError: The disk is full or the folder cannot be written; what stood at `path` is still there.
        MissingExtraError: pyarrow is not installed.
    """
    pyarrow, parquet = require("pyarrow", "train"), require("pyarrow.parquet", "train")
    columns: dict[str, NDArray[Any]] = {
        "index": predictions.index.astype(np.int64),
        "target": predictions.targets.astype(np.int64),
    }
    logits = predictions.logits.astype(np.float32)
    columns |= {_column(name): logits[:, k].copy() for k, name in enumerate(predictions.classes)}
    description = {"classes": list(predictions.classes), "metadata": metadata}
    table = pyarrow.table(columns).replace_schema_metadata({FORMAT: json.dumps(description)})
    with replaced(path) as part:
        parquet.write_table(table, part, compression="zstd")


def load(path: Path) -> Predictions:
    """Reads what `save` wrote.

    Raises:
        DataError: The file is missing, not Parquet, or not predictions of mien; says what is wrong with it.
        MissingExtraError: pyarrow is not installed.
    """
    with _open(path) as file:
        classes = _description(file, path)["classes"]
        _check_columns(file.schema_arrow, classes, path)
        try:
            table = file.read()
        except _read_errors() as error:
            raise DataError(f"{path} is damaged: {error}") from None
    nulls = [name for name in table.column_names if table[name].null_count]
    if nulls:
        raise DataError(f"{path} must have a value in each row, and the column {nulls[0]} has rows without")
    logits = np.empty((table.num_rows, len(classes)), np.float32)
    for k, name in enumerate(classes):
        logits[:, k] = table[_column(name)].to_numpy()
    try:
        return Predictions(table["index"].to_numpy(), logits, table["target"].to_numpy(), tuple(classes))
    except ValueError as error:
        raise DataError(f"{path} does not hold predictions: {error}") from None


def load_metadata(path: Path) -> dict[str, Any]:
    """Reads the metadata that was given to `save`, without the rows.

    Raises:
        DataError: The file is missing, not Parquet, or not predictions of mien.
        MissingExtraError: pyarrow is not installed.
    """
    with _open(path) as file:
        return dict(_description(file, path)["metadata"])


def load_all(paths: Sequence[Path]) -> tuple[dict[str, Predictions], list[dict[str, Any]]]:
    """Reads several files, or the folders of evaluations that hold one.

    Returns:
        What each was called on the command line, with its view where these differ -> predictions, of the same faces;
        and the metadata of each.

    Raises:
        DataError: A file cannot be read, is named twice, or they are not of the same faces in the same order.
    """
    files = [path / "predictions.parquet" if path.is_dir() else path for path in paths]
    about = [load_metadata(file) for file in files]
    several_views = len({each.get("view") for each in about}) > 1
    found = {}
    for path, file, each in zip(paths, files, about, strict=True):
        name = f"{path} ({each.get('view', 'view unknown')})" if several_views else str(path)
        if name in found:
            raise DataError(f"{path} is named twice: name each network's predictions once")
        found[name] = load(file)
    check_same_faces(list(found.values()))
    return found, about


def short_names(names: Sequence[str]) -> list[str]:
    """What tells files apart where there is little room: names without the folders, and the ending, that all share."""
    if all(name.endswith(".parquet") for name in names):
        names = [name.removesuffix(".parquet") for name in names]
    parts = [PurePath(name).parts for name in names]
    while len({each[0] for each in parts}) == 1 and all(len(each) > 1 for each in parts):
        parts = [each[1:] for each in parts]
    return [str(PurePath(*each)) for each in parts]


class Labelled(Protocol):
    """Labelled faces, or what was said of them."""

    @property
    def index(self) -> NDArray[np.int64]:
        """(N,) row of each face in its data set."""

    @property
    def targets(self) -> NDArray[np.int64]:
        """(N,) class ids."""

    @property
    def classes(self) -> tuple[str, ...]:
        """K class names."""


def same_faces(a: Labelled, b: Labelled) -> bool:
    """Whether both are of the same faces in the same order, with the same labels of the same classes."""
    same = np.array_equal(a.index, b.index) and np.array_equal(a.targets, b.targets)
    return same and a.classes == b.classes


def check_same_faces(members: Sequence[Predictions]) -> None:
    """Refuses predictions that cannot be set side by side, face by face.

    Raises:
        DataError: They are not of the same faces in the same order, or not of the same classes.
    """
    first = members[0]
    for other in members:
        if not same_faces(other, first):
            raise DataError(
                f"predictions are compared face by face, and these are of {len(first.index):,} and "
                f"{len(other.index):,} faces that are not the same, or of other classes: evaluate all on the same "
                "split of the same data"
            )


def _column(name: str) -> str:
    return f"logit_{name}"


def _open(path: Path) -> Any:
    """A Parquet file by itself: `read_table` would take folders named like seed=1 for columns."""
    parquet = require("pyarrow.parquet", "train")
    if not path.is_file():
        raise DataError(f"there is no file of predictions {path}")
    try:
        return parquet.ParquetFile(path)
    except _read_errors() as error:
        raise DataError(f"{path} is not a Parquet file that can be read: {error}") from None


def _read_errors() -> tuple[type[Exception], ...]:
    arrow: type[Exception] = require("pyarrow", "train").ArrowException
    return OSError, ValueError, arrow


def _description(file: Any, path: Path) -> dict[str, Any]:
    stored = (file.schema_arrow.metadata or {}).get(FORMAT.encode())
    if stored is None:
        raise DataError(f"{path} is not predictions of mien: its metadata has no {FORMAT}")
    try:
        description = json.loads(stored)
        classes, metadata = description["classes"], description["metadata"]
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{path} is damaged: its {FORMAT} must be JSON with classes and metadata") from None
    names = isinstance(classes, list) and all(isinstance(name, str) for name in classes)
    if not names or not classes or len(set(classes)) < len(classes):
        raise DataError(f"the classes in {path} must be different names, got {classes}")
    if not isinstance(metadata, dict):
        raise DataError(f"the metadata in {path} must be an object, got {metadata}")
    return {"classes": classes, "metadata": metadata}


def _check_columns(schema: Any, classes: list[str], path: Path) -> None:
    expected = {"index": "int64", "target": "int64"} | {_column(name): "float" for name in classes}
    found = {field.name: str(field.type) for field in schema}
    if missing := [name for name in expected if name not in found]:
        raise DataError(
            f"{path} must have the columns {', '.join(expected)}, and {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing"
        )
    if more := [name for name in found if name.startswith(_column("")) and name not in expected]:
        raise DataError(f"{path} is of the classes {', '.join(classes)}, but has the column {more[0]} too")
    if len(schema.names) > len(found):
        raise DataError(f"{path} must have each column once, got {', '.join(schema.names)}")
    for name, kind in expected.items():
        if found[name] != kind:
            raise DataError(f"the column {name} of {path} must be {kind}, got {found[name]}")
