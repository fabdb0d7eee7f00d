"""Many trainings from one file: a config, what varies in it, and seeds.

[sweep]
seeds = [0, 1, 2]
splits = ["public", "private"]       # a row of results each; PublicTest alone while anything is still chosen

[training]                           # all other tables are those of a config
epochs = 30

[variants.plain]                     # what differs from them
network.name = "resnet18"
[variants.masking]
network.name = "resmasking18"

[grid]                               # optional: each variant with each of these
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
from mien.data import load as load_data
from mien.errors import ConfigError, DataError, MienError, TrainingError, near
from mien.evaluation import compare, results, tables
from mien.evaluation.metrics import evaluate
from mien.evaluation.predict import predict
from mien.evaluation.results import Result
from mien.labels import EXPRESSIONS, SPLITS
from mien.models.build import build_network, count_multiply_adds, preprocessing_for
from mien.models.torch_model import TorchModel
from mien.training import run as runs
from mien.types import Predictions

VIEW = "single"
LAST_DIGIT = 1e-4
"""Of an accuracy in a table of results."""
NOT_IN_NAMES = '/\\:*?"<>|'
"""Characters that a folder's name may not have everywhere."""


@dataclass(frozen=True)
class Trial:
    """One training of a sweep.

    Attributes:
        variant: Its name, with the values of the grid.
        config: All of it, with its seed.
    """

    variant: str
    config: Config

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.variant}-seed{self.config.training.seed}"


@dataclass(frozen=True)
class Sweep:
    """What a file asks for.

    Attributes:
        name: The file's, without its suffix.
        path: The file.
        variants: In the file's order.
        splits: To evaluate each training on.
        trials: Every variant with the first seed, then every variant with the second, and so on: whenever the sweep is
            stopped, what is done can be compared.
        command: What asks for it.
    """

    name: str
    path: Path
    variants: tuple[str, ...]
    splits: tuple[str, ...]
    trials: tuple[Trial, ...]
    command: str

    def label(self, trial: Trial) -> str:
        """What the table of results calls its config."""
        return f"{self.name}:{trial.variant}"

    def baseline(self, variant: str = "") -> str:
        """The variant that others are compared with: the named one, or the first.

        Raises:
            ConfigError: There is none of that name.
        """
        if variant and variant not in self.variants:
            raise ConfigError(f"{self.path} has no variant {variant}: {near(variant, self.variants)}")
        return variant or self.variants[0]


def load(path: Path, overrides: tuple[str, ...] = ()) -> Sweep:
    """Reads a sweep's file and every config that it asks for.

    Args:
        path: The file.
        overrides: `section.key=value` pairs, as for a config; they hold for every trial.

    Raises:
        ConfigError: It cannot be read, or one of its configs cannot be run; names the variant.
    """
    table = configs.read_table(path)
    settings, variants, grid = (_table(table.pop(name, {}), name, path) for name in ("sweep", "variants", "grid"))
    seeds, splits = settings.get("seeds", [0]), settings.get("splits", ["public"])
    if unknown := settings.keys() - {"seeds", "splits"}:
        raise ConfigError(f"unknown key sweep.{min(unknown)} in {path}: known are seeds, splits")
    if not variants:
        raise ConfigError(f"{path} has no [variants.NAME] table: name at least one")
    if not (
        isinstance(splits, list) and splits and all(splits.count(split) == 1 and split in SPLITS for split in splits)
    ):
        raise ConfigError(f"sweep.splits must be a list of {', '.join(SPLITS)}, each once, in {path}, got {splits}")
    if not (isinstance(seeds, list) and seeds and all(type(seed) is int and seed >= 0 for seed in seeds)):
        raise ConfigError(f"sweep.seeds must be a list of whole numbers from 0 in {path}, got {seeds}")
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
    command = " ".join(["mien sweep", path.as_posix(), *(f"--set {pair}" for pair in overrides)])
    return Sweep(path.stem, path, tuple(points), tuple(splits), trials, command)


