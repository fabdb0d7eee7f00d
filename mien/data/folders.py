"""Pictures in class folders: the Kaggle picture form of FER2013, or a person's own."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import numpy as np

from mien.data.dataset import FaceDataset
from mien.data.fer2013 import check_split_sizes
from mien.data.pictures import SUFFIXES, files, read_face
from mien.errors import DataError, ImageError, near
from mien.labels import EXPRESSIONS, FOLDER_NAMES, SPLITS, USAGES, class_of_folder

SPLIT_FOLDERS = {
    "train": "training", "training": "training",
    "val": "public", "valid": "public", "validation": "public", "public": "public", "publictest": "public",
    "test": "private", "private": "private", "privatetest": "private",
}  # fmt: skip
"""Names of split folders, in lower case, and the split each means."""

MERGED_FOLDERS = frozenset({"val", "valid", "validation", "test"})
"""Split folders in which copies of FER2013 keep public and private pictures together; file names tell them apart."""


def read(folder: Path, size: int = 48) -> FaceDataset:
    """Reads `[split/]class/picture` folders, in any case; one picture is one face.

    The split of a picture is, first found: its file name's beginning (`Training_`, `PublicTest_`, `PrivateTest_`, as
    in Kaggle's merged `test/` folder), its split folder, or else a draw by its path: eight tenths training, one
    tenth public, one tenth private, the same on every machine.

    Args:
        folder: Holds class folders, or split folders that hold class folders. A class may be missing.
        size: Height and width that the pictures are brought to, pixels.

    Raises:
        DataError: A folder of unknown name, a picture that cannot be read, mixed or swapped splits, or no picture.
    """
    paths = files(folder, SUFFIXES)
    if not paths:
        raise DataError(f"{folder} holds no pictures; expected class folders such as {folder / 'happy'}")
    # Names first: a misplaced folder shows at once and not after minutes of reading pictures.
    targets = np.array([EXPRESSIONS.index(_class_of(path, folder)) for path in paths], np.int64)
    splits = np.array([SPLITS.index(_split_of(path, folder)) for path in paths], np.int8)
    images = np.empty((len(paths), size, size), np.uint8)
    for image, path in zip(images, paths, strict=True):
        try:
            image[:] = read_face(path, size)
        except ImageError as error:
            raise DataError(
                f"{path} is not a picture that can be read: {error}; remove it, or put a whole copy there"
            ) from None
    dataset = FaceDataset(images, targets, splits, np.arange(len(paths), dtype=np.int64))
    check_split_sizes(dataset, str(folder))
    return dataset


def _class_of(path: Path, root: Path) -> str:
    parts = path.relative_to(root).parts
    if len(parts) < 2 or parts[-2].lower() in SPLIT_FOLDERS:
        raise DataError(f"{path} lies in no class folder; expected one such as {path.parent / 'happy' / path.name}")
    expression = class_of_folder(parts[-2])
    if expression is None:
        raise DataError(f"unknown class folder {path.parent}: {near(parts[-2].lower(), FOLDER_NAMES)}")
    return expression


def _split_of(path: Path, root: Path) -> str:
    relative = path.relative_to(root)
    above = [part.lower() for part in relative.parts[:-2]]
    folder = next((part for part in reversed(above) if part in SPLIT_FOLDERS), None)
    named = USAGES.get(path.name.partition("_")[0])
    if named and folder:
        merged = folder in MERGED_FOLDERS and named != "training"
        if not merged and named != SPLIT_FOLDERS[folder]:
            raise DataError(
                f"{path} is named as a {named} picture but lies in {folder}: the splits are mixed, "
                "use a copy of the data in its original folders"
            )
    if named:
        return named
    if folder:
        return SPLIT_FOLDERS[folder]
    if above:
        raise DataError(
            f"unknown split folder {root / relative.parts[0]}: {near(above[0], SPLIT_FOLDERS)}; "
            "or name the folder that holds the class folders"
        )
    draw = zlib.crc32(os.fsencode(relative.as_posix())) % 10
    return "training" if draw < 8 else "public" if draw == 8 else "private"
