"""Exported networks in the formats of phones, boards and other runtimes, each with its labels and settings as JSON."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnx

import mien
from mien.errors import ConfigError, MienError, WeightsError, error_text, near, require, shortened, shortened_path
from mien.export.precision import Precision, keep_outputs, noise, remove_quantization
from mien.files import check_output as check_output_file
from mien.files import json_text, replaced, write_text
from mien.models.onnx_model import OnnxModel
from mien.models.session import open_session

CHECKED_IMAGES = 16
MAX_DIFFERENCE = 1.0
"""Most by which a logit of a LiteRT file may differ on CHECKED_IMAGES images; those of `tiny` differ by up to 0.5."""
INPUT, OUTPUT = "images", "logits"
"""Names of the input and of the output in ONNX; the JSON says what a format calls them."""


class Interface(NamedTuple):
    """What a format calls the input and the output of a network.

    Attributes:
        images: Name of the input.
        shape: Shape of the input; -1 is any number of images.
        logits: Name of the output.
    """

    images: str
    shape: list[int]
    logits: str


@dataclass(frozen=True)
class Format:
    """A format of networks.

    Attributes:
        suffix: The suffix of its main file.
        extra: The extra of mien that installs its converter.
        write: Converts an .onnx file; takes it, the main file to write and whether weights are stored in 16 bits.
        takes_integers: Whether networks in 8-bit integers stay so.
    """

    suffix: str
    extra: str
    write: Callable[[Path, Path, bool], Interface]
    takes_integers: bool = False


def _write_openvino(source: Path, path: Path, half: bool) -> Interface:
    openvino = require("openvino", "openvino")
    # Not convert_model, which reports its use to Intel.
    openvino.save_model(openvino.Core().read_model(source), path, compress_to_fp16=half)
    return Interface(INPUT, [-1, *_input_shape(source)[1:]], OUTPUT)


def _write_ncnn(source: Path, path: Path, half: bool) -> Interface:
    package = importlib.util.find_spec("pnnx")  # to import it needs torch, and the program in it does not
    if package is None or package.origin is None:
        require("pnnx", "ncnn")
        raise AssertionError("pnnx is a package with files")
    shape = _fix_batch(source)
    program = Path(package.origin).with_name("pnnx.exe" if sys.platform == "win32" else "pnnx")
    size = ",".join(map(str, shape))
    words = [str(program), source.name, f"inputshape=[{size}]", f"fp16={int(half)}"]
    done = subprocess.run(words, cwd=source.parent, capture_output=True, text=True, check=False)
    made = source.with_suffix(".ncnn.param")
    if done.returncode or not made.exists():
        raise WeightsError(f"pnnx cannot convert the network: {shortened(_last_line(done.stderr or done.stdout))}")
    shutil.move(made, path)
    shutil.move(source.with_suffix(".ncnn.bin"), path.with_suffix(".bin"))
    return Interface("in0", shape[1:], "out0")  # one image, without an axis for it


def _write_litert(source: Path, path: Path, half: bool) -> Interface:
    onnx2tf = require("onnx2tf", "litert")
    _fix_batch(source)
    folder = source.parent / "litert"
    with contextlib.redirect_stdout(io.StringIO()):
        onnx2tf.convert(input_onnx_file_path=str(source), output_folder_path=str(folder), non_verbose=True)
    (made,) = folder.glob(f"*_float{16 if half else 32}.tflite")
    shutil.move(made, path)
    interpreter = require("ai_edge_litert.interpreter", "litert").Interpreter(model_path=str(path))
    (images,), (logits,) = interpreter.get_input_details(), interpreter.get_output_details()
    _check_litert(interpreter, source)
    return Interface(images["name"], images["shape"].tolist(), logits["name"])


def _check_litert(interpreter: Any, source: Path) -> None:
    """Compares a converted network with its .onnx file, since onnx2tf converts some networks wrongly.

    Raises:
        WeightsError: A logit is not finite, or differs by more than MAX_DIFFERENCE.
    """
    session = open_session(source, 1)
    _, channels, size, _ = session.get_inputs()[0].shape
    faces = np.repeat(noise(size)[:CHECKED_IMAGES, None].astype(np.float32) / 128 - 1, channels, axis=1)
    interpreter.allocate_tensors()
    (images,), (logits,) = interpreter.get_input_details(), interpreter.get_output_details()
    differences = []
    for face in faces:
        interpreter.set_tensor(images["index"], face.transpose(1, 2, 0)[None])
        interpreter.invoke()
        expected = session.run([OUTPUT], {INPUT: face[None]})[0]
        differences.append(float(np.abs(interpreter.get_tensor(logits["index"]) - expected).max()))
    largest = float(np.max(differences))  # nan if one of them is
    if not largest <= MAX_DIFFERENCE:
        raise WeightsError(
            f"the network that onnx2tf made gives other results: a logit differs by {largest:.2g}, more than "
            f"{MAX_DIFFERENCE:g}; use another format or precision"
        )


def _write_coreml(source: Path, path: Path, half: bool) -> Interface:
    coremltools = require("coremltools", "coreml")
    torch = require("torch", "train")
    from mien.models.torch_model import TorchModel

    ops = require("coremltools.converters.mil.frontend.torch.ops", "coreml")
    builder = require("coremltools.converters.mil", "coreml").Builder

    def addcmul(context: Any, node: Any) -> None:
        """Converts torch.addcmul without a factor, which coremltools does not know."""
        start, left, right, *_ = ops._get_inputs(context, node)
        context.add(builder.add(x=start, y=builder.mul(x=left, y=right), name=node.name))

    require("coremltools.converters.mil", "coreml").register_torch_op(addcmul, override=True)
    trained = TorchModel.from_onnx(source)
    size, channels = trained.preprocessing.size, trained.preprocessing.channels
    example = torch.zeros(1, channels, size, size)

    class Logits(torch.nn.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            super().__init__()
            self.network = trained.network

        def forward(self, images: Any) -> Any:
            return self.network(images).logits

    traced = torch.jit.trace(Logits().eval(), example)
    converted = coremltools.convert(
        traced,
        inputs=[coremltools.TensorType(INPUT, shape=example.shape)],
        outputs=[coremltools.TensorType(OUTPUT)],
        compute_precision=coremltools.precision.FLOAT16 if half else coremltools.precision.FLOAT32,
        minimum_deployment_target=coremltools.target.iOS15,
    )
    converted.save(str(path))
    return Interface(INPUT, list(example.shape), OUTPUT)


FORMATS: Mapping[str, Format] = {
    "openvino": Format(".xml", "openvino", _write_openvino, takes_integers=True),
    "ncnn": Format(".param", "ncnn", _write_ncnn),
    "litert": Format(".tflite", "litert", _write_litert),
    "coreml": Format(".mlpackage", "coreml", _write_coreml),
}
"""Name -> format. OpenVINO and ncnn have a second file with the weights, of the same name with .bin."""


def write(model: OnnxModel, path: Path, name: str, precision: Precision | None = None) -> list[Path]:
    """Writes a network in another format, and what is needed to use it as JSON beside it.

    Args:
        model: The network.
        path: The main file to write.
        name: A name in FORMATS.
        precision: Bits of the weights. None keeps 8-bit integers where the format takes them, and is 32 elsewhere.

    Returns:
        The files, the main one first and the JSON last.

    Raises:
        ConfigError: There is no such format, or the file has another suffix.
        WeightsError: The converter cannot convert the network; nothing is written.
        MissingExtraError: The converter is not installed.
    """
    if name not in FORMATS:
        raise ConfigError(f"unknown format {shortened(name)}: {near(name, FORMATS)}")
    target = FORMATS[name]
    if path.suffix != target.suffix:
        raise ConfigError(f"a file of {name} must end in {target.suffix}, got {shortened(path.name)}")
    if not path.parent.is_dir():
        raise ConfigError(f"the folder {shortened_path(path.parent)} does not exist: create it or choose another")
    with tempfile.TemporaryDirectory() as temporary:
        source, made = Path(temporary) / "network.onnx", Path(temporary) / "made"
        made.mkdir()
        keeps_integers = target.takes_integers and precision is None and "quantized" in model.metadata
        _write_source(model, source, keeps_integers or name == "coreml")
        try:
            interface = target.write(source, made / path.name, precision == "16")
        except MienError:
            raise
        except Exception as error:  # converters raise errors of many libraries
            raise WeightsError(f"{name} cannot convert the network: {shortened(error_text(error))}") from None
        files = sorted(made.iterdir(), key=lambda file: file.name != path.name)
        for file in files:
            _move(file, path.with_name(file.name))
    about = path.with_suffix(".json")
    bits = 8 if keeps_integers else int(precision or 32)
    write_text(about, json_text(describe(model, name, interface, bits), indent=2) + "\n")
    return [*(path.with_name(file.name) for file in files), about]


def check_output(path: Path, overwrite: bool) -> None:
    """Checks, before a network is converted, that its files replace nothing that `write` has not written.

    The JSON beside the main file says that all of them are of mien.

    Args:
        path: The main file.
        overwrite: Whether any files may be replaced.

    Raises:
        ConfigError: The folder cannot be written, or there is such a file.
    """
    about = path.with_suffix(".json")
    check_output_file(about, overwrite, r'\{\s*"format": "\w+",\s*"bits": \d+,\s*"mien": ')
    for file in () if overwrite else (path, path.with_suffix(".bin")):
        if file.is_symlink() or (file.exists() and not about.exists()):
            raise ConfigError(
                f"{shortened_path(file)} exists and mien has not written it: choose another name, or add --overwrite "
                "to replace it"
            )


def describe(model: OnnxModel, name: str, interface: Interface, bits: int) -> dict[str, Any]:
    """Returns what a program needs to use a network in another format.

    Args:
        model: The network.
        name: The format.
        interface: What the format calls input and output.
        bits: Bits of the weights.
    """
    return {
        "format": name,
        "bits": bits,
        "mien": mien.__version__,
        "network": model.title,
        "weights": model.digest,
        "classes": list(model.classes),
        "input": {
            "name": interface.images,
            "shape": interface.shape,
            "values": "(gray / 255 - mean) / std, where gray is 0..255",
        },
        "output": {"name": interface.logits, "values": "logits; see calibration for probabilities"},
        "preprocessing": model.preprocessing.to_dict(),
        "calibration": model.calibration.to_dict(),
        "licence": model.metadata.get("licence", ""),
    }


def _write_source(model: OnnxModel, path: Path, as_it_is: bool) -> None:
    """Writes the .onnx file that a converter reads: the logits alone, and without 8-bit integers unless they stay."""
    graph = onnx.load(model.path)
    if not as_it_is:
        remove_quantization(graph.graph)
        keep_outputs(graph.graph, [OUTPUT])
    onnx.save(graph, path)


def _fix_batch(source: Path) -> list[int]:
    """Makes an .onnx file take one image at once -> the shape of its input."""
    graph = onnx.load(source)
    for value in (*graph.graph.input, *graph.graph.output):
        value.type.tensor_type.shape.dim[0].dim_value = 1
    graph = onnx.shape_inference.infer_shapes(graph)
    onnx.save(graph, source)
    return _input_shape(source)


def _input_shape(source: Path) -> list[int]:
    """Returns the shape of the input of an .onnx file; 0 is any number."""
    return [axis.dim_value for axis in onnx.load(source).graph.input[0].type.tensor_type.shape.dim]


def _move(source: Path, path: Path) -> None:
    """Moves a file or a folder, such as an .mlpackage, to its place; a file is replaced whole."""
    if source.is_dir():
        if path.exists():
            shutil.rmtree(path)
        shutil.copytree(source, path)
        return
    with replaced(path) as part:
        shutil.copyfile(source, part)


def _last_line(text: str) -> str:
    return (text.strip() or f"it ended without a reason under {sys.platform}").splitlines()[-1]
