"""mien video: the faces of a video or a camera."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.options import DetectorName, Model, console

if TYPE_CHECKING:
    from mien.video.recognizer import VideoFrame
    from mien.video.source import VideoSource


def video(
    source: Annotated[
        str, typer.Argument(metavar="VIDEO", help="A video file, a URL, or a camera's number, such as 0.")
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="An annotated copy: .mp4, .mov or .mkv.")
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="One line a face of a picture; - prints them.")
    ] = None,
    jsonl: Annotated[Path | None, typer.Option(metavar="FILE", help="One line a picture; - prints them.")] = None,
    parquet: Annotated[Path | None, typer.Option(metavar="FILE", help="One row a face of a picture.")] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="An HTML page of who showed what and when, and its PNG.")
    ] = None,
    model: Model = "small",
    detector: DetectorName = "blazeface",
    detect_every: Annotated[
        int, typer.Option(metavar="N", help="Look for faces in every N-th picture, 1 or more.")
    ] = 3,
    smooth: Annotated[float, typer.Option(metavar="SECONDS", min=0, help="Average over so long; 0 for not.")] = 0.3,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="CPU threads of the network, as many again look for faces; half of the cores each."),
    ] = None,
) -> None:
    """Name the expression on every face of a video, and follow each face."""
    from mien.video import analysis as videos
    from mien.video import timeline as timelines
    from mien.video.recognizer import VideoRecognizer
    from mien.video.source import VideoSource
    from mien.video.track import Smoothing

    wanted = videos.Wanted(output, csv, jsonl, parquet, report)
    recognizer = VideoRecognizer(model, detector, threads, detect_every, Smoothing(smooth))
    with VideoSource(source, sound=output is not None) as opened, _video_progress(opened) as tell:
        done = videos.recognize(opened, recognizer, wanted, tell)
    aside = wanted.prints
    shown = timelines.table(done.timeline) if done.timeline.tracks else timelines.nobody(done.timeline)
    console(errors=aside).print(shown)
    for path in done.files:
        typer.echo(f"written: {path}", err=aside)
    if done.error:
        raise done.error
    if done.interrupted:
        typer.echo(f"stopped after {timelines.clock(done.timeline.end_s)}; what was done is kept", err=True)
        raise typer.Exit(130)


@contextmanager
def _video_progress(source: VideoSource) -> Iterator[Callable[[VideoFrame], None]]:
    """A bar on the terminal: how far, pictures a second, time left."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    terminal = console(errors=True)
    columns = (BarColumn(None), TaskProgressColumn(), TextColumn("{task.fields[speed]}"), TimeRemainingColumn())
    progress = Progress(*columns, console=terminal, disable=not terminal.is_terminal)
    task = progress.add_task("", total=source.duration_s or None, speed="")
    started = time.perf_counter()

    def tell(frame: VideoFrame) -> None:
        speed = (frame.number + 1) / (time.perf_counter() - started)
        progress.update(task, completed=frame.time_s, speed=f"{speed:.0f} pictures/s")

    with progress:
        yield tell
