"""The log of a run: meters, a progress bar, log.csv and TensorBoard events."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from mien.files import write_text
from mien.training.losses import LOSS_COLUMNS, LossParts

CSV = "log.csv"


class Meters:
    """Sums over the images of an epoch, from which the means are computed with one division.

    Args:
        sums: The sums of an epoch that was interrupted; None starts from 0.
    """

    def __init__(self, sums: dict[str, float] | None = None) -> None:
        self.sums: dict[str, float] = dict.fromkeys(("images", "correct", *LOSS_COLUMNS, "seconds"), 0) | (sums or {})

    def add(
        self,
        parts: LossParts,
        logits: Tensor,
        targets: Tensor,
        seconds: float,
        sum_processes: Callable[[list[float]], list[float]] = list,
    ) -> None:
        """Adds one batch.

        Args:
            parts: The batch's losses.
            logits: (N, K).
            targets: (N,) class ids.
            seconds: Duration of the step.
            sum_processes: Sums values over all processes that train together.
        """
        n = len(targets)
        own = [n, int((logits.argmax(dim=1) == targets).sum())]
        images, correct, *losses = sum_processes([*own, *(getattr(parts, name).item() * n for name in LOSS_COLUMNS)])
        self.sums["images"] += int(images)
        self.sums["correct"] += int(correct)
        self.sums["seconds"] += seconds
        for name, loss in zip(LOSS_COLUMNS, losses, strict=True):
            self.sums[name] += loss

    def means(self) -> dict[str, float]:
        """Returns the columns of the log that describe the training split."""
        images, seconds = max(self.sums["images"], 1), self.sums["seconds"]
        return {column: self.sums[name] / images for name, column in LOSS_COLUMNS.items()} | {
            "train_accuracy": self.sums["correct"] / images,
            "images_per_s": self.sums["images"] / max(seconds, 1e-9),
            "train_s": seconds,
        }


class Log:
    """Shows a run's progress and collects one row per epoch.

    Args:
        folder: Folder of log.csv and the TensorBoard events.
        epochs: Number of epochs of the whole run.
        console: Where rows are printed and, on a terminal, a progress bar is drawn.
    """

    def __init__(self, folder: Path, epochs: int, console: Console) -> None:
        self.folder, self.epochs, self.console = folder, epochs, console
        self.rows: list[dict[str, Any]] = []
        self._writer: SummaryWriter | None = None
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[metrics]}"),
            TimeRemainingColumn(compact=True),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("", total=None, epoch=1, epochs=epochs, metrics="")

    def __enter__(self) -> Log:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
        if self._writer:
            self._writer.close()

    def restore(self, rows: list[dict[str, Any]]) -> None:
        """Continues with the rows of an earlier part of the run; TensorBoard events of later epochs are purged."""
        self.rows = list(rows)

    def log_step(self, epoch: int, step: int, steps: int, means: dict[str, float]) -> None:
        """Updates the progress bar.

        Args:
            epoch: Number of the epoch, from 1.
            step: Steps done in this epoch.
            steps: Steps per epoch.
            means: From `Meters.means`.
        """
        if self.console.is_terminal:
            self._progress.update(
                self._task,
                completed=(epoch - 1) * steps + step,
                total=self.epochs * steps,
                epoch=epoch,
                metrics=progress_text(means),
            )

    def log_epoch(self, row: dict[str, Any]) -> None:
        """Adds the row of an epoch to log.csv, the TensorBoard events and the console."""
        self.rows.append(row)
        text = io.StringIO()
        writer = csv.DictWriter(text, list(row), lineterminator="\n")
        writer.writeheader()
        writer.writerows({key: _rounded(value) for key, value in line.items()} for line in self.rows)
        write_text(self.folder / CSV, text.getvalue())
        if self._writer is None:
            self._writer = SummaryWriter(str(self.folder), purge_step=row["epoch"])
        for key, value in row.items():
            if key != "epoch":
                self._writer.add_scalar(key, value, row["epoch"])
        self._writer.flush()
        self.console.print(
            f"epoch {row['epoch']}/{self.epochs}  loss {row['train_loss']:.3f}  accuracy {row['train_accuracy']:.2%}  "
            f"PublicTest {row['public_accuracy']:.2%}  {row['images_per_s']:.0f} images/s",
            highlight=False,
        )


def progress_text(means: dict[str, float]) -> str:
    """Returns the losses, accuracy and speed of an epoch in one line.

    The parts of the loss are shown before weighting, so they do not sum to the loss; parts that are 0 are left out.
    """
    parts = [
        f"{name.replace('_', ' ')} {means[column]:.3f}"
        for name, column in LOSS_COLUMNS.items()
        if name != "total" and means[column]
    ]
    return (
        f"loss {means['train_loss']:.3f} ({', '.join(parts)})  accuracy {means['train_accuracy']:.1%}  "
        f"{means['images_per_s']:.0f} images/s"
    )


def _rounded(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value
