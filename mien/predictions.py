"""Predictions as Parquet files: saving, loading, and checking that files hold the same faces.

A file has one row per face:

    index           int64               row of the face in its data set
    target          int64               class id
    logit_<class>   float or halffloat  score before softmax, one column per class

The schema's metadata holds JSON with the class names in order and a description of the predictions.
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
from mien.parsing import parse_json
from mien.types import Predictions

FORMAT = "mien-predictions-1"
"""Key of the JSON in the schema's metadata."""
_LOWEST_HALF = -6e4
"""Logits are clipped here before they become float16, whose range ends at -65504; the probability is 0 either way."""


def save(predictions: Predictions, path: Path, metadata: dict[str, Any], half: bool = False) -> None:
    """Writes predictions to a Parquet file, atomically.

    Args:
        predictions: The predictions.
        path: The file to write.
        metadata: A description that JSON can hold, such as network, split and weights.
        half: Whether to store float16 logits, about half as many bytes; see `half_logits` for what that changes. The
            default stores the float32 logits exactly.

    Raises:
        OSError: The disk is full or the folder cannot be written; an existing file at `path` is left unchanged.
        MissingExtraError: pyarrow is not installed.
    """
    pyarrow, parquet = require("pyarrow", "batch"), require("pyarrow.parquet", "batch")
    columns: dict[str, NDArray[Any]] = {
        "index": predictions.index.astype(np.int64),
        "target": predictions.targets.astype(np.int64),
    }
    logits = half_logits(predictions.logits) if half else predictions.logits.astype(np.float32)
    columns |= {_column(name): logits[:, k].copy() for k, name in enumerate(predictions.classes)}
    description = {"classes": list(predictions.classes), "metadata": metadata}
    table = pyarrow.table(columns).replace_schema_metadata({FORMAT: json.dumps(description)})
    with replaced(path) as part:
        # Logits hardly ever repeat, so a dictionary of them only makes the file larger.
        parquet.write_table(table, part, compression="zstd", use_dictionary=["target"])


def half_logits(logits: NDArray[np.float32]) -> NDArray[np.float16]:
    """Rounds logits (N, K) to float16 and keeps each face's predicted class and confidence.

    Each row is shifted so that its highest logit is 0: softmax ignores the shift, and float16 is most precise there.
    The highest logit then absorbs the rounding of the others. The predicted class never changes, the confidence
    changes by less than 1e-4, and the other probabilities by less than 2e-4.
    """
    rows, top = np.arange(len(logits)), logits.argmax(axis=1)
    exact = logits.astype(np.float64) - logits[rows, top, None]
    rounded = np.maximum(exact, _LOWEST_HALF).astype(np.float16)

    def odds_against(values: NDArray[Any]) -> NDArray[np.float64]:
        exponentials = np.exp(values.astype(np.float64))
        exponentials[rows, top] = 0
        return np.asarray(np.maximum(exponentials.sum(axis=1), np.finfo(np.float64).tiny))

    correction = np.log(odds_against(rounded) / odds_against(exact))
    rounded[rows, top] = -np.inf
    just_above_others = np.nextafter(rounded.max(axis=1, initial=_LOWEST_HALF), np.float16(np.inf))
    rounded[rows, top] = np.maximum(correction.astype(np.float16), just_above_others)
    return rounded


