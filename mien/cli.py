"""The command line: parse, call, print. Every import of weight stands inside its command, so that help is instant."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    name="mien",
    help="Names the expression on every face in a photograph, and trains the networks that do.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
data_app = typer.Typer(help="Look at labelled faces.", no_args_is_help=True)
app.add_typer(data_app, name="data")


@app.command()
def train(
    config: Annotated[Path, typer.Argument(help="A TOML file, such as configs/small.toml.")],
    set_: Annotated[list[str] | None, typer.Option("--set", help="section.key=value instead of the file's.")] = None,
    run: Annotated[Path | None, typer.Option(help="The run's folder; runs/NAME-of-config when left out.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the run was stopped.")] = False,
) -> None:
    """Train a network."""
    from rich.console import Console

    from mien import config as configs
    from mien.errors import require

    require("lightning_fabric", "train")
    from mien.training import run as runs

    folder = run or Path("runs") / config.stem
    done = runs.train(configs.load(config, tuple(set_ or ())), folder, resume, Console())
    if not done:
        typer.echo(f"stopped; go on with: mien train {config} --run {folder} --resume")
        raise typer.Exit(130)
    typer.echo(f"done: {folder}")


def main() -> None:
    """Runs the command line; an error raised on purpose becomes one sentence and exit code 2."""
    import sys

    from mien.errors import MienError

    try:
        app()
    except MienError as error:
        typer.echo(f"mien: {error}", err=True)
        sys.exit(2)