def run(sweep: Sweep, folder: Path, table: Path, console: Console) -> bool:
    """Trains and evaluates what is not done yet.

    Several processes may run one sweep with the same folder and table: each takes the next trial that no other is at.
    Two of one thread each get more done than one of two.

    Args:
        sweep: What to do.
        folder: Each trial is a run in a folder below it; one that was stopped goes on.
        table: The results to add a row to for each trial and split; a trial with all its rows is done. The predictions
            behind a row are kept beside it, see `predictions_of`.
        console: Where progress is shown.

    Returns:
        Whether all is done, or being done by another process; False after an interruption.

    Raises:
        ConfigError: A row of a trial's name was trained with another config.
        DataError: The data or the table cannot be read, or the table's rows are of other faces.
        TrainingError: Trials could not be trained, or diverged; says why of the last. All others were done first.
    """
    # Before the hours of training: what stands in the way of any trial that is left.
    left = [trial for trial in sweep.trials if not _done(trial, sweep, table)]
    for config in {trial.config.data.path: trial.config for trial in left}.values():
        _refuse_other_faces(config, sweep, table)
    folder.mkdir(parents=True, exist_ok=True)
    failed: dict[str, MienError] = {}
    for trial in left:
        name = trial.name
        try:
            taken = runs.lock_of(folder / name).acquire(blocking=False)
        except Timeout:
            _say(console, f"{name} is being trained by another process")
            continue
        with taken:
            if _done(trial, sweep, table):  # by another process, since
                continue
            _say(console, f"{sweep.trials.index(trial) + 1}/{len(sweep.trials)} {name}")
            try:
                if not runs.train(trial.config, folder / name, True, console):
                    return False
            except MienError as error:  # it says nothing of the others
                _say(console, f"{name}: {error}")
                failed[name] = error
                continue
            _evaluate(trial, sweep, folder, table, console)
    if failed:
        raise TrainingError(
            f"no row for {', '.join(failed)}: {[*failed.values()][-1]}; all others are done, or being done by another "
            "process"
        )
    return True


def _say(console: Console, line: str) -> None:
    console.print(line, highlight=False, markup=False)


def _done(trial: Trial, sweep: Sweep, table: Path) -> bool:
    return len(_rows_of(trial, sweep, table)) == len(sweep.splits)


def _refuse_other_faces(config: Config, sweep: Sweep, table: Path) -> None:
    dataset = load_data(config.data.path, size=preprocessing_for(config).size)
    for split in sweep.splits:
        tables.check_same_faces(table, Result, split, len(dataset.split(split)))


def _evaluate(trial: Trial, sweep: Sweep, folder: Path, table: Path, console: Console) -> None:
    """Adds a trained trial's rows to the table, and keeps its predictions beside it."""
    trained = TorchModel.load(folder / trial.name)
    dataset = load_data(trial.config.data.path, size=trained.preprocessing.size)
    for split in sweep.splits:
        predictions = predict(trained, dataset.split(split), VIEW)
        metrics = evaluate(predictions)
        about = {"network": trained.title, "split": split, "view": VIEW, "config": sweep.label(trial)}
        target = predictions_of(table, sweep, trial, split)
        target.parent.mkdir(parents=True, exist_ok=True)
        prediction_files.save(predictions, target, about)
        row = results.row(metrics, trial.config, sweep.label(trial), split, VIEW, sweep.command)
        tables.add(table, replace(row, settings=_settings(trial)))
        _say(console, f"{trial.name}  {split} {metrics.accuracy:.2%}")


def predictions_of(table: Path, sweep: Sweep, trial: Trial, split: str) -> Path:
    """Where the predictions behind a row of a table of results are kept."""
    return table.parent / "predictions" / table.stem / sweep.name / f"{trial.name}-{split}.parquet"


def comparison(sweep: Sweep, table: Path, split: str, against: str = "") -> str:
    """What is done of a sweep, one row a variant, in Markdown: mean and spread over seeds, and whether it is better.

    The last column is the difference from one of them, of the same faces and all seeds of both, with its 95 % interval:
    see `mien.evaluation.compare.difference`.

    Args:
        sweep: What was asked for.
        table: The results.
        split: Of the data.
        against: The variant that the others are compared with; empty takes the first.

    Raises:
        ConfigError: There is no such variant, or a row of a trial's name was trained with another config.
        DataError: Predictions are missing or damaged.
    """
    done: dict[str, dict[int, tuple[Trial, Result]]] = {variant: {} for variant in sweep.variants}
    for trial in sweep.trials:
        if row := _rows_of(trial, sweep, table).get(split):
            done[trial.variant][trial.config.training.seed] = trial, row
    first = sweep.baseline(against)
    lines = [
        f"| variant | mult-adds | seeds | {split}, % | macro F1, % | more than {first}, % |",
        "|---|---|---|---|---|---|",
    ]
    for variant in sweep.variants:
        found = [row for _, row in done[variant].values()]
        better = "-"
        if found and done[first] and variant != first:
            theirs, mine = (
                [
                    _predictions_behind(row, predictions_of(table, sweep, trial, split))
                    for trial, row in done[name].values()
                ]
                for name in (first, variant)
            )
            gain = compare.difference(theirs, mine)
            low, high = 100 * gain.low, 100 * gain.high
            better = f"{100 * gain.accuracy:+.2f} ({low:+.2f} to {high:+.2f}), p {gain.p_said}"
        of_variant = next(trial.config for trial in sweep.trials if trial.variant == variant)
        cost = f"{count_multiply_adds(of_variant, len(EXPRESSIONS)) / 1e6:.1f} M"
        accuracy = _mean_and_spread([row.accuracy for row in found])
        f1 = _mean_and_spread([row.macro_f1 for row in found])
        cells = (variant, cost, str(len(found)), accuracy, f1, better)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _predictions_behind(row: Result, file: Path) -> Predictions:
    predictions = prediction_files.load(file)
    accuracy = float(predictions.right.mean())
    if len(predictions.targets) != row.n or abs(accuracy - row.accuracy) > LAST_DIGIT:
        raise DataError(
            f"{file} holds predictions of {accuracy:.2%} accuracy, and the row of {row.config}, seed {row.seed}, says "
            f"{row.accuracy:.2%}: another training has written there; remove the row to train it again"
        )
    return predictions


