"""mien train, sweep and benchmark train: training runs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from mien.cli.options import AsJson, ConfigFile, Overrides, console


def train(
    config: ConfigFile,
    set_: Overrides = None,
    run: Annotated[Path | None, typer.Option(help="The run's folder; runs/NAME-of-config when left out.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the run was stopped.")] = False,
) -> None:
    """Train a network."""
    from mien.errors import require

    require("lightning_fabric", "train")
    from mien import config as configs
    from mien.training import run as runs

    folder = run or Path("runs") / config.stem
    done = runs.train(configs.load(config, tuple(set_ or ())), folder, resume, console())
    if not done:
        typer.echo(f"stopped; resume with: mien train {folder / 'config.toml'} --run {folder} --resume")
        raise typer.Exit(130)
    typer.echo(f"done: {folder}")


def sweep(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A TOML file with tables variants.NAME; see docs/train.md.")
    ],
    set_: Overrides = None,
    runs: Annotated[
        Path | None, typer.Option(help="Where the runs' folders go; runs/NAME-of-file when left out.")
    ] = None,
    table: Annotated[
        Path,
        typer.Option("--results", metavar="CSV", help="Gets a row for each run and split; predictions go beside it."),
    ] = Path("results/fer2013.csv"),
    show: Annotated[
        bool, typer.Option("--table", help="Train nothing: print what is done, compared, in Markdown.")
    ] = False,
    against: Annotated[
        str, typer.Option(metavar="VARIANT", help="What the others are compared with; the file's first when left out.")
    ] = "",
) -> None:
    """Train and evaluate every variant of a file with every seed; run it again to go on after a stop."""
    from mien.errors import require

    require("lightning_fabric", "train")
    from mien.experiments import sweep as sweeps

    asked = sweeps.load(file, tuple(set_ or ()))
    asked.baseline(against)  # a wrong name is better known before the hours of training
    terminal = console()
    if not show and not sweeps.run(asked, runs or Path("runs") / asked.name, table, terminal):
        typer.echo(f"stopped; resume with: {asked.command}, and the same --runs and --results if any")
        raise typer.Exit(130)
    for split in asked.splits:
        typer.echo(sweeps.comparison(asked, table, split, against))


def benchmark_train(
    config: ConfigFile = Path("configs/small-labels.toml"),
    set_: Overrides = None,
    steps: Annotated[int, typer.Option(min=1, help="Timed steps a figure.")] = 30,
    profile: Annotated[bool, typer.Option("--profile", help="Print where a step's time goes, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Time training steps: with the data path, bare, in plain eager mode, and against a large matrix product."""
    from mien.data import load_configured
    from mien.errors import require

    require("lightning_fabric", "train")
    from mien import config as configs
    from mien.models.build import preprocessing_for
    from mien.training import benchmark

    settings = configs.load(config, tuple(set_ or ()))
    dataset = load_configured(settings.data, preprocessing_for(settings).size, votes=settings.loss.ferplus > 0)
    speed = benchmark.measure(settings, dataset, steps)
    if as_json:
        typer.echo(json.dumps(speed.to_dict(), indent=2))
    else:
        console().print(benchmark.table(speed))
    if profile:
        typer.echo(benchmark.profile(settings, dataset), err=as_json)
