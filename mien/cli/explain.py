"""mien explain: where the network looked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from mien.cli.options import DetectorName, Threads


def explain(
    picture: Annotated[Path, typer.Argument(metavar="PHOTO", help="A picture of any kind.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Gets PHOTO-face1.png, PHOTO-face2.png and so on.")
    ] = Path("explained"),
    model: Annotated[
        str, typer.Option(help="A shipped model's name, an .onnx file, a run folder or a checkpoint.")
    ] = "small",
    detector: DetectorName = "blazeface",
    method: Annotated[
        Literal["masks", "grad-cam"] | None,
        typer.Option(help="Masks where the network has them, else Grad-CAM, which needs torch."),
    ] = None,
    threads: Threads = None,
) -> None:
    """Draw where the network looked on each face: its masks, or Grad-CAM for a network without masks."""
    from mien.errors import require
    from mien.explain import explain as explaining

    require("matplotlib", "figures")
    found = explaining.explain(picture, model, detector, method, threads)
    output.mkdir(parents=True, exist_ok=True)
    for path in explaining.write(found, output, picture.name):
        typer.echo(f"written: {path}")
    if not found:
        typer.echo(f"{picture}: no face was found, so there is nothing to explain")
