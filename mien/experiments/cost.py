"""What a network costs: size, memory, time. Each is measured in a process of its own, and sees no other's memory."""

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
    """What a network is measured under.

    Attributes:
        threads: CPU threads.
        batch: Faces a batch, for the throughput.
        seconds: About how long each figure is timed.
        train_seconds: About how long a short training is.
    """

    threads: int
    batch: int
    seconds: float
    train_seconds: float


@dataclass(frozen=True)
class Cost:
    """A row of results/cost.csv. Times and memory of faces are at the network's own input size, in 32 bit.

    Attributes:
        network: Name in the registry.
        variant: Its variant; empty where there is one only.
        size: Height and width of its input, pixels.
        parameters: At 7 classes, without parts that only training uses.
        multiply_adds: Of one face.
        file_mb: Of the ONNX file that `mien export` writes for such a network, 10^6 bytes.
        torch_p50_ms: Median latency of one face, torch in eager mode.
        torch_p95_ms: Its 95th percentile.
        torch_runs: Timed runs behind both.
        torch_faces_per_s: Throughput of batches, median.
        torch_batches: Timed batches behind it.
        torch_peak_mib: Largest resident memory of the process until the first face was done, libraries and all.
        onnx_p50_ms: The same six of the ONNX file in ONNX Runtime.
        onnx_p95_ms: ..
        onnx_runs: ..
        onnx_faces_per_s: ..
        onnx_batches: ..
        onnx_peak_mib: ..
        batch: Faces in a batch.
        threads: CPU threads, of a short training too.
        train_size: Height and width of the images of a short training, pixels; this and the next five are None where
            there was none.
        train_steps: Its steps, of `cost_process.TRAINING_BATCH` images.
        train_images_per_s: Its pace, with the data path.
        train_peak_mib: Its largest resident memory, libraries and a tenth of FER2013 with it.
        loss_first: Mean cross-entropy of its first tenth of steps; chance is ln 7 = 1.95.
        loss_last: Of its last tenth. Such a run shows that a network learns, not how well.
        machine: Processor and system.
        command: What makes the row again.
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
        """What the table has one row of."""
        return self.network, self.variant

    @property
    def title(self) -> str:
        """Name and variant."""
        return f"{self.network} {self.variant}".strip()


def tenth(dataset: FaceDataset) -> FaceDataset:
    """Every tenth face of every split."""
    return dataset.take(np.arange(0, len(dataset), 10))


def measure(
    spec: NetworkSpec, conditions: Conditions, faces: FaceDataset | None, tell: Callable[[str], object]
) -> Cost:
    """Measures one network; nothing is left behind.

    Args:
        spec: Its row of the registry.
        conditions: What it is measured under.
        faces: For a short training; None leaves that out.
        tell: Called with what is measured next.

    Raises:
        MienError: A process failed; one sentence.
    """
    timing = conditions.threads, conditions.batch, conditions.seconds
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "network.onnx"
        tell("torch")
        in_torch = _apart(cost_process.in_torch, spec, path, *timing)
        tell("ONNX Runtime")
        in_onnx = _apart(cost_process.in_onnx, spec, path, *timing)
        file_mb = path.stat().st_size / 1e6
    training: dict[str, Any] = dict.fromkeys(("size", "steps", "images_per_s", "peak_mib", "loss_first", "loss_last"))
    if faces is not None:
        tell("training")
        training = _apart(cost_process.in_training, spec, faces, conditions.threads, conditions.train_seconds)
    return Cost(
        network=spec.name,
        variant=spec.variant,
        size=spec.size,
        parameters=spec.parameters,
        multiply_adds=spec.multiply_adds,
        file_mb=file_mb,
        **{f"torch_{name}": value for name, value in in_torch.items()},
        **{f"onnx_{name}": value for name, value in in_onnx.items()},
        batch=conditions.batch,
        threads=conditions.threads,
        **{name if "loss" in name else f"train_{name}": value for name, value in training.items()},
        machine=machine(),
        command=_command(spec, conditions, faces),
    )


def table(rows: Sequence[Cost]) -> Group:
    """The sheet for the terminal, and that of the short trainings below it if there were any."""
    sheet = _sheet("params\nmult-adds", "MB", "in", "p50 ms", "p95 ms", "faces/s", "MiB")
    for row in rows:
        sheet.add_row(
            _folded(row),
            f"{row.parameters / 1e6:.1f} M\n{row.multiply_adds / 1e6:,.0f} M",
            f"{row.file_mb:.1f}",
            "torch\nONNX",
            f"{row.torch_p50_ms:,.1f}\n{row.onnx_p50_ms:,.1f}",
            f"{row.torch_p95_ms:,.1f}\n{row.onnx_p95_ms:,.1f}",
            f"{row.torch_faces_per_s:,.1f}\n{row.onnx_faces_per_s:,.1f}",
            f"{row.torch_peak_mib:,.0f}\n{row.onnx_peak_mib:,.0f}",
        )
    threads, batch = ("/".join(sorted({str(getattr(row, name)) for row in rows})) for name in ("threads", "batch"))
    sheet.caption = f"p50, p95, MiB: one face; faces/s: batches of {batch}; threads: {threads}"
    trained = [row for row in rows if row.train_steps is not None]
    if not trained:
        return Group(sheet)
    short = _sheet("pixels", "steps", "images/s", "MiB", "loss first", "last")
    for row in trained:
        values = row.train_size, row.train_steps, row.train_images_per_s, row.train_peak_mib
        pixels, steps, pace, peak = (value or 0 for value in values)
        losses = f"{row.loss_first:.2f}", f"{row.loss_last:.2f}"
        short.add_row(_folded(row), str(pixels), f"{steps:,}", f"{pace:,.1f}", f"{peak:,.0f}", *losses)
    short.caption = "a short training on a tenth of FER2013; loss: mean cross-entropy of a tenth of the steps"
    return Group(sheet, short)


def machine() -> str:
    """The processor's name and number of cores, and the system."""
    name = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        name = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), name)
    return f"{name}, {os.cpu_count()} cores, {platform.system()}"


