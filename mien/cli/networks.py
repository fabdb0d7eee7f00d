"""mien networks and mien cost: which networks there are and what they cost."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from mien.cli.options import AsJson, console


def networks(as_json: AsJson = False) -> None:
    """List the networks with their size and cost."""
    from mien.networks import registry

    if as_json:
        typer.echo(json.dumps([spec.to_dict() for spec in registry.NETWORKS], indent=2))
    else:
        console().print(registry.table())


def cost(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NETWORK...]", help="NAME or NAME:VARIANT; all when left out.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    batch: Annotated[int, typer.Option(min=1, help="Faces a batch, for the throughput.")] = 16,
    seconds: Annotated[float, typer.Option(min=0, help="About how long each figure is timed.")] = 3,
    data: Annotated[
        Path | None, typer.Option("--train", metavar="DATA", help="Also train shortly, on a tenth of this FER2013.")
    ] = None,
    train_seconds: Annotated[float, typer.Option(min=0, help="About how long each network is trained.")] = 60,
    file: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="CSV", help="Gets a row for each network; two figures go beside it."),
    ] = Path("results/cost.csv"),
    results_file: Annotated[
        Path, typer.Option("--results", metavar="CSV", help="The accuracies that the figures draw.")
    ] = Path("results/fer2013.csv"),
    draw: Annotated[bool, typer.Option("--draw", help="Measure nothing: draw and print what the table holds.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure what networks cost: size, memory, latency and throughput in torch and ONNX Runtime."""
    from mien.data import load
    from mien.errors import MienError, require
    from mien.evaluation import tables
    from mien.evaluation.results import Result
    from mien.experiments import cost as costs
    from mien.experiments import cost_figures
    from mien.networks import registry

    specs = [registry.find(*name.split(":", 1)) for name in names] if names else list(registry.NETWORKS)
    results = tables.load(results_file, Result)
    tables.load(file, costs.Cost)  # a damaged one is better known before the hours of measuring
    failed, written = False, []
    if not draw:
        require("onnx", "train")
        conditions = costs.Conditions(threads, batch, seconds, train_seconds)
        faces = costs.tenth(load(data)) if data else None
        for number, spec in enumerate(specs, start=1):
            typer.echo(f"{number}/{len(specs)} {spec.title}:", nl=False, err=True)
            try:
                row = costs.measure(spec, conditions, faces, lambda what: typer.echo(f" {what}", nl=False, err=True))
            except MienError as error:
                typer.echo(f"\nmien: {error}", err=True)
                failed = True
            else:
                typer.echo(err=True)
                tables.add(file, row)
                written = [file]
    rows = tables.load(file, costs.Cost)
    shown = [row for row in rows if row.key in {(spec.name, spec.variant) for spec in specs}]
    if draw or written:
        written += cost_figures.write(file, rows, results)
    if as_json:
        typer.echo(json.dumps([vars(row) for row in shown], indent=2))
    else:
        console().print(costs.table(shown))
        for path in written:
            typer.echo(f"written: {path}")
    if failed:
        raise typer.Exit(2)
