"""A folder with everything an evaluation says: predictions, metrics, figures."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.data.dataset import FaceDataset
from mien.evaluation import figures
from mien.evaluation import predictions as prediction_files
from mien.evaluation.metrics import Metrics
from mien.files import write_text
from mien.types import Predictions

SHEET_FACES = 14
"""Faces on the sheet: two a class where there are that many."""


def write(
    folder: Path,
    predictions: Predictions,
    metrics: Metrics,
    about: dict[str, Any],
    rows: list[dict[str, Any]],
) -> None:
    """Writes `predictions.parquet`, `metrics.json` and the paper's figures that need nothing but these.

    Args:
        folder: Is made.
        predictions: Of one split.
        metrics: Of these predictions.
        about: Says where they come from; at least `network` and `split`. Stored beside both.
        rows: The log of the run, one row an epoch; empty where it is not known, and the loss figures are left out.
    """
    folder.mkdir(parents=True, exist_ok=True)
    prediction_files.save(predictions, folder / "predictions.parquet", about)
    write_text(folder / "metrics.json", json.dumps(about | metrics.to_dict(), indent=2) + "\n")
    network, split = about["network"], about["split"]
    figures.save(figures.roc_figure(predictions, network, split), folder / "roc.png")
    figures.save(figures.confusion_figure(predictions, network, split), folder / "confusion.png")
    figures.save(figures.reliability_figure(predictions, network, split), folder / "reliability.png")
    if rows:
        figures.save(figures.loss_figure(rows, network), folder / "loss.png")
        if any(float(row["train_margin"]) for row in rows):
            figures.save(figures.margin_figure(rows, network), folder / "margin.png")
        if any(float(row["train_reconstruction"]) for row in rows):
            figures.save(figures.reconstruction_figure(rows, network), folder / "reconstruction.png")


def sheet_rows(predictions: Predictions, seed: int = 0) -> NDArray[np.int64]:
    """Rows of SHEET_FACES faces to show: as many of each class, drawn by chance, not by how well they came out."""
    random = np.random.default_rng(seed)
    a_class = SHEET_FACES // len(predictions.classes)
    chosen: list[int] = []
    for target in range(len(predictions.classes)):
        rows = np.flatnonzero(predictions.targets == target)
        chosen += random.choice(rows, min(a_class, len(rows)), replace=False).tolist()
    return np.array(chosen, np.int64)


def write_sheet(
    folder: Path,
    predictions: Predictions,
    dataset: FaceDataset,
    masks: list[NDArray[np.float32]],
    about: dict[str, Any],
) -> None:
    """Writes `faces.png`: some faces, what was said of them, and the network's masks laid over them (Fig. 9).

    Args:
        folder: Exists.
        predictions: (n) of the faces to show.
        dataset: The same faces.
        masks: For each masked stage (n, h, w) in [0, 1]; empty where there are none.
        about: As for `write`.
    """
    sheet = figures.faces_figure(dataset.images, predictions, masks, about["network"], about["split"])
    figures.save(sheet, folder / "faces.png")
