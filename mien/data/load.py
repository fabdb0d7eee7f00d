"""Detects the format of a data set, reads it, and caches what was read."""

from __future__ import annotations

import hashlib
import os
import struct
import sys
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from platformdirs import user_cache_path

from mien.data import fer2013, folders, parquet
from mien.data import ferplus as ferplus_votes
from mien.data import hold_out as holding_out
from mien.data.archive import ARCHIVE_SUFFIXES, CSV_NAMES
from mien.data.classes import LabelOptions, apply_options
from mien.data.dataset import FaceDataset
from mien.data.pictures import SUFFIXES, files
from mien.errors import DataError
from mien.files import expand_user, replaced
from mien.labels import EXPRESSIONS

if TYPE_CHECKING:
    from mien.config import DataConfig

FORMAT = "3"
"""Version of the cached copies; raise it when the same file is read differently."""

CHALLENGE_FILES = (*CSV_NAMES, "fer2013.tar.gz", "fer2013.zip")
"""Files that make a folder FER2013's own, unpacked or as downloaded, rather than a folder of pictures."""

_DAMAGE = (
    OSError, EOFError, ValueError, TypeError, AttributeError, KeyError, IndexError, OverflowError, MemoryError,
    RuntimeError, struct.error, zipfile.BadZipFile, zlib.error,
)  # fmt: skip
"""What numpy raises for a damaged copy; RuntimeError includes an unknown compression and encryption."""

_CACHED = ("images", "targets", "splits", "index", "classes")


def load(
    path: str | Path,
    ferplus: str | Path | None = None,
    size: int = 48,
    cache: bool = True,
    options: LabelOptions | None = None,
    hold_out: float = 0.0,
) -> FaceDataset:
    """Reads labelled faces in any known format.

    Args:
        path: FER2013's archive (.tar.gz, .zip) or CSV file, a folder that holds one of these, a folder of pictures, or
            Parquet (a file or a folder).
        ferplus: FER+'s `fer2013new.csv`, joined row by row; the data must be FER2013's CSV file, which keeps its order.
        size: Height and width that pictures are resized to, pixels: the network's input size keeps all the detail that
            it can use. FER2013's CSV format is always 48.
        cache: Whether to keep a copy in the user's cache folder, and to read that copy while the source is unchanged.
        options: How labels become classes; by default the classes are those of the data.
        hold_out: Fraction of the training faces that is taken for choosing; see `mien.data.hold_out`. 0 takes none.

    Raises:
        DataError: The data cannot be read; the message says why, and names the file and the row.
        MissingExtraError: The data is Parquet and pyarrow is not installed.
    """
    options = options or LabelOptions()
    data_format, source = _detect_format(expand_user(path))
    if data_format in ("archive", "csv"):
        size = fer2013.SIZE
    elif ferplus is not None:
        raise DataError(f"FER+ is joined row by row: {source} has lost FER2013's order, use fer2013.csv or its archive")
    dataset = _read_cached(data_format, source, size) if cache else _read(data_format, source, size)
    dataset = replace(dataset, path=str(source), format=data_format)
    if ferplus is not None:
        dataset = ferplus_votes.join(dataset, expand_user(ferplus), options.labels == "ferplus")
    elif options.labels == "ferplus":
        raise DataError("labels from FER+ need FER+'s fer2013new.csv: set ferplus to its path")
    dataset = apply_options(dataset, options)
    if dataset.classes == EXPRESSIONS:
        fer2013.check_splits(dataset)
    if data_format in ("archive", "csv") and not dataset.splits.any():
        note = f"{source.name} has training faces alone; data.hold_out takes some of them for choosing"
        dataset = replace(dataset, notes=(*dataset.notes, note))
    return holding_out.hold_out(dataset, hold_out) if hold_out else dataset


def load_configured(data: DataConfig, size: int, votes: bool = False) -> FaceDataset:
    """Reads the faces of a config's [data] table.

    Args:
        data: The table.
        size: Height and width that pictures are resized to, pixels.
        votes: Whether FER+'s votes are joined; they also are where they give the labels.

    Raises:
        DataError: The data cannot be read.
        MissingExtraError: The data is Parquet and pyarrow is not installed.
    """
    options = LabelOptions(data.classes, data.merge, data.numbering, data.labels)
    return load(
        data.path, data.ferplus if votes or data.labels else None, size, options=options, hold_out=data.hold_out
    )


def _detect_format(source: Path) -> tuple[str, Path]:
    """Returns the format of the data ("archive", "csv", "folders" or "parquet"), and the file or folder to read."""
    try:
        is_folder = source.is_dir()
        if not is_folder and not source.exists():
            raise DataError(
                f"{source} does not exist; expected FER2013's archive or CSV, a folder of pictures, or Parquet"
            )
    except OSError as error:
        raise DataError(f"{source} cannot be read: {error.strerror}; check its permissions") from None
    if is_folder:
        if files(source, {".parquet"}):
            return "parquet", source
        names = {file.name.lower(): file for file in sorted(source.iterdir()) if file.is_file()}
        challenge_file = next((names[name] for name in CHALLENGE_FILES if name in names), None)
        return _detect_format(challenge_file) if challenge_file else ("folders", source)
    suffix = source.suffix.lower()
    if suffix == ".parquet":
        return "parquet", source
    if suffix == ".csv":
        return "csv", source
    if suffix in ARCHIVE_SUFFIXES:
        return "archive", source
    raise DataError(
        f"{source.name} is in no known format; expected .csv, .tar.gz, .zip, .parquet or a folder of pictures"
    )


def _read(data_format: str, source: Path, size: int) -> FaceDataset:
    """Reads the data with its labels as the classes."""
    if data_format == "parquet":
        return parquet.read(source, size)
    if data_format == "folders":
        return folders.read(source, size)
    return fer2013.read(source)


def _read_cached(data_format: str, source: Path, size: int) -> FaceDataset:
    # The name depends on the source's path alone, so that a changed source replaces its old copy.
    name = hashlib.sha256(os.fsencode(f"{source.resolve()}|{size}")).hexdigest()[:32]
    file = user_cache_path("mien") / "data" / f"{name}.npz"
    state = _state(data_format, source)
    try:
        with np.load(file) as stored:
            if stored["state"].item() == state:
                fields = {name: stored[name] for name in _CACHED}
                return FaceDataset(**fields | {"classes": tuple(fields["classes"].tolist())})
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        pass  # there is no copy yet, or there can be none
    except _DAMAGE:
        print(f"mien: the cached copy {file} is damaged, reading {source} again", file=sys.stderr)
    dataset = _read(data_format, source, size)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with replaced(file) as temporary, temporary.open("wb") as stream:
            arrays: dict[str, Any] = {name: getattr(dataset, name) for name in _CACHED}
            np.savez(stream, state=np.array(state), **arrays)
    except OSError as error:
        print(f"mien: the data was read but cannot be cached: {error}", file=sys.stderr)
    return dataset


def _state(data_format: str, source: Path) -> str:
    """Returns a digest that changes with the names, sizes and times of the source's files, and with FORMAT."""
    digest = hashlib.sha256(FORMAT.encode())
    suffixes = {".parquet"} if data_format == "parquet" else SUFFIXES
    for file in files(source, suffixes) if source.is_dir() else [source]:
        state = os.stat(file)
        digest.update(os.fsencode(f"|{file.relative_to(source)}|{state.st_size}|{state.st_mtime_ns}"))
    return digest.hexdigest()
