"""The table of published results: one row an evaluation, with the command that made it. See results/README.md."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mien.errors import DataError, require
from mien.evaluation import tables
from mien.evaluation.metrics import Metrics

if TYPE_CHECKING:
    from mien.config import Config


@dataclass(frozen=True)
class Result:
    """One evaluation of one trained network on one split; all metrics are fractions.

    Attributes:
        network: Name in the registry.
        variant: Its variant; empty where there is one only.
        multiply_adds: Of one face, with the config's size and masks.
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
        settings: The config's digest: rows of one name and other settings are not of one network.
        command: What made the row.
    """

    network: str
    variant: str
    multiply_adds: int
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
    settings: str
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

    Raises:
        MissingExtraError: torch is not installed.
    """
    require("torch", "train")  # a model file is evaluated without it
    from mien import config as configs
    from mien.models.build import count_multiply_adds

    (low, high), (f1_low, f1_high) = metrics.intervals["accuracy"], metrics.intervals["macro_f1"]
    return Result(
        network=config.network.name,
        variant=config.network.variant,
        multiply_adds=count_multiply_adds(config, len(metrics.classes)),
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
        settings=configs.digest(config),
        command=command,
    )


def check_same_network(path: Path, config: Config, name: str) -> None:
    """Refuses a table whose rows of a name and seed are of another config: they would be replaced.

    Raises:
        DataError: It has such rows, or is damaged.
    """
    from mien import config as configs

    settings, seed = configs.digest(config), config.training.seed
    for old in tables.load(path, Result):
        if (old.config, old.seed) == (name, seed) and old.settings != settings:
            raise DataError(
                f"{path} has rows of another network that is called {name} (settings {old.settings}, these are "
                f"{settings}): rename the run or file, name another table, or remove those rows"
            )
