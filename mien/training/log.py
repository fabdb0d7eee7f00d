"""What a run tells: a progress bar for the person, a CSV file and TensorBoard events for later."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch.utils.tensorboard import SummaryWriter

from mien.files import write_text

CSV = "log.csv"


class Log:
    """Collects a run's rows, one an epoch, and shows its steps.

    Args:
        folder: Where CSV and TensorBoard events go.
        epochs: Of the whole run, for the time left.
        console: Where the bar and the rows are printed; a bar is drawn on terminals only.
    """

    def __init__(self, folder: Path, epochs: int, console: Console) -> None:
        self.folder, self.epochs, self.console = folder, epochs, console
        self.rows: list[dict[str, Any]] = []
        self._writer: SummaryWriter | None = None
        self._progress = Progress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("{task.fields[words]}"),
            TimeRemainingColumn(compact=True),
            console=console,
            disable=not console.is_terminal,
        )
        self._task = self._progress.add_task("", total=None, epoch=1, epochs=epochs, words="")

    def __enter__(self) -> Log:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()
        if self._writer:
            self._writer.close()

    def restore(self, rows: list[dict[str, Any]]) -> None:
        """Takes up the rows of an earlier part of the run; events past them are dropped."""
        self.rows = list(rows)

    def step(self, epoch: int, step: int, steps: int, means: dict[str, float]) -> None:
        """Shows where the run is."""
        if not self.console.is_terminal:
            return
        words = (  # the parts as they are, without their weights: they do not sum to the loss
            f"loss {means['train_loss']:.3f} of ce {means['train_cross_entropy']:.3f}, rec "
            f"{means['train_reconstruction']:.3f}, margin {means['train_margin']:.3f}, teacher "
            f"{means['train_distillation']:.3f}  "
            f"accuracy {means['train_accuracy']:.1%}  {means['images_per_s']:.0f} images/s"
        )
        self._progress.update(
            self._task, completed=(epoch - 1) * steps + step, total=self.epochs * steps, epoch=epoch, words=words
        )

    def epoch(self, row: dict[str, Any]) -> None:
        """Writes one epoch's row everywhere."""
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


def _rounded(value: Any) -> Any:
    return f"{value:.6g}" if isinstance(value, float) else value
