"""The commands mien train, mien sweep and mien benchmark train."""

from pathlib import Path
from typing import Annotated

import typer

from mien.cli.options import AsJson, ConfigFile, Overrides, console, echo, print_json


def train(
    config: ConfigFile,
    set_: Overrides = None,
    run: Annotated[
        Path | None, typer.Option(help="Folder of the run; runs/ and the name of the config by default.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue a stopped run.")] = False,
) -> None:
    """Train a network on labelled faces."""
    from mien.errors import require
    from mien.shipped_configs import find

    require("lightning_fabric", "train")
    from mien import config as configs
    from mien.training import run as runs

    file = find(config, "train")
    folder = run or Path("runs") / file.stem
    finished = runs.train(configs.load(file, tuple(set_ or ())), folder, resume, console())
    if not finished:
        echo(f"stopped; resume with: mien train {folder / 'config.toml'} --run {folder} --resume")
        raise typer.Exit(130)
    echo(f"done: {folder}")


def sweep(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="FILE",
            help="TOML file with a table variants.NAME for each variant, as docs/train.md describes it, or the name of "
            "a sweep that mien configs lists.",
        ),
    ],
    set_: Overrides = None,
    runs: Annotated[
        Path | None, typer.Option(help="Folder of the runs; runs/ and the name of the file by default.")
    ] = None,
    table: Annotated[
        Path,
        typer.Option(
            "--results", metavar="CSV", help="Table for a row per run and split; predictions are stored next to it."
        ),
    ] = Path("results/fer2013.csv"),
    show: Annotated[
        bool, typer.Option("--table", help="Train nothing; compare the finished runs in a Markdown table.")
    ] = False,
    against: Annotated[
        str, typer.Option(metavar="VARIANT", help="Variant to compare the others with; the first by default.")
    ] = "",
) -> None:
    """Train and evaluate all variants of a file with all seeds; after a stop, run it again to continue."""
    from mien.errors import require

    require("lightning_fabric", "train")
    from mien.experiments import sweep as sweeps
    from mien.files import escape_controls
    from mien.shipped_configs import find

    plan = sweeps.load(find(file, "sweep"), tuple(set_ or ()))
    plan.baseline(against)  # reports a wrong name before hours of training
    if not show and not sweeps.run(plan, runs or Path("runs") / plan.name, table, console()):
        echo(f"stopped; resume with: {plan.command}, and the same --runs and --results if you set them")
        raise typer.Exit(130)
    for split in plan.splits:
        typer.echo(escape_controls(sweeps.comparison(plan, table, split, against), keep="\n"))


def benchmark_train(
    config: ConfigFile = Path("small-labels"),
    set_: Overrides = None,
    steps: Annotated[int, typer.Option(min=1, help="Number of timed steps per measurement.")] = 30,
    profile: Annotated[bool, typer.Option("--profile", help="Also print the slowest operations of a step.")] = False,
    as_json: AsJson = False,
) -> None:
    """Time training steps: full, without data loading, and in eager float32; compare them with a matrix product."""
    from mien.data import load_configured
    from mien.errors import require

    require("lightning_fabric", "train")
    from mien import config as configs
    from mien.models.build import preprocessing_for
    from mien.shipped_configs import find
    from mien.training import benchmark

    settings = configs.load(find(config, "train"), tuple(set_ or ()))
    dataset = load_configured(settings.data, preprocessing_for(settings).size, votes=settings.loss.ferplus > 0)
    speed = benchmark.measure(settings, dataset, steps)
    if as_json:
        print_json(speed.to_dict())
    else:
        console().print(benchmark.table(speed))
    if profile:
        typer.echo(benchmark.profile(settings, dataset), err=as_json)
