"""The command line: parse, call, print. Every import of weight stands inside its command, so that help is instant."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

import mien

if TYPE_CHECKING:
    from rich.console import Console

    from mien.video.recognizer import VideoFrame
    from mien.video.source import VideoSource

app = typer.Typer(
    name="mien",
    help="Names the expression on every face in a photograph, and trains the networks that do.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
data_app = typer.Typer(help="Look at labelled faces.", no_args_is_help=True)
app.add_typer(data_app, name="data")
benchmark_app = typer.Typer(help="Time mien on this machine.", no_args_is_help=True)
app.add_typer(benchmark_app, name="benchmark")


Split = Literal["training", "public", "private"]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
Threads = Annotated[int | None, typer.Option(min=1, help="CPU threads; all cores when left out.")]
Model = Annotated[str, typer.Option(help="A shipped model's name, or an .onnx file of mien export.")]
DetectorName = Annotated[str, typer.Option(help="blazeface, yunet, a YuNet file, or none for faces already cut out.")]
ConfigFile = Annotated[Path, typer.Argument(metavar="CONFIG", help="A TOML file, such as configs/small-labels.toml.")]
_SERVING = ("fastapi", "fastapi_offline", "uvicorn", "websockets", "python_multipart", "prometheus_client")
Settings = Annotated[
    list[str] | None, typer.Option("--set", metavar="SECTION.KEY=VALUE", help="Takes the place of the file's value.")
]


@app.callback(invoke_without_command=True)
def version(show: Annotated[bool, typer.Option("--version", help="Print the version and end.")] = False) -> None:
    """Names the expression on every face in a photograph, and trains the networks that do."""
    if show:
        typer.echo(f"mien {mien.__version__}")
        raise typer.Exit


@app.command()
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
        typer.echo(records.to_csv(found, recognizer.classifier.classes), nl=False)
    elif found:
        _console().print(records.to_table(found))
        for picture in written:
            typer.echo(f"written: {picture}")
    if failed:
        raise typer.Exit(2)


@app.command()
def video(
    source: Annotated[
        str, typer.Argument(metavar="VIDEO", help="A video file, a URL, or a camera's number, such as 0.")
    ],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="An annotated copy: .mp4, .mov or .mkv.")
    ] = None,
    csv: Annotated[
        Path | None, typer.Option(metavar="FILE", help="One line a face of a picture; - prints them.")
    ] = None,
    jsonl: Annotated[Path | None, typer.Option(metavar="FILE", help="One line a picture; - prints them.")] = None,
    parquet: Annotated[Path | None, typer.Option(metavar="FILE", help="One row a face of a picture.")] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE", help="An HTML page of who showed what and when, and its PNG.")
    ] = None,
    model: Model = "small",
    detector: DetectorName = "blazeface",
    detect_every: Annotated[
        int, typer.Option(metavar="N", help="Look for faces in every N-th picture, 1 or more.")
    ] = 3,
    smooth: Annotated[float, typer.Option(metavar="SECONDS", min=0, help="Average over so long; 0 for not.")] = 0.3,
    threads: Annotated[
        int | None,
        typer.Option(min=1, help="CPU threads of the network, as many again look for faces; half of the cores each."),
    ] = None,
) -> None:
    """Name the expression on every face of a video, and follow each face."""
    from mien.video import analysis as videos
    from mien.video import timeline as timelines
    from mien.video.recognizer import VideoRecognizer
    from mien.video.source import VideoSource
    from mien.video.track import Smoothing

    wanted = videos.Wanted(output, csv, jsonl, parquet, report)
    recognizer = VideoRecognizer(model, detector, threads, detect_every, Smoothing(smooth))
    with VideoSource(source, sound=output is not None) as opened, _video_progress(opened) as tell:
        done = videos.recognize(opened, recognizer, wanted, tell)
    aside = wanted.prints
    shown = timelines.table(done.timeline) if done.timeline.tracks else timelines.nobody(done.timeline)
    _console(errors=aside).print(shown)
    for path in done.files:
        typer.echo(f"written: {path}", err=aside)
    if done.error:
        raise done.error
    if done.interrupted:
        typer.echo(f"stopped after {timelines.clock(done.timeline.end_s)}; what was done is kept", err=True)
        raise typer.Exit(130)


@app.command()
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


@data_app.command()
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
    _console().print(inspection.table(found))
    sheet = f"written: {output / 'contact-sheet.png'}" if output else "-o DIR draws a contact sheet of the faces."
    typer.echo(sheet)


@data_app.command()
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
    with _console(errors=True).status(f"comparing {len(dataset):,} faces with each other"):
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
    _console().print(auditing.table(found))
    if accuracies:
        _console().print(unseen.table(accuracies))
    for name in ("copies.csv", "copies.png") if output else ():
        typer.echo(f"written: {output}/{name}")


@data_app.command()
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
    _console().print(report.table(metric.evaluate(said), about))
    typer.echo(f"written: {output}")


@app.command()
def networks(as_json: AsJson = False) -> None:
    """List the networks with their size and cost."""
    from mien.networks import registry

    if as_json:
        typer.echo(json.dumps([spec.to_dict() for spec in registry.NETWORKS], indent=2))
    else:
        _console().print(registry.table())


@app.command()
def cost(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NETWORK...]", help="NAME or NAME:VARIANT; all when left out.")
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    batch: Annotated[int, typer.Option(min=1, help="Faces a batch, for the throughput.")] = 16,
    seconds: Annotated[float, typer.Option(min=0, help="About how long each figure is timed.")] = 3,
    data: Annotated[
        Path | None, typer.Option("--train", metavar="DATA", help="Also train shortly, on a tenth of this FER2013.")
    ] = None,
    train_seconds: Annotated[float, typer.Option(min=0, help="About how long each network is trained.")] = 60,
    file: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="CSV", help="Gets a row for each network; two figures go beside it."),
    ] = Path("results/cost.csv"),
    results_file: Annotated[
        Path, typer.Option("--results", metavar="CSV", help="The accuracies that the figures draw.")
    ] = Path("results/fer2013.csv"),
    draw: Annotated[bool, typer.Option("--draw", help="Measure nothing: draw and print what the table holds.")] = False,
    as_json: AsJson = False,
) -> None:
    """Measure what networks cost: size, memory, latency and throughput in torch and ONNX Runtime."""
    from mien.data import load
    from mien.errors import MienError, require
    from mien.evaluation import tables
    from mien.evaluation.results import Result
    from mien.experiments import cost as costs
    from mien.experiments import cost_figures
    from mien.networks import registry

    specs = [registry.find(*name.split(":", 1)) for name in names] if names else list(registry.NETWORKS)
    results = tables.load(results_file, Result)
    tables.load(file, costs.Cost)  # a damaged one is better known before the hours of measuring
    failed, written = False, []
    if not draw:
        require("onnx", "train")
        conditions = costs.Conditions(threads, batch, seconds, train_seconds)
        faces = costs.tenth(load(data)) if data else None
        for number, spec in enumerate(specs, start=1):
            typer.echo(f"{number}/{len(specs)} {spec.title}:", nl=False, err=True)
            try:
                row = costs.measure(spec, conditions, faces, lambda what: typer.echo(f" {what}", nl=False, err=True))
            except MienError as error:
                typer.echo(f"\nmien: {error}", err=True)
                failed = True
            else:
                typer.echo(err=True)
                tables.add(file, row)
                written = [file]
    rows = tables.load(file, costs.Cost)
    shown = [row for row in rows if row.key in {(spec.name, spec.variant) for spec in specs}]
    if draw or written:
        written += cost_figures.write(file, rows, results)
    if as_json:
        typer.echo(json.dumps([vars(row) for row in shown], indent=2))
    else:
        _console().print(costs.table(shown))
        for path in written:
            typer.echo(f"written: {path}")
    if failed:
        raise typer.Exit(2)


@app.command()
def train(
    config: ConfigFile,
    set_: Settings = None,
    run: Annotated[Path | None, typer.Option(help="The run's folder; runs/NAME-of-config when left out.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on where the run was stopped.")] = False,
) -> None:
    """Train a network."""
    from mien import config as configs
    from mien.errors import require

    require("lightning_fabric", "train")
    from mien.training import run as runs

    folder = run or Path("runs") / config.stem
    done = runs.train(configs.load(config, tuple(set_ or ())), folder, resume, _console())
    if not done:
        typer.echo(f"stopped; go on with: mien train {folder / 'config.toml'} --run {folder} --resume")
        raise typer.Exit(130)
    typer.echo(f"done: {folder}")


@app.command()
def sweep(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="A TOML file with tables variants.NAME; see docs/train.md.")
    ],
    set_: Settings = None,
    runs: Annotated[
        Path | None, typer.Option(help="Where the runs' folders go; runs/NAME-of-file when left out.")
    ] = None,
    table: Annotated[
        Path,
        typer.Option("--results", metavar="CSV", help="Gets a row for each run and split; predictions go beside it."),
    ] = Path("results/fer2013.csv"),
    show: Annotated[
        bool, typer.Option("--table", help="Train nothing: print what is done, compared, in Markdown.")
    ] = False,
    against: Annotated[
        str, typer.Option(metavar="VARIANT", help="What the others are compared with; the file's first when left out.")
    ] = "",
) -> None:
    """Train and evaluate every variant of a file with every seed; run it again to go on after a stop."""
    from mien.errors import require

    require("lightning_fabric", "train")
    from mien.experiments import sweep as sweeps

    asked = sweeps.load(file, tuple(set_ or ()))
    asked.baseline(against)  # a wrong name is better known before the hours of training
    console = _console()
    if not show and not sweeps.run(asked, runs or Path("runs") / asked.name, table, console):
        typer.echo(f"stopped; go on with: {asked.command}, and the same --runs and --results if any")
        raise typer.Exit(130)
    for split in asked.splits:
        typer.echo(sweeps.comparison(asked, table, split, against))


@app.command()
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
    from mien.models.onnx_model import Classifier
    from mien.models.open_model import open_model

    if table:
        require("torch", "train")
    opened = open_model(model, threads)
    data = data or Path(opened.config.data.path)
    faces = load(data, size=opened.preprocessing.size).split(split)
    if table:
        tables.refuse_other_faces(table, results.Result, split, len(faces))
        results.refuse_other_network(table, opened.config, _name_of(Path(model)))
    predictions = predict.predict(opened, faces, view)
    found = metric.evaluate(predictions)
    about: dict[str, Any] = {"model": model, "network": opened.title, "data": str(data)}
    about |= {"split": split, "view": view, "weights": opened.digest}
    kept = ("temperature", "temperature_unsure", "uncertain_below")
    about |= {name: getattr(opened.calibration, name) for name in kept}
    run = Path(model)
    is_run = run.is_dir() and not isinstance(opened, Classifier)
    folder = output or (run / "evaluation" / f"{split}-{view}" if is_run else None)
    if folder:
        log = report.read_log(run / "log.csv") if is_run else []
        report.write(folder, predictions, found, about, log)
        rows = report.sheet_rows(faces.targets, len(faces.classes))
        shown = faces.take(rows)
        report.write_sheet(folder, predictions.take(rows), shown, opened.masks(shown.images), about)
    if table:
        command = f"mien evaluate {model} --data {data.name} --split {split} --view {view}"
        tables.add(table, results.row(found, opened.config, _name_of(run), split, view, command))
    if as_json:
        typer.echo(json.dumps(about | found.to_dict(), indent=2))
        return
    _console().print(report.table(found, about))
    if folder:
        typer.echo(f"written: {folder}")


@app.command()
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
    from mien.evaluation.predict import refuse_other_classes
    from mien.experiments import robustness as sheets
    from mien.models.open_model import open_model

    if file.suffix != ".csv":
        raise typer.BadParameter(f"the table's name must end in .csv, got {file.name}; the figure goes beside it")
    require("matplotlib", "figures")
    require("filelock", "train")
    names = [_name_of(Path(model)) for model in models]
    if len(set(names)) < len(names):
        raise ConfigError(f"the table tells networks apart by their names, got {', '.join(names)}: rename a file")
    opened = [open_model(model, threads) for model in models]
    seen = [load(data, size=each.preprocessing.size).split(split) for each in opened]
    for name, each, faces in zip(names, opened, seen, strict=True):  # before the first is measured
        sheets.refuse_other_network(file, name, each.digest)
        tables.refuse_other_faces(file, sheets.Robustness, split, len(faces))
        refuse_other_classes(each, faces)
    for model, name, each, faces in zip(models, names, opened, seen, strict=True):
        typer.echo(f"{model}:", nl=False, err=True)
        command = f"mien robustness {model} --data {data.name} --split {split}"
        rows = sheets.measure(
            name, each, faces, split, command, lambda what: typer.echo(f" {what}", nl=False, err=True)
        )
        tables.add(file, *rows)
        typer.echo(err=True)
    drawn, picture = sheets.draw(file, split)
    _console().print(sheets.table(drawn))
    for path in (file, picture):
        typer.echo(f"written: {path}")


PredictionFiles = Annotated[
    list[Path],
    typer.Argument(metavar="PREDICTIONS...", help="predictions.parquet files, or the folders that hold one."),
]


@app.command()
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
    _console().print(comparing.table(found))
    _console().print("recall, %, and what others have more")
    _console().print(comparing.recall_table(found))
    if picture:
        typer.echo(f"written: {picture}")


@app.command()
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
    _console().print(comparing.table(comparing.compare({**shown, name: together})))
    typer.echo(f"written: {output}")


@app.command()
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder or a checkpoint.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="RUN/NAME-of-run.onnx when left out.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="FER2013; the path in the run's config when left out.")] = None,
) -> None:
    """Write a trained network as one ONNX file, once its logits equal torch's on all of PublicTest."""
    from mien.errors import require

    require("torch", "train")
    require("onnx", "train")
    from mien.data import load
    from mien.evaluation import report
    from mien.export import onnx as exports
    from mien.models.torch_model import TrainedNetwork

    trained = TrainedNetwork.load(run)
    folder = run if run.is_dir() else run.parent
    path = output or folder / f"{_name_of(run)}.onnx"
    data = data or Path(trained.config.data.path)
    public = load(data, size=trained.preprocessing.size).split("public")
    found = report.read_metrics(folder / "evaluation", trained.digest, data.name)
    difference = exports.export(trained, path, public, found)
    typer.echo(
        f"written: {path}, {path.stat().st_size / 1e6:.2f} MB; largest difference of a logit from torch's "
        f"{difference:.1e} on {len(public):,} PublicTest faces"
    )


