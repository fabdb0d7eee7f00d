"""The commands mien evaluate, compare, ensemble and robustness."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from mien.cli.options import (
    AsJson,
    DataSettings,
    Numbering,
    Overwrite,
    PredictionFiles,
    Split,
    Threads,
    console,
    data_settings,
    echo,
    model_name,
    print_json,
)


def evaluate(
    model: Annotated[str, typer.Argument(help="A run folder, a checkpoint, an .onnx file or a shipped model's name.")],
    data: Annotated[
        Path | None,
        typer.Option(help="FER2013 in any format, or class folders; by default the data that it was trained on."),
    ] = None,
    split: Annotated[
        Literal[Split, "all"], typer.Option(help="Choose on public; read private once per published row.")
    ] = "public",
    view: Annotated[
        Literal["single", "flip", "ten-crop"],
        typer.Option(help="Views per face; accuracies of different views are not comparable."),
    ] = "single",
    output: Annotated[
        Path | None,
        typer.Option(
            "-o",
            "--output",
            metavar="DIR",
            help="Folder for predictions, metrics and figures; for a run its evaluation folder by default.",
        ),
    ] = None,
    table: Annotated[
        Path | None, typer.Option("--results", metavar="CSV", help="A table of results that the row is added to.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
    threads: Threads = None,
    numbering: Numbering = None,
    set_: DataSettings = None,
) -> None:
    """Measure a model on a split of labelled faces."""
    from mien.errors import require
    from mien.evaluation import report, results, tables
    from mien.evaluation.evaluation import Evaluation
    from mien.evaluation.faces import load_faces
    from mien.files import check_folder
    from mien.models.onnx_model import OnnxModel
    from mien.models.open_model import open_model

    if table:
        require("torch", "train")
        check_folder(table.parent)
    if output:
        check_folder(output)
    network, run = open_model(model, threads), Path(model)
    is_run = run.is_dir() and not isinstance(network, OnnxModel)
    folder = output or (run / "evaluation" / f"{split}-{view}" if is_run else None)
    log = report.read_log(run / "log.csv") if is_run else []
    if folder:
        report.check_folder(folder, log, overwrite)
    dataset = load_faces(network, data, data_settings(set_, numbering=numbering))
    faces = dataset if split == "all" else dataset.split(split)
    data = data or Path(network.config.data.path)
    if table:
        results.check_table(table, model_name(run), network.config, split, len(faces))
    evaluation = Evaluation.run(network, model, str(data), faces, split, view)
    if folder:
        evaluation.write(folder, log)
    if table:
        command = f"mien evaluate {model} --data {data.name} --split {split} --view {view}"
        tables.add(table, evaluation.row(model_name(run), command))
    if as_json:
        print_json(evaluation.to_dict())
        return
    console().print(evaluation.table())
    if folder:
        echo(f"written: {folder}")


def compare(
    files: PredictionFiles,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="DIR", help="Folder for a figure of the ROC curves.")
    ] = None,
    overwrite: Overwrite = False,
    as_json: AsJson = False,
) -> None:
    """Compare networks on the same faces: accuracies, differences with intervals, and recalls by class."""
    from mien import plotting
    from mien import predictions as prediction_files
    from mien.evaluation import compare as comparison
    from mien.evaluation import figures
    from mien.files import check_folder, check_output

    figure_file = output and output / "roc-comparison.png"
    if output and figure_file:
        check_folder(output)
        if output.is_dir():
            check_output(figure_file, overwrite)
    networks, metadata = prediction_files.load_all(files)
    compared = comparison.compare(networks)
    if figure_file:
        figure_file.parent.mkdir(parents=True, exist_ok=True)
        plotting.save(figures.roc_comparison_figure(networks, metadata[0].get("split", "")), figure_file)
    if as_json:
        print_json([each.to_dict() for each in compared])
        return
    console().print(comparison.table(compared))
    console().print("recall of the first network and differences from it, %")
    console().print(comparison.recall_table(compared))
    if figure_file:
        echo(f"written: {figure_file}")


def ensemble(
    files: PredictionFiles,
    output: Annotated[
        Path, typer.Option("-o", "--output", metavar="FILE.parquet", help="File for the ensemble's predictions.")
    ],
    weight: Annotated[
        list[float] | None,
        typer.Option(help="Weight of a member; repeat once per member, in their order. Equal weights by default."),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Average the probabilities of several networks into predictions that can be compared like any network's."""
    from mien import predictions as prediction_files
    from mien.evaluation import compare as comparison
    from mien.evaluation import ensemble as ensembles
    from mien.files import check_output

    if output.suffix != ".parquet":
        raise typer.BadParameter(f"the name of the predictions must end in .parquet, got {output.name[-80:]}")
    if len(files) < 2:
        raise typer.BadParameter(f"an ensemble needs two files of predictions or more, got only {files[0]}")
    check_output(output, overwrite, mark=prediction_files.FORMAT)
    members, metadata = prediction_files.load_all(files)
    predictions = ensembles.ensemble(list(members.values()), weight or None)
    name = f"ensemble of {len(members)}"
    description: dict[str, Any] = {"network": name, "members": list(members)}
    if weight:
        description["counted"] = weight
    description |= {
        key: " and ".join(dict.fromkeys(each.get(key, "") for each in metadata)) for key in ("split", "view")
    }
    description["weights"] = [each.get("weights", "") for each in metadata]
    prediction_files.save(predictions, output, description)
    named = dict(zip(prediction_files.short_names(list(members)), members.values(), strict=True))
    console().print(comparison.table(comparison.compare({**named, name: predictions})))
    echo(f"written: {output}")


