"""Recognises any number of pictures into one Parquet file, and resumes after an interruption."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mien.errors import ConfigError, ImageError, require
from mien.files import printable, replaced, write_text
from mien.recognition import photo, records
from mien.recognition.recognizer import Recognizer

PICTURES_PER_PART = 256
"""The most pictures that an interruption causes to be recognised again."""


@dataclass(frozen=True)
class BatchJob:
    """The pictures to recognise and the file to write.

    Attributes:
        pictures: Paths, in the order of the rows.
        output: The Parquet file.
        settings: The model and the detector, by name and digest. A job is resumed only with the same settings.
    """

    pictures: tuple[Path, ...]
    output: Path
    settings: dict[str, str]

    @property
    def parts_folder(self) -> Path:
        """The folder of the parts that are finished."""
        return self.output.with_name(f"{self.output.name}.parts")

    @property
    def plan(self) -> str:
        """A text that is the same for the same pictures and settings; it is stored with the parts."""
        names = hashlib.sha256("\0".join(map(os.fspath, self.pictures)).encode("utf-8", "surrogateescape"))
        plan = {"pictures": len(self.pictures), "names": names.hexdigest(), "a_part": PICTURES_PER_PART}
        return json.dumps(plan | self.settings, indent=2) + "\n"


def recognize(job: BatchJob, recognizer: Recognizer, workers: int, on_progress: Callable[[int], object]) -> Path:
    """Recognises all pictures of a job, or those that an interrupted call has not recognised.

    The file has one row per face, with the columns of `mien recognize --csv` and `width`, `height` and `error`. A
    picture without faces has one row with an empty `face`. An unreadable picture has one row, and its `error` gives
    the reason. The file is the same whether or not the job was interrupted.

    Args:
        job: The pictures and the output file.
        recognizer: A recogniser with one thread, because the workers share the pictures.
        workers: Threads.
        on_progress: Called with the number of pictures that are finished.

    Returns:
        The path of the file.

    Raises:
        ConfigError: The folder of parts belongs to another job.
        OSError: The disk is full or the folder is not writable; finished parts are kept.
        MissingExtraError: pyarrow is not installed.
    """
    parquet = require("pyarrow.parquet", "batch")
    path_column, *face_columns = records.column_names(recognizer.model.classes)
    schema = records.parquet_schema((path_column, "width", "height", "error", *face_columns))
    _start(job)
    starts = range(0, len(job.pictures), PICTURES_PER_PART)
    with ThreadPoolExecutor(workers) as pool:
        for start in starts:
            part = _part_path(job, start)
            pictures = job.pictures[start : start + PICTURES_PER_PART]
            if not part.exists():
                rows_of_pictures = pool.map(lambda picture: _rows(picture, recognizer), pictures)
                _write_part(part, [row for rows in rows_of_pictures for row in rows], schema)
            on_progress(start + len(pictures))
    with replaced(job.output) as whole, parquet.ParquetWriter(whole, schema, compression="zstd") as writer:
        for start in starts:
            writer.write_table(parquet.read_table(_part_path(job, start), partitioning=None))
    shutil.rmtree(job.parts_folder)
    return job.output


def _start(job: BatchJob) -> None:
    """Creates the folder of parts, or checks that it belongs to this job."""
    plan = job.parts_folder / "plan.json"
    if not plan.exists():
        shutil.rmtree(job.parts_folder, ignore_errors=True)  # parts without a plan may belong to other pictures
        job.parts_folder.mkdir(parents=True, exist_ok=True)
        write_text(plan, job.plan)
    elif plan.read_text(encoding="utf-8") != job.plan:
        raise ConfigError(
            f"the unfinished run in {job.parts_folder} used other pictures, another model or another detector: remove "
            "the folder to start again, or choose another output file"
        )


def _part_path(job: BatchJob, start: int) -> Path:
    return job.parts_folder / f"{start:09}.parquet"


def _rows(picture: Path, recognizer: Recognizer) -> list[dict[str, Any]]:
    """Recognises a picture and returns its rows, of which there is always at least one."""
    path = printable(os.fspath(picture))
    try:
        image_rgb = photo.read(picture)
        faces = recognizer(image_rgb)
    except ImageError as error:
        return [{"path": path, "error": printable(str(error))}]
    record = records.to_record(path, image_rgb, faces)
    size = {"width": record["width"], "height": record["height"]}
    return [size | row for row in records.to_rows(record)] or [size | {"path": path}]


def _write_part(path: Path, rows: list[dict[str, Any]], schema: Any) -> None:
    pyarrow, parquet = require("pyarrow", "batch"), require("pyarrow.parquet", "batch")
    with replaced(path) as part:
        parquet.write_table(pyarrow.Table.from_pylist(rows, schema), part, compression="zstd")
