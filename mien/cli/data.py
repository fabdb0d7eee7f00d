"""mien data: labelled faces."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from mien.cli.options import AsJson, Split, console


def inspect(
    path: Annotated[
        Path, typer.Argument(help="FER2013 in any form (archive, CSV, folders, Parquet), or class folders.")
    ],
    ferplus: Annotated[Path | None, typer.Option(help="FER+'s fer2013new.csv, joined by row.")] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="Where a contact sheet of the faces goes.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Count faces by split and class, compare with the published counts, and draw a contact sheet."""
    from mien.data import inspection, load
    from mien.files import replaced

    dataset = load(path, ferplus)
    found = inspection.inspect(dataset)
    if output:
        output.mkdir(parents=True, exist_ok=True)
        with replaced(output / "contact-sheet.png") as part:
            inspection.contact_sheet(dataset).save(part)
    if as_json:
        typer.echo(json.dumps(found.to_dict(), indent=2))
        return
    console().print(inspection.table(found))
    sheet = f"written: {output / 'contact-sheet.png'}" if output else "-o DIR draws a contact sheet of the faces."
    typer.echo(sheet)


def audit(
    path: Annotated[Path, typer.Argument(help="FER2013 in any form, or class folders.")],
    ferplus: Annotated[Path | None, typer.Option(help="FER+'s fer2013new.csv, joined by row.")] = None,
    predictions: Annotated[
        list[Path] | None,
        typer.Option(metavar="FILE", help="Say how accurate these are without faces that also stand in Training."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="Gets the list of copies, and some drawn.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Find repeated pictures, mirrored and slightly changed ones too, disputed labels, and pictures without a face."""
    from mien.data import audit as auditing
    from mien.data import ferplus as votes
    from mien.data import load
    from mien.evaluation import unseen
    from mien.files import replaced, write_text

    dataset = load(path, ferplus)
    networks = unseen.load(predictions or [], dataset)
    not_faces = votes.not_a_face(dataset, ferplus) if ferplus else None
    with console(errors=True).status(f"comparing {len(dataset):,} faces with each other"):
        found = auditing.audit(dataset, not_faces)
    accuracies = [unseen.measure(name, each, found.in_training()) for name, each in networks.items()]
    if output:
        output.mkdir(parents=True, exist_ok=True)
        write_text(output / "copies.csv", auditing.to_csv(found))
        with replaced(output / "copies.png") as part:
            auditing.sheet(found).save(part, "PNG")
    if as_json:
        typer.echo(json.dumps(found.to_dict() | {"predictions": [vars(each) for each in accuracies]}, indent=2))
        return
    console().print(auditing.table(found))
    if accuracies:
        console().print(unseen.table(accuracies))
    for name in ("copies.csv", "copies.png") if output else ():
        typer.echo(f"written: {output}/{name}")


def votes(
    path: Annotated[Path, typer.Argument(help="FER2013, as its CSV file or its archive.")],
    ferplus: Annotated[Path, typer.Option(help="FER+'s fer2013new.csv, joined by row.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="The votes as predictions.")],
    split: Annotated[Split, typer.Option(help="Of the data.")] = "training",
) -> None:
    """Say how probable FER+'s votes make each of FER2013's labels: predictions to teach with, or to compare with."""
    from mien import predictions as prediction_files
    from mien.data import load
    from mien.evaluation import metrics as metric
    from mien.evaluation import report
    from mien.training.taggers import taggers

    said = taggers(load(path, ferplus), ferplus, split)
    about = {"network": "FER+'s taggers", "data": str(path), "split": split, "view": "single", "weights": ""}
    prediction_files.save(said, output, about)
    console().print(report.table(metric.evaluate(said), about))
    typer.echo(f"written: {output}")
