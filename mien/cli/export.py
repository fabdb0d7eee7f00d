"""mien export, calibrate, quantize and page: write trained networks as files for others."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from mien.cli.options import DataSettings, Numbering, Overwrite, Split, data_settings, echo, model_name

if TYPE_CHECKING:
    from mien.export.precision import Precision


def export(
    run: Annotated[
        Path,
        typer.Argument(
            metavar="MODEL",
            help="A run folder or a checkpoint; with --to or --precision an .onnx file or the name of a shipped model.",
        ),
    ],
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="FILE", help="The file to write; RUN/NAME-OF-RUN.onnx by default, for a run."
        ),
    ] = None,
    data: Annotated[Path | None, typer.Option(help="The data set; the one in the run's config by default.")] = None,
    overwrite: Overwrite = False,
    numbering: Numbering = None,
    set_: DataSettings = None,
    precision: Annotated[
        Literal["32", "16"] | None,
        typer.Option(help="Write a file without 8-bit integers, with weights of so many bits."),
    ] = None,
    to: Annotated[
        str | None,
        typer.Option(metavar="FORMAT", help="Write another format: openvino, ncnn, litert or coreml."),
    ] = None,
) -> None:
    """Write a trained network as one ONNX file, and compare its logits with torch's; or write an .onnx file anew."""
    from mien.errors import ConfigError, require, shortened_path
    from mien.files import check_output
    from mien.models.onnx_model import VERSION_MARK
    from mien.models.zoo import shipped_models

    if precision or to or run.suffix == ".onnx" or str(run) in shipped_models():
        if not ((precision or to) and output):
            raise ConfigError(
                f"{shortened_path(run)} is an .onnx file already: choose --to or --precision, and the file to write, "
                "-o FILE"
            )
        if to:
            _export_format(str(run), output, to, precision, overwrite)
        else:
            assert precision
            check_output(output, overwrite, mark=VERSION_MARK)
            _export_copy(str(run), output, precision, data, data_settings(set_, numbering=numbering))
        return
    require("torch", "train")
    require("onnx", "train")
    from mien.evaluation import report
    from mien.evaluation.faces import load_faces
    from mien.export import onnx as exports
    from mien.models.torch_model import TorchModel

    folder = run if run.is_dir() else run.parent
    path = output or folder / f"{model_name(run)}.onnx"
    if output:
        exports.check_output(path, overwrite)
    trained = TorchModel.load(run)
    if not output:  # the folder of the run is known to exist now
        exports.check_output(path, overwrite)
    public = load_faces(trained, data, data_settings(set_, numbering=numbering)).split("public")
    data = data or Path(trained.config.data.path)
    metrics = report.read_metrics(folder / "evaluation", trained.digest, data.name)
    difference = exports.export(trained, path, public, metrics)
    echo(
        f"written: {path}, {path.stat().st_size / 1e6:.2f} MB; the largest difference of a logit from torch's is "
        f"{difference:.1e} on the {len(public):,} faces of the public split"
    )


def _export_format(model: str, path: Path, to: str, precision: "Precision | None", overwrite: bool) -> None:
    """Writes an .onnx file in the format of another runtime, and prints the files."""
    from mien.errors import require

    require("onnx", "train")
    from mien.export import formats
    from mien.models.onnx_model import OnnxModel

    formats.check_output(path, overwrite)
    for file in formats.write(OnnxModel(model), path, to, precision):
        echo(f"written: {file}")


def _export_copy(model: str, path: Path, precision: "Precision", data: Path | None, settings: dict[str, Any]) -> None:
    """Writes a copy of an .onnx file in another precision, and compares its probabilities with the original's."""
    from mien.errors import require

    require("onnx", "train")
    import numpy as np

    from mien.evaluation.faces import load_faces
    from mien.export import precision as copies
    from mien.models.onnx_model import OnnxModel

    original = OnnxModel(model)
    if data:
        images, of = load_faces(original, data, settings).split("public").images, "faces of the public split"
    else:
        images, of = copies.noise(original.preprocessing.size), "images of noise"
    expected = original.calibration.probabilities(original.logits(images))
    written = copies.write(original, path, precision)
    difference = np.abs(written.calibration.probabilities(written.logits(images)) - expected)
    echo(
        f"written: {path}, {path.stat().st_size / 1e6:.2f} MB; the probabilities differ from the original's by "
        f"{difference.mean():.4f} in the mean and {difference.max():.4f} at most on {len(images):,} {of}"
    )


