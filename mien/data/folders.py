"""Pictures in class folders: FER2013 as Kaggle's pictures, or a person's own data."""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import numpy as np

from mien.data.classes import encode_labels
from mien.data.dataset import FaceDataset
from mien.data.pictures import SUFFIXES, files, read_face
from mien.errors import DataError, ImageError, near
from mien.labels import SPLITS, USAGES

SPLIT_FOLDERS = {
    "train": "training", "training": "training",
    "val": "public", "valid": "public", "validation": "public", "public": "public", "publictest": "public",
    "test": "private", "private": "private", "privatetest": "private",
}  # fmt: skip
"""Name of a split folder, in lower case -> split."""

MERGED_FOLDERS = frozenset({"val", "valid", "validation", "test"})
"""Split folders in which some copies of FER2013 mix public and private pictures; file names then give the split."""


def read(folder: Path, size: int = 48) -> FaceDataset:
    """Reads `[split/]class/picture` folders, with names in any case; one picture is one face.

    The classes are the names of the class folders. The split of a picture comes from the first of these that applies:
    the start of its file name (`Training_`, `PublicTest_`, `PrivateTest_`, as in Kaggle's merged `test/` folder); its
    split folder; a draw by its path, with 80 % training, 10 % public and 10 % private, the same on every machine.

    Args:
        folder: Folder of class folders, or of split folders with class folders inside.
        size: Height and width that the pictures are resized to, pixels.

    Raises:
        DataError: There is no picture, one lies in no class folder or cannot be read, or the splits are mixed.
    """
    paths = files(folder, SUFFIXES)
    if not paths:
        raise DataError(f"{folder} holds no pictures; expected class folders such as {folder / 'happy'}")
    # Names come first: a misplaced folder is reported at once, not after minutes of reading pictures.
    targets, classes = encode_labels([_label_of(path, folder) for path in paths])
    splits = np.array([SPLITS.index(_split_of(path, folder)) for path in paths], np.int8)
    images = np.empty((len(paths), size, size), np.uint8)
    for image, path in zip(images, paths, strict=True):
        try:
            image[:] = read_face(path, size)
        except ImageError as error:
            raise DataError(
                f"the picture {path} cannot be read: {error}; remove it, or replace it by an intact copy"
            ) from None
    return FaceDataset(images, targets, splits, np.arange(len(paths), dtype=np.int64), classes=classes)


def _label_of(path: Path, root: Path) -> str:
    parts = path.relative_to(root).parts
    if len(parts) < 2 or parts[-2].lower() in SPLIT_FOLDERS:
        raise DataError(f"{path} lies in no class folder; expected one such as {path.parent / 'happy' / path.name}")
    return parts[-2]


def _split_of(path: Path, root: Path) -> str:
    """Returns the split of a picture: from its file name, else from its split folder, else by a hash of its path."""
    relative = path.relative_to(root)
    above = [part.lower() for part in relative.parts[:-2]]
    folder = next((part for part in reversed(above) if part in SPLIT_FOLDERS), None)
    named = USAGES.get(path.name.partition("_")[0])
    if named and folder:
        merged = folder in MERGED_FOLDERS and named != "training"
        if not merged and named != SPLIT_FOLDERS[folder]:
            raise DataError(
                f"{path} has a file name of the {named} split but lies in the folder {folder}: use a copy of the data "
                "in its original folders"
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
