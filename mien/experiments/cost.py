"""The cost of networks: size, memory, latency and throughput, each measured in a new process."""

from __future__ import annotations

import multiprocessing
import os
import platform
import signal
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from rich import box
from rich.console import Group
from rich.table import Table

from mien.data.dataset import FaceDataset
from mien.errors import MienError, error_text
from mien.experiments import cost_process
from mien.networks.registry import NetworkSpec

T = TypeVar("T")


@dataclass(frozen=True)
class Conditions:
    """The conditions of a measurement.

    Attributes:
        threads: CPU threads.
        batch: Faces per batch, for the throughput.
        seconds: Approximate time spent on each latency and throughput.
        train_seconds: Approximate duration of a short training.
    """

    threads: int
    batch: int
    seconds: float
    train_seconds: float


@dataclass(frozen=True)
class Cost:
    """A row of results/cost.csv; inference is measured at the network's own input size, in float32.

    Attributes:
        network: Name in the registry.
        variant: Its variant; empty for a network without variants.
        size: Height and width of the input, pixels.
        parameters: Parameters at 7 classes, without those that only training uses.
        multiply_adds: Multiply-adds of one face.
        file_mb: Size of the ONNX file that `mien export` writes for the network, 10^6 bytes.
        torch_p50_ms: Median latency of one face in torch, in eager mode.
        torch_p95_ms: 95th percentile of the latency.
        torch_runs: Number of timed runs.
        torch_faces_per_s: Median throughput of batches.
        torch_batches: Number of timed batches.
        torch_peak_mib: Peak resident memory of the process until the first face is classified, including libraries.
        onnx_p50_ms: The same six values for the ONNX file in ONNX Runtime.
        onnx_p95_ms: ..
        onnx_runs: ..
        onnx_faces_per_s: ..
        onnx_batches: ..
        onnx_peak_mib: ..
        batch: Faces per batch.
        threads: CPU threads, also of a short training.
        train_size: Height and width of the images of a short training, pixels; this and the next five are None if
            there was none.
        train_steps: Number of steps, of `cost_process.TRAINING_BATCH` images each.
        train_images_per_s: Throughput of the training, including the data path.
        train_peak_mib: Peak resident memory, including libraries and a tenth of FER2013.
        loss_first: Mean cross-entropy of the first tenth of the steps; chance is ln 7 = 1.95.
        loss_last: Mean cross-entropy of the last tenth; it shows that a network learns, not how well.
        machine: Processor and system.
        command: The command that measures the row again.
    """

    network: str
    variant: str
    size: int
    parameters: int
    multiply_adds: int
    file_mb: float
    torch_p50_ms: float
    torch_p95_ms: float
    torch_runs: int
    torch_faces_per_s: float
    torch_batches: int
    torch_peak_mib: float
    onnx_p50_ms: float
    onnx_p95_ms: float
    onnx_runs: int
    onnx_faces_per_s: float
    onnx_batches: int
    onnx_peak_mib: float
    batch: int
    threads: int
    train_size: int | None
    train_steps: int | None
    train_images_per_s: float | None
    train_peak_mib: float | None
    loss_first: float | None
    loss_last: float | None
    machine: str
    command: str

    @property
    def key(self) -> tuple[str, str]:
        """Identifies the row: network and variant."""
        return self.network, self.variant

    @property
    def title(self) -> str:
        """Name and variant of the network."""
        return f"{self.network} {self.variant}".strip()


def every_tenth(dataset: FaceDataset) -> FaceDataset:
    """Returns every tenth face of every split."""
    return dataset.take(np.arange(0, len(dataset), 10))


def measure(
    spec: NetworkSpec, conditions: Conditions, faces: FaceDataset | None, on_progress: Callable[[str], object]
) -> Cost:
    """Measures one network and leaves no files behind.

    Args:
        spec: The network's row of the registry.
        conditions: The conditions of the measurement.
        faces: Faces for a short training; None skips the training.
        on_progress: Called with the name of the step that is measured next.

    Raises:
        MienError: A measuring process failed.
    """
    timing = conditions.threads, conditions.batch, conditions.seconds
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        on_progress("torch")
        torch = _in_new_process(cost_process.measure_torch, spec, path, *timing)
        on_progress("ONNX Runtime")
        onnx = _in_new_process(cost_process.measure_onnx, spec, path, *timing)
        file_mb = path.stat().st_size / 1e6
    training: dict[str, Any] = dict.fromkeys(("size", "steps", "images_per_s", "peak_mib", "loss_first", "loss_last"))
    if faces is not None:
        on_progress("training")
        training = _in_new_process(
            cost_process.measure_training, spec, faces, conditions.threads, conditions.train_seconds
        )
    return Cost(
        network=spec.name,
        variant=spec.variant,
        size=spec.size,
        parameters=spec.parameters,
        multiply_adds=spec.multiply_adds,
        file_mb=file_mb,
        **{f"torch_{name}": value for name, value in torch.items()},
        **{f"onnx_{name}": value for name, value in onnx.items()},
        batch=conditions.batch,
        threads=conditions.threads,
        **{name if "loss" in name else f"train_{name}": value for name, value in training.items()},
        machine=machine(),
        command=_command(spec, conditions, faces),
    )


