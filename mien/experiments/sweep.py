"""Sweeps: training, evaluating and comparing many variants of a config, all described in one file.

[sweep]
seeds = [0, 1, 2]
splits = ["public", "private"]       # one row of results per split; PublicTest only, until all choices are made

[training]                           # all other tables are those of a config
epochs = 30

[variants.plain]                     # each variant changes some of these settings
network.name = "resnet18"
[variants.masking]
network.name = "resmasking18"

[grid]                               # optional: every variant is trained with every combination of these values
"training.learning_rate" = [0.05, 0.1]
"""

from __future__ import annotations

import itertools
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from filelock import Timeout
from rich.console import Console

from mien import config as configs
from mien import predictions as prediction_files
from mien.config import Config
from mien.data import load_configured
from mien.errors import ConfigError, DataError, MienError, TrainingError, near, shortened_path
from mien.evaluation import compare, tables
from mien.evaluation.evaluation import Evaluation
from mien.evaluation.results import Result
from mien.files import check_folder, is_replaceable
from mien.labels import EXPRESSIONS, SPLITS
from mien.models.build import build_network, preprocessing_for
from mien.models.torch_model import TorchModel
from mien.shipped_configs import shown_path
from mien.training import run as runs
from mien.training.processes import find_launcher
from mien.types import Predictions

VIEW = "single"
LAST_DIGIT = 1e-4
"""The last digit of an accuracy in a table of results."""
FORBIDDEN_CHARACTERS = '/\\:*?"<>|'
"""Characters that some systems do not allow in the name of a folder."""


@dataclass(frozen=True)
class Trial:
    """One training of a sweep.

    Attributes:
        variant: Name of the variant, followed by the values of the grid.
        config: The complete config, including the seed.
    """

    variant: str
    config: Config

    @property
    def name(self) -> str:
        """Name of the run's folder."""
        return f"{self.variant}-seed{self.config.training.seed}"


@dataclass(frozen=True)
class Sweep:
    """The content of a sweep's file.

    Attributes:
        name: Name of the file without its suffix.
        path: The file.
        variants: Names of the variants in the file's order.
        splits: Splits that each training is evaluated on.
        trials: Every variant with the first seed, then every variant with the second, and so on: whenever the sweep is
            stopped, the finished trials can be compared.
        command: The command that runs the sweep.
    """

    name: str
    path: Path
    variants: tuple[str, ...]
    splits: tuple[str, ...]
    trials: tuple[Trial, ...]
    command: str

    def label(self, trial: Trial) -> str:
        """What the table of results calls a trial's config."""
        return f"{self.name}:{trial.variant}"

    def baseline(self, variant: str = "") -> str:
        """Returns the variant that the others are compared with: the given one, or the first.

        Raises:
            ConfigError: There is no variant of that name.
        """
        if variant and variant not in self.variants:
            raise ConfigError(f"{self.path} has no variant {variant[:80]}: {near(variant, self.variants)}")
        return variant or self.variants[0]


def load(path: Path, overrides: tuple[str, ...] = ()) -> Sweep:
    """Reads a sweep's file and checks every config in it.

    Args:
        path: The file.
        overrides: `section.key=value` pairs that replace the file's values in every trial.

    Raises:
        ConfigError: The file cannot be read, or one of its configs cannot be trained; the message names the variant.
    """
    table = configs.read_table(path)
    settings, variants, grid = (_table(table.pop(name, {}), name, path) for name in ("sweep", "variants", "grid"))
    seeds, splits = settings.get("seeds", [0]), settings.get("splits", ["public"])
    if unknown := settings.keys() - {"seeds", "splits"}:
        raise ConfigError(f"unknown key sweep.{min(unknown)[:80]} in {path}: known are seeds, splits")
    if not variants:
        raise ConfigError(f"{path} must have one [variants.NAME] table or more, got none")
    if not (
        isinstance(splits, list) and splits and all(splits.count(split) == 1 and split in SPLITS for split in splits)
    ):
        raise ConfigError(
            f"sweep.splits must be a list of {', '.join(SPLITS)}, each once, in {path}, got {str(splits)[:80]}"
        )
    if not (isinstance(seeds, list) and seeds and all(type(seed) is int and seed >= 0 for seed in seeds)):
        raise ConfigError(f"sweep.seeds must be a list of integers of 0 or more in {path}, got {str(seeds)[:80]}")
    points = {
        name: _config(configs.overridden(point, overrides, path), f"[variants.{name}] of {path}")
        for variant, changes in variants.items()
        for name, point in _points(variant, _merged(table, _table(changes, f"variants.{variant}", path)), grid, path)
    }
    trials = tuple(
        Trial(name, replace(config, training=replace(config.training, seed=seed)))
        for seed in seeds
        for name, config in points.items()
    )
    command = " ".join(["mien sweep", shown_path(path), *(f"--set {pair}" for pair in overrides)])
    return Sweep(path.stem, path, tuple(points), tuple(splits), trials, command)


