"""FER2013 (Goodfellow et al., ICONIP 2013) as its challenge gave it out: a CSV file, bare or in an archive."""

from __future__ import annotations

import csv
import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from mien.data.dataset import FaceDataset
from mien.data.pictures import SUFFIXES, is_junk
from mien.errors import DataError
from mien.labels import EXPRESSIONS, SPLITS, USAGES

SIZE = 48
"""Height and width of FER2013's faces, pixels."""

PUBLISHED_COUNTS = {
    "training": (3995, 436, 4097, 7215, 4830, 3171, 4965),
    "public": (467, 56, 496, 895, 653, 415, 607),
    "private": (491, 55, 528, 879, 594, 416, 626),
}
"""Faces a split and class, by class id, as published with the challenge."""

CSV_NAMES = ("fer2013.csv", "icml_face_data.csv")
"""What the file is called in the archives, in lower case."""

ARCHIVE_SUFFIXES = frozenset({".zip", ".tar", ".gz", ".tgz"})
"""Endings of archives, in lower case."""

_IDS = {str(i): i for i in range(len(EXPRESSIONS))}
_SPLIT_IDS = {usage: SPLITS.index(split) for usage, split in USAGES.items()}


def read(path: Path) -> FaceDataset:
    """Reads `fer2013.csv`, `icml_face_data.csv`, or an archive (.tar.gz, .tgz, .tar, .zip) that holds one of them.

    Raises:
        DataError: The file is damaged, a row is not as published, or the splits are swapped; names file and row, of
            which the header is the first.
    """
    images = bytearray()  # grows in place: a list of arrays would be held twice when it is stacked
    targets: list[int] = []
    splits: list[int] = []
    name = path.name
    try:
        with _open_csv(path) as (stream, name):
            rows = csv.reader(stream)
            columns = _columns(next(rows, []), name)
            for row in rows:
                if not row:  # a blank line, as some editors leave at the end
                    continue
                target, image, split = _parse(row, columns, f"row {rows.line_num} of {name}")
                targets.append(target)
                images += image.data
                splits.append(split)
    except PermissionError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}; check its permissions") from None
    except (
        OSError, EOFError, UnicodeDecodeError, csv.Error, tarfile.TarError, zipfile.BadZipFile, zlib.error,
        lzma.LZMAError, KeyError,  # a link in an archive to what is not there
    ) as error:  # fmt: skip
        raise DataError(
            f"{path.name} is damaged or was not downloaded whole: reading stopped after {len(targets)} rows of {name} "
            f"({error}); download it again"
        ) from None
    if not targets:
        raise DataError(f"{name} has a header but no rows; download it again")
    dataset = FaceDataset(
        images=np.frombuffer(images, np.uint8).reshape(-1, SIZE, SIZE),
        targets=np.array(targets, np.int64),
        splits=np.array(splits, np.int8),
        index=np.arange(len(targets), dtype=np.int64),
    )
    check_split_sizes(dataset, path.name)
    return dataset


def check_split_sizes(dataset: FaceDataset, name: str) -> None:
    """Refuses data in which PublicTest holds PrivateTest's published counts or the other way round.

    Raises:
        DataError: It does.
    """
    counts = dataset.counts()
    for a, b in (("public", "private"), ("private", "public")):
        if tuple(counts.get(a, {}).values()) == PUBLISHED_COUNTS[b]:
            raise DataError(
                f"the splits of {name} are swapped: its {a} rows have the published class counts of {b}; "
                "use a copy with the original Usage column"
            )