def calibrate(
    model: Annotated[str, typer.Argument(help="An .onnx file written by mien export, or the name of a shipped model.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="The .onnx file to write.")],
    data: Annotated[Path, typer.Option(help="Labelled faces of your own that the model was not trained on.")],
    split: Annotated[Literal[Split, "all"], typer.Option(help="The split to calibrate on.")] = "public",
    coverage: Annotated[
        float, typer.Option(help="Fraction of the faces that should be certain, above 0, at most 1.")
    ] = 0.8,
    overwrite: Overwrite = False,
    numbering: Numbering = None,
    set_: DataSettings = None,
) -> None:
    """Fit a model's confidence, and the threshold below which it is uncertain, to labelled faces of your own."""
    from mien.errors import require

    require("onnx", "train")
    from mien.calibration import MIN_FACES
    from mien.evaluation.faces import load_faces
    from mien.evaluation.metrics import evaluate
    from mien.evaluation.predict import predict
    from mien.export.calibrate import recalibrate
    from mien.export.onnx import check_output
    from mien.models.onnx_model import OnnxModel

    check_output(output, overwrite)
    dataset = load_faces(OnnxModel(model), data, data_settings(set_, numbering=numbering))
    faces = dataset if split == "all" else dataset.split(split)
    calibration, old_predictions = recalibrate(model, output, faces, coverage)
    before = evaluate(old_predictions, resamples=0)
    after = evaluate(predict(OnnxModel(output), faces), resamples=0)
    typer.echo(
        f"temperature: {calibration.temperature:.3f} for confident predictions, "
        f"{calibration.temperature_unsure:.3f} for the others; calibration error on these {calibration.faces:,} faces: "
        f"{before['ece']:.4f} before, {after['ece']:.4f} after\n"
        f"confidence of {calibration.uncertain_below:.1%} or more: {calibration.coverage:.1%} of the faces, of which "
        f"{calibration.accuracy:.1%} are right; of all faces {after['accuracy']:.1%} are right"
    )
    echo(f"written: {output}")
    if calibration.faces < MIN_FACES:
        typer.echo(
            f"mien: {calibration.faces:,} faces are too few for two temperatures, so one was fitted for all faces; "
            f"use {MIN_FACES} faces or more for reliable values",
            err=True,
        )


def quantize(
    model: Annotated[str, typer.Argument(help="An .onnx file written by mien export, or the name of a shipped model.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="The .onnx file to write.")],
    data: Annotated[Path, typer.Option(help="FER2013, or faces of your own with a training and a public split.")],
    faces: Annotated[
        int, typer.Option(min=1, help="Number of training faces that determine the integers' ranges.")
    ] = 512,
    overwrite: Overwrite = False,
    numbering: Numbering = None,
    set_: DataSettings = None,
) -> None:
    """Write a model in 8-bit integers, and report the loss of accuracy."""
    from mien.errors import require

    require("onnx", "train")
    from mien.evaluation.compare import difference
    from mien.evaluation.faces import load_faces
    from mien.evaluation.predict import predict
    from mien.export import quantize as quantizing
    from mien.export.onnx import check_output
    from mien.models.onnx_model import OnnxModel

    check_output(output, overwrite)
    original = OnnxModel(model)  # opened first, since the output may replace its file
    dataset = load_faces(original, data, data_settings(set_, numbering=numbering))
    public = dataset.split("public")
    written = quantizing.quantize(model, output, dataset, faces)
    change = difference([predict(original, public)], [predict(written, public)])
    echo(
        f"written: {output}, {output.stat().st_size / 1e6:.2f} MB; change of accuracy on the {len(public):,} faces of "
        f"the public split: {change.accuracy:+.2%} ({change.low:+.2%} to {change.high:+.2%})"
    )


def push(
    model: Annotated[str, typer.Argument(help="An .onnx file written by mien export, or the name of a shipped model.")],
    repo: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="The repository, created if there is none.")],
    card: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The text of its card; by default one that mien writes.")
    ] = None,
    private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
) -> None:
    """Upload a network with its card to the Hugging Face Hub; HF_TOKEN is the token."""
    from mien.export import hub
    from mien.models.onnx_model import OnnxModel

    text = card.read_text(encoding="utf-8") if card else ""
    typer.echo(f"uploaded: {hub.push(OnnxModel(model), repo, text, private)}")


def page(
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="The folder to write.")],
    models: Annotated[
        list[str] | None,
        typer.Option(
            "--model",
            help="The name of a shipped model, or an .onnx file; may be given several times, and the page starts with "
            "the first. All shipped models by default.",
        ),
    ] = None,
    overwrite: Overwrite = False,
) -> None:
    """Write the page that recognises expressions in the browser as a folder for any web host."""
    from mien.export import page as page_folder

    size, loaded = page_folder.write(output, page_folder.find_models(models or []), overwrite)
    echo(
        f"written: {output}, {size / 1e6:.1f} MB; a browser loads {loaded / 1e6:.1f} MB of it from a host that sends "
        f"the compressed copies; open it with: python -m http.server --directory {output}"
    )
