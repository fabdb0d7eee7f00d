"""Parquet files in the style of Hugging Face: encoded pictures with a label beside each."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mien.data.classes import encode_labels
from mien.data.dataset import FaceDataset
from mien.data.folders import SPLIT_FOLDERS
from mien.data.pictures import files, read_face
from mien.errors import DataError, ImageError, error_text, require, shortened
from mien.labels import SPLITS, USAGES
from mien.parsing import parse_json

MARK = b"PAR1"
"""The first and the last four bytes of a Parquet file."""
BATCH_ROWS = 1024
"""Rows held in memory as Python objects at once."""


class Row(NamedTuple):
    """One row of a Parquet file, before it is checked.

    Attributes:
        image: Value of the column `image`.
        label: Value of the column `label`.
        split: Value of the column `usage` or `split`; None if the file has neither, "" if the cell is empty.
        names: Class names by number, from the file's header; empty without a header.
    """

    image: object
    label: object
    split: object
    names: Sequence[str]


def read(path: Path, size: int = 48) -> FaceDataset:
    """Reads one Parquet file, or all of a folder, with the columns `image` and `label`.

    `image` holds the bytes of a picture, or a struct with a field `bytes`. `label` holds a class name or a number;
    numbers index the names in the file's Hugging Face header, and stay numbers in a file without one. The split comes
    from the column `usage` or `split`, or else from the first word of the file's name that names a split, or else from
    the folders around it below `path` (`train-00000.parquet`, `validation/0000.parquet`), or else is training.

    Args:
        path: A file or a folder.
        size: Height and width that the pictures are resized to, pixels.

    Raises:
        DataError: A column is missing, a label is out of range, or a picture cannot be read. The message names the file
            and the row, counted from 0.
        MissingExtraError: pyarrow is not installed.
    """
    images: list[NDArray[np.uint8]] = []
    labels: list[str] = []
    splits: list[int] = []
    header: dict[str, None] = {}
    for file in files(path, {".parquet"}) if path.is_dir() else [path]:
        default = _split_of_file(file, path)
        for number, row in enumerate(_rows(file)):
            where = f"row {number} of {file.name}"
            header |= dict.fromkeys(row.names)
            labels.append(_label(row, where))
            splits.append(SPLITS.index(default if row.split is None else _split_of(row.split, where)))
            images.append(_face(row.image, size, where))
    if not images:
        raise DataError(f"{path} has no rows; expected faces with the columns image and label")
    targets, classes = encode_labels(labels, header)
    return FaceDataset(
        images=np.stack(images),
        targets=targets,
        splits=np.array(splits, np.int8),
        index=np.arange(len(images), dtype=np.int64),
        classes=classes,
    )


def _rows(file: Path) -> Iterator[Row]:
    arrow, parquet = require("pyarrow", "batch"), require("pyarrow.parquet", "batch")
    _check_marks(file)
    number = 0
    try:
        with parquet.ParquetFile(file) as opened:
            schema = opened.schema_arrow
            if not {"image", "label"} <= set(schema.names):
                raise DataError(
                    f"{file.name} must have the columns image and label, got "
                    f"{shortened(', '.join(schema.names)) or 'none'}"
                )
            names = _header_names(schema.metadata or {}, file.name)
            split = next((name for name in schema.names if name.lower() in ("usage", "split")), None)
            columns = ["image", "label", *([split] if split else [])]
            for batch in opened.iter_batches(BATCH_ROWS, columns=columns):
                for row in batch.to_pylist():
                    # An empty cell is an error, while None means that the file has no such column.
                    yield Row(row["image"], row["label"], (row[split] or "") if split else None, names)
                    number += 1
    except (OSError, ValueError, OverflowError, MemoryError, arrow.ArrowException):
        # Arrow's messages describe the format's inside, which helps nobody who only downloaded the file.
        raise DataError(
            f"the Parquet file {file} is damaged: reading stopped after {number} rows; download it again"
        ) from None


def _check_marks(file: Path) -> None:
    """Checks the four bytes with which a Parquet file starts and ends."""
    if not file.is_file():
        raise DataError(f"{file} is a pipe, a device or a folder; expected a Parquet file")
    try:
        with file.open("rb") as stream:
            start = stream.read(len(MARK))
            stream.seek(-min(len(MARK), file.stat().st_size), os.SEEK_END)
            end = stream.read()
    except OSError as error:
        raise DataError(f"the Parquet file {file} cannot be read: {error_text(error)}; check its permissions") from None
    if start != MARK or end != MARK:
        problem = "is cut off" if start == MARK else "is not a Parquet file"
        raise DataError(f"{file} {problem}: it must start and end with {MARK.decode()}; download it again")


def _header_names(metadata: dict[bytes, bytes], name: str) -> Sequence[str]:
    """Returns class names by number from the header that Hugging Face's `datasets` writes; empty without one."""
    try:
        names = parse_json(metadata[b"huggingface"])["info"]["features"]["label"]["names"]
    except (KeyError, TypeError, ValueError):
        return ()
    if not (isinstance(names, list) and names and all(isinstance(each, str) and each for each in names)):
        raise DataError(f"the header of {name} must list the label's names, got {shortened(names)}: fix or remove it")
    return names


def _label(row: Row, where: str) -> str:
    label, names = row.label, row.names
    if isinstance(label, str) and label:
        return label
    if type(label) is int and label >= 0 and (label < len(names) or not names):
        return names[label] if names else str(label)
    expected = f"0..{len(names) - 1}" if names else "a name or a number from 0 on"
    raise DataError(f"label must be {expected}, got {shortened(label)} in {where}")


def _face(image: object, size: int, where: str) -> NDArray[np.uint8]:
    data = image.get("bytes") if isinstance(image, dict) else image
    if not isinstance(data, bytes):
        raise DataError(f"image must hold the bytes of a picture, got {type(data).__name__} in {where}")
    try:
        return read_face(io.BytesIO(data), size)
    except ImageError as error:
        raise DataError(f"the picture in {where} cannot be read: {error}") from None


def _split_of(name: object, where: str) -> str:
    split = USAGES.get(str(name)) or SPLIT_FOLDERS.get(str(name).lower())
    if split is None:
        raise DataError(
            f"split must be one of {', '.join([*USAGES, *SPLIT_FOLDERS])}, "
            f"got {shortened(name) or 'nothing'} in {where}"
        )
    return split


def _split_of_file(file: Path, root: Path) -> str:
    """Finds the split in the words of the file's name, or else of the folders between it and `root`."""
    folders = file.relative_to(root).parts[-2::-1] if file != root else ()
    for name in (file.stem, *folders):
        for word in re.split(r"[^a-z]+", name.lower()):
            if word in SPLIT_FOLDERS:
                return SPLIT_FOLDERS[word]
    return "training"
