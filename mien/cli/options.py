"""Options that several commands share, and the terminal they print to."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

if TYPE_CHECKING:
    from rich.console import Console

UNLIMITED_WIDTH = 10_000
"""Characters of a line that is read by a program instead of shown on a terminal."""

Split = Literal["training", "public", "private"]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; all cores by default.")]
Device = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="What runs the networks: cpu, cuda, tensorrt, openvino, coreml, directml, ..., or auto for the best one "
        "that works; a number chooses one of several, as in cuda:1. The CPU by default.",
    ),
]
Verbose = Annotated[bool, typer.Option("--verbose", help="Print which device each network runs on, to standard error.")]
Model = Annotated[
    str,
    typer.Option(help="Name of a shipped model, an .onnx file written by mien export, or hf://OWNER/REPO/FILE.onnx."),
]
DetectorName = Annotated[
    str,
    typer.Option(
        help="yunet, blazeface, a YuNet .onnx file, none if each picture is one cropped face, or auto if some are."
    ),
]
MinScore = Annotated[
    float | None,
    typer.Option(
        min=0, max=1, help="Lowest score of a face; a lower one finds more faces, and more things that are none."
    ),
]
Thorough = Annotated[bool, typer.Option("--thorough", help="Search longer for small and turned faces.")]
Blur = Annotated[bool, typer.Option("--blur", help="Blur all faces in annotated copies.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that mien has not written.")]
ConfigFile = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="A config file, or the name of one that mien configs lists.")
]

Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override a value of the config; repeatable."),
]
Numbering = Annotated[
    Literal["fer2013", "affectnet", "raf-db"] | None,
    typer.Option(help="Whose class numbers the data uses, if its folders or labels are numbers."),
]
DataSettings = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="data.KEY=VALUE",
        help="How labels become classes: data.classes, data.merge, data.labels or data.ferplus, as in a config; "
        "repeatable.",
    ),
]
PredictionFiles = Annotated[
    list[Path],
    typer.Argument(metavar="PREDICTIONS...", help="predictions.parquet files, or folders that contain one."),
]


def model_name(model: Path) -> str:
    """Returns the name of a model in tables.

    It is the name of the file, or of the run; a checkpoint other than the best one is added to the run.
    """
    if model.suffix == ".safetensors":
        from mien.models.checkpoint import BEST

        run = model.resolve().parent.name
        return run if model.name == BEST else f"{run}-{model.stem}"
    return model.resolve().name if model.is_dir() else model.stem


def data_settings(overrides: list[str] | None, **options: object) -> dict[str, Any]:
    """Returns the fields of a config's [data] table that `--set` and other options give.

    Args:
        overrides: The values of `--set`.
        **options: Field -> value of the option of the same name; None if it is not given.

    Raises:
        ConfigError: A key is not of [data], or a value is wrong.
        MissingExtraError: `--set` needs pydantic, which is not installed.
    """
    settings: dict[str, Any] = {name: str(value) for name, value in options.items() if value is not None}
    if overrides:
        from mien.errors import ConfigError, require, shortened

        require("pydantic", "train")
        from mien import config as configs

        table = configs.overridden({}, tuple(overrides), "--set")
        if others := set(table) - {"data"}:
            raise ConfigError(f"--set must name a key of data here, got {shortened(min(others))}")
        settings |= table["data"]
        configs.from_dict({"data": settings})
    return settings


def console(errors: bool = False) -> "Console":
    """Returns a console that prints to standard output, or to standard error.

    Names cannot control the terminal, and are not broken into lines where there is none.
    """
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment

    from mien.files import escape_controls

    class SafeConsole(Console):
        """Escapes control characters in everything that is printed, except rich's own."""

        def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterator[Segment]:
            for segment in super().render(renderable, options):
                yield segment if segment.control else Segment(escape_controls(segment.text, "\n\t"), segment.style)

    safe = SafeConsole(stderr=errors)
    if not safe.is_terminal and "COLUMNS" not in os.environ:
        safe.width = UNLIMITED_WIDTH
    return safe


def echo(message: str, err: bool = False) -> None:
    """Prints one line for a person; a file name in it cannot control the terminal."""
    from mien.files import escape_controls

    typer.echo(escape_controls(message), err=err)


def print_log() -> None:
    """Prints what mien logs, such as the device of each network, to standard error, one line each."""
    import logging

    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("mien: %(message)s"))
    logger = logging.getLogger("mien")
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    logger.propagate = False


def print_data(text: str) -> None:
    """Prints text for another program as UTF-8, whatever the encoding of the terminal or of the pipe."""
    from mien.files import escape_controls

    sys.stdout.reconfigure(encoding="utf-8", newline="\n")  # type: ignore[union-attr]
    sys.stdout.write(escape_controls(text, keep="\n") if sys.stdout.isatty() else text)
    sys.stdout.flush()


def print_json(value: object) -> None:
    """Prints a value as JSON; see `mien.files.json_text`."""
    from mien.files import json_text

    print_data(json_text(value, indent=2) + "\n")
