"""An evaluation of a trained network: predictions, metrics, figures, and its row in the table of results."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from mien import plotting
from mien import predictions as prediction_files
from mien.data.dataset import FaceDataset
from mien.errors import require
from mien.evaluation import report
from mien.evaluation.metrics import Metrics, evaluate, none_if_nan
from mien.evaluation.predict import predict
from mien.evaluation.results import Result
from mien.explain.faces_figure import faces_figure
from mien.files import write_text
from mien.models.model import Model
from mien.predictions import half_logits
from mien.types import Predictions


@dataclass(frozen=True)
class Evaluation:
    """One trained network on one split of labelled faces. `mien evaluate`, `mien sweep` and a release all use it.

    Attributes:
        model: The network.
        name: Its name, path or label in a sweep.
        data: Name or path of the data set.
        faces: The faces of the split.
        split: Name of the split.
        view: One of `mien.evaluation.predict.VIEWS`.
        predictions: The calibrated predictions for these faces.
        metrics: The metrics of the predictions.
    """

    model: Model
    name: str
    data: str
    faces: FaceDataset
    split: str
    view: str
    predictions: Predictions
    metrics: Metrics

    @classmethod
    def run(
        cls, model: Model, name: str, data: str, faces: FaceDataset, split: str, view: str = "single"
    ) -> Evaluation:
        """Classifies the faces and computes the metrics; see the attributes for the arguments.

        Raises:
            DataError: There are no faces, or the data and the model have different classes.
            ConfigError: There is no such view.
            WeightsError: The network returns logits that are not finite.
        """
        predictions = predict(model, faces, view)
        return cls(model, name, data, faces, split, view, predictions, evaluate(predictions))

    @property
    def description(self) -> dict[str, Any]:
        """What was evaluated, for the metadata of files and for JSON."""
        calibration = self.model.calibration
        return {
            "model": self.name,
            "network": self.model.title,
            "data": self.data,
            "split": self.split,
            "view": self.view,
            "weights": self.model.digest,
            "temperature": calibration.temperature,
            "temperature_unsure": calibration.temperature_unsure,
            "uncertain_below": calibration.uncertain_below,
        }

    def to_dict(self) -> dict[str, Any]:
        """The description and all metrics, for JSON."""
        return self.description | self.metrics.to_dict()

    def table(self) -> Table:
        """Makes the table for the terminal."""
        return report.table(self.metrics, self.description)

    def write(self, folder: Path, log: Sequence[dict[str, str]] = ()) -> None:
        """Writes `predictions.parquet`, `metrics.json`, and the figures of predictions, training and masks.

        Args:
            folder: The folder; it is created.
            log: Rows of the run's log.csv; without them there are no training curves.

        Raises:
            MissingExtraError: pyarrow or matplotlib is not installed.
            OSError: The folder cannot be written.
        """
        folder.mkdir(parents=True, exist_ok=True)
        network = self.model.title
        prediction_files.save(self.predictions, folder / report.PREDICTIONS_FILE, self.description)
        write_text(folder / report.METRICS_FILE, json.dumps(self.to_dict(), indent=2) + "\n")
        report.write_figures(folder, self.predictions, network, self.split, self.model.calibration.uncertain_below)
        report.write_training_curves(folder, log, network)
        rows = report.sheet_rows(self.faces.targets, len(self.faces.classes))
        images = self.faces.images[rows]
        masks = self.model.masks(images)
        figure = faces_figure(images, self.predictions.take(rows), masks, network, self.split)
        plotting.save(figure, folder / "faces.png")

    def publish_predictions(self, path: Path) -> None:
        """Saves the predictions behind a published row, in half the bytes unless that changes a digit of the row.

        Args:
            path: The Parquet file; its folder is created.

        Raises:
            MissingExtraError: pyarrow is not installed.
            OSError: The folder cannot be written.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        rounded = replace(self.predictions, logits=half_logits(self.predictions.logits).astype(np.float32))
        half = _row_digits(evaluate(rounded)) == _row_digits(self.metrics)
        prediction_files.save(self.predictions, path, self.description, half)

    def row(self, config: str, command: str) -> Result:
        """Makes the row for the table of results.

        Args:
            config: What the table calls the network's config.
            command: The command that measured the row.

        Raises:
            MissingExtraError: torch is not installed.
        """
        require("torch", "train")  # a model file is evaluated without it
        from mien import config as configs
        from mien.models.build import count_multiply_adds

        settings = self.model.config
        return Result(
            network=settings.network.name,
            variant=settings.network.variant,
            multiply_adds=count_multiply_adds(settings, len(self.metrics.classes)),
            config=config,
            seed=settings.training.seed,
            split=self.split,
            view=self.view,
            n=self.metrics.n,
            **_row_metrics(self.metrics),
            settings=configs.digest(settings),
            command=command,
        )


def _row_metrics(metrics: Metrics) -> dict[str, Any]:
    """The columns of a row that are metrics."""
    (low, high), (f1_low, f1_high) = metrics.intervals["accuracy"], metrics.intervals["macro_f1"]
    return {
        "accuracy": metrics["accuracy"],
        "accuracy_low": low,
        "accuracy_high": high,
        "macro_f1": metrics["macro_f1"],
        "macro_f1_low": f1_low,
        "macro_f1_high": f1_high,
        "macro_auc": none_if_nan(metrics["macro_auc"]),
        "ece": metrics["ece"],
    }


def _row_digits(metrics: Metrics) -> list[str]:
    """The metrics of a row as a table prints them."""
    return ["" if value is None else f"{value:.4f}" for value in _row_metrics(metrics).values()]
