"""Frames of a video as a table with the columns of mien's files."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mien.recognition.tables import Table
from mien.video.recognizer import VideoFrame
from mien.video.records import frame_columns, frame_record, frame_rows


def to_table(frames: Iterable[VideoFrame]) -> Table:
    """Converts the frames of a video, which can still be on their way, to one row per face and frame.

    Args:
        frames: What `mien.VideoRecognizer` yields.

    Returns:
        A table with the columns of the Parquet files of `mien video`; its images are not kept.
    """
    rows: list[dict[str, Any]] = []
    classes: tuple[str, ...] = ()
    for frame in frames:
        rows += frame_rows(frame_record(frame))
        classes = frame.classes
    return Table(rows, frame_columns(classes))
