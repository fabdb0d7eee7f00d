"""`mien recognize`: the faces in photographs."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from mien.cli import archive
from mien.cli.options import AsJson, DetectorName, Model, Threads, console
from mien.detection import DEFAULT_DETECTOR


def recognize(
    photos: Annotated[
        list[Path], typer.Argument(metavar="PHOTO...", help="Pictures of any format, or folders of pictures.")
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR|FILE.parquet",
            help="Folder for annotated copies; or a Parquet file of all faces, for any number of pictures; it resumes "
            "after an interruption.",
        ),
    ] = None,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, one line per face, instead of a table.")] = False,
    model: Model = "small",
    detector: DetectorName = DEFAULT_DETECTOR,
    threads: Threads = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that write a Parquet file; all cores by default.")
    ] = None,
) -> None:
    """Recognise the expression on every face in photographs."""
    if as_json and as_csv:
        raise typer.BadParameter("choose one of --json and --csv")
    if any(path.is_dir() for path in photos):
        from mien.data.pictures import find_pictures

        photos = list(find_pictures(photos))
    if output and output.suffix == ".parquet":
        if as_json or as_csv:
            raise typer.BadParameter(f"all results are written to {output}: leave out --json and --csv")
        archive.recognize_to_file(output, map(os.fspath, photos), model, detector, workers or threads)
        return

    from mien.errors import ImageError
    from mien.recognition import draw, photo, records
    from mien.recognition.recognizer import Recognizer

    recognizer = Recognizer(model, detector, threads)
    if output:
        output.mkdir(parents=True, exist_ok=True)
    results, failed = [], False
    copies: list[Path] = []
    reserved = {path.parent.resolve() / path.name for path in photos}  # a copy never overwrites a given photo
    for path in photos:
        try:
            image_rgb = photo.read(path)
            faces = recognizer(image_rgb)
        except ImageError as error:
            typer.echo(f"mien: {error}", err=True)
            failed = True
            continue
        results.append(records.to_record(str(path), image_rgb, faces))
        if output:
            try:
                copy = draw.save(draw.annotate(image_rgb, faces), output, path.stem, reserved)
            except OSError as error:
                typer.echo(
                    f"mien: the annotated copy of {path} cannot be written to {output}: {error.strerror or error}",
                    err=True,
                )
                failed = True
                continue
            copies.append(copy)
            reserved.add(output.resolve() / copy.name)
    if as_json:
        typer.echo(json.dumps(results, indent=2, ensure_ascii=False))
    elif as_csv:
        typer.echo(records.to_csv(results, recognizer.model.classes), nl=False)
    elif results:
        console().print(records.to_table(results))
        for copy in copies:
            typer.echo(f"written: {copy}")
    if failed:
        raise typer.Exit(2)
