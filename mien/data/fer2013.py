"""FER2013 (Goodfellow et al., ICONIP 2013) as its challenge published it: a CSV file, alone or in an archive."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.data.archive import DAMAGE, open_csv
from mien.data.classes import encode_labels
from mien.data.dataset import FaceDataset
from mien.errors import DataError, error_text, shortened
from mien.labels import EXPRESSIONS, SPLITS, USAGES

SIZE = 48
"""Height and width of the faces, pixels."""

PUBLISHED_COUNTS = {
    "training": (3995, 436, 4097, 7215, 4830, 3171, 4965),
    "public": (467, 56, 496, 895, 653, 415, 607),
    "private": (491, 55, 528, 879, 594, 416, 626),
}
"""Split -> number of faces of each class, by class id, as published with the challenge."""

MAX_NAME = 60
"""Most characters of a class name: more is another column or a damaged row."""

_IDS = {str(i): i for i in range(len(EXPRESSIONS))}
_SPLIT_IDS = {usage: SPLITS.index(split) for usage, split in USAGES.items()}


def read(path: Path) -> FaceDataset:
    """Reads `fer2013.csv`, `icml_face_data.csv`, or an archive (.tar.gz, .tgz, .tar, .zip) that holds one of them.

    The column `emotion` holds FER2013's class ids 0 to 6, or the names of other classes. Without the column `Usage`, as
    in Kaggle's `train.csv`, all faces are training faces.

    Raises:
        DataError: The file is damaged, or a row is not in the published format. The message names the file and the row;
            the header is row 1.
    """
    images = bytearray()  # grows in place: stacking a list of arrays would hold them twice
    labels: list[str] = []
    splits: list[int] = []
    name = path.name
    try:
        with open_csv(path) as (lines, name):
            rows = csv.reader(lines)
            columns = _columns(next(rows, []), name)
            for row in rows:
                if not row:  # a blank line, as some editors leave at the end
                    continue
                where = f"row {rows.line_num} of {name}"
                emotion, pixels, usage = _cells(row, columns, where)
                labels.append(_label(emotion, labels, where))
                images += _parse_pixels(pixels, where).data
                splits.append(_split_id(usage, where))
    except PermissionError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; check its permissions") from None
    except DAMAGE as error:
        raise DataError(
            f"{path.name} is damaged or incomplete: reading stopped after {len(labels)} rows of {name} "
            f"({error_text(error)}); download it again"
        ) from None
    if not labels:
        raise DataError(f"{name} has a header but no rows; download it again")
    if labels[0] in _IDS:
        targets, classes = np.array([_IDS[label] for label in labels], np.int64), EXPRESSIONS
    else:
        targets, classes = encode_labels(labels)
    return FaceDataset(
        images=np.frombuffer(images, np.uint8).reshape(-1, SIZE, SIZE),
        targets=targets,
        splits=np.array(splits, np.int8),
        index=np.arange(len(targets), dtype=np.int64),
        classes=classes,
    )


def check_splits(dataset: FaceDataset) -> None:
    """Checks that PublicTest does not have PrivateTest's published counts, or the other way round.

    Raises:
        DataError: The two are swapped.
    """
    counts = dataset.counts()
    for split, other in (("public", "private"), ("private", "public")):
        if tuple(counts.get(split, {}).values()) == PUBLISHED_COUNTS[other]:
            raise DataError(
                f"the splits of {dataset.path} are swapped: its {split} rows have the published class counts of "
                f"{other}; use a copy with the original Usage column"
            )


def _columns(header: list[str], name: str) -> tuple[int, ...]:
    """Finds the columns emotion, pixels and, if there is one, Usage.

    `icml_face_data.csv` has another order and spaces in its header.
    """
    names = [column.strip().lower() for column in header]
    try:
        columns = names.index("emotion"), names.index("pixels")
    except ValueError:
        got = shortened(", ".join(header)) if header else "an empty file"
        raise DataError(f"{name} must have the columns emotion, pixels and Usage, got {got}") from None
    return (*columns, names.index("usage")) if "usage" in names else columns


def _cells(row: list[str], columns: tuple[int, ...], where: str) -> tuple[str, str, str]:
    """Returns a row's emotion, pixels and Usage, which is Training where there is no such column."""
    if len(row) <= max(columns):
        raise DataError(f"expected {max(columns) + 1} columns, got {len(row)} in {where}; is the file cut off?")
    emotion, pixels, *usage = (row[column].strip() for column in columns)
    return emotion, pixels, usage[0] if usage else "Training"


def _label(emotion: str, labels: list[str], where: str) -> str:
    """Checks a label against the first one of the file: all are FER2013's ids, or all are class names."""
    is_id = emotion in _IDS
    named = labels[0] not in _IDS if labels else emotion[:1].isalpha()
    if named and (is_id or not emotion or len(emotion) > MAX_NAME):
        raise DataError(
            f"emotion must be a class name, as in the rows before, got {shortened(emotion) or 'nothing'} in {where}"
        )
    if not named and not is_id:
        raise DataError(f"emotion must be 0..{len(EXPRESSIONS) - 1}, got {shortened(emotion) or 'nothing'} in {where}")
    return emotion


def _split_id(usage: str, where: str) -> int:
    if usage not in _SPLIT_IDS:
        raise DataError(f"Usage must be {', '.join(USAGES)}, got {shortened(usage) or 'nothing'} in {where}")
    return _SPLIT_IDS[usage]


def _parse_pixels(pixels: str, where: str) -> NDArray[np.uint8]:
    """Parses the pixels of a face -> (SIZE * SIZE,), values 0..255."""
    # numpy's parser stops at the first word that is not a number, some versions only with a warning: check first.
    if pixels.encode().translate(None, b"0123456789 "):
        wrong = next(word for word in pixels.split(" ") if word.strip("0123456789"))
        raise DataError(f"pixels must be 0..255 separated by spaces, got {shortened(wrong)} in {where}")
    values = np.fromstring(pixels, np.int64, sep=" ") if pixels else np.empty(0, np.int64)
    if values.size != SIZE * SIZE:
        raise DataError(f"expected {SIZE * SIZE} pixels ({SIZE} x {SIZE}), got {values.size} in {where}")
    if values.max() > 255:
        raise DataError(f"pixels must be 0..255, got {values.max()} in {where}")
    return values.astype(np.uint8)
