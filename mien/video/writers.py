"""Output files that grow while a video is recognised: the writer contract, CSV, JSON lines and Parquet."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, Protocol

from mien.errors import require
from mien.files import MARK, escape_controls, json_text, replaced
from mien.recognition import records
from mien.video.recognizer import VideoFrame
from mien.video.records import frame_columns, frame_record, frame_rows

ROWS_PER_GROUP = 20_000
"""Rows of a Parquet file that are collected before they are written."""
RESERVED_BYTES = 4 << 20
"""Disk space that a Parquet file reserves ahead: more than `ROWS_PER_GROUP` rows and the file's footer need."""
CSV_BEGINNING = "time_s,frame,track,x0,y0,x1,y1,score,"
JSON_LINES_BEGINNING = r'\{"frame": \d+, "time_s": [\d.e-]+, "faces": \['
"""How mien's own text files of a video begin, as regular expressions."""
STANDARD_OUTPUT = Path("-")
"""The path that means standard output."""


class VideoWriter(Protocol):
    """A file that grows frame by frame."""

    path: Path

    def add(self, frame: VideoFrame) -> None:
        """Adds the next frame.

        Raises:
            OSError: The disk is full, or the file cannot be written.
        """
        ...

    def finish(self, keep: bool) -> None:
        """Completes the file with all frames that were added, also after an error, and moves it to its path.

        Args:
            keep: Whether to keep the file; if not, it is deleted and an earlier file at its path is left unchanged.

        Raises:
            OSError: The file cannot be completed.
        """
        ...


class DiscardedError(Exception):
    """Raised by a writer inside `mien.files.replaced` to delete its file."""


class TextWriter:
    """Writes text for each frame, unbuffered; see `VideoWriter`.

    Args:
        path: The file, or STANDARD_OUTPUT.
        to_text: Converts a frame to zero or more complete lines.
        header: Lines to write first.
    """

    def __init__(self, path: Path, to_text: Callable[[VideoFrame], str], header: str = "") -> None:
        self.path = path
        self._to_text = to_text
        self._replacement = ExitStack()
        self._is_terminal = False
        if path == STANDARD_OUTPUT:
            self._file = os.fdopen(os.dup(1), "wb", 0)
            self._is_terminal = os.isatty(1)
        else:
            self._file = self._replacement.enter_context(replaced(path)).open("wb", 0)
        self._complete_bytes = 0
        self._write(header)

    def add(self, frame: VideoFrame) -> None:
        """See `VideoWriter`."""
        self._write(self._to_text(frame))

    def finish(self, keep: bool) -> None:
        """See `VideoWriter`."""
        with suppress(DiscardedError), self._replacement, self._file:
            if not keep:
                raise DiscardedError
            if self.path != STANDARD_OUTPUT:
                self._file.truncate(self._complete_bytes)  # removes a partial line that a full disk may have left

    def _write(self, text: str) -> None:
        if self._is_terminal:
            text = escape_controls(text, keep="\n")
        encoded = text.encode("utf-8")
        remaining = memoryview(encoded)
        while remaining:
            remaining = remaining[self._file.write(remaining) :]
        self._complete_bytes += len(encoded)


def csv_writer(path: Path, classes: Sequence[str]) -> TextWriter:
    """Returns a writer of CSV with one line per face, for a model with these classes."""

    def to_lines(frame: VideoFrame) -> str:
        return "".join(records.csv_line(row.values()) for row in frame_rows(frame_record(frame)))

    return TextWriter(path, to_lines, header=records.csv_line(frame_columns(classes)))


def json_lines_writer(path: Path) -> TextWriter:
    """Returns a writer of JSON lines, one per frame."""
    return TextWriter(path, lambda frame: json_text(frame_record(frame)) + "\n")


class ParquetWriter:
    """Writes Parquet with one row per face; see `VideoWriter`.

    A Parquet file is unreadable without its footer. Where the system supports it (Linux), disk space for the next rows
    and the footer is reserved ahead, so that a full disk is noticed before rows are lost.

    Args:
        path: The file.
        classes: The classes of the model.

    Raises:
        MissingExtraError: pyarrow is not installed.
        OSError: There is not enough disk space for any rows.
    """

    def __init__(self, path: Path, classes: Sequence[str]) -> None:
        self.path = path
        self._pyarrow = require("pyarrow", "batch")
        self._schema = records.parquet_schema(frame_columns(classes)).with_metadata({"written_by": MARK})
        parquet = require("pyarrow.parquet", "batch")
        self._rows: list[dict[str, Any]] = []
        with ExitStack() as replacement:  # deletes the file if reserving space fails
            self._file = replacement.enter_context(replaced(path)).open("wb")
            self._writer = parquet.ParquetWriter(self._file, self._schema, compression="zstd")
            self._reserve_space()
            self._replacement = replacement.pop_all()

    def add(self, frame: VideoFrame) -> None:
        """See `VideoWriter`."""
        self._rows += frame_rows(frame_record(frame))
        if len(self._rows) >= ROWS_PER_GROUP:
            self._write_rows()
            self._reserve_space()

    def finish(self, keep: bool) -> None:
        """See `VideoWriter`."""
        with suppress(DiscardedError), self._replacement, self._file:
            with self._writer:
                self._write_rows()
            if not keep:
                raise DiscardedError
            self._file.truncate()

    def _write_rows(self) -> None:
        rows, self._rows = self._rows, []
        self._writer.write_table(self._pyarrow.Table.from_pylist(rows, self._schema))

    def _reserve_space(self) -> None:
        self._file.flush()
        if hasattr(os, "posix_fallocate"):
            os.posix_fallocate(self._file.fileno(), self._file.tell(), RESERVED_BYTES)
