"""`mien video`: the faces in a video or a camera."""

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.options import Blur, DetectorName, Device, MinScore, Model, Overwrite, Verbose, console, echo, print_log
from mien.detection import DEFAULT_DETECTOR

if TYPE_CHECKING:
    from mien.video.many import RecognizerSettings, VideoJob
    from mien.video.pipeline import VideoOutputs, VideoResult
    from mien.video.recognizer import VideoFrame, VideoRecognizer
    from mien.video.source import VideoSource


def video(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="VIDEO...",
            help="Video files, folders of videos, a URL, the number of a camera, such as 0, or - for standard input.",
        ),
    ],
    output: Annotated[
        str | None,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE|DIR",
            help="Annotated copy: .mp4, .mov or .mkv; or a folder for a CSV file and a report of each video.",
        ),
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
    blur: Blur = False,
    no_faces: Annotated[bool, typer.Option("--no-faces", help="Leave pictures of faces out of the report.")] = False,
    notice: Annotated[
        str, typer.Option(metavar="TEXT", help="How the people in the video were told of it, for the report.")
    ] = "",
    overwrite: Overwrite = False,
    model: Model = "small",
    detector: DetectorName = DEFAULT_DETECTOR,
    min_score: MinScore = None,
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
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Videos at the same time, each in a process with one thread; all cores by default."),
    ] = None,
    device: Device = None,
    verbose: Verbose = False,
) -> None:
    """Recognise the expression on every face in a video, and track each face."""
    from mien.cores import usable_cores
    from mien.video.many import RecognizerSettings
    from mien.video.pipeline import VideoOutputs
    from mien.video.recognizer import VideoRecognizer
    from mien.video.track import Smoothing

    if verbose:
        print_log()
    jobs = [
        (name, replace(outputs, blur=blur, faces=not no_faces, notice=notice))
        for name, outputs in _jobs(_video_names(sources), output, VideoOutputs(None, csv, jsonl, parquet, report))
    ]
    if not overwrite:
        for name, outputs in jobs:
            outputs.check_files(name)
    smoothing = Smoothing(smooth)
    workers = min(workers or (1 if threads else usable_cores()), len(jobs))
    if workers > 1 and all(Path(name).is_file() for name, _ in jobs):  # cameras and standard input stay here
        failed = _recognize_at_once(
            jobs, RecognizerSettings(model, detector, detect_every, smoothing, min_score, device), workers
        )
    else:
        recognizer = VideoRecognizer(
            model, detector, threads, detect_every, smoothing, min_score=min_score, device=device
        )
        failed = _recognize_in_turn(jobs, recognizer)
    if failed:
        raise typer.Exit(2)


def _recognize_in_turn(jobs: "Sequence[VideoJob]", recognizer: "VideoRecognizer") -> bool:
    """Recognises videos one after the other -> whether one of several failed; a single one raises its error."""
    from mien.errors import MienError

    failed = False
    for name, outputs in jobs:
        if len(jobs) > 1:
            echo(f"{name}:")
        try:
            _recognize(name, outputs, recognizer)
        except (MienError, OSError) as error:
            if len(jobs) == 1:
                raise
            echo(f"mien: {error}", err=True)
            failed = True
    return failed


def _recognize_at_once(jobs: "Sequence[VideoJob]", settings: "RecognizerSettings", workers: int) -> bool:
    """Recognises videos in several processes, and prints each when it is finished -> whether one failed."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from mien.video.many import recognize_videos
    from mien.video.pipeline import VideoResult

    terminal = console(errors=True)
    columns = (BarColumn(None), MofNCompleteColumn(), TimeRemainingColumn())
    failed = False
    try:
        with Progress(*columns, console=terminal, disable=not terminal.is_terminal) as progress:
            task = progress.add_task("", total=len(jobs))
            for outcome in recognize_videos(jobs, settings, workers):
                name, outputs = outcome.task
                echo(f"{name}:")
                error: object = outcome.error or outcome.result
                if isinstance(outcome.result, VideoResult):
                    _print_result(outcome.result, outputs)
                    error = outcome.result.error
                if error:
                    echo(f"mien: {error}", err=True)
                    failed = True
                progress.advance(task)
    except KeyboardInterrupt:
        echo("stopped; the results up to there are kept", err=True)
        raise typer.Exit(130) from None
    return failed


def _video_names(sources: Sequence[str]) -> list[str]:
    """Returns the videos with those below each folder in its place."""
    from mien.data.pictures import files
    from mien.errors import ConfigError, shortened_path
    from mien.recognition.photo import VIDEO_SUFFIXES

    names: list[str] = []
    for source in sources:
        if not os.path.isdir(source):  # noqa: PTH112 - Path.is_dir raises for an impossible name
            names.append(source)
            continue
        found = files(Path(source), set(VIDEO_SUFFIXES))
        if not found:
            raise ConfigError(
                f"there is no video in the folder {shortened_path(source)}: expected {', '.join(VIDEO_SUFFIXES)}"
            )
        names += map(str, found)
    return names


def _jobs(names: Sequence[str], output: str | None, others: "VideoOutputs") -> "Iterator[tuple[str, VideoOutputs]]":
    """Yields each video with its outputs: in a folder, a CSV file and a report are named after the video."""
    from mien.errors import ConfigError

    path = Path(output) if output else None
    is_folder = path and (path.is_dir() or not path.suffix or str(output).endswith(("/", os.sep)))
    if not path or not is_folder:
        if len(names) != 1:
            raise ConfigError(f"{len(names)} videos need -o DIR, a folder for a CSV file and a report of each")
        yield names[0], replace(others, annotated=path)
        return
    if others.paths:
        raise ConfigError("the folder of -o gets a CSV file and a report of each video: leave out the other outputs")
    path.mkdir(parents=True, exist_ok=True)
    used: set[str] = set()
    for name in names:
        stem = "video" if name == "-" else Path(name).stem or "video"
        unique = next(each for each in chain([stem], (f"{stem}-{n}" for n in count(2))) if each not in used)
        used.add(unique)
        yield name, replace(others, csv=path / f"{unique}.csv", report=path / f"{unique}.html")


def _recognize(name: str, outputs: "VideoOutputs", recognizer: "VideoRecognizer") -> None:
    """Recognises a video, and prints its summary and the files that were written.

    Raises:
        MienError: The video cannot be read, or ended with an error.
        OSError: A file cannot be written.
    """
    from mien.video.pipeline import recognize_video
    from mien.video.source import VideoSource
    from mien.video.timeline import format_time

    with VideoSource(name, sound=outputs.annotated is not None) as opened, _progress_bar(opened) as on_frame:
        result = recognize_video(opened, recognizer, outputs, on_frame)
    _print_result(result, outputs)
    if result.error:
        raise result.error
    if result.interrupted:
        echo(f"stopped after {format_time(result.timeline.end_s)}; the results up to there are kept", err=True)
        raise typer.Exit(130)


def _print_result(result: "VideoResult", outputs: "VideoOutputs") -> None:
    """Prints the summary of a video and the files that were written."""
    from mien.video.timeline import no_tracks_message, summary_table

    timeline = result.timeline
    to_stderr = outputs.uses_standard_output
    console(errors=to_stderr).print(summary_table(timeline) if timeline.tracks else no_tracks_message(timeline))
    for path in result.files:
        echo(f"written: {path}", err=to_stderr)


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
