"""Hugging Face style Parquet: pictures as bytes beside their label."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.data.dataset import FaceDataset
from mien.data.fer2013 import check_split_sizes
from mien.data.folders import SPLIT_FOLDERS
from mien.data.pictures import files, read_face
from mien.errors import DataError, ImageError, near, require
from mien.labels import EXPRESSIONS, FOLDER_NAMES, SPLITS, USAGES, class_of_folder

ROWS_AT_ONCE = 1024
"""Rows held in memory as Python objects."""


def read(path: Path, size: int = 48) -> FaceDataset:
    """Reads one Parquet file, or all those of a folder, with the columns `image` and `label`.

    `image` is a picture's bytes, or a struct whose `bytes` are. `label` is a class's name, or its number: in the order
    of the names that the file's own Hugging Face header gives, and FER2013's id where it gives none. The split of a
    row is its `usage` or `split` column, else the first word that is one of its file's name or of those of the folders
    below `path` that it is in (`train-00000.parquet`, `validation/0000.parquet`), else training.

    Args:
        path: The file or folder.
        size: Height and width that the pictures are brought to, pixels.

    Raises:
        DataError: A column is missing, a label is out of range, or a picture cannot be read; names file and row, of
            which the first is 0.
        MissingExtraError: pyarrow is not installed.
    """
    images: list[NDArray[np.uint8]] = []
    targets: list[int] = []
    splits: list[int] = []
    for file in files(path, {".parquet"}) if path.is_dir() else [path]:
        default = _split_of_file(file, path)
        for number, (image, label, split, classes) in enumerate(_rows(file)):
            where = f"row {number} of {file.name}"
            targets.append(_target(label, classes, where))
            splits.append(SPLITS.index(default if split is None else _split_of(split, where)))
            images.append(_face(image, size, where))
    if not images:
        raise DataError(f"{path} has no rows; expected faces with the columns image and label")
    dataset = FaceDataset(
        images=np.stack(images),
        targets=np.array(targets, np.int64),
        splits=np.array(splits, np.int8),
        index=np.arange(len(images), dtype=np.int64),
    )
    check_split_sizes(dataset, str(path))
    return dataset


def _rows(file: Path) -> Iterator[tuple[object, object, object, Sequence[str]]]:
    """Gives (image, label, split or None, class names by number) of each row."""
    arrow, parquet = require("pyarrow", "train"), require("pyarrow.parquet", "train")
    try:
        with parquet.ParquetFile(file) as opened:
            schema = opened.schema_arrow
            if not {"image", "label"} <= set(schema.names):
                raise DataError(
                    f"{file.name} must have the columns image and label, got {', '.join(schema.names) or 'none'}"
                )
            classes = _classes(schema.metadata or {}, file.name)
            split = next((name for name in schema.names if name.lower() in ("usage", "split")), None)
            columns = ["image", "label", *([split] if split else [])]
            for batch in opened.iter_batches(ROWS_AT_ONCE, columns=columns):
                for row in batch.to_pylist():
                    # An empty split is as wrong as an unknown one: it must not read as "the file has no such column".
                    yield row["image"], row["label"], (row[split] or "") if split else None, classes
    except (OSError, ValueError, arrow.ArrowException) as error:
        raise DataError(f"{file} is not a Parquet file that can be read: {error}; download it again") from None


def _classes(metadata: dict[bytes, bytes], name: str) -> Sequence[str]:
    """Class names by number, from the header that Hugging Face's `datasets` writes.

    Sets that were made from folders number their classes by the alphabet and not as FER2013 does.
    """
    try:
        names = json.loads(metadata[b"huggingface"])["info"]["features"]["label"]["names"]
    except (KeyError, TypeError, ValueError):
        return EXPRESSIONS
    if not isinstance(names, list) or not names:
        raise DataError(f"the header of {name} must list the label's names, got {names!r}: remove it or mend it")
    classes = [class_of_folder(str(label)) for label in names]
    for label, expression in zip(names, classes, strict=True):
        if expression is None:
            raise DataError(f"unknown class {label} in the header of {name}: {near(str(label).lower(), FOLDER_NAMES)}")
    return [expression for expression in classes if expression]


def _target(label: object, classes: Sequence[str], where: str) -> int:
    if isinstance(label, str):
        expression = class_of_folder(label)
        if expression is None:
            raise DataError(f"unknown label {label} in {where}: {near(label.lower(), FOLDER_NAMES)}")
        return EXPRESSIONS.index(expression)
    if type(label) is not int or not 0 <= label < len(classes):
        raise DataError(f"label must be 0..{len(classes) - 1}, got {label} in {where}")
    return EXPRESSIONS.index(classes[label])


def _face(image: object, size: int, where: str) -> NDArray[np.uint8]:
    data = image.get("bytes") if isinstance(image, dict) else image
    if not isinstance(data, bytes):
        raise DataError(f"image must hold the bytes of a picture, got {type(data).__name__} in {where}")
    try:
        return read_face(io.BytesIO(data), size)
    except ImageError as error:
        raise DataError(f"image is not a picture that can be read in {where}: {error}") from None


def _split_of(name: object, where: str) -> str:
    split = USAGES.get(str(name)) or SPLIT_FOLDERS.get(str(name).lower())
    if split is None:
        raise DataError(
            f"split must be one of {', '.join([*USAGES, *SPLIT_FOLDERS])}, got {name or 'nothing'} in {where}"
        )
    return split


def _split_of_file(file: Path, root: Path) -> str:
    """By the first word of the file's name that is a split's, else of the folders between it and `root`."""
    folders = file.relative_to(root).parts[-2::-1] if file != root else ()
    for name in (file.stem, *folders):
        for word in re.split(r"[^a-z]+", name.lower()):
            if word in SPLIT_FOLDERS:
                return SPLIT_FOLDERS[word]
    return "training"
