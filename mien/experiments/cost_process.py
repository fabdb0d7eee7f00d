"""What `mien cost` runs in a process of its own: times, and the largest memory, of one network.

Each function imports what it needs itself, and as late as it can: what is imported before the memory is read counts.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mien.networks import registry
from mien.networks.registry import NetworkSpec

if TYPE_CHECKING:
    from mien.data.dataset import FaceDataset

WARM_UPS = 3
"""Most runs before those that are timed; the first of a slow network is enough."""
LEAST_RUNS, LEAST_BATCHES, MOST_RUNS = 5, 3, 1000
"""Timed runs of one face, timed runs of a batch, and the most of either, however slow or fast a network is."""
LEAST_STEPS = 5
"""Of a short training."""
TRAINING_SIZE = 64
"""Height and width of the images of a short training, pixels, for networks made for larger ones."""
TRAINING_BATCH = 16


def in_torch(spec: NetworkSpec, path: Path, threads: int, batch: int, seconds: float) -> dict[str, Any]:
    """Measures a network with new weights in torch, in eager mode and 32 bit, and exports it to `path` afterwards.

    Returns:
        As `_timed`.
    """
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    network = registry.create(spec).eval()

    def runner(n: int) -> Callable[[], Any]:
        images = torch.from_numpy(_images(spec, n))
        return lambda: network(images)

    with torch.inference_mode():
        found = _timed(runner, batch, seconds)

    from mien.models import onnx_file
    from mien.models.checkpoint import to_half_precision

    network.load_state_dict(to_half_precision(network.state_dict()))  # as a trained one, for the size
    onnx_file.write(network, spec.in_channels, spec.size, path, {})
    return found


def in_onnx(spec: NetworkSpec, path: Path, threads: int, batch: int, seconds: float) -> dict[str, Any]:
    """Measures the file that `in_torch` exported, in ONNX Runtime.

    Returns:
        As `_timed`.
    """
    from mien.models.session import open_session

    session = open_session(path, threads)

    def runner(n: int) -> Callable[[], Any]:
        images = _images(spec, n)
        return lambda: session.run(["logits"], {"images": images})

    return _timed(runner, batch, seconds)


def in_training(spec: NetworkSpec, faces: FaceDataset, threads: int, seconds: float) -> dict[str, Any]:
    """Trains a network shortly, as `mien train` does, and keeps nothing.

    Args:
        spec: Its row.
        faces: With a training and a public split.
        threads: CPU threads.
        seconds: About how long; LEAST_STEPS are taken however slow they are.

    Returns:
        size, steps, images_per_s, peak_mib, loss_first, loss_last: see `mien.experiments.cost.Cost`.
    """
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # the trainer would take a GPU, and the sheet is of processors

    from mien.config import Config, NetworkConfig, TrainingConfig
    from mien.training.loop import Trainer

    size = spec.size if spec.size < TRAINING_SIZE else max(TRAINING_SIZE, spec.min_size)
    config = Config(
        network=NetworkConfig(name=spec.name, variant=spec.variant, size=size),
        training=TrainingConfig(
            batch_size=TRAINING_BATCH, optimizer="adamw", learning_rate=3e-4, schedule="plateau", threads=threads
        ),
    )
    trainer = Trainer.for_single_steps(config, faces)
    losses: list[float] = []
    started = time.perf_counter()
    while time.perf_counter() - started < seconds or len(losses) < LEAST_STEPS:
        if trainer.step == 0:
            batches = trainer.batches.epoch(trainer.epoch, 0, trainer.fabric.device)
        losses.append(float(trainer.train_step(next(batches))[0].cross_entropy.detach()))
        epochs, trainer.step = divmod(trainer.step + 1, len(trainer.batches))
        trainer.epoch += epochs
    taken = time.perf_counter() - started
    tenth = max(1, len(losses) // 10)
    return {
        "size": size,
        "steps": len(losses),
        "images_per_s": len(losses) * TRAINING_BATCH / taken,
        "peak_mib": peak_mib(),
        "loss_first": float(np.mean(losses[:tenth])),
        "loss_last": float(np.mean(losses[-tenth:])),
    }


def peak_mib() -> float:
    """Largest resident memory of this process so far, MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # what `resource` says counts the process this one was started from, too
        line = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    import resource  # Unix has it

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def _images(spec: NetworkSpec, n: int) -> NDArray[np.float32]:
    """Noise of the size that the network is made for, (n, C, H, W)."""
    return np.random.default_rng(0).random((n, spec.in_channels, spec.size, spec.size), np.float32)


def _timed(runner: Callable[[int], Callable[[], Any]], batch: int, seconds: float) -> dict[str, Any]:
    """Latency of one face, memory until the first was done, and throughput of batches.

    Args:
        runner: Number of faces -> what runs them once.
        batch: Faces a batch.
        seconds: About how long each of the two is timed.

    Returns:
        p50_ms, p95_ms, runs, faces_per_s, batches, peak_mib: see `mien.experiments.cost.Cost`.
    """
    one = runner(1)
    one()
    peak = peak_mib()
    latencies = _seconds(one, seconds, LEAST_RUNS)
    batches = _seconds(runner(batch), seconds, LEAST_BATCHES)
    return {
        "p50_ms": float(np.percentile(latencies, 50)) * 1000,
        "p95_ms": float(np.percentile(latencies, 95)) * 1000,
        "runs": len(latencies),
        "faces_per_s": batch / float(np.median(batches)),
        "batches": len(batches),
        "peak_mib": peak,
    }


def _seconds(action: Callable[[], Any], budget: float, least: int) -> list[float]:
    """Seconds of each of `least` to MOST_RUNS runs, as many as the budget allows."""
    warming = [_once(action)]
    while len(warming) < WARM_UPS and sum(warming) < budget / 4:
        warming.append(_once(action))
    times: list[float] = []
    while len(times) < least or (len(times) < MOST_RUNS and sum(times) < budget):
        times.append(_once(action))
    return times


def _once(action: Callable[[], Any]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started
