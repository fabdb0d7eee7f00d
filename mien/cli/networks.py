"""mien networks and mien cost: the networks, their size and what they cost."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.options import AsJson, Overwrite, console, echo, print_json

if TYPE_CHECKING:
    from rich.table import Table

    from mien.networks.registry import NetworkSpec


def networks(as_json: AsJson = False) -> None:
    """List the networks with their size and cost, and what the paper reports for the thirteen of its Table 2."""
    from mien.experiments.literature import TABLE_2
    from mien.networks.registry import NETWORKS

    reported = {(row.network, row.variant): row.accuracy for row in TABLE_2}
    if as_json:
        print_json([spec.to_dict() | {"reported": reported.get((spec.name, spec.variant))} for spec in NETWORKS])
        return
    console().print(_network_table(NETWORKS, reported))
    typer.echo("reported: accuracy in Table 2 of Shen and Li (2023); mien has not trained these networks at full size")


def _network_table(specs: "tuple[NetworkSpec, ...]", reported: dict[tuple[str, str], float]) -> "Table":
    from rich import box
    from rich.table import Table

    columns = ("network", "variant", "input", "params", "mult-adds", "reported")
    table = Table(*columns, box=box.SIMPLE, pad_edge=False)
    table.columns[0].no_wrap = True
    for column in table.columns[2:]:
        column.justify = "right"
    for spec in specs:
        accuracy = reported.get((spec.name, spec.variant))
        giga, mega = f"{spec.multiply_adds / 1e9:.2f} G", f"{spec.multiply_adds / 1e6:.1f} M"
        table.add_row(
            spec.name,
            spec.variant or "-",
            f"{spec.in_channels}x{spec.size}x{spec.size}",
            f"{spec.parameters / 1e6:.1f} M",
            giga if spec.multiply_adds >= 1e9 else mega,
            f"{accuracy:.2%}" if accuracy else "",
        )
    return table


def cost(
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[NETWORK...]", help="NAME or NAME:VARIANT of each network.", show_default="all"),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    batch: Annotated[int, typer.Option(min=1, help="Batch size of the throughput measurement.")] = 16,
    seconds: Annotated[float, typer.Option(min=0, help="Approximate duration of each timing, seconds.")] = 3,
    data: Annotated[
        Path | None, typer.Option("--train", metavar="DATA", help="Also train briefly on a tenth of this data set.")
    ] = None,
    train_seconds: Annotated[
        float, typer.Option(min=0, help="Approximate duration of each short training, seconds.")
    ] = 60,
    file: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="CSV", help="The table to add a row per network to, with two figures."),
    ] = Path("results/cost.csv"),
    results_file: Annotated[
        Path, typer.Option("--results", metavar="CSV", help="The table with the accuracies that the figures show.")
    ] = Path("results/fer2013.csv"),
    overwrite: Overwrite = False,
    draw: Annotated[bool, typer.Option("--draw", help="Only print the table and draw its figures.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure size, memory, latency and throughput of networks in torch and ONNX Runtime."""
    from mien.data import load
    from mien.errors import MienError, require
    from mien.evaluation import tables
    from mien.evaluation.results import Result
    from mien.experiments import cost as costs
    from mien.experiments import cost_figures
    from mien.networks import registry

    specs = [registry.find(*name.split(":", 1)) for name in names] if names else list(registry.NETWORKS)
    results = tables.load(results_file, Result)
    tables.load(file, costs.Cost)  # fails now if the table is damaged, not after hours of measuring
    tables.check_files(file, cost_figures.figure_files(file), overwrite)
    failed, written = False, []
    if not draw:
        require("onnx", "train")
        conditions = costs.Conditions(threads, batch, seconds, train_seconds)
        faces = costs.every_tenth(load(data)) if data else None
        for number, spec in enumerate(specs, start=1):
            typer.echo(f"{number}/{len(specs)} {spec.title}:", nl=False, err=True)
            try:
                row = costs.measure(spec, conditions, faces, lambda step: typer.echo(f" {step}", nl=False, err=True))
            except MienError as error:
                typer.echo(err=True)
                echo(f"mien: {error}", err=True)
                failed = True
            else:
                typer.echo(err=True)
                tables.add(file, row)
                written = [file]
    rows = tables.load(file, costs.Cost)
    selected = [row for row in rows if row.key in {(spec.name, spec.variant) for spec in specs}]
    if draw or written:
        written += cost_figures.write(file, rows, results)
    if as_json:
        print_json([vars(row) for row in selected])
    else:
        console().print(costs.table(selected))
        for path in written:
            echo(f"written: {path}")
    if failed:
        raise typer.Exit(2)
