"""The command line: one file a group of commands; each command parses, calls and prints.

Heavy imports stand inside the commands, so that `mien --help` is instant.
"""

from __future__ import annotations

import os
import sys
from typing import Annotated

import typer

import mien
from mien.cli import data, evaluate, explain, export, networks, recognize, serve, train, video

app = typer.Typer(
    name="mien",
    help="Names the expression on every face in a photograph, and trains the networks that do.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
data_app = typer.Typer(help="Look at labelled faces.", no_args_is_help=True)
benchmark_app = typer.Typer(help="Time mien on this machine.", no_args_is_help=True)

for command in (
    recognize.recognize,
    video.video,
    explain.explain,
    networks.networks,
    networks.cost,
    train.train,
    train.sweep,
    evaluate.evaluate,
    evaluate.robustness,
    evaluate.compare,
    evaluate.ensemble,
    export.export,
    export.page,
    export.calibrate,
    export.quantize,
    serve.serve,
    serve.camera,
):
    app.command()(command)
for data_command in (data.inspect, data.audit, data.votes):
    data_app.command()(data_command)
benchmark_app.command("train")(train.benchmark_train)
app.add_typer(data_app, name="data")
app.add_typer(benchmark_app, name="benchmark")


@app.callback(invoke_without_command=True)
def version(show: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False) -> None:
    """Names the expression on every face in a photograph, and trains the networks that do."""
    if show:
        typer.echo(f"mien {mien.__version__}")
        raise typer.Exit


def main() -> None:
    """Runs the command line; an error raised on purpose becomes one sentence and exit code 2."""
    from mien.errors import MienError

    # A file's name may hold bytes that are no text; it is still to be printed.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    sys.stderr.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        app()
    except MienError as error:
        typer.echo(f"mien: {error}", err=True)
        sys.exit(2)
    except BrokenPipeError:  # the reader of a pipe, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:  # a full disk, a folder that may not be written: the machine's, not a bug
        typer.echo(f"mien: {error.filename or 'a file'} cannot be used: {error.strerror or error}", err=True)
        sys.exit(2)
