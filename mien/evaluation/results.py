"""The table of published results: one row an evaluation, with the command that made it. See results/README.md."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, fields
from pathlib import Path

from mien.config import Config
from mien.errors import DataError
from mien.evaluation.metrics import Metrics
from mien.files import write_text


@dataclass(frozen=True)
class Result:
    """One evaluation of one trained network on one split; all metrics are fractions.

    Attributes:
        network: Name in the registry.
        variant: Its variant; empty where there is one only.
        config: What it was trained with: a config's name, or `SWEEP:VARIANT`.
        seed: Of the training.
        split: Of the data.
        view: Of each face; results of different views are never compared.
        n: Faces.
        accuracy: Share of right faces.
        accuracy_low: Lower end of its 95 % bootstrap interval.
        accuracy_high: Upper end.
        macro_f1: Mean of the classes' F1.
        macro_f1_low: Lower end of its interval.
        macro_f1_high: Upper end.
        macro_auc: Mean of the classes' areas under the ROC curve.
        ece: Expected calibration error.
        command: What made the row.
    """

    network: str
    variant: str
    config: str
    seed: int
    split: str
    view: str
    n: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    macro_f1: float
    macro_f1_low: float
    macro_f1_high: float
    macro_auc: float
    ece: float
    command: str

    @property
    def key(self) -> tuple[str, int, str, str]:
        """What a table has one row of."""
        return self.config, self.seed, self.split, self.view


def row(metrics: Metrics, config: Config, name: str, split: str, view: str, command: str) -> Result:
    """The row of one evaluation.

    Args:
        metrics: With intervals.
        config: What the network was trained with.
        name: What the table calls that config.
        split: Of the data.
        view: Of each face.
        command: What made the row.
    """
    (low, high), (f1_low, f1_high) = metrics.intervals["accuracy"], metrics.intervals["macro_f1"]
    return Result(
        network=config.network.name,
        variant=config.network.variant,
        config=name,
        seed=config.training.seed,
        split=split,
        view=view,
        n=metrics.n,
        accuracy=metrics.accuracy,
        accuracy_low=low,
        accuracy_high=high,
        macro_f1=metrics.macro_f1,
        macro_f1_low=f1_low,
        macro_f1_high=f1_high,
        macro_auc=metrics.macro_auc,
        ece=metrics.ece,
        command=command,
    )


def load(path: Path) -> list[Result]:
    """Reads a table; none is an empty one.

    Raises:
        DataError: A column is missing, or a value is of the wrong type; names the row, of which the header is the
            first.
    """
    if not path.exists():
        return []
    kinds = {"int": int, "float": float, "str": str}
    results = []
    with path.open(encoding="utf-8", newline="") as stream:
        for number, row in enumerate(csv.DictReader(stream), start=2):
            try:
                results.append(
                    Result(**{field.name: kinds[str(field.type)](row[field.name]) for field in fields(Result)})
                )
            except (KeyError, ValueError, TypeError) as error:
                raise DataError(f"row {number} of {path} is no result: {error!r}; mend it or remove it") from None
    return results


def add(path: Path, result: Result) -> None:
    """Puts a row into a table, in the place of the one with the same config, seed, split and view if there is one.

    Raises:
        DataError: The table is damaged; nothing is written.
        OSError: It cannot be written.
    """
    rows = {old.key: old for old in load(path)} | {result.key: result}
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(Result)], lineterminator="\n")
    writer.writeheader()
    for row in rows.values():
        writer.writerow(
            {name: f"{value:.4f}" if isinstance(value, float) else value for name, value in vars(row).items()}
        )
    path.parent.mkdir(parents=True, exist_ok=True)
    write_text(path, text.getvalue())
