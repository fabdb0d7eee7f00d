"""What `mien recognize` does with archives: any number of pictures into Parquet, in processes or on a cluster."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from mien.cli.options import console, echo

if TYPE_CHECKING:
    from mien.recognition.batch import Executor, FaceRecognizer
    from mien.recognition.parts import Counts


def recognize_to_file(
    output: Path, names: Iterable[str], faces: FaceRecognizer, workers: int | None, overwrite: bool
) -> int:
    """Recognises pictures into one Parquet file, and prints a summary.

    Returns:
        How many pictures could not be read.
    """
    from mien.cores import usable_cores
    from mien.data.picture_lists import find
    from mien.recognition import batch
    from mien.recognition.parts import PictureList

    pictures = PictureList(find(names), batch.PICTURES_PER_PART)
    advice = f"run the same command again to resume from {batch.parts_folder(output)}"
    with _resumable(advice), _progress_bar(pictures.count) as on_progress:
        total = batch.recognize_to_file(pictures, output, faces, workers or usable_cores(), on_progress, overwrite)
    return _summarize(output, total)


def recognize_to_folder(output: str, names: Iterable[str], faces: FaceRecognizer, workers: Workers) -> int:
    """Recognises pictures into a folder of Parquet files, and prints a summary.

    Returns:
        How many pictures could not be read.

    Raises:
        ConfigError: The output is the name of a file, the options contradict each other, or there is no cluster.
    """
    from mien.data.picture_lists import find
    from mien.errors import ConfigError, shortened_path
    from mien.recognition import batch
    from mien.recognition.parts import PictureList
    from mien.storage import is_url

    if Path(output).suffix and not is_url(output):
        raise ConfigError(
            f"with --on the output is a folder of Parquet files, got {shortened_path(output)}: give the name of a "
            "folder, without an ending"
        )

    def everywhere(path: str) -> str:
        """Returns a path that means the same to workers that started in another folder."""
        return path if is_url(path) else os.path.abspath(path)  # noqa: PTH100 - resolves no links

    with _resumable("run the same command again to resume"), workers.executor() as executor:
        pictures = PictureList(map(everywhere, find(names)), workers.pictures_per_part)
        with _progress_bar(pictures.count) as on_progress:
            total = batch.recognize_to_folder(pictures, everywhere(output), faces, executor, on_progress)
    return _summarize(output, total)


@dataclass(frozen=True)
class Workers:
    """The options about where a folder of Parquet files is made.

    Attributes:
        on: The address of a Ray cluster; None means processes of this machine.
        number: The number of workers; None means one for each core.
        pictures_per_part: At least 1.
        gpus: The GPUs of each worker of a cluster.
    """

    on: str | None
    number: int | None
    pictures_per_part: int
    gpus: float

    @contextmanager
    def executor(self) -> Iterator[Executor]:
        """Connects to the cluster, if there is one, and yields what runs the parts.

        Raises:
            ConfigError: There is no cluster at the address, or GPUs without a cluster.
        """
        from mien.cores import usable_cores
        from mien.errors import ConfigError
        from mien.recognition import cluster
        from mien.recognition.workers import in_processes

        if self.on:
            with cluster.connected(self.on):
                yield partial(cluster.on_ray, workers=self.number or cluster.cluster_cores(), gpus=self.gpus)
        elif self.gpus:
            raise ConfigError("--gpus is for workers of a cluster: add --on, or use --device")
        else:
            yield partial(in_processes, workers=self.number or usable_cores())


def _summarize(output: object, total: Counts) -> int:
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
def _progress_bar(pictures: int) -> Iterator[Callable[[Counts], None]]:
    """Shows pictures, pictures per second, faces, errors and remaining time on the terminal."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    terminal = console()
    columns = (BarColumn(None), MofNCompleteColumn(), TextColumn("{task.fields[counts]}"), TimeRemainingColumn())
    progress = Progress(*columns, console=terminal, disable=not terminal.is_terminal)
    task = progress.add_task("", total=pictures, counts="")
    before: list[tuple[float, int]] = []  # the time and count of the first call, which has those of earlier runs

    def on_progress(counts: Counts) -> None:
        before[:] = before or [(time.perf_counter(), counts.pictures)]
        started, finished = before[0]
        speed = (counts.pictures - finished) / max(time.perf_counter() - started, 1e-9)
        text = f"{speed:.1f} pictures/s, {counts.faces:,} faces, {counts.errors:,} errors"
        progress.update(task, completed=counts.pictures, counts=text)

    with progress:
        yield on_progress