def robustness(
    models: Annotated[
        list[str], typer.Argument(metavar="MODEL...", help="Run folders, checkpoints, .onnx files or shipped names.")
    ],
    data: Annotated[Path, typer.Option(help="FER2013 in any format, or class folders.")],
    split: Annotated[Split, typer.Option(help="Split of the data.")] = "public",
    file: Annotated[
        Path,
        typer.Option(
            "-o", "--output", metavar="CSV", help="Table that the accuracies are added to; a figure is drawn beside it."
        ),
    ] = Path("results/robustness.csv"),
    overwrite: Overwrite = False,
    threads: Threads = None,
    numbering: Numbering = None,
    set_: DataSettings = None,
) -> None:
    """Measure accuracy under blur, noise, JPEG, low light, occlusion, rotation, shift and low resolution."""
    from mien.errors import ConfigError, require
    from mien.evaluation import tables
    from mien.evaluation.faces import load_faces
    from mien.experiments import robustness as study
    from mien.files import escape_controls
    from mien.models.open_model import open_model

    if file.suffix != ".csv":
        raise typer.BadParameter(f"the name of the table must end in .csv, got {file.name[-80:]}")
    tables.check_files(file, [study.figure_file(file, split)], overwrite)
    require("matplotlib", "figures")
    require("filelock", "batch")
    names = [model_name(Path(model)) for model in models]
    if len(set(names)) < len(names):
        raise ConfigError(f"the models must have different names in the table, got {', '.join(names)}: rename a file")
    networks = [open_model(model, threads) for model in models]
    settings = data_settings(set_, numbering=numbering)
    faces = [load_faces(network, data, settings).split(split) for network in networks]
    for name, network, its_faces in zip(names, networks, faces, strict=True):  # all before the first is measured
        study.check_table(file, name, network, its_faces, split)
    for model, name, network, its_faces in zip(models, names, networks, faces, strict=True):
        typer.echo(f"{escape_controls(model)}:", nl=False, err=True)
        command = f"mien robustness {model} --data {data.name} --split {split}"
        rows = study.measure(
            name, network, its_faces, split, command, lambda step: typer.echo(f" {step}", nl=False, err=True)
        )
        tables.add(file, *rows)
        typer.echo(err=True)
    rows, figure_file = study.draw(file, split)
    console().print(study.table(rows))
    for path in (file, figure_file):
        echo(f"written: {path}")
