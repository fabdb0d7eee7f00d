"""`mien video`: the faces in a video or a camera."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.options import DetectorName, Model, console
from mien.detection import DEFAULT_DETECTOR

if TYPE_CHECKING:
    from mien.video.recognizer import VideoFrame
    from mien.video.source import VideoSource


def video(
    source: Annotated[
        str, typer.Argument(metavar="VIDEO", help="A video file, a URL, or the number of a camera, such as 0.")
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Annotated copy: .mp4, .mov or .mkv.")
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="CSV with one line per face and frame; - prints it.")
    ] = None,
    jsonl: Annotated[
        Path | None, typer.Option(metavar="FILE", help="JSON lines, one per frame; - prints them.")
    ] = None,
    parquet: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Parquet file with one row per face and frame.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="HTML report of all faces, and its timeline as PNG beside it.")
    ] = None,
    model: Model = "small",
    detector: DetectorName = DEFAULT_DETECTOR,
    detect_every: Annotated[
        int, typer.Option(metavar="N", help="Detect faces in every N-th frame, and interpolate in between; at least 1.")
    ] = 3,
    smooth: Annotated[
        float, typer.Option(metavar="SECONDS", min=0, help="Time constant of the smoothing; 0 turns it off.")
    ] = 0.3,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="CPU threads of the model, and as many of the detector; half of the cores for each."),
    ] = None,
) -> None:
    """Recognise the expression on every face in a video, and track each face."""
    from mien.video.pipeline import VideoOutputs, recognize_video
    from mien.video.recognizer import VideoRecognizer
    from mien.video.source import VideoSource
    from mien.video.timeline import format_time, no_tracks_message, summary_table
    from mien.video.track import Smoothing

    outputs = VideoOutputs(output, csv, jsonl, parquet, report)
    recognizer = VideoRecognizer(model, detector, threads, detect_every, Smoothing(smooth))
    with VideoSource(source, sound=output is not None) as opened, _progress_bar(opened) as on_frame:
        result = recognize_video(opened, recognizer, outputs, on_frame)
    timeline = result.timeline
    to_stderr = outputs.uses_standard_output
    console(errors=to_stderr).print(summary_table(timeline) if timeline.tracks else no_tracks_message(timeline))
    for path in result.files:
        typer.echo(f"written: {path}", err=to_stderr)
    if result.error:
        raise result.error
    if result.interrupted:
        typer.echo(f"stopped after {format_time(timeline.end_s)}; the results up to there are kept", err=True)
        raise typer.Exit(130)


@contextmanager
def _progress_bar(source: "VideoSource") -> "Iterator[Callable[[VideoFrame], None]]":
    """Shows progress, frames per second and remaining time on the terminal."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    terminal = console(errors=True)
    columns = (BarColumn(None), TaskProgressColumn(), TextColumn("{task.fields[speed]}"), TimeRemainingColumn())
    progress = Progress(*columns, console=terminal, disable=not terminal.is_terminal)
    task = progress.add_task("", total=source.duration_s or None, speed="")
    started = time.perf_counter()

    def on_frame(frame: "VideoFrame") -> None:
        speed = (frame.number + 1) / (time.perf_counter() - started)
        progress.update(task, completed=frame.time_s, speed=f"{speed:.0f} frames/s")

    with progress:
        yield on_frame