def run(sweep: Sweep, folder: Path, table: Path, console: Console) -> bool:
    """Trains and evaluates the trials that have no rows yet.

    Several processes may run one sweep with the same folder and table: each takes the next trial that no other process
    is training. Two processes with one thread each get more done than one with two.

    Args:
        sweep: The sweep.
        folder: Folder of the runs, one subfolder per trial; a stopped run is resumed.
        table: The table of results that gets a row per trial and split; a trial with all its rows is finished. The
            predictions behind a row are saved beside the table, see `predictions_file`.
        console: Shows the progress.

    Returns:
        Whether all trials are finished or being trained by another process; False after an interruption.

    Raises:
        ConfigError: A row of a trial's name was trained with another config, or a file cannot be written or would
            replace one that mien has not written.
        DataError: The data or the table cannot be read, or the table's rows are of other faces.
        TrainingError: Trials could not be trained, or diverged; all others were finished first.
    """
    if launcher := find_launcher():
        raise ConfigError(f"a sweep trains in one process at a time: start it without {launcher.name}")
    # These checks come before hours of training, and cover all trials that are left.
    left = [trial for trial in sweep.trials if not _is_finished(trial, sweep, table)]
    for config in {repr(trial.config.data): trial.config for trial in left}.values():
        _check_same_faces(config, sweep, table)
    _check_files(
        folder, table, [predictions_file(table, sweep, trial, split) for trial in left for split in sweep.splits]
    )
    folder.mkdir(parents=True, exist_ok=True)
    failed: dict[str, MienError] = {}
    for trial in left:
        name = trial.name
        try:
            lock = runs.run_lock(folder / name).acquire(blocking=False)
        except Timeout:
            _print(console, f"{name} is being trained by another process")
            continue
        with lock:
            if _is_finished(trial, sweep, table):  # another process has finished it in the meantime
                continue
            _print(console, f"{sweep.trials.index(trial) + 1}/{len(sweep.trials)} {name}")
            try:
                if not runs.train(trial.config, folder / name, True, console):
                    return False
            except MienError as error:  # the other trials can still succeed
                _print(console, f"{name}: {error}")
                failed[name] = error
                continue
            _evaluate(trial, sweep, folder, table, console)
    if failed:
        raise TrainingError(
            f"training failed for {', '.join(failed)}: {[*failed.values()][-1]}; all others are finished, or being "
            "trained by another process"
        )
    return True


def _print(console: Console, line: str) -> None:
    console.print(line, highlight=False, markup=False)


def _is_finished(trial: Trial, sweep: Sweep, table: Path) -> bool:
    return len(_rows_of(trial, sweep, table)) == len(sweep.splits)


def _check_same_faces(config: Config, sweep: Sweep, table: Path) -> None:
    dataset = load_configured(config.data, preprocessing_for(config).size)
    for split in sweep.splits:
        tables.check_same_faces(table, Result, split, len(dataset.split(split)))


def _check_files(folder: Path, table: Path, predictions: Sequence[Path]) -> None:
    """Checks that the runs, the table and the predictions can be written, and replace no file of someone else."""
    check_folder(folder)
    check_folder(table.parent)
    for file in predictions:
        if not is_replaceable(file, mark=prediction_files.FORMAT):
            raise ConfigError(
                f"{shortened_path(file)} would be replaced and mien has not written it: choose another table with "
                "--results"
            )


def _evaluate(trial: Trial, sweep: Sweep, folder: Path, table: Path, console: Console) -> None:
    """Adds the rows of a trained trial to the table, and saves its predictions beside it."""
    model, label = TorchModel.load(folder / trial.name), sweep.label(trial)
    dataset = load_configured(trial.config.data, model.preprocessing.size)
    for split in sweep.splits:
        evaluation = Evaluation.run(model, label, trial.config.data.path, dataset.split(split), split, VIEW)
        evaluation.publish_predictions(predictions_file(table, sweep, trial, split))
        tables.add(table, replace(evaluation.row(label, sweep.command), settings=_settings(trial)))
        _print(console, f"{trial.name}  {split} {evaluation.metrics['accuracy']:.2%}")


def predictions_file(table: Path, sweep: Sweep, trial: Trial, split: str) -> Path:
    """The file of the predictions behind a row of a table of results."""
    return table.parent / "predictions" / table.stem / sweep.name / f"{trial.name}-{split}.parquet"


