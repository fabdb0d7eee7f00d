"""Recognises a video and writes its output files as it goes; they are complete whenever it ends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mien.errors import ConfigError, MienError, VideoError, require
from mien.files import check_output
from mien.interrupt import interruptible
from mien.video import report as video_report
from mien.video.annotated_video import CONTAINERS, AnnotatedVideoWriter
from mien.video.recognizer import VideoFrame, VideoRecognizer
from mien.video.source import VideoSource
from mien.video.timeline import Timeline
from mien.video.writers import (
    CSV_BEGINNING,
    JSON_LINES_BEGINNING,
    STANDARD_OUTPUT,
    ParquetWriter,
    VideoWriter,
    csv_writer,
    json_lines_writer,
)


@dataclass(frozen=True)
class VideoOutputs:
    """The files that `mien video` writes; None leaves a file out.

    Attributes:
        annotated: The annotated copy of the video.
        csv: CSV with one line per face and frame; STANDARD_OUTPUT prints it.
        jsonl: JSON lines, one per frame; STANDARD_OUTPUT prints them.
        parquet: Parquet with one row per face and frame.
        report: The HTML report; its timeline is written beside it as PNG.
        blur: Whether to blur the faces in the annotated copy.
        faces: Whether the report shows pictures of the faces.
        notice: How the people in the video were told of it, for the report.

    Raises:
        ConfigError: A file has the wrong suffix, its folder is missing, two files have the same path, or a
            choice is about a file that is not written.
    """

    annotated: Path | None = None
    csv: Path | None = None
    jsonl: Path | None = None
    parquet: Path | None = None
    report: Path | None = None
    blur: bool = False
    faces: bool = True
    notice: str = ""

    def __post_init__(self) -> None:
        for path, kind, suffixes in (
            (self.annotated, "an annotated video", CONTAINERS),
            (self.report, "a report", (".html",)),
        ):
            if path and path.suffix.lower() not in suffixes:
                raise ConfigError(f"the name of {kind} must end in {', '.join(suffixes)}, got {path.name}")
        if self.parquet:
            require("pyarrow", "batch")
        if self.blur and not self.annotated:
            raise ConfigError("--blur is for the annotated copy: give a .mp4, .mov or .mkv file by -o")
        if not self.report and (self.notice or not self.faces):
            raise ConfigError(
                "--notice and --no-faces are for the report: give its file by --report, or a folder by -o"
            )
        for path in self.paths:
            if path != STANDARD_OUTPUT:
                check_output(path, overwrite=True)  # `check_files` asks whose file it is
        resolved = [path if path == STANDARD_OUTPUT else path.resolve() for path in self.paths]
        if len(set(resolved)) < len(resolved):
            raise ConfigError(f"each output needs its own file, got {', '.join(map(str, self.paths))}")

    def check_files(self, video: str) -> None:
        """Checks that no file would be replaced that mien has not written.

        Args:
            video: The name of the video, which no output may replace.

        Raises:
            ConfigError: There is one.
        """
        self._check_video(video)
        beginnings = {self.csv: CSV_BEGINNING, self.jsonl: JSON_LINES_BEGINNING}
        for path in self.paths:
            if path != STANDARD_OUTPUT:
                check_output(path, False, beginnings.get(path, ""))

    @property
    def uses_standard_output(self) -> bool:
        """Whether an output is printed."""
        return STANDARD_OUTPUT in (self.csv, self.jsonl)

    @property
    def paths(self) -> list[Path]:
        """The paths of all files."""
        timeline = video_report.timeline_path(self.report) if self.report else None
        paths = self.annotated, self.csv, self.jsonl, self.parquet, self.report, timeline
        return [path for path in paths if path]

    def check_source(self, source: VideoSource) -> None:
        """Checks that no output would overwrite the video.

        Raises:
            ConfigError: One of the files is the video.
        """
        self._check_video(source.name)

    def _check_video(self, name: str) -> None:
        video = Path(name)
        if not video.exists():
            video = Path(name.removeprefix("file:"))  # FFmpeg accepts file: and file://
        for path in self.paths:
            if path.exists() and video.exists() and path.samefile(video):
                raise ConfigError(f"{path} is the video itself and would be overwritten: choose another file")


@dataclass(frozen=True)
class VideoResult:
    """The result of recognising a video, possibly not up to its end.

    Attributes:
        timeline: The tracks of the faces.
        files: The files that were written.
        interrupted: Whether the user stopped it.
        error: The error that ended it early, or prevented a file from being written, if any.
    """

    timeline: Timeline
    files: tuple[Path, ...]
    interrupted: bool
    error: MienError | OSError | None


def recognize_video(
    source: VideoSource,
    recognizer: VideoRecognizer,
    outputs: VideoOutputs,
    on_frame: Callable[[VideoFrame], object],
) -> VideoResult:
    """Recognises a video and writes its output files.

    If an error ends the video early, the files are complete up to there; but where the disk is full, a file that exists
    stays as it was. The first Ctrl-C or SIGTERM stops it after the
    current frame, or while it waits for a frame.

    Args:
        source: An open video, with its sound if an annotated copy is written.
        recognizer: The recogniser.
        outputs: The files to write.
        on_frame: Called with each frame after it was written.

    Raises:
        ConfigError: One of the files is the video.
    """
    outputs.check_source(source)
    classes = recognizer.recognizer.model.classes
    timeline = Timeline(classes)
    files: list[Path] = []
    errors: list[MienError | OSError] = []
    unexpected: list[Exception] = []
    writers: list[VideoWriter] = []
    cut_off: VideoWriter | None = None
    with interruptible() as interrupt:
        source.stopped = lambda: interrupt.requested
        try:
            writers += _open_writers(outputs, source, classes)
            for frame in recognizer(source):
                timeline.add(frame)
                for writer in writers:
                    try:
                        with _path_in_errors(writer.path):
                            writer.add(frame)
                    except (MienError, OSError):
                        cut_off = writer
                        raise
                on_frame(frame)
                if interrupt.requested:
                    break
        except (MienError, OSError) as error:
            errors.append(error)
        finally:
            for writer in writers:
                # What a full disk has cut off does not replace an earlier whole file.
                keep = timeline.frames > 0 and not (writer is cut_off and writer.path.exists())
                try:
                    with _path_in_errors(writer.path):
                        writer.finish(keep)
                    files += [writer.path] if keep else []
                except (MienError, OSError) as error:
                    errors.append(error)
                except Exception as error:  # raised after the other files are finished
                    unexpected.append(error)
    if unexpected:
        raise unexpected[0]
    if outputs.report and timeline.frames:
        try:
            with _path_in_errors(outputs.report):
                files += video_report.write(
                    timeline, outputs.report, Path(source.name).name, outputs.faces, outputs.notice
                )
        except OSError as error:
            errors.append(error)
    return VideoResult(timeline, tuple(files), interrupt.requested, errors[0] if errors else None)


def _open_writers(outputs: VideoOutputs, source: VideoSource, classes: Sequence[str]) -> Iterator[VideoWriter]:
    """Yields each writer once it is open: if one cannot be opened, the caller can still finish those before it."""
    factories: tuple[tuple[Path | None, Callable[[Path], VideoWriter]], ...] = (
        (outputs.annotated, lambda path: AnnotatedVideoWriter(path, source, outputs.blur)),
        (outputs.csv, lambda path: csv_writer(path, classes)),
        (outputs.jsonl, json_lines_writer),
        (outputs.parquet, lambda path: ParquetWriter(path, classes)),
    )
    for path, open_writer in factories:
        if path:
            with _path_in_errors(path):
                writer = open_writer(path)
            yield writer


@contextmanager
def _path_in_errors(path: Path) -> Iterator[None]:
    """Makes errors name the output file, instead of the temporary file that is written first."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None
    except require("av", "video").error.FFmpegError as error:
        raise VideoError(f"writing {path} stopped: {error.strerror or error}") from None
