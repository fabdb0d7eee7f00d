"""Compares the shipped networks in every format that runs here with the .onnx file that is shipped, on real faces.

    pip install openvino ncnn pnnx onnx2tf ai-edge-litert      # in an environment of their own
    python benchmarks/formats.py fer2013.tar.gz                # writes results/formats.csv
    python benchmarks/formats.py fer2013.tar.gz --formats onnx --devices openvino   # with onnxruntime-openvino

Parity is measured on all faces of PrivateTest: the largest and the mean difference of a probability from the shipped
file on the CPU, the fraction of faces with the same name, and the accuracy. Latency is that of one face on one thread,
as a ratio to the shipped file, median over rounds in which all take turns.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.data import load
from mien.evaluation import tables
from mien.export import formats, precision
from mien.models.onnx_model import OnnxModel

Logits = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""Network inputs (N, 1, H, W) -> logits (N, K)."""
ROUNDS, RUNS = 15, 50


@dataclass(frozen=True)
class FormatRow:
    """A network in one format and precision, run by one runtime.

    Attributes:
        model: The shipped network.
        format: The format; onnx is that of the shipped file.
        bits: Bits of the weights.
        runtime: What runs it.
        faces: Number of faces.
        accuracy: Accuracy on them.
        largest: Largest difference of a probability from the shipped file's.
        mean: Mean difference.
        same: Fraction of the faces that get the same name.
        size_mb: Size of the files, megabytes.
        latency_ratio: Time of one face on one thread, divided by that of the shipped file.
    """

    model: str
    format: str
    bits: int
    runtime: str
    faces: int
    accuracy: float
    largest: float
    mean: float
    same: float
    size_mb: float
    latency_ratio: float

    @property
    def key(self) -> tuple[object, ...]:
        """One row per model, format, precision and runtime."""
        return self.model, self.format, self.bits, self.runtime


def run_onnx(path: Path, device: str) -> Logits:
    """Runs an .onnx file with ONNX Runtime."""
    from mien.models.session import open_session

    session = open_session(path, 1, device)
    return lambda images: session.run(["logits"], {"images": images})[0]


def run_openvino(path: Path) -> Logits:
    """Runs OpenVINO's files on the CPU, in single precision where they are not in 8 bits."""
    import openvino

    settings = {"INFERENCE_NUM_THREADS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(path, "CPU", settings)
    return lambda images: compiled({"images": images})["logits"]


def run_ncnn(path: Path) -> Logits:
    """Runs ncnn's files, one face after the other."""
    import ncnn

    net = ncnn.Net()
    net.opt.num_threads = 1
    net.load_param(str(path))
    net.load_model(str(path.with_suffix(".bin")))

    def one(image: NDArray[np.float32]) -> NDArray[np.float32]:
        values = np.ascontiguousarray(image)  # ncnn.Mat does not keep it alive
        extractor = net.create_extractor()
        extractor.input("in0", ncnn.Mat(values).clone())
        _, logits = extractor.extract("out0")
        return np.array(logits)

    return lambda images: np.stack([one(image) for image in images])


def run_litert(path: Path) -> Logits:
    """Runs a .tflite file, one face after the other."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    interpreter.allocate_tensors()
    (given,), (gives,) = interpreter.get_input_details(), interpreter.get_output_details()
    shape = given["shape"]

    def one(image: NDArray[np.float32]) -> NDArray[np.float32]:
        interpreter.set_tensor(
            given["index"], image.transpose(1, 2, 0).reshape(shape) if shape[-1] < 4 else image[None]
        )
        interpreter.invoke()
        return np.array(interpreter.get_tensor(gives["index"])[0])

    return lambda images: np.stack([one(image) for image in images])


RUNNERS: dict[str, Callable[[Path], Logits]] = {"openvino": run_openvino, "ncnn": run_ncnn, "litert": run_litert}
"""Format -> what runs its file. Core ML runs on Apple's systems alone."""


def main() -> None:
    """Converts, compares and times, and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", help="FER2013")
    parser.add_argument("--models", nargs="+", default=["small", "tiny"], help="names of shipped models")
    parser.add_argument("--formats", nargs="+", choices=["onnx", *RUNNERS], default=["onnx", *RUNNERS])
    parser.add_argument("--devices", nargs="+", default=["cpu"], help="devices for .onnx files")
    parser.add_argument("--results", type=Path, default=Path("results/formats.csv"), help="the table")
    arguments = parser.parse_args()
    private = load(arguments.data).split("private")
    for name in arguments.models:
        with tempfile.TemporaryDirectory() as folder:
            rows = measure(name, private, Path(folder), arguments)
        for row in rows:
            print(row)
        tables.add(arguments.results, *rows)


def measure(name: str, private: Any, folder: Path, arguments: argparse.Namespace) -> list[FormatRow]:
    """Measures one network in all formats."""
    model = OnnxModel(name, threads=1)
    files: list[tuple[str, int, str, list[Path], Logits]] = []
    shipped_bits = 8 if "quantized" in model.metadata else 32
    if "onnx" in arguments.formats:
        paths = {shipped_bits: model.path}
        for bits in ("32", "16"):
            paths[int(bits)] = precision.write(model, folder / f"{name}-{bits}.onnx", bits).path  # type: ignore[arg-type]
        for device in arguments.devices:
            runtime = "ONNX Runtime" if device == "cpu" else f"ONNX Runtime, {device}"
            files += [("onnx", bits, runtime, [path], run_onnx(path, device)) for bits, path in paths.items()]
    for target in [each for each in arguments.formats if each != "onnx"]:
        wanted = (None, "32", "16") if formats.FORMATS[target].takes_integers else ("32", "16")
        for bits in wanted:
            path = folder / f"{name}-{bits or 8}{formats.FORMATS[target].suffix}"
            made = formats.write(model, path, target, bits)  # type: ignore[arg-type]
            files.append((target, int(bits or 8), target, made[:-1], RUNNERS[target](path)))
    inputs = model.preprocessing(private.images)
    expected = model.calibration.probabilities(model.logits(private.images))
    baseline = run_onnx(model.path, "cpu")
    ratios = latency_ratios(baseline, [run for *_, run in files], inputs[:1])
    rows = []
    for (target, bits, runtime, paths_of, run), ratio in zip(files, ratios, strict=True):
        logits = np.concatenate([run(inputs[start : start + 256]) for start in range(0, len(inputs), 256)])
        found = model.calibration.probabilities(logits.astype(np.float32))
        difference, same = np.abs(found - expected), found.argmax(1) == expected.argmax(1)
        accuracy = float((found.argmax(1) == private.targets).mean())
        size_mb = sum(path.stat().st_size for path in paths_of) / 1e6
        rows.append(
            FormatRow(
                name, target, bits, runtime, len(inputs), accuracy, float(difference.max()), float(difference.mean()),
                float(same.mean()), size_mb, ratio,
            )
        )  # fmt: skip
    return rows


def latency_ratios(baseline: Logits, runs: list[Logits], face: NDArray[np.float32]) -> list[float]:
    """Times one face, all runs in turn -> the median ratio of each to the baseline."""

    def seconds(run: Logits) -> float:
        started = time.perf_counter()
        for _ in range(RUNS):
            run(face)
        return time.perf_counter() - started

    measured: list[list[float]] = [[] for _ in runs]
    for turn in range(ROUNDS + 1):  # the first round warms up
        base = seconds(baseline)
        for run, ratios in zip(runs, measured, strict=True):
            ratios.append(seconds(run) / base)
        if not turn:
            measured = [[] for _ in runs]
    return [statistics.median(ratios) for ratios in measured]


if __name__ == "__main__":
    main()