def _sheet(*heads: str) -> Table:
    sheet = Table("network", box=box.SIMPLE, pad_edge=False, padding=(0, 1, 0, 0))
    sheet.caption_justify = "left"
    sheet.columns[0].no_wrap = True
    for head in heads:
        sheet.add_column(head, justify="right", no_wrap=True)
    return sheet


def _folded(row: Cost) -> str:
    """The title on two lines where it is a long one, so that the sheet fits a terminal of 80 columns."""
    return row.title.replace("_reconstruction", "_\nreconstruction")


def _command(spec: NetworkSpec, conditions: Conditions, faces: FaceDataset | None) -> str:
    name = f"{spec.name}:{spec.variant}".rstrip(":")
    command = f"mien cost {name} --threads {conditions.threads} --batch {conditions.batch}"
    command += f" --seconds {conditions.seconds:g}"
    if faces is not None:
        command += f" --train {Path(faces.path).name} --train-seconds {conditions.train_seconds:g}"
    return command


def _apart(function: Callable[..., T], spec: NetworkSpec, *arguments: object) -> T:
    """Calls a function of a module in a new process.

    Raises:
        MienError: It failed, or the system ended it, as it does where memory is short.
    """
    what = f"{spec.title} could not be measured"
    try:
        with ProcessPoolExecutor(
            1,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=signal.signal,  # Ctrl-C ends it without a word: this process speaks for both
            initargs=(signal.SIGINT, signal.SIG_DFL),
        ) as pool:
            return pool.submit(function, spec, *arguments).result()
    except BrokenProcessPool:
        raise MienError(f"{what}: its process was ended, most likely because memory ran out") from None
    except MienError as error:
        raise MienError(f"{what}: {error}") from None
    except Exception as error:  # whatever a network or a library raises: the other networks are still to be measured
        raise MienError(f"{what}: {error_text(error)}") from None
