"""`mien explain`: where the network looked."""

from pathlib import Path
from typing import Annotated, Literal

import typer

from mien.cli.options import DetectorName, Overwrite, Threads, echo
from mien.detection import DEFAULT_DETECTOR


def explain(
    picture: Annotated[Path, typer.Argument(metavar="PHOTO", help="A picture of any format.")],
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for PHOTO-face1.png, PHOTO-face2.png, ...")
    ] = Path("explained"),
    model: Annotated[
        str, typer.Option(help="The name of a shipped model, an .onnx file, a run folder or a checkpoint.")
    ] = "small",
    detector: DetectorName = DEFAULT_DETECTOR,
    method: Annotated[
        Literal["masks", "grad-cam"] | None,
        typer.Option(help="Default: masks if the network has them, and otherwise Grad-CAM, which needs torch."),
    ] = None,
    threads: Threads = None,
    overwrite: Overwrite = False,
) -> None:
    """Draw where the network looked on each face: its masks, or Grad-CAM for a network without masks."""
    from mien.errors import require
    from mien.explain.explain import check_folder, explain, write

    require("matplotlib", "figures")
    check_folder(output, picture.name, overwrite)
    explanations = explain(picture, model, detector, method, threads)
    output.mkdir(parents=True, exist_ok=True)
    for path in write(explanations, output, picture.name):
        echo(f"written: {path}")
    if not explanations:
        echo(f"{picture}: no face was found, so there is nothing to explain")
