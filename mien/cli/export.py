"""mien export, calibrate, quantize and page: trained networks as files for others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from mien.cli.options import DataSettings, Numbering, Split, data_settings, model_name


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder or a checkpoint.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="RUN/NAME-of-run.onnx when left out.")
    ] = None,
    data: Annotated[Path | None, typer.Option(help="FER2013; the path in the run's config when left out.")] = None,
    numbering: Numbering = None,
    set_: DataSettings = None,
) -> None:
    """Write a trained network as one ONNX file, once its logits equal torch's on all of PublicTest."""
    from mien.errors import require

    require("torch", "train")
    require("onnx", "train")
    from mien.evaluation import report
    from mien.evaluation.faces import load_faces
    from mien.export import onnx as exports
    from mien.models.torch_model import TorchModel

    trained = TorchModel.load(run)
    folder = run if run.is_dir() else run.parent
    path = output or folder / f"{model_name(run)}.onnx"
    public = load_faces(trained, data, data_settings(set_, numbering=numbering)).split("public")
    data = data or Path(trained.config.data.path)
    found = report.read_metrics(folder / "evaluation", trained.digest, data.name)
    difference = exports.export(trained, path, public, found)
    typer.echo(
        f"written: {path}, {path.stat().st_size / 1e6:.2f} MB; largest difference of a logit from torch's "
        f"{difference:.1e} on {len(public):,} PublicTest faces"
    )


def calibrate(
    model: Annotated[str, typer.Argument(help="An .onnx file of mien export, or a shipped model's name.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="The calibrated copy, an .onnx file.")],
    data: Annotated[Path, typer.Option(help="Labelled faces that it was not trained on, of the kind it will see.")],
    split: Annotated[Literal[Split, "all"], typer.Option(help="Which of them.")] = "public",
    coverage: Annotated[
        float, typer.Option(help="Share of the faces, above 0, that it should be certain of; the others are uncertain.")
    ] = 0.8,
    numbering: Numbering = None,
    set_: DataSettings = None,
) -> None:
    """Fit a model's confidence, and when it is uncertain, to labelled faces of your own."""
    from mien.errors import require

    require("onnx", "train")
    from mien.calibration import FEW
    from mien.evaluation.faces import load_faces
    from mien.evaluation.metrics import evaluate
    from mien.evaluation.predict import predict
    from mien.export.onnx import recalibrate
    from mien.models.onnx_model import OnnxModel

    dataset = load_faces(OnnxModel(model), data, data_settings(set_, numbering=numbering))
    faces = dataset if split == "all" else dataset.split(split)
    found, said = recalibrate(model, output, faces, coverage)
    before, after = (evaluate(each, resamples=0) for each in (said, predict(OnnxModel(output), faces)))
    typer.echo(
        f"temperature {found.temperature:.3f} where it is sure, {found.temperature_unsure:.3f} where it is not; "
        f"calibration error {before['ece']:.4f} before, {after['ece']:.4f} now, on its {found.faces:,} faces\n"
        f"certain at {found.uncertain_below:.1%} or more: {found.coverage:.1%} of the faces, of which "
        f"{found.accuracy:.1%} are right; of all, {after['accuracy']:.1%}\n"
        f"written: {output}"
    )
    if found.faces < FEW:
        typer.echo(
            f"mien: {found.faces:,} faces are few to fit confidence to, {FEW} are enough; with so few there is one "
            "temperature for all, and all of this may be off",
            err=True,
        )


def quantize(
    model: Annotated[str, typer.Argument(help="An .onnx file of mien export, or a shipped model's name.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="The 8-bit copy, an .onnx file.")],
    data: Annotated[Path, typer.Option(help="FER2013, or faces of your own with a training and a public split.")],
    faces: Annotated[int, typer.Option(min=1, help="Training faces that set the integers' ranges.")] = 512,
    numbering: Numbering = None,
    set_: DataSettings = None,
) -> None:
    """Write a model in 8-bit integers, and say what that costs in accuracy."""
    from mien.errors import require

    require("onnx", "train")
    from mien.evaluation.compare import difference
    from mien.evaluation.faces import load_faces
    from mien.evaluation.predict import predict
    from mien.export import quantize as quantizing
    from mien.models.onnx_model import OnnxModel

    original = OnnxModel(model)  # opened first: the output may take the file's place
    dataset = load_faces(original, data, data_settings(set_, numbering=numbering))
    public = dataset.split("public")
    written = quantizing.quantize(model, output, dataset, faces)
    lost = difference([predict(original, public)], [predict(written, public)])
    typer.echo(
        f"written: {output}, {output.stat().st_size / 1e6:.2f} MB; accuracy on {len(public):,} PublicTest faces "
        f"{lost.accuracy:+.2%} ({lost.low:+.2%} to {lost.high:+.2%})"
    )


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

    size = page_folder.write(output, page_folder.find_models(models or []))
    typer.echo(f"written: {output}, {size / 1e6:.1f} MB; look at it with: python -m http.server --directory {output}")
