"""mien evaluate, compare, ensemble and robustness: how good trained networks are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mien.cli.options import AsJson, PredictionFiles, Split, Threads, console, model_name


def evaluate(
    model: Annotated[str, typer.Argument(help="A run folder, a checkpoint, an .onnx file or a shipped model's name.")],
    data: Annotated[
        Path | None, typer.Option(help="FER2013 in any form, or class folders; what it was trained on when left out.")
    ] = None,
    split: Annotated[Split, typer.Option(help="Choose on public; read private once, to publish.")] = "public",
    view: Annotated[
        Literal["single", "flip", "ten-crop"],
        typer.Option(help="How often each face is looked at; accuracies of different views are not comparable."),
    ] = "single",
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="DIR", help="Where predictions, metrics and figures go; below a run by default."
        ),
    ] = None,
    table: Annotated[
        Path | None, typer.Option("--results", metavar="CSV", help="A table of published results to put a row into.")
    ] = None,
    as_json: AsJson = False,
    threads: Threads = None,
) -> None:
    """Measure a model on a split of labelled faces."""
    from mien.data import load
    from mien.errors import require
    from mien.evaluation import metrics as metric
    from mien.evaluation import predict, report, results, tables
    from mien.models.onnx_model import OnnxModel
    from mien.models.open_model import open_model

    if table:
        require("torch", "train")
    opened = open_model(model, threads)
    data = data or Path(opened.config.data.path)
    faces = load(data, size=opened.preprocessing.size).split(split)
    if table:
        tables.check_same_faces(table, results.Result, split, len(faces))
        results.check_same_network(table, opened.config, model_name(Path(model)))
    predictions = predict.predict(opened, faces, view)
    found = metric.evaluate(predictions)
    about: dict[str, Any] = {"model": model, "network": opened.title, "data": str(data)}
    about |= {"split": split, "view": view, "weights": opened.digest}
    kept = ("temperature", "temperature_unsure", "uncertain_below")
    about |= {name: getattr(opened.calibration, name) for name in kept}
    run = Path(model)
    is_run = run.is_dir() and not isinstance(opened, OnnxModel)
    folder = output or (run / "evaluation" / f"{split}-{view}" if is_run else None)
    if folder:
        log = report.read_log(run / "log.csv") if is_run else []
        report.write(folder, predictions, found, about, log)
        rows = report.sheet_rows(faces.targets, len(faces.classes))
        shown = faces.take(rows)
        report.write_sheet(folder, predictions.take(rows), shown, opened.masks(shown.images), about)
    if table:
        command = f"mien evaluate {model} --data {data.name} --split {split} --view {view}"
        tables.add(table, results.row(found, opened.config, model_name(run), split, view, command))
    if as_json:
        typer.echo(json.dumps(about | found.to_dict(), indent=2))
        return
    console().print(report.table(found, about))
    if folder:
        typer.echo(f"written: {folder}")


def compare(
    files: PredictionFiles,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="Where ROC curves of all on one figure go.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Set networks side by side on the same faces: accuracies, differences with their intervals, what each gains."""
    from mien import plotting as style
    from mien import predictions as prediction_files
    from mien.evaluation import compare as comparing
    from mien.evaluation import figures

    networks, about = prediction_files.load_all(files)
    found = comparing.compare(networks)
    picture = output and output / "roc-comparison.png"
    if picture:
        picture.parent.mkdir(parents=True, exist_ok=True)
        style.save(figures.roc_comparison_figure(networks, about[0].get("split", "")), picture)
    if as_json:
        typer.echo(json.dumps([each.to_dict() for each in found], indent=2))
        return
    console().print(comparing.table(found))
    console().print("recall, %, and what others have more")
    console().print(comparing.recall_table(found))
    if picture:
        typer.echo(f"written: {picture}")


def ensemble(
    files: PredictionFiles,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE.parquet", help="The ensemble's predictions.")],
    weight: Annotated[
        list[float] | None,
        typer.Option(
            help="What a member counts for in the mean; once a member, in their order. All alike when left out."
        ),
    ] = None,
) -> None:
    """Take the mean of several networks' probabilities; its predictions can be compared like any network's."""
    from mien import predictions as prediction_files
    from mien.evaluation import compare as comparing
    from mien.evaluation import ensemble as ensembles

    if output.suffix != ".parquet":
        raise typer.BadParameter(f"predictions are Parquet: the name must end in .parquet, got {output.name}")
    if len(files) < 2:
        raise typer.BadParameter(f"an ensemble is of two predictions or more, got {files[0]} alone")
    networks, members = prediction_files.load_all(files)
    together = ensembles.ensemble(list(networks.values()), weight or None)
    name = f"ensemble of {len(networks)}"
    about: dict[str, Any] = {"network": name, "members": list(networks)}
    if weight:
        about["counted"] = weight
    about |= {
        what: " and ".join(dict.fromkeys(member.get(what, "") for member in members)) for what in ("split", "view")
    }
    about["weights"] = [member.get("weights", "") for member in members]
    prediction_files.save(together, output, about)
    shown = dict(zip(prediction_files.short_names(list(networks)), networks.values(), strict=True))
    console().print(comparing.table(comparing.compare({**shown, name: together})))
    typer.echo(f"written: {output}")


def robustness(
    models: Annotated[
        list[str], typer.Argument(metavar="MODEL...", help="Run folders, checkpoints, .onnx files or shipped names.")
    ],
    data: Annotated[Path, typer.Option(help="FER2013 in any form, or class folders.")],
    split: Annotated[Split, typer.Option(help="Of the data.")] = "public",
    file: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="CSV", help="Gets a row for each accuracy; a figure goes beside it."),
    ] = Path("results/robustness.csv"),
    threads: Threads = None,
) -> None:
    """Measure how accuracy falls under blur, noise, JPEG, low light, occlusion, rotation, shift and low resolution."""
    from mien.data import load
    from mien.errors import ConfigError, require
    from mien.evaluation import tables
    from mien.evaluation.predict import check_same_classes
    from mien.experiments import robustness as sheets
    from mien.models.open_model import open_model

    if file.suffix != ".csv":
        raise typer.BadParameter(f"the table's name must end in .csv, got {file.name}; the figure goes beside it")
    require("matplotlib", "figures")
    require("filelock", "train")
    names = [model_name(Path(model)) for model in models]
    if len(set(names)) < len(names):
        raise ConfigError(f"the table tells networks apart by their names, got {', '.join(names)}: rename a file")
    opened = [open_model(model, threads) for model in models]
    seen = [load(data, size=each.preprocessing.size).split(split) for each in opened]
    for name, each, faces in zip(names, opened, seen, strict=True):  # before the first is measured
        sheets.check_same_network(file, name, each.digest)
        tables.check_same_faces(file, sheets.Robustness, split, len(faces))
        check_same_classes(each, faces)
    for model, name, each, faces in zip(models, names, opened, seen, strict=True):
        typer.echo(f"{model}:", nl=False, err=True)
        command = f"mien robustness {model} --data {data.name} --split {split}"
        rows = sheets.measure(
            name, each, faces, split, command, lambda what: typer.echo(f" {what}", nl=False, err=True)
        )
        tables.add(file, *rows)
        typer.echo(err=True)
    drawn, picture = sheets.draw(file, split)
    console().print(sheets.table(drawn))
    for path in (file, picture):
        typer.echo(f"written: {path}")
