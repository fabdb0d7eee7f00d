"""mien recognize: the faces of photographs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from mien.cli.options import AsJson, DetectorName, Model, Threads, console


def recognize(
    photos: Annotated[list[Path], typer.Argument(metavar="PHOTO...", help="Pictures of any kind, or folders of them.")],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR|FILE.parquet",
            help="Where annotated copies go; or a Parquet file of all faces, for any number of pictures, which goes on "
            "where it was stopped.",
        ),
    ] = None,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV, one line a face, instead of a table.")] = False,
    model: Model = "small",
    detector: DetectorName = "blazeface",
    threads: Threads = None,
) -> None:
    """Name the expression on every face of photographs."""
    from mien.errors import ImageError
    from mien.recognition import draw, photo, records
    from mien.recognition.recognizer import Recognizer

    if as_json and as_csv:
        raise typer.BadParameter("choose one of --json and --csv")
    if any(path.is_dir() for path in photos):
        from mien.data.pictures import find_pictures

        photos = list(find_pictures(photos))
    if output and output.suffix == ".parquet":
        if as_json or as_csv:
            raise typer.BadParameter(f"all goes into {output}: leave out --json and --csv")
        _recognize_into(output, photos, model, detector, threads)
        return
    recognizer = Recognizer(model, detector, threads)
    if output:
        output.mkdir(parents=True, exist_ok=True)
    found, failed = [], False
    written: list[Path] = []
    kept = {path.parent.resolve() / path.name for path in photos}
    for path in photos:
        try:
            image_rgb = photo.read(path)
            faces = recognizer(image_rgb)
        except ImageError as error:
            typer.echo(f"mien: {error}", err=True)
            failed = True
            continue
        found.append(records.to_record(str(path), image_rgb, faces))
        if output:
            try:
                copy = draw.save(draw.annotate(image_rgb, faces), output, path.stem, kept)
            except OSError as error:
                typer.echo(f"mien: {path} has no copy in {output}: {error.strerror or error}", err=True)
                failed = True
                continue
            written.append(copy)
            kept.add(output.resolve() / copy.name)
    if as_json:
        typer.echo(json.dumps(found, indent=2, ensure_ascii=False))
    elif as_csv:
        typer.echo(records.to_csv(found, recognizer.model.classes), nl=False)
    elif found:
        console().print(records.to_table(found))
        for picture in written:
            typer.echo(f"written: {picture}")
    if failed:
        raise typer.Exit(2)


def _recognize_into(output: Path, photos: list[Path], model: str, detector: str, threads: int | None) -> None:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from mien.cores import usable_cores
    from mien.recognition import batch
    from mien.recognition.recognizer import Recognizer

    recognizer = Recognizer(model, detector, threads=1)
    made_by = {"model": model, "detector": detector, "weights": recognizer.model.digest}
    made_by["calibration"] = str(recognizer.model.calibration)
    work = batch.Work(tuple(photos), output, made_by)
    terminal = console()
    progress = Progress(BarColumn(None), MofNCompleteColumn(), TimeRemainingColumn(), console=terminal)
    progress.disable = not terminal.is_terminal
    task = progress.add_task("", total=len(photos))
    try:
        with progress:
            batch.recognize(
                work, recognizer, threads or usable_cores(), lambda done: progress.update(task, completed=done)
            )
    except KeyboardInterrupt:
        typer.echo(f"stopped; the same command goes on from {work.parts}")
        raise typer.Exit(130) from None
    typer.echo(f"written: {output}, {len(photos):,} pictures")