def load(path: Path) -> Predictions:
    """Reads a file that `save` wrote.

    Raises:
        DataError: The file is missing, damaged, not Parquet, or not predictions of mien.
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
        raise DataError(f"{path} must have a value in each row, but the column {nulls[0]} has empty cells")
    logits = np.empty((table.num_rows, len(classes)), np.float32)
    for k, name in enumerate(classes):
        logits[:, k] = table[_column(name)].to_numpy()
    try:
        return Predictions(table["index"].to_numpy(), logits, table["target"].to_numpy(), tuple(classes))
    except ValueError as error:
        raise DataError(f"{path} does not hold predictions: {error}") from None


def load_metadata(path: Path) -> dict[str, Any]:
    """Reads only the metadata that was passed to `save`.

    Raises:
        DataError: The file is missing, not Parquet, or not predictions of mien.
        MissingExtraError: pyarrow is not installed.
    """
    with _open(path) as file:
        return dict(_description(file, path)["metadata"])


def load_all(paths: Sequence[Path]) -> tuple[dict[str, Predictions], list[dict[str, Any]]]:
    """Reads several predictions of the same faces.

    Args:
        paths: Parquet files, or evaluation folders that hold a `predictions.parquet`.

    Returns:
        Path as text, followed by the view if the views differ -> predictions; and the metadata of each file.

    Raises:
        DataError: A file cannot be read, a path is repeated, or the faces or their order differ.
    """
    files = [path / "predictions.parquet" if path.is_dir() else path for path in paths]
    metadata = [load_metadata(file) for file in files]
    views_differ = len({each.get("view") for each in metadata}) > 1
    predictions: dict[str, Predictions] = {}
    for path, file, each in zip(paths, files, metadata, strict=True):
        name = f"{path} ({each.get('view', 'view unknown')})" if views_differ else str(path)
        if name in predictions:
            raise DataError(f"{path} is given twice: give each file of predictions once")
        predictions[name] = load(file)
    check_same_faces(list(predictions.values()))
    return predictions, metadata


def short_names(names: Sequence[str]) -> list[str]:
    """Shortens file names for tables and legends: drops the leading folders and the ending that all of them share."""
    if all(name.endswith(".parquet") for name in names):
        names = [name.removesuffix(".parquet") for name in names]
    parts = [PurePath(name).parts for name in names]
    while len({each[0] for each in parts}) == 1 and all(len(each) > 1 for each in parts):
        parts = [each[1:] for each in parts]
    return [str(PurePath(*each)) for each in parts]


class LabelledFaces(Protocol):
    """Faces with labels: a data set, or predictions."""

    @property
    def index(self) -> NDArray[np.int64]:
        """(N,) row of each face in its data set."""

    @property
    def targets(self) -> NDArray[np.int64]:
        """(N,) class ids."""

    @property
    def classes(self) -> tuple[str, ...]:
        """K class names."""


def same_faces(a: LabelledFaces, b: LabelledFaces) -> bool:
    """Whether both hold the same faces in the same order, with the same labels and classes."""
    return np.array_equal(a.index, b.index) and np.array_equal(a.targets, b.targets) and a.classes == b.classes


def check_same_faces(members: Sequence[Predictions]) -> None:
    """Checks that predictions can be compared face by face.

    Raises:
        DataError: The faces, their order, their labels or the classes differ.
    """
    first = members[0]
    for other in members:
        if not same_faces(other, first):
            raise DataError(
                "predictions are compared face by face, so they must have the same faces and classes, got "
                f"{len(first.index):,} and {len(other.index):,} faces that differ in index, label or classes: "
                "evaluate all networks on the same split of the same data"
            )


def _column(name: str) -> str:
    return f"logit_{name}"


def _open(path: Path) -> Any:
    """Opens one Parquet file; `read_table` would read folder names like seed=1 as columns."""
    parquet = require("pyarrow.parquet", "batch")
    if not path.is_file():
        raise DataError(f"there is no file of predictions at {path}")
    try:
        return parquet.ParquetFile(path)
    except _read_errors() as error:
        raise DataError(f"{path} is not a readable Parquet file: {error}") from None


def _read_errors() -> tuple[type[Exception], ...]:
    arrow: type[Exception] = require("pyarrow", "batch").ArrowException
    return OSError, ValueError, arrow


def _description(file: Any, path: Path) -> dict[str, Any]:
    stored = (file.schema_arrow.metadata or {}).get(FORMAT.encode())
    if stored is None:
        raise DataError(f"{path} does not hold predictions of mien: its metadata has no {FORMAT}")
    try:
        description = parse_json(stored)
        classes, metadata = description["classes"], description["metadata"]
    except (ValueError, KeyError, TypeError):
        raise DataError(f"{path} is damaged: its {FORMAT} must be JSON with classes and metadata") from None
    are_names = isinstance(classes, list) and all(isinstance(name, str) for name in classes)
    if not are_names or not classes or len(set(classes)) < len(classes):
        raise DataError(f"the classes in {path} must be distinct names, got {str(classes)[:80]}")
    if not isinstance(metadata, dict):
        raise DataError(f"the metadata in {path} must be a JSON object, got {str(metadata)[:80]}")
    return {"classes": classes, "metadata": metadata}


def _check_columns(schema: Any, classes: list[str], path: Path) -> None:
    logit_types = ("float", "halffloat")
    expected = {"index": ("int64",), "target": ("int64",)} | {_column(name): logit_types for name in classes}
    types = {field.name: str(field.type) for field in schema}
    if missing := [name for name in expected if name not in types]:
        raise DataError(
            f"{path} must have the columns {', '.join(expected)}, and {', '.join(missing)} "
            f"{'is' if len(missing) == 1 else 'are'} missing"
        )
    if unknown := [name for name in types if name.startswith(_column("")) and name not in expected]:
        raise DataError(f"{path} has the classes {', '.join(classes)}, but also the column {unknown[0]}")
    if len(schema.names) > len(types):
        raise DataError(f"{path} must have each column once, got {', '.join(schema.names)}")
    for name, allowed in expected.items():
        if types[name] not in allowed:
            raise DataError(f"the column {name} of {path} must be {' or '.join(allowed)}, got {types[name]}")
