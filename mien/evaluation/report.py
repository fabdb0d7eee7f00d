"""A folder with everything that an evaluation says: predictions, metrics, figures; and the table in the terminal."""

from __future__ import annotations

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.table import Table
from rich.text import Text

from mien import plotting as style
from mien import predictions as prediction_files
from mien.data.dataset import FaceDataset
from mien.errors import DataError
from mien.evaluation import figures
from mien.evaluation.metrics import HEADLINES, Metrics
from mien.explain import sheet
from mien.files import write_text
from mien.labels import class_colours
from mien.types import Predictions

METRICS = "metrics.json"
SHEET_FACES = 14
"""Faces on the sheet: two a class where there are seven classes."""


def write(
    folder: Path,
    predictions: Predictions,
    metrics: Metrics,
    about: dict[str, Any],
    log: Sequence[dict[str, str]] = (),
) -> None:
    """Writes `predictions.parquet`, `metrics.json` and the paper's figures that need nothing but these.

    Args:
        folder: Is made.
        predictions: Of one split.
        metrics: Of these predictions.
        about: Says where they come from; at least `network`, `split` and `weights`, and `uncertain_below` where the
            network has it. Stored beside both.
        log: One row an epoch of the run; without it the loss figures are left out.

    Raises:
        MissingExtraError: pyarrow or matplotlib is not installed.
        OSError: The folder cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    prediction_files.save(predictions, folder / "predictions.parquet", about)
    write_text(folder / METRICS, json.dumps(about | metrics.to_dict(), indent=2) + "\n")
    network, split = about["network"], about["split"]
    style.save(figures.roc_figure(predictions, network, split), folder / "roc.png")
    style.save(figures.confusion_figure(predictions, network, split), folder / "confusion.png")
    style.save(figures.reliability_figure(predictions, network, split), folder / "reliability.png")
    risk = figures.risk_coverage_figure(predictions, network, split, about.get("uncertain_below", 0.0))
    style.save(risk, folder / "risk-coverage.png")
    if not log:
        return
    style.save(figures.loss_figure(log, network), folder / "loss.png")
    for name, draw in (("margin", figures.margin_figure), ("reconstruction", figures.reconstruction_figure)):
        if any(float(row[f"train_{name}"]) for row in log):  # a loss of weight 0 has no curve
            style.save(draw(log, network), folder / f"{name}.png")


def write_sheet(
    folder: Path,
    predictions: Predictions,
    faces: FaceDataset,
    masks: Sequence[NDArray[np.float32]],
    about: dict[str, Any],
) -> None:
    """Writes `faces.png`: some faces, what was said of them, and the network's masks laid over them (Fig. 9).

    Args:
        folder: Exists.
        predictions: (n) of the faces to show.
        faces: The same n faces.
        masks: For each masked stage (n, h, w) in [0, 1]; empty where there are none.
        about: As for `write`.
    """
    figure = sheet.faces_figure(faces.images, predictions, masks, about["network"], about["split"])
    style.save(figure, folder / "faces.png")


def sheet_rows(targets: NDArray[np.int64], num_classes: int, seed: int = 0) -> NDArray[np.int64]:
    """Rows of some SHEET_FACES faces to show: as many of each class, drawn by chance, not by how well they came out."""
    random = np.random.default_rng(seed)
    a_class = max(1, SHEET_FACES // num_classes)
    chosen: list[int] = []
    for target in range(num_classes):
        rows = np.flatnonzero(targets == target)
        chosen += random.choice(rows, min(a_class, len(rows)), replace=False).tolist()
    return np.array(chosen[: sheet.MOST_FACES], np.int64)


def read_log(path: Path) -> list[dict[str, str]]:
    """The rows of a run's log.csv; none where there is no such file.

    Raises:
        DataError: It is no table.
    """
    if not path.is_file():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is damaged ({error}): remove it or bring its copy back") from None


def read_metrics(folder: Path, weights: str, data: str) -> dict[str, dict[str, float]]:
    """What evaluations below a folder found of these weights: evaluation's folder name -> n and headline metrics.

    Args:
        folder: Holds a folder for each evaluation.
        weights: The digest of the weights; evaluations of others, made before a training went on, are left out.
        data: The name of the data's file or folder; evaluations on other data are left out too.

    Raises:
        DataError: One of the files is damaged.
    """
    found = {}
    for file in sorted(folder.glob(f"*/{METRICS}")):
        try:
            stored = json.loads(file.read_text(encoding="utf-8"))
            if (stored["weights"], Path(stored["data"]).name) == (weights, data):
                found[file.parent.name] = {name: stored[name] for name in ("n", *HEADLINES)}
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(f"{file} is damaged ({error!r}); evaluate again") from None
    return found


def table(metrics: Metrics, about: dict[str, Any]) -> Table:
    """The headline metrics with their intervals, and each class's own."""
    headlines = Table("metric", "value", "95 % interval", title_justify="left")
    for name in HEADLINES:
        low, high = metrics.intervals[name]
        headlines.add_row(name.replace("_", " "), f"{getattr(metrics, name):.4f}", f"{low:.4f} to {high:.4f}")
    classes = Table("expression", "faces", "precision", "recall", "F1", "AUC")
    for column in (*headlines.columns[1:], *classes.columns[1:]):
        column.justify = "right"
    colours = class_colours(tuple(metrics.classes))
    for name, of_class in metrics.classes.items():
        values = (of_class.precision, of_class.recall, of_class.f1, of_class.auc)
        cells = (f"{value:.3f}" if of_class.support else "-" for value in values)
        classes.add_row(Text(name, style=colours[name]), f"{of_class.support:,}", *cells)
    page = Table.grid()
    page.add_row(Text(f"{about['network']}, {about['split']}, {about['view']} view, n = {metrics.n:,}", style="bold"))
    page.add_row(headlines)
    page.add_row(classes)
    return page
