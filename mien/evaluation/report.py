"""The files of an evaluation folder, the table in the terminal, and reading stored metrics and training logs."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from rich.text import Text

from mien import files, plotting
from mien.errors import DataError
from mien.evaluation import figures, training_curves
from mien.evaluation.metrics import METRICS, Metrics
from mien.explain.faces_figure import MAX_FACES
from mien.labels import class_colours
from mien.parsing import parse_json
from mien.predictions import FORMAT
from mien.types import Predictions

METRICS_FILE = "metrics.json"
PREDICTIONS_FILE = "predictions.parquet"
_FIGURES = ("roc", "confusion", "reliability", "risk-coverage", "faces", "loss")
_METRICS_BEGINNING = r'\{\s*"model": .*\s*"network": .*\s*"data": '
SHEET_FACES = 14
"""Faces on the sheet: two of each of FER2013's seven classes."""


def check_folder(folder: Path, log: Sequence[dict[str, str]], overwrite: bool) -> None:
    """Checks, before a network is evaluated, that its files can be written and replace only files of mien.

    A folder that holds predictions of mien is an evaluation folder, whose other files are mien's as well.

    Args:
        folder: The folder, which may still have to be created.
        log: Rows of the run's log.csv, as for `write_training_curves`.
        overwrite: Whether any file may be replaced.

    Raises:
        ConfigError: It cannot, or would replace another file.
    """
    files.check_folder(folder)
    if not folder.is_dir():
        return
    predictions = folder / PREDICTIONS_FILE
    files.check_output(predictions, overwrite, mark=FORMAT)
    parts: Iterable[str] = ()
    if log:
        from mien.training.losses import LOSS_COLUMNS  # imports torch, which everyone has who trains

        parts = LOSS_COLUMNS
    is_evaluation = predictions.exists()
    for path in (folder / METRICS_FILE, *(folder / f"{name}.png" for name in (*_FIGURES, *parts))):
        files.check_output(path, overwrite or (is_evaluation and not path.is_symlink()), _METRICS_BEGINNING)


def write_figures(
    folder: Path, predictions: Predictions, network: str, split: str, uncertain_below: float = 0.0
) -> None:
    """Draws predictions: ROC curves, confusion matrix, reliability diagram, and risk against coverage.

    Args:
        folder: An existing folder.
        predictions: Predictions of one split.
        network: Name of the network, for the titles.
        split: Name of the split.
        uncertain_below: Confidence below which a face is uncertain; 0 marks none.

    Raises:
        MissingExtraError: matplotlib is not installed.
        OSError: The folder cannot be written.
    """
    plotting.save(figures.roc_figure(predictions, network, split), folder / "roc.png")
    plotting.save(figures.confusion_figure(predictions, network, split), folder / "confusion.png")
    plotting.save(figures.reliability_figure(predictions, network, split), folder / "reliability.png")
    risk_coverage = figures.risk_coverage_figure(predictions, network, split, uncertain_below)
    plotting.save(risk_coverage, folder / "risk-coverage.png")


def write_training_curves(folder: Path, log: Sequence[dict[str, str]], network: str) -> None:
    """Draws a run's log: `loss.png`, and a figure for each other part of the loss; nothing for an empty log.

    Args:
        folder: An existing folder.
        log: Rows of log.csv, one per epoch.
        network: Name of the network, for the titles.
    """
    if not log:
        return
    plotting.save(training_curves.loss_figure(log, network), folder / "loss.png")
    from mien.training.losses import LOSS_COLUMNS  # imports torch, which everyone has who trains

    for name, column in LOSS_COLUMNS.items():
        is_used = any(float(row.get(column) or 0) for row in log)  # a part of weight 0 is 0 throughout
        if is_used and name not in ("total", "cross_entropy"):  # loss.png shows these two
            plotting.save(training_curves.auxiliary_loss_figure(log, network, name), folder / f"{name}.png")


def sheet_rows(targets: NDArray[np.int64], num_classes: int, seed: int = 0) -> NDArray[np.int64]:
    """Draws the rows of about SHEET_FACES faces at random, equally many of each class."""
    random = np.random.default_rng(seed)
    per_class = max(1, SHEET_FACES // num_classes)
    chosen: list[int] = []
    for target in range(num_classes):
        rows = np.flatnonzero(targets == target)
        chosen += random.choice(rows, min(per_class, len(rows)), replace=False).tolist()
    return np.array(chosen[:MAX_FACES], np.int64)


def read_log(path: Path) -> list[dict[str, str]]:
    """Reads the rows of a run's log.csv; returns an empty list if there is no such file.

    Raises:
        DataError: The file is not a CSV table.
    """
    if not path.is_file():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is damaged ({error}): remove it or restore a copy of it") from None


def read_metrics(folder: Path, weights: str, data: str) -> dict[str, dict[str, float]]:
    """Reads the metrics of all evaluations of a network: evaluation's folder name -> n and metrics by name.

    Args:
        folder: The folder with one subfolder per evaluation.
        weights: Digest of the weights. Evaluations of other weights, such as those of earlier epochs, are skipped.
        data: Name of the data's file or folder. Evaluations on other data are skipped.

    Raises:
        DataError: One of the files is damaged.
    """
    metrics = {}
    for file in sorted(folder.glob(f"*/{METRICS_FILE}")):
        try:
            stored = parse_json(file.read_text(encoding="utf-8"))
            if (stored["weights"], Path(stored["data"]).name) == (weights, data):
                metrics[file.parent.name] = {name: stored[name] for name in ("n", *METRICS)}
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{file} is damaged ({error!r}): run mien evaluate again") from None
    return metrics


def table(metrics: Metrics, description: dict[str, Any]) -> Table:
    """Makes the table for the terminal: the metrics with their intervals, and the metrics of each class.

    Args:
        metrics: Metrics with intervals.
        description: Has `network`, `split` and `view`, for the title.
    """
    overall = Table("metric", "value", "95 % interval", title_justify="left")
    for name, value in metrics.values.items():
        low, high = metrics.intervals[name]
        ends = "-" if math.isnan(low) else f"{low:.4f} to {high:.4f}"
        overall.add_row(name.replace("_", " "), _number(value, 4), ends)
    classes = Table("expression", "faces", "precision", "recall", "F1", "AUC")
    for column in (*overall.columns[1:], *classes.columns[1:]):
        column.justify = "right"
    colours = class_colours(tuple(metrics.classes))
    for name, of_class in metrics.classes.items():
        values = (of_class.precision, of_class.recall, of_class.f1, of_class.auc)
        cells = (_number(value, 3) if of_class.support else "-" for value in values)
        classes.add_row(Text(name, style=colours[name]), f"{of_class.support:,}", *cells)
    title = f"{description['network']}, {description['split']}, {description['view']} view, n = {metrics.n:,}"
    page = Table.grid()
    page.add_row(Text(title, style="bold"))
    page.add_row(overall)
    page.add_row(classes)
    return page


def _number(value: float, digits: int) -> str:
    return "-" if math.isnan(value) else f"{value:.{digits}f}"
