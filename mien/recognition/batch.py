"""The faces of any number of pictures as one Parquet file, which is the same however often the work was interrupted."""

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

PICTURES_A_PART = 256
"""What is done again after an interruption, at most."""


@dataclass(frozen=True)
class Work:
    """What is to be recognised, and where it goes.

    Attributes:
        pictures: Paths, in the order of the rows.
        output: The Parquet file.
        made_by: Says which model and detector; work is not gone on with by others.
    """

    pictures: tuple[Path, ...]
    output: Path
    made_by: dict[str, str]

    @property
    def parts(self) -> Path:
        """The folder of what is done so far."""
        return self.output.with_name(f"{self.output.name}.parts")

    @property
    def plan(self) -> str:
        """The same text where the same pictures are recognised by the same networks."""
        names = hashlib.sha256("\0".join(map(os.fspath, self.pictures)).encode("utf-8", "surrogateescape"))
        plan = {"pictures": len(self.pictures), "names": names.hexdigest(), "a_part": PICTURES_A_PART}
        return json.dumps(plan | self.made_by, indent=2) + "\n"


def recognize(work: Work, recognizer: Recognizer, workers: int, tell: Callable[[int], object]) -> Path:
    """Recognises all pictures, or those that an interrupted call has left.

    The file has a row a face with the columns of `mien recognize --csv`, and `width`, `height` and `error`. A picture
    without faces has one row, whose `face` is empty; one that cannot be read has one whose `error` says why.

    Args:
        work: What to do.
        recognizer: Of one thread: the pictures are shared out among the workers.
        workers: Threads.
        tell: Called with the number of pictures done so far.

    Returns:
        The file.

    Raises:
        ConfigError: Other work was begun there.
        OSError: The disk is full, or the folder cannot be written; what is done so far stays.
        MissingExtraError: pyarrow is not installed.
    """
    parquet = require("pyarrow.parquet", "batch")
    path, *of_a_face = records.columns(recognizer.model.classes)
    schema = records.parquet_schema((path, "width", "height", "error", *of_a_face))
    _begin(work)
    starts = range(0, len(work.pictures), PICTURES_A_PART)
    with ThreadPoolExecutor(workers) as pool:
        for start in starts:
            part = _part(work, start)
            pictures = work.pictures[start : start + PICTURES_A_PART]
            if not part.exists():
                found = pool.map(lambda picture: _rows(picture, recognizer), pictures)
                _write(part, [row for rows in found for row in rows], schema)
            tell(start + len(pictures))
    with replaced(work.output) as whole, parquet.ParquetWriter(whole, schema, compression="zstd") as writer:
        for start in starts:
            writer.write_table(parquet.read_table(_part(work, start), partitioning=None))
    shutil.rmtree(work.parts)
    return work.output


def _begin(work: Work) -> None:
    plan = work.parts / "plan.json"
    if not plan.exists():
        shutil.rmtree(work.parts, ignore_errors=True)  # parts of no plan may be of other pictures
        work.parts.mkdir(parents=True, exist_ok=True)
        write_text(plan, work.plan)
    elif plan.read_text(encoding="utf-8") != work.plan:
        raise ConfigError(
            f"{work.parts} was begun with other pictures, another model or another detector: remove it to begin anew, "
            "or name another file"
        )


def _part(work: Work, start: int) -> Path:
    return work.parts / f"{start:09}.parquet"


def _rows(picture: Path, recognizer: Recognizer) -> list[dict[str, Any]]:
    path = printable(os.fspath(picture))
    try:
        image_rgb = photo.read(picture)
        faces = recognizer(image_rgb)
    except ImageError as error:
        return [{"path": path, "error": printable(str(error))}]
    record = records.to_record(path, image_rgb, faces)
    size = {"width": record["width"], "height": record["height"]}
    return [size | row for row in records.flat(record)] or [size | {"path": path}]


def _write(path: Path, rows: list[dict[str, Any]], schema: Any) -> None:
    pyarrow, parquet = require("pyarrow", "batch"), require("pyarrow.parquet", "batch")
    with replaced(path) as part:
        parquet.write_table(pyarrow.Table.from_pylist(rows, schema), part, compression="zstd")
