"""Options that several commands share, and how commands print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from rich.console import Console

Split = Literal["training", "public", "private"]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; all cores when left out.")]
Model = Annotated[str, typer.Option(help="A shipped model's name, or an .onnx file of mien export.")]
DetectorName = Annotated[str, typer.Option(help="blazeface, yunet, a YuNet file, or none for faces already cut out.")]
ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="A TOML file, such as configs/small-labels.toml.")]

Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Takes the place of the file's value.")
]
PredictionFiles = Annotated[
    list[Path],
    typer.Argument(metavar="PREDICTIONS...", help="predictions.parquet files, or the folders that hold one."),
]


def model_name(model: Path) -> str:
    """What a table calls a model: its run's name, with the checkpoint's where that is not the best; or a file's own."""
    if model.suffix == ".safetensors":
        from mien.models.checkpoint import BEST

        run = model.resolve().parent.name
        return run if model.name == BEST else f"{run}-{model.stem}"
    return model.resolve().name if model.is_dir() else model.stem


def console(errors: bool = False) -> Console:
    """The terminal: standard output, or standard error."""
    from rich.console import Console

    return Console(stderr=errors)
