"""Results of videos as plain values: rows for JSON lines, CSV and Parquet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from mien.recognition.records import BOX_COLUMNS, PREDICTION_COLUMNS, face_cells, face_record, round_probabilities
from mien.video.recognizer import VideoFrame


def of_frame(frame: VideoFrame) -> dict[str, Any]:
    """One picture of a video and its faces as plain values.

    Returns:
        frame from 0, time_s, and faces: each as `to_record` gives it with what it shows over time, its track (None
        where it was seen once), and raw_probabilities, which are this picture's alone.
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


def video_columns(classes: Sequence[str]) -> tuple[str, ...]:
    """Names of what `flat_frame` gives."""
    return (
        "time_s",
        "frame",
        "track",
        *BOX_COLUMNS,
        *PREDICTION_COLUMNS,
        *classes,
        *(f"raw_{name}" for name in classes),
    )


def flat_frame(record: dict[str, Any]) -> list[dict[str, Any]]:
    """A picture's record of a video as one row a face."""
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