def _rows_of(trial: Trial, sweep: Sweep, table: Path) -> dict[str, Result]:
    """A trial's rows in a table of results, by split.

    Raises:
        ConfigError: There is one of another config.
    """
    seed, settings = trial.config.training.seed, _settings(trial)
    found = {
        row.split: row
        for row in tables.load(table, Result)
        if row.key[:2] == (sweep.label(trial), seed) and row.view == VIEW and row.split in sweep.splits
    }
    if others := [row for row in found.values() if row.settings != settings]:
        raise ConfigError(
            f"{table} has a row of {others[0].config}, seed {seed}, that was trained with other settings than "
            f"{sweep.path} has now: remove it, or name another table with --results"
        )
    return found


def _settings(trial: Trial) -> str:
    return configs.digest(trial.config, paths=True)


def _mean_and_spread(values: Sequence[float]) -> str:
    """Per cent, with the standard deviation of the sample where there are two or more."""
    if not values:
        return "-"
    spread = f" ± {statistics.stdev(values) * 100:.2f}" if len(values) > 1 else ""
    return f"{statistics.mean(values) * 100:.2f}{spread}"


def _points(
    variant: str, table: dict[str, Any], grid: dict[str, Any], path: Path
) -> Iterator[tuple[str, dict[str, Any]]]:
    """A variant with each combination of the grid's values: its name and its tables."""
    for key, values in grid.items():
        if not (isinstance(values, list) and values and key.count(".") == 1):
            raise ConfigError(f'[grid] must hold "section.key" = [values] in {path}, got {key} = {values}')
    for chosen in itertools.product(*grid.values()):
        name, point = variant, table
        for key, value in zip(grid, chosen, strict=True):
            section, _, field = key.partition(".")
            name, point = f"{name}-{field}-{value}", _merged(point, {section: {field: value}})
        if not name or name.startswith(".") or not set(name).isdisjoint(NOT_IN_NAMES):
            raise ConfigError(
                f"a variant's name is that of its folder too, and {name!r} in {path} cannot be one: it must not begin "
                f"with a dot or hold {' '.join(NOT_IN_NAMES)}; values of [grid] that do are to be variants of their own"
            )
        yield name, point


def _table(value: object, name: str, path: Path) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ConfigError(f"{name} must be a table in {path}, got {value!r}")
    return value


def _merged(table: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Nested tables in which the values of others have replaced what stood there."""
    merged = dict(table)
    for key, value in changes.items():
        old = merged.get(key)
        merged[key] = _merged(old, value) if isinstance(value, dict) and isinstance(old, dict) else value
    return merged


def _config(table: dict[str, Any], place: str) -> Config:
    training = table.get("training")
    if isinstance(training, dict) and "seed" in training:
        raise ConfigError(f"{place}: training.seed is what a sweep varies by itself: name the seeds in sweep.seeds")
    try:
        config = configs.from_dict(table)
        if config.training.devices > 1:
            raise ConfigError("a sweep trains on one device: set training.devices to 1, and run one process a GPU")
        with torch.device("meta"):  # refused now and not after the hours of the variants before it
            build_network(config, len(EXPRESSIONS))
    except ConfigError as error:
        raise ConfigError(f"{place}: {error}") from None
    return config