def table(rows: Sequence[Cost]) -> Group:
    """Makes the table for the terminal, and below it a table of the short trainings, if there are any."""
    inference = _empty_table("params\nmult-adds", "MB", "in", "p50 ms", "p95 ms", "faces/s", "MiB")
    for row in rows:
        inference.add_row(
            _two_line_title(row),
            f"{row.parameters / 1e6:.1f} M\n{row.multiply_adds / 1e6:,.0f} M",
            f"{row.file_mb:.1f}",
            "torch\nONNX",
            f"{row.torch_p50_ms:,.1f}\n{row.onnx_p50_ms:,.1f}",
            f"{row.torch_p95_ms:,.1f}\n{row.onnx_p95_ms:,.1f}",
            f"{row.torch_faces_per_s:,.1f}\n{row.onnx_faces_per_s:,.1f}",
            f"{row.torch_peak_mib:,.0f}\n{row.onnx_peak_mib:,.0f}",
        )
    threads, batch = ("/".join(sorted({str(getattr(row, name)) for row in rows})) for name in ("threads", "batch"))
    inference.caption = f"p50, p95, MiB: one face; faces/s: batches of {batch}; threads: {threads}"
    trained = [row for row in rows if row.train_steps is not None]
    if not trained:
        return Group(inference)
    training = _empty_table("pixels", "steps", "images/s", "MiB", "loss first", "last")
    for row in trained:
        values = row.train_size, row.train_steps, row.train_images_per_s, row.train_peak_mib
        pixels, steps, images_per_s, peak = (value or 0 for value in values)
        losses = f"{row.loss_first:.2f}", f"{row.loss_last:.2f}"
        training.add_row(
            _two_line_title(row), str(pixels), f"{steps:,}", f"{images_per_s:,.1f}", f"{peak:,.0f}", *losses
        )
    training.caption = "a short training on a tenth of FER2013; loss: mean cross-entropy of a tenth of the steps"
    return Group(inference, training)


def machine() -> str:
    """Names the processor, its number of cores, and the system."""
    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    return f"{name}, {os.cpu_count()} cores, {platform.system()}"


def _empty_table(*headers: str) -> Table:
    page = Table("network", box=box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    page.caption_justify = "left"
    page.columns[0].no_wrap = True
    for header in headers:
        page.add_column(header, justify="right", no_wrap=True)
    return page


def _two_line_title(row: Cost) -> str:
    """Breaks a long title, so that the table fits a terminal of 80 columns."""
    return row.title.replace("_reconstruction", "_\nreconstruction")


def _command(spec: NetworkSpec, conditions: Conditions, faces: FaceDataset | None) -> str:
    name = f"{spec.name}:{spec.variant}".rstrip(":")
    command = f"mien cost {name} --threads {conditions.threads} --batch {conditions.batch}"
    command += f" --seconds {conditions.seconds:g}"
    if faces is not None:
        command += f" --train {Path(faces.path).name} --train-seconds {conditions.train_seconds:g}"
    return command


def _in_new_process(function: Callable[..., T], spec: NetworkSpec, *arguments: object) -> T:
    """Calls a function of a module in a new process.

    Raises:
        MienError: The function failed, or the system ended the process, as it does when memory runs out.
    """
    failure = f"{spec.title} could not be measured"
    try:
        with ProcessPoolExecutor(
            1,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=signal.signal,  # Ctrl-C ends it silently; the parent process prints the message
            initargs=(signal.SIGINT, signal.SIG_DFL),
        ) as pool:
            return pool.submit(function, spec, *arguments).result()
    except BrokenProcessPool:
        raise MienError(f"{failure}: its process was ended by the system, most likely because memory ran out") from None
    except MienError as error:
        raise MienError(f"{failure}: {error}") from None
    except Exception as error:  # of any library: the other networks can still be measured
        raise MienError(f"{failure}: {error_text(error)}") from None