@app.command()
def page(
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="The folder to be written.")],
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            help="A shipped model's name or an .onnx file, the first to begin with; may be given "
            "several times. All shipped ones when left out.",
        ),
    ] = None,
) -> None:
    """Write the page that recognises faces in the browser as a folder, to be hosted anywhere."""
    from mien.export import page as page_folder

    size = page_folder.write(output, page_folder.named(models or []))
    typer.echo(f"written: {output}, {size / 1e6:.1f} MB; look at it with: python -m http.server --directory {output}")


@app.command()
def calibrate(
    model: Annotated[str, typer.Argument(help="An .onnx file of mien export, or a shipped model's name.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="The calibrated copy, an .onnx file.")],
    data: Annotated[Path, typer.Option(help="Labelled faces that it was not trained on, of the kind it will see.")],
    split: Annotated[Literal[Split, "all"], typer.Option(help="Which of them.")] = "public",
    coverage: Annotated[
        float, typer.Option(help="Share of the faces, above 0, that it should be certain of; the others are uncertain.")
    ] = 0.8,
) -> None:
    """Fit a model's confidence, and when it is uncertain, to labelled faces of your own."""
    from mien.errors import require

    require("onnx", "train")
    from mien.calibration import FEW
    from mien.data import load
    from mien.evaluation.metrics import evaluate
    from mien.evaluation.predict import predict
    from mien.export.onnx import recalibrate
    from mien.models.onnx_model import Classifier

    dataset = load(data, size=Classifier(model).preprocessing.size)
    faces = dataset if split == "all" else dataset.split(split)
    found, said = recalibrate(model, output, faces, coverage)
    before, after = (evaluate(each, resamples=0) for each in (said, predict(Classifier(output), faces)))
    typer.echo(
        f"temperature {found.temperature:.3f} where it is sure, {found.temperature_unsure:.3f} where it is not; "
        f"calibration error {before.ece:.4f} before, {after.ece:.4f} now, on its {found.faces:,} faces\n"
        f"certain at {found.uncertain_below:.1%} or more: {found.coverage:.1%} of the faces, of which "
        f"{found.accuracy:.1%} are right; of all, {after.accuracy:.1%}\n"
        f"written: {output}"
    )
    if found.faces < FEW:
        typer.echo(
            f"mien: {found.faces:,} faces are few to fit confidence to, {FEW} are enough; with so few there is one "
            "temperature for all, and all of this may be off",
            err=True,
        )


@app.command()
def quantize(
    model: Annotated[str, typer.Argument(help="An .onnx file of mien export, or a shipped model's name.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="The 8-bit copy, an .onnx file.")],
    data: Annotated[Path, typer.Option(help="FER2013, or faces of your own with a training and a public split.")],
    faces: Annotated[int, typer.Option(min=1, help="Training faces that set the integers' ranges.")] = 512,
) -> None:
    """Write a model in 8-bit integers, and say what that costs in accuracy."""
    from mien.errors import require

    require("onnx", "train")
    from mien.data import load
    from mien.evaluation.compare import difference
    from mien.evaluation.predict import predict
    from mien.export import quantize as quantizing
    from mien.models.onnx_model import Classifier

    original = Classifier(model)  # opened first: the output may take the file's place
    dataset = load(data, size=original.preprocessing.size)
    public = dataset.split("public")
    written = quantizing.quantize(model, output, dataset, faces)
    lost = difference([predict(original, public)], [predict(written, public)])
    typer.echo(
        f"written: {output}, {output.stat().st_size / 1e6:.2f} MB; accuracy on {len(public):,} PublicTest faces "
        f"{lost.accuracy:+.2%} ({lost.low:+.2%} to {lost.high:+.2%})"
    )


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Its port; 0 takes a free one.")] = 8000,
    token: Annotated[
        str | None, typer.Option(envvar="MIEN_TOKEN", help="What callers must know; better given in the environment.")
    ] = None,
    no_token: Annotated[bool, typer.Option("--no-token", help="Let other machines call it without a token.")] = False,
    model: Model = "small",
    detector: DetectorName = "blazeface",
    workers: Annotated[
        int | None, typer.Option(min=1, help="Threads that recognise; one a core when left out.")
    ] = None,
    batch: Annotated[int, typer.Option(min=1, help="Most pictures that a worker takes at once.")] = 4,
    wait_ms: Annotated[float, typer.Option(min=0, help="Longest wait for more pictures, milliseconds.")] = 2,
    max_bytes: Annotated[int, typer.Option(min=1, help="Most bytes of a request or a frame.")] = 32 * 2**20,
    max_pixels: Annotated[int, typer.Option(min=1, help="Most pixels of a picture.")] = 25_000_000,
    max_pictures: Annotated[int, typer.Option(min=1, help="Most pictures of a request.")] = 16,
    queue: Annotated[int, typer.Option(min=1, help="Most pictures that wait; more are answered with 503.")] = 64,
    timeout: Annotated[float, typer.Option(help="Most seconds of a request, above 0.")] = 30,
) -> None:
    """Recognise pictures for other programs, over HTTP."""
    from mien.cores import usable_cores
    from mien.errors import require

    for module in _SERVING:
        require(module, "serve")
    from mien.service import app as serving
    from mien.service.batching import Limits

    limits = Limits(max_bytes, max_pixels, max_pictures, queue, timeout)
    settings = serving.Settings(
        model=model,
        detector=detector,
        host=host,
        port=port,
        token=token,
        open_to_all=no_token,
        workers=workers or usable_cores(),
        batch=batch,
        wait_ms=wait_ms,
        limits=limits,
    )
    serving.serve(settings, lambda url: typer.echo(f"mien serves {url}, described at {url}/docs; Ctrl-C ends it"))


@app.command()
def camera(
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of the page; 0 takes a free one.")] = 0,
    model: Model = "small",
) -> None:
    """Open the page with the camera on; what it sees stays on this machine."""
    from mien.errors import require

    for module in _SERVING:
        require(module, "serve")
    import threading
    import webbrowser

    from mien.service import app as serving

    def opened(url: str) -> None:
        page = f"{url}/#camera"
        typer.echo(f"the camera's page is {page}; Ctrl-C ends it")
        # Beside the service, for some browsers are waited for until they are closed, and need its answers meanwhile.
        threading.Thread(target=webbrowser.open, args=(page,), daemon=True).start()

    serving.serve(serving.Settings(model=model, port=port), opened)


@benchmark_app.command("train")
def benchmark_train(
    config: ConfigFile = Path("configs/small-labels.toml"),
    set_: Settings = None,
    steps: Annotated[int, typer.Option(min=1, help="Timed steps a figure.")] = 30,
    profile: Annotated[bool, typer.Option("--profile", help="Print where a step's time goes, too.")] = False,
    as_json: AsJson = False,
) -> None:
    """Time training steps: with the data path, bare, in plain eager mode, and against a large matrix product."""
    from mien import config as configs
    from mien.data import load
    from mien.errors import require

    require("lightning_fabric", "train")
    from mien.models.torch_model import preprocessing_of
    from mien.training import benchmark

    settings = configs.load(config, tuple(set_ or ()))
    dataset = load(settings.data.path, settings.data.ferplus or None, preprocessing_of(settings).size)
    speed = benchmark.measure(settings, dataset, steps)
    if as_json:
        typer.echo(json.dumps(speed.to_dict(), indent=2))
    else:
        _console().print(benchmark.table(speed))
    if profile:
        typer.echo(benchmark.profile(settings, dataset), err=as_json)


def main() -> None:
    """Runs the command line; an error raised on purpose becomes one sentence and exit code 2."""
    from mien.errors import MienError

    # A file's name may hold bytes that are no text; it is still to be printed.
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    sys.stderr.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        app()
    except MienError as error:
        typer.echo(f"mien: {error}", err=True)
        sys.exit(2)
    except BrokenPipeError:  # the reader of a pipe, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except OSError as error:  # a full disk, a folder that may not be written: the machine's, not a bug
        typer.echo(f"mien: {error.filename or 'a file'} cannot be used: {error.strerror or error}", err=True)
        sys.exit(2)


def _recognize_into(output: Path, photos: list[Path], model: str, detector: str, threads: int | None) -> None:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from mien.cores import usable_cores
    from mien.recognition import batch
    from mien.recognition.recognizer import Recognizer

    recognizer = Recognizer(model, detector, threads=1)
    made_by = {"model": model, "detector": detector, "weights": recognizer.classifier.digest}
    made_by["calibration"] = str(recognizer.classifier.calibration)
    work = batch.Work(tuple(photos), output, made_by)
    console = _console()
    progress = Progress(BarColumn(None), MofNCompleteColumn(), TimeRemainingColumn(), console=console)
    progress.disable = not console.is_terminal
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


@contextmanager
def _video_progress(source: VideoSource) -> Iterator[Callable[[VideoFrame], None]]:
    """A bar on the terminal: how far, pictures a second, time left."""
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    console = _console(errors=True)
    columns = (BarColumn(None), TaskProgressColumn(), TextColumn("{task.fields[speed]}"), TimeRemainingColumn())
    progress = Progress(*columns, console=console, disable=not console.is_terminal)
    task = progress.add_task("", total=source.duration_s or None, speed="")
    started = time.perf_counter()

    def tell(frame: VideoFrame) -> None:
        speed = (frame.number + 1) / (time.perf_counter() - started)
        progress.update(task, completed=frame.time_s, speed=f"{speed:.0f} pictures/s")

    with progress:
        yield tell


def _name_of(model: Path) -> str:
    """What a table calls a model: its run's name, with the checkpoint's where that is not the best; or a file's own."""
    if model.suffix == ".safetensors":
        from mien.models.torch_model import BEST

        run = model.resolve().parent.name
        return run if model.name == BEST else f"{run}-{model.stem}"
    return model.resolve().name if model.is_dir() else model.stem


def _console(errors: bool = False) -> Console:
    from rich.console import Console

    return Console(stderr=errors)
