"""What `mien recognize` does with archives: any number of pictures into Parquet, in several processes."""

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mien.cli.options import console, echo

if TYPE_CHECKING:
    from mien.recognition.parts import Counts


def recognize_to_file(output: Path, names: Iterable[str], model: str, detector: str, workers: int | None) -> int:
    """Recognises pictures into one Parquet file, and prints a summary.

    Returns:
        How many pictures could not be read.
    """
    from mien.cores import usable_cores
    from mien.recognition import batch
    from mien.recognition.parts import PictureList

    faces = batch.FaceRecognizer(model, detector)
    pictures = PictureList(names, batch.PICTURES_PER_PART)
    advice = f"run the same command again to resume from {batch.parts_folder(output)}"
    with _resumable(advice), _progress_bar(pictures.count) as on_progress:
        total = batch.recognize_to_file(pictures, output, faces, workers or usable_cores(), on_progress)
    return _summarize(output, total)


def _summarize(output: object, total: "Counts") -> int:
    """Prints what was written -> how many pictures could not be read."""
    rest = f"; {total.errors:,} could not be read: see the column error" if total.errors else ""
    echo(f"written: {output}, {total.pictures:,} pictures{rest}")
    return total.errors


@contextmanager
def _resumable(advice: str) -> Iterator[None]:
    """Ends the command with exit code 130 and advice if it is interrupted."""
    try:
        yield
    except KeyboardInterrupt:
        echo(f"interrupted; {advice}")
        raise typer.Exit(130) from None


@contextmanager
def _progress_bar(pictures: int) -> "Iterator[Callable[[Counts], None]]":
    """Shows pictures, pictures per second, faces, errors and remaining time on the terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    terminal = console()
    columns = (BarColumn(None), MofNCompleteColumn(), TextColumn("{task.fields[counts]}"), TimeRemainingColumn())
    progress = Progress(*columns, console=terminal, disable=not terminal.is_terminal)
    task = progress.add_task("", total=pictures, counts="")
    before: list[tuple[float, int]] = []  # the time and count of the first call, which has those of earlier runs

    def on_progress(counts: "Counts") -> None:
        before[:] = before or [(time.perf_counter(), counts.pictures)]
        started, finished = before[0]
        speed = (counts.pictures - finished) / max(time.perf_counter() - started, 1e-9)
        text = f"{speed:.1f} pictures/s, {counts.faces:,} faces, {counts.errors:,} errors"
        progress.update(task, completed=counts.pictures, counts=text)

    with progress:
        yield on_progress
