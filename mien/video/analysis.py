"""A video recognised into the files that are wanted of it: whole wherever it was stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from mien.errors import ConfigError, MienError, VideoError, require
from mien.interrupt import interruptible
from mien.video import report as video_report
from mien.video.outputs import CONTAINERS, STANDARD_OUTPUT, AnnotatedVideo, Lines, Output, Rows
from mien.video.recognizer import VideoFrame, VideoRecognizer
from mien.video.source import VideoSource
from mien.video.timeline import Timeline


@dataclass(frozen=True)
class Wanted:
    """Which files a recognised video is to leave; None for not.

    Attributes:
        copy: The annotated copy.
        csv: One line a face of a picture; STANDARD_OUTPUT prints them.
        jsonl: One line a picture, likewise.
        parquet: One row a face of a picture.
        report: The HTML page; its timeline goes beside it as PNG.
    """

    copy: Path | None = None
    csv: Path | None = None
    jsonl: Path | None = None
    parquet: Path | None = None
    report: Path | None = None

    def __post_init__(self) -> None:
        """Refuses what is better known before the hours of recognising.

        Raises:
            ConfigError: A name has another ending than its kind, a folder is missing, or two files are one.
        """
        for path, kind, endings in (
            (self.copy, "an annotated video", CONTAINERS),
            (self.report, "a report", (".html",)),
        ):
            if path and path.suffix.lower() not in endings:
                raise ConfigError(f"the name of {kind} must end in {', '.join(endings)}, got {path.name}")
        for path in self._paths:
            if not path.parent.is_dir():
                raise ConfigError(f"there is no folder {path.parent} for {path.name}: make it, or name another")
            if path.is_dir():
                raise ConfigError(f"{path} is a folder: name a file in it")
        places = [path if path == STANDARD_OUTPUT else path.resolve() for path in self._paths]
        if len(set(places)) < len(places):
            raise ConfigError(f"each file needs a name of its own, got {', '.join(map(str, self._paths))}")

    @property
    def prints(self) -> bool:
        """Whether a table is printed."""
        return STANDARD_OUTPUT in (self.csv, self.jsonl)

    @property
    def _paths(self) -> list[Path]:
        """All files that are written."""
        beside = video_report.picture_beside(self.report) if self.report else None
        return [path for path in (*vars(self).values(), beside) if path]

    def refuse(self, source: VideoSource) -> None:
        """Refuses to write over the video itself.

        Raises:
            ConfigError: One of the files is the video.
        """
        film = Path(source.name)
        if not film.exists():
            film = Path(source.name.removeprefix("file:"))  # as FFmpeg takes it off, of file:// too
        for path in self._paths:
            if path.exists() and film.exists() and path.samefile(film):
                raise ConfigError(f"{path} is the video itself, which would be lost: name another file")


@dataclass(frozen=True)
class Done:
    """How far a video was recognised.

    Attributes:
        timeline: Who showed what and when.
        files: What was written.
        interrupted: Whether a person stopped it.
        error: What else ended it before the video did, or kept a file from being written.
    """

    timeline: Timeline
    files: tuple[Path, ...]
    interrupted: bool
    error: MienError | OSError | None


def recognize(
    source: VideoSource, recognizer: VideoRecognizer, wanted: Wanted, tell: Callable[[VideoFrame], object]
) -> Done:
    """Recognises a video and writes what is wanted. Where it cannot go on, what is done is kept in whole files.

    The first Ctrl-C or SIGTERM ends it after the picture at hand, and where it waits for one.

    Args:
        source: Opened, with its sound where a copy is wanted.
        recognizer: What names the expressions.
        wanted: Which files.
        tell: Called with each picture once it is written.

    Raises:
        ConfigError: A file that is wanted is the video itself.
    """
    wanted.refuse(source)
    classes = recognizer.recognizer.model.classes
    timeline = Timeline(classes)
    files: list[Path] = []
    errors: list[MienError | OSError] = []
    unforeseen: list[Exception] = []
    outputs: list[Output] = []
    with interruptible() as interrupt:
        source.stopped = lambda: interrupt.requested
        try:
            outputs += _outputs(wanted, source, classes)
            for frame in recognizer(source):
                timeline.add(frame)
                for output in outputs:
                    with _naming(output.path):
                        output.add(frame)
                tell(frame)
                if interrupt.requested:
                    break
        except (MienError, OSError) as error:
            errors.append(error)
        finally:
            keep = timeline.frames > 0
            for output in outputs:
                try:
                    with _naming(output.path):
                        output.finish(keep)
                    files += [output.path] if keep else []
                except (MienError, OSError) as error:
                    errors.append(error)
                except Exception as error:  # the others are still to be ended
                    unforeseen.append(error)
    if unforeseen:
        raise unforeseen[0]
    if wanted.report and keep:
        try:
            with _naming(wanted.report):
                files += video_report.write(timeline, wanted.report, Path(source.name).name)
        except OSError as error:
            errors.append(error)
    return Done(timeline, tuple(files), interrupt.requested, errors[0] if errors else None)


def _outputs(wanted: Wanted, source: VideoSource, classes: Sequence[str]) -> Iterator[Output]:
    kinds: tuple[tuple[Path | None, Callable[[Path], Output]], ...] = (
        (wanted.copy, lambda path: AnnotatedVideo(path, source)),
        (wanted.csv, lambda path: Lines(path, classes, as_csv=True)),
        (wanted.jsonl, lambda path: Lines(path, classes, as_csv=False)),
        (wanted.parquet, lambda path: Rows(path, classes)),
    )
    for path, opened in kinds:
        if path:
            with _naming(path):
                output = opened(path)
            yield output


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Errors of writing name the person's file, not the part that is written first; FFmpeg's own become a sentence."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from None
    except require("av", "video").error.FFmpegError as error:
        raise VideoError(f"{path} cannot be written on: {error.strerror or error}") from None
