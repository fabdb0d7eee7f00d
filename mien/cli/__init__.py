"""The command line: one file per group of commands. Each command parses its options, calls the library and prints.

Heavy imports stand inside the commands, so that `mien --help` is fast.

These files do not postpone the evaluation of annotations (PEP 563): typer would evaluate each of the hundreds of
options again, at every start.
"""

import os
import sys
from typing import Annotated

import typer

import mien
from mien.cli import configs, data, evaluate, explain, export, networks, recognize, serve, train, video
from mien.cli.options import echo

app = typer.Typer(name="mien", no_args_is_help=True, pretty_exceptions_enable=False)

COMMANDS = {
    "Recognise expressions": (
        recognize.recognize,
        video.video,
        serve.camera,
        serve.serve,
        export.page,
        explain.explain,
    ),
    "Train and evaluate networks": (
        train.train,
        train.sweep,
        configs.configs,
        evaluate.evaluate,
        evaluate.compare,
        evaluate.ensemble,
        evaluate.robustness,
        networks.networks,
        networks.cost,
    ),
    "Export trained networks": (export.export, export.calibrate, export.quantize, export.push),
}
"""Heading in `mien --help` -> the commands below it."""

for heading, commands in COMMANDS.items():
    for command in commands:
        app.command(rich_help_panel=heading)(command)

data_app = typer.Typer(help="Inspect labelled faces.", no_args_is_help=True)
for data_command in (data.inspect, data.audit, data.votes):
    data_app.command()(data_command)
app.add_typer(data_app, name="data", rich_help_panel="Train and evaluate networks")

benchmark_app = typer.Typer(help="Measure the speed of mien on this machine.", no_args_is_help=True)
benchmark_app.command("train")(train.benchmark_train)
app.add_typer(benchmark_app, name="benchmark", rich_help_panel="Train and evaluate networks")


@app.callback(invoke_without_command=True)
def version(
    show: Annotated[bool, typer.Option("--version", help="Print the version and exit.")] = False,
) -> None:
    """Recognise the expression on every face of a photo or video, and train networks for it."""
    if show:
        typer.echo(f"mien {mien.__version__}")
        raise typer.Exit


def main() -> None:
    """Runs the command line. A MienError or an OSError is printed as one sentence, with exit code 2."""
    from mien.errors import MienError, shortened_path

    # File names may hold bytes that are not valid UTF-8; they must still be printable.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    sys.stderr.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        app()
    except MienError as error:
        echo(f"mien: {error}", err=True)
        sys.exit(2)
    except BrokenPipeError:  # the program that reads the output, such as head, has ended
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:  # a full disk or a missing permission is not a bug
        path = shortened_path(error.filename or "a file")
        echo(f"mien: {path} cannot be used: {error.strerror or error}", err=True)
        sys.exit(2)
