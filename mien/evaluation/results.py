"""The table of published results, results/fer2013.csv: one row per evaluation, with the command that measured it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mien.errors import DataError
from mien.evaluation import tables

if TYPE_CHECKING:
    from mien.config import Config


@dataclass(frozen=True)
class Result:
    """One evaluation of one trained network on one split; all metrics are fractions.

    Attributes:
        network: Name in the registry.
        variant: Its variant; empty for a network without variants.
        multiply_adds: Multiply-adds of one face, at the config's input size and with its masks.
        config: What the network was trained with: the name of a config, or `SWEEP:VARIANT`.
        seed: Seed of the training.
        split: Split of the data.
        view: View of each face; results of different views are not comparable.
        n: Number of faces.
        accuracy: Fraction of the faces that are classified correctly.
        accuracy_low: Lower end of its 95 % bootstrap interval.
        accuracy_high: Upper end.
        macro_f1: Mean F1 of the classes.
        macro_f1_low: Lower end of its interval.
        macro_f1_high: Upper end.
        macro_auc: Mean area under the ROC curve of the classes; None if no class has one.
        ece: Expected calibration error.
        settings: Digest of the config; rows with the same name and different settings are of different networks.
        command: The command that measured the row.
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
    macro_auc: float | None
    ece: float
    settings: str
    command: str

    @property
    def key(self) -> tuple[str, int, str, str]:
        """Identifies the row: config, seed, split and view."""
        return self.config, self.seed, self.split, self.view


def check_table(path: Path, name: str, config: Config, split: str, n: int) -> None:
    """Checks, before a network is evaluated, that its row fits into a table of results.

    Args:
        path: The table.
        name: What the table calls the config.
        config: What the network was trained with.
        split: Split of the data.
        n: Number of faces of the split.

    Raises:
        DataError: The table has rows of this split with another number of faces, or of this name and seed with other
            settings, which would be replaced; or it is damaged.
    """
    tables.check_same_faces(path, Result, split, n)
    from mien import config as configs

    settings, seed = configs.digest(config), config.training.seed
    for row in tables.load(path, Result):
        if (row.config, row.seed) == (name, seed) and row.settings != settings:
            raise DataError(
                f"{path} already has rows of another network named {name}, with the settings {row.settings} instead of "
                f"{settings}: rename the run or file, choose another table, or remove those rows"
            )
