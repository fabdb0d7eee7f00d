"""Frames of a video as plain values: records for JSON lines, rows for CSV and Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mien.recognition.records import (
    BOX_COLUMNS,
    PREDICTION_COLUMNS,
    face_cells,
    face_record,
    round_probabilities,
)
from mien.video.recognizer import VideoFrame


def frame_record(frame: VideoFrame) -> dict[str, Any]:
    """Converts a frame and its faces to a record.

    Returns:
        `frame` from 0, `time_s`, and `faces`. Each face has its `track` (None if it was detected only once), the keys
        of `mien.recognition.records.to_record` with the smoothed expression, and `raw_probabilities`, which are those
        of this frame alone.
    """
    faces = [
        {
            "track": face.track,
            **face_record(face.steady_face),
            "raw_probabilities": round_probabilities(face.face.expression.probabilities),
        }
        for face in frame.faces
    ]
    return {"frame": frame.number, "time_s": round(frame.time_s, 4), "faces": faces}


def frame_columns(classes: Sequence[str]) -> tuple[str, ...]:
    """Returns the columns of the rows that `frame_rows` makes, for a model with these classes."""
    raw = [f"raw_{name}" for name in classes]
    return ("time_s", "frame", "track", *BOX_COLUMNS, *PREDICTION_COLUMNS, *classes, *raw)


def frame_rows(record: dict[str, Any]) -> list[dict[str, Any]]:
    """Converts a frame's record to one row per face."""
    return [
        {
            "time_s": record["time_s"],
            "frame": record["frame"],
            "track": face["track"],
            **face_cells(face),
            **{f"raw_{name}": value for name, value in face["raw_probabilities"].items()},
        }
        for face in record["faces"]
    ]
