"""Finds out which form the data has, reads it, and keeps what was read in a cache."""

from __future__ import annotations

import hashlib
import os
import sys
import zipfile
import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
from platformdirs import user_cache_path

from mien.data import fer2013, folders, parquet
from mien.data import ferplus as ferplus_votes
from mien.data.dataset import FaceDataset
from mien.data.pictures import SUFFIXES, files
from mien.errors import DataError
from mien.files import at_home, replaced

FORMAT = "2"
"""Part of what a cached copy must match: to be raised when what is read from the same file changes."""

CHALLENGE_FILES = (*fer2013.CSV_NAMES, "fer2013.tar.gz", "fer2013.zip")
"""What a folder is searched for before it counts as a folder of pictures: the unpacked archive, or the download."""


def load(path: str | Path, ferplus: str | Path | None = None, size: int = 48, cache: bool = True) -> FaceDataset:
    """Reads labelled faces of any known form.

    Args:
        path: FER2013's archive (.tar.gz, .zip), its CSV file, a folder that holds one of these, a folder of pictures,
            or Parquet (a file or a folder).
        ferplus: FER+'s `fer2013new.csv`, joined by row; FER2013 itself must be the CSV form, whose order it has.
        size: Height and width that pictures are brought to, pixels: a network's input, so that it gets all the detail
            it can use. FER2013's CSV form is always 48.
        cache: Keep what was read in the user's cache folder, and read it from there when the source is unchanged.

    Raises:
        DataError: What is wrong, and in which file and row.
        MissingExtraError: The data is Parquet and pyarrow is not installed.
    """
    form, source = _form(at_home(path))
    if ferplus is not None and form not in ("archive", "csv"):
        raise DataError(f"FER+ is joined by row: {source} has lost FER2013's order, use fer2013.csv or its archive")
    if form in ("archive", "csv"):
        size = fer2013.SIZE
    dataset = _read_cached(form, source, size) if cache else _read(form, source, size)
    dataset = replace(dataset, path=str(source), form=form)
    return dataset if ferplus is None else ferplus_votes.join(dataset, at_home(ferplus))


def _form(source: Path) -> tuple[str, Path]:
    """The data's form ("archive", "csv", "folders" or "parquet") and where it is: `source`, or a file in it."""
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
        found = next((names[name] for name in CHALLENGE_FILES if name in names), None)
        return _form(found) if found else ("folders", source)
    suffix = source.suffix.lower()
    if suffix == ".parquet":
        return "parquet", source
    if suffix == ".csv":
        return "csv", source
    if suffix in fer2013.ARCHIVE_SUFFIXES:
        return "archive", source
    raise DataError(
        f"{source.name} is of no known form; expected .csv, .tar.gz, .zip, .parquet or a folder of pictures"
    )


def _read(form: str, source: Path, size: int) -> FaceDataset:
    if form == "parquet":
        return parquet.read(source, size)
    if form == "folders":
        return folders.read(source, size)
    return fer2013.read(source)


def _read_cached(form: str, source: Path, size: int) -> FaceDataset:
    # Named by the source's place alone: when the source changes, its old copy is replaced and does not pile up.
    name = hashlib.sha256(os.fsencode(f"{source.resolve()}|{size}")).hexdigest()[:32]
    file = user_cache_path("mien") / "data" / f"{name}.npz"
    state = _state(form, source)
    try:
        with np.load(file) as stored:
            if stored["state"].item() == state:
                return FaceDataset(**{name: stored[name] for name in ("images", "targets", "splits", "index")})
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        pass  # there is no copy yet, or there can be none
    except (OSError, EOFError, ValueError, TypeError, AttributeError, KeyError, zipfile.BadZipFile, zlib.error):
        print(f"mien: the cached copy {file} is damaged, reading {source} again", file=sys.stderr)
    dataset = _read(form, source, size)
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with replaced(file) as part, part.open("wb") as stream:
            np.savez(
                stream,
                state=np.array(state),
                images=dataset.images,
                targets=dataset.targets,
                splits=dataset.splits,
                index=dataset.index,
            )
    except OSError as error:
        print(f"mien: the data was read but cannot be cached: {error}", file=sys.stderr)
    return dataset


def _state(form: str, source: Path) -> str:
    """Changes whenever the source does, by its files' names, sizes and times; and when it is read in another way."""
    digest = hashlib.sha256(FORMAT.encode())
    suffixes = {".parquet"} if form == "parquet" else SUFFIXES
    for file in files(source, suffixes) if source.is_dir() else [source]:
        state = os.stat(file)
        digest.update(os.fsencode(f"|{file.relative_to(source)}|{state.st_size}|{state.st_mtime_ns}"))
    return digest.hexdigest()