def comparison(sweep: Sweep, table: Path, split: str, against: str = "") -> str:
    """Compares the finished trials in a Markdown table, one row per variant, with mean and deviation over the seeds.

    The last column is the difference from the baseline on the same faces, over all seeds of both, with its 95 %
    interval: see `mien.evaluation.compare.difference`.

    Args:
        sweep: The sweep.
        table: The table of results.
        split: Split of the data.
        against: The baseline; empty takes the first variant.

    Raises:
        ConfigError: There is no such variant, or a row of a trial's name was trained with another config.
        DataError: Predictions are missing or damaged.
    """
    finished: dict[str, list[tuple[Trial, Result]]] = {variant: [] for variant in sweep.variants}
    for trial in sweep.trials:
        if row := _rows_of(trial, sweep, table).get(split):
            finished[trial.variant].append((trial, row))

    def predictions_of(variant: str) -> list[Predictions]:
        return [
            _predictions_behind(row, predictions_file(table, sweep, trial, split)) for trial, row in finished[variant]
        ]

    baseline = sweep.baseline(against)
    lines = [
        f"| variant | mult-adds | seeds | {split}, % | macro F1, % | more than {baseline}, % |",
        "|---|---|---|---|---|---|",
    ]
    for variant in sweep.variants:
        rows = [row for _, row in finished[variant]]
        gain = "-"
        if rows and finished[baseline] and variant != baseline:
            difference = compare.difference(predictions_of(baseline), predictions_of(variant))
            low, high = 100 * difference.low, 100 * difference.high
            gain = f"{100 * difference.accuracy:+.2f} ({low:+.2f} to {high:+.2f}), p {difference.p_text}"
        multiply_adds = f"{rows[0].multiply_adds / 1e6:.1f} M" if rows else "-"
        accuracy = _mean_and_deviation([row.accuracy for row in rows])
        f1 = _mean_and_deviation([row.macro_f1 for row in rows])
        lines.append(f"| {' | '.join((variant, multiply_adds, str(len(rows)), accuracy, f1, gain))} |")
    return "\n".join(lines)


def _predictions_behind(row: Result, file: Path) -> Predictions:
    predictions = prediction_files.load(file)
    accuracy = float(predictions.correct.mean())
    if len(predictions.targets) != row.n or abs(accuracy - row.accuracy) > LAST_DIGIT:
        raise DataError(
            f"{file} has an accuracy of {accuracy:.2%}, and the row of {row.config}, seed {row.seed}, has "
            f"{row.accuracy:.2%}, so they are from different trainings: remove the row to train it again"
        )
    return predictions


def _rows_of(trial: Trial, sweep: Sweep, table: Path) -> dict[str, Result]:
    """Returns a trial's rows in a table of results by split.

    Raises:
        ConfigError: One of them was trained with another config.
    """
    seed, settings = trial.config.training.seed, _settings(trial)
    rows = {
        row.split: row
        for row in tables.load(table, Result)
        if row.key[:2] == (sweep.label(trial), seed) and row.view == VIEW and row.split in sweep.splits
    }
    if others := [row for row in rows.values() if row.settings != settings]:
        raise ConfigError(
            f"{table} has a row of {others[0].config}, seed {seed}, that was trained with other settings than "
            f"{sweep.path} has now: remove that row, or choose another table with --results"
        )
    return rows


def _settings(trial: Trial) -> str:
    return configs.digest(trial.config, paths=True)


def _mean_and_deviation(values: Sequence[float]) -> str:
    """Mean in per cent, with the sample's standard deviation if there are two values or more."""
    if not values:
        return "-"
    deviation = f" ± {statistics.stdev(values) * 100:.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values) * 100:.2f}{deviation}"


def _points(
    variant: str, table: dict[str, Any], grid: dict[str, Any], path: Path
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields the name and the tables of a variant with each combination of the grid's values."""
    for key, values in grid.items():
        if not (isinstance(values, list) and values and key.count(".") == 1):
            raise ConfigError(
                f'[grid] must hold "section.key" = [values] in {path}, got {key[:80]} = {str(values)[:80]}'
            )
    for chosen in itertools.product(*grid.values()):
        name, point = variant, table
        for key, value in zip(grid, chosen, strict=True):
            section, _, field = key.partition(".")
            name, point = f"{name}-{field}-{value}", _merged(point, {section: {field: value}})
        if not name or name.startswith(".") or not set(name).isdisjoint(FORBIDDEN_CHARACTERS):
            raise ConfigError(
                "the name of a variant is also the name of its folder, so it must not be empty, begin with a dot or "
                f"contain {' '.join(FORBIDDEN_CHARACTERS)}, got {name[:80]!r} in {path}: rename the variant, or make "
                "such values of [grid] variants of their own"
            )
        yield name, point


def _table(value: object, name: str, path: Path) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{name[:80]} must be a table in {path}, got {str(value)[:80]!r}")
    return value


def _merged(table: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Merges nested tables; the values of `changes` replace those of `table`."""
    merged = dict(table)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(value, dict) and isinstance(old, dict) else value
    return merged


def _config(table: dict[str, Any], location: str) -> Config:
    training = table.get("training")
    if isinstance(training, dict) and "seed" in training:
        raise ConfigError(f"{location}: a sweep sets training.seed itself; list the seeds in sweep.seeds")
    try:
        config = configs.from_dict(table)
        if config.training.devices > 1:
            raise ConfigError("a sweep trains on one device: set training.devices to 1, and run one process per GPU")
        with torch.device("meta"):  # finds a network that cannot be built before the hours of training of the others
            build_network(config, len(config.data.classes or EXPRESSIONS))  # any number of classes will do
    except ConfigError as error:
        raise ConfigError(f"{location}: {error}") from None
    return config
