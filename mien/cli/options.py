"""Options that several commands share, and the terminal they print to."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from rich.console import Console

Split = Literal["training", "public", "private"]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; all cores by default.")]
Model = Annotated[str, typer.Option(help="Name of a shipped model, or an .onnx file written by mien export.")]
DetectorName = Annotated[
    str, typer.Option(help="blazeface, yunet, a YuNet .onnx file, or none if each picture is one cropped face.")
]
ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="Config file, such as configs/small-labels.toml.")]

Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Override a value of the config; repeatable."),
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


def console(errors: bool = False) -> Console:
    """Returns a console that prints to standard output, or to standard error."""
    from rich.console import Console

    return Console(stderr=errors)
