"""mien data: inspection of labelled faces."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mien.cli.options import (
    AsJson,
    DataSettings,
    Numbering,
    Overwrite,
    Split,
    console,
    data_settings,
    echo,
    print_json,
)

if TYPE_CHECKING:
    from mien.data import FaceDataset

FerplusVotes = Annotated[Path | None, typer.Option(help="The FER+ file fer2013new.csv; its rows match FER2013's.")]


def inspect(
    path: Annotated[
        Path,
        typer.Argument(
            metavar="DATA", help="FER2013 as archive, CSV, folders or Parquet, or a folder with one folder per class."
        ),
    ],
    ferplus: FerplusVotes = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="Folder for a contact sheet of the faces.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    numbering: Numbering = None,
    set_: DataSettings = None,
) -> None:
    """Count faces by split and class, compare the counts with FER2013's published ones, and draw a contact sheet."""
    from mien.data import inspection
    from mien.pixels import save_png

    if output:
        _check_files(output, {"contact-sheet.png": ""}, overwrite)
    dataset = _load(path, set_, numbering=numbering, ferplus=ferplus)
    report = inspection.inspect(dataset)
    if output:
        output.mkdir(parents=True, exist_ok=True)
        save_png(inspection.contact_sheet(dataset), output / "contact-sheet.png")
    if as_json:
        print_json(report.to_dict())
        return
    console().print(inspection.table(report))
    if output:
        echo(f"written: {output / 'contact-sheet.png'}")
    else:
        typer.echo("add -o DIR to draw a contact sheet of the faces")


def audit(
    path: Annotated[
        Path, typer.Argument(metavar="DATA", help="FER2013 in any format, or a folder with one folder per class.")
    ],
    ferplus: FerplusVotes = None,
    predictions: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE", help="Predictions to score again without faces that have a copy in Training; repeatable."
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="DIR", help="Folder for the list of copies and a drawing of some."),
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    numbering: Numbering = None,
    set_: DataSettings = None,
) -> None:
    """Find copies of faces (also mirrored or slightly changed), disputed labels, and pictures without a face."""
    from mien.data import audit as auditing
    from mien.data import ferplus as votes
    from mien.evaluation import unseen
    from mien.files import write_text
    from mien.pixels import save_png

    if output:
        _check_files(output, {"copies.csv": "row,split,label,row_of_copy,", "copies.png": ""}, overwrite)
    dataset = _load(path, set_, numbering=numbering, ferplus=ferplus)
    networks = unseen.load(predictions or [], dataset)
    not_faces = votes.not_a_face(dataset, ferplus) if ferplus else None
    with console(errors=True).status(f"comparing {len(dataset):,} faces with each other"):
        report = auditing.audit(dataset, not_faces)
    accuracies = [unseen.measure(name, each, report.in_training()) for name, each in networks.items()]
    if output:
        output.mkdir(parents=True, exist_ok=True)
        write_text(output / "copies.csv", auditing.to_csv(report))
        save_png(auditing.sheet(report), output / "copies.png")
    if as_json:
        print_json(report.to_dict() | {"predictions": [vars(each) for each in accuracies]})
        return
    console().print(auditing.table(report))
    if accuracies:
        console().print(unseen.table(accuracies))
    for name in ("copies.csv", "copies.png") if output else ():
        echo(f"written: {output}/{name}")


def votes(
    path: Annotated[Path, typer.Argument(metavar="DATA", help="FER2013 as its CSV file or its archive.")],
    ferplus: Annotated[Path, typer.Option(help="The FER+ file fer2013new.csv; its rows match FER2013's.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="Predictions file to write.")],
    split: Annotated[Split, typer.Option(help="Split of the data.")] = "training",
    overwrite: Overwrite = False,
    set_: DataSettings = None,
) -> None:
    """Write FER+'s votes as a predictions file, to train with or to compare networks with."""
    from mien import predictions as prediction_files
    from mien.evaluation import metrics as metric
    from mien.evaluation import report
    from mien.files import check_output
    from mien.training.votes import predict_from_votes

    check_output(output, overwrite, mark=prediction_files.FORMAT)
    predictions = predict_from_votes(_load(path, set_, ferplus=ferplus), ferplus, split)
    about = {"network": "FER+'s taggers", "data": str(path), "split": split, "view": "single", "weights": ""}
    prediction_files.save(predictions, output, about)
    console().print(report.table(metric.evaluate(predictions), about))
    echo(f"written: {output}")


def _check_files(folder: Path, beginnings: dict[str, str], overwrite: bool) -> None:
    """Checks that files, name -> beginning of mien's own, can be written to a folder that may have to be created."""
    from mien.files import check_folder, check_output

    check_folder(folder)
    for name, beginning in beginnings.items() if folder.is_dir() else ():
        check_output(folder / name, overwrite, beginning)


def _load(path: Path, overrides: list[str] | None, **options: object) -> "FaceDataset":
    from mien.data import LabelOptions, load

    settings = data_settings(overrides, **options)
    return load(path, settings.get("ferplus"), options=LabelOptions.from_settings(settings))