@contextmanager
def _open_csv(path: Path) -> Iterator[tuple[io.TextIOBase, str]]:
    """Opens the CSV file in `path`, or `path` itself; also gives its name."""
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes[-1:] == [".zip"]:
        with zipfile.ZipFile(path) as archive:
            member = _csv_member(archive.namelist(), path)
            try:
                packed = archive.open(member)
            except RuntimeError as error:  # a password, or a compression that this Python was built without
                raise DataError(f"{path.name}:{member} cannot be unpacked: {error}; unpack it yourself") from None
            with packed, io.TextIOWrapper(packed, "utf-8-sig", newline="") as stream:
                yield stream, f"{path.name}:{member}"
    elif suffixes[-2:] == [".csv", ".gz"]:
        with gzip.open(path, "rt", encoding="utf-8-sig", newline="") as stream:
            yield stream, path.name
    elif suffixes[-1:] and suffixes[-1] in ARCHIVE_SUFFIXES:
        with tarfile.open(path) as archive:
            members = []
            for entry in archive:  # up to the CSV file only: what follows it need not be unpacked
                members.append(entry.name)
                if _is_csv(entry.name) and (data := archive.extractfile(entry)):
                    with data, io.TextIOWrapper(data, "utf-8-sig", newline="") as stream:
                        yield stream, f"{path.name}:{entry.name}"
                    return
            _csv_member(members, path)
    else:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            yield stream, path.name


def _is_csv(member: str) -> bool:
    parts = PurePosixPath(member).parts
    return bool(parts) and parts[-1].lower() in CSV_NAMES and not any(map(is_junk, parts))


def _csv_member(members: list[str], path: Path) -> str:
    for member in members:
        if _is_csv(member):
            return member
    if any(PurePosixPath(member).suffix.lower() in SUFFIXES for member in members):
        raise DataError(f"{path.name} holds pictures and no {CSV_NAMES[0]}; unpack it and name the folder instead")
    raise DataError(f"{path.name} holds none of {', '.join(CSV_NAMES)}; is it the FER2013 archive?")


def _columns(header: list[str], name: str) -> tuple[int, int, int]:
    """Where emotion, pixels and Usage stand. `icml_face_data.csv` has spaces in its header and another order."""
    names = [column.strip().lower() for column in header]
    try:
        return names.index("emotion"), names.index("pixels"), names.index("usage")
    except ValueError:
        got = ", ".join(header)
        raise DataError(
            f"{name} must have the columns emotion, pixels and Usage, got {_short(got) if got else 'an empty file'}"
        ) from None


def _parse(row: list[str], columns: tuple[int, int, int], where: str) -> tuple[int, NDArray[np.uint8], int]:
    if len(row) <= max(columns):
        raise DataError(f"expected {max(columns) + 1} columns, got {len(row)} in {where}; is the file cut off?")
    emotion, pixels, usage = (row[column].strip() for column in columns)
    if emotion not in _IDS:
        raise DataError(f"emotion must be 0..{len(EXPRESSIONS) - 1}, got {_short(emotion)} in {where}")
    if usage not in _SPLIT_IDS:
        raise DataError(f"Usage must be {', '.join(USAGES)}, got {_short(usage)} in {where}")
    return _IDS[emotion], _parse_pixels(pixels, where), _SPLIT_IDS[usage]


def _parse_pixels(pixels: str, where: str) -> NDArray[np.uint8]:
    """(SIZE * SIZE,), values 0..255."""
    # numpy's reader stops at what is no number, with an error or only a warning by its version: none may reach it.
    if pixels.encode().translate(None, b"0123456789 "):
        wrong = next(word for word in pixels.split(" ") if word.strip("0123456789"))
        raise DataError(f"pixels must be 0..255 with a space between, got {_short(wrong)} in {where}")
    values = np.fromstring(pixels, np.int64, sep=" ") if pixels else np.empty(0, np.int64)
    if values.size != SIZE * SIZE:
        raise DataError(f"expected {SIZE * SIZE} pixels ({SIZE} x {SIZE}), got {values.size} in {where}")
    if values.max() > 255:
        raise DataError(f"pixels must be 0..255, got {values.max()} in {where}")
    return values.astype(np.uint8)


def _short(text: str) -> str:
    """What stands in an error for a field that may be thousands of characters long."""
    return (text if len(text) <= 40 else f"{text[:40]}...") or "nothing"
