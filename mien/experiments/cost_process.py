"""The measurements that `mien cost` runs in a new process: latency, throughput and peak memory of one network.

Each function imports what it needs as late as possible, because everything that is imported before the memory is read
counts.
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
"""Most untimed runs before the timed ones; a slow network needs only one."""
MIN_RUNS, MIN_BATCHES, MAX_RUNS = 5, 3, 1000
"""Least timed runs of one face, least timed runs of a batch, and most of either."""
MIN_STEPS = 5
"""Least steps of a short training."""
TRAINING_SIZE = 64
"""Height and width of the images of a short training, pixels, for networks with larger inputs."""
TRAINING_BATCH = 16


def measure_torch(spec: NetworkSpec, path: Path, threads: int, batch: int, seconds: float) -> dict[str, Any]:
    """Measures a network with new weights in torch, in eager mode and float32, and then exports it to `path`.

    Returns:
        See `_time`.
    """
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    network = registry.create(spec).eval()

    def runner(n: int) -> Callable[[], Any]:
        images = torch.from_numpy(_images(spec, n))
        return lambda: network(images)

    with torch.inference_mode():
        measured = _time(runner, batch, seconds)

    from mien.models import onnx_file
    from mien.models.checkpoint import to_half_precision

    network.load_state_dict(to_half_precision(network.state_dict()))  # as a trained one, for the size
    onnx_file.write(network, spec.in_channels, spec.size, path, {})
    return measured


def measure_onnx(spec: NetworkSpec, path: Path, threads: int, batch: int, seconds: float) -> dict[str, Any]:
    """Measures the file that `measure_torch` exported, in ONNX Runtime.

    Returns:
        See `_time`.
    """
    from mien.models.session import open_session

    session = open_session(path, threads)

    def runner(n: int) -> Callable[[], Any]:
        images = _images(spec, n)
        return lambda: session.run(["logits"], {"images": images})

    return _time(runner, batch, seconds)


def measure_training(spec: NetworkSpec, faces: FaceDataset, threads: int, seconds: float) -> dict[str, Any]:
    """Trains a network for a short time, as `mien train` does, and keeps no files.

    Args:
        spec: The network's row of the registry.
        faces: A data set with a training and a public split.
        threads: CPU threads.
        seconds: Approximate duration; at least MIN_STEPS steps are taken.

    Returns:
        size, steps, images_per_s, peak_mib, loss_first, loss_last: see `mien.experiments.cost.Cost`.
    """
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # the trainer would use a GPU, and the table is about CPUs

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
    while time.perf_counter() - started < seconds or len(losses) < MIN_STEPS:
        if trainer.step == 0:
            batches = trainer.batches.epoch(trainer.epoch, 0, trainer.fabric.device)
        losses.append(float(trainer.train_step(next(batches))[0].cross_entropy.detach()))
        epochs, trainer.step = divmod(trainer.step + 1, len(trainer.batches))
        trainer.epoch += epochs
    duration = time.perf_counter() - started
    tenth = max(1, len(losses) // 10)
    return {
        "size": size,
        "steps": len(losses),
        "images_per_s": len(losses) * TRAINING_BATCH / duration,
        "peak_mib": peak_mib(),
        "loss_first": float(np.mean(losses[:tenth])),
        "loss_last": float(np.mean(losses[-tenth:])),
    }


def peak_mib() -> float:
    """Reads the peak resident memory of this process so far, MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # on Linux, `resource` also counts the memory of the parent process
        line = next(line for line in status.read_text(encoding="utf-8").splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    import resource  # not available on Windows

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20


def _images(spec: NetworkSpec, n: int) -> NDArray[np.float32]:
    """Random images of the network's input size, (n, C, H, W)."""
    return np.random.default_rng(0).random((n, spec.in_channels, spec.size, spec.size), np.float32)


def _time(runner: Callable[[int], Callable[[], Any]], batch: int, seconds: float) -> dict[str, Any]:
    """Measures the latency of one face, the peak memory until the first face, and the throughput of batches.

    Args:
        runner: Number of faces -> function that classifies them once.
        batch: Faces per batch.
        seconds: Approximate time spent on each of the two.

    Returns:
        p50_ms, p95_ms, runs, faces_per_s, batches, peak_mib: see `mien.experiments.cost.Cost`.
    """
    classify_one = runner(1)
    classify_one()
    peak = peak_mib()
    latencies = _seconds(classify_one, seconds, MIN_RUNS)
    batches = _seconds(runner(batch), seconds, MIN_BATCHES)
    return {
        "p50_ms": float(np.percentile(latencies, 50)) * 1000,
        "p95_ms": float(np.percentile(latencies, 95)) * 1000,
        "runs": len(latencies),
        "faces_per_s": batch / float(np.median(batches)),
        "batches": len(batches),
        "peak_mib": peak,
    }


def _seconds(action: Callable[[], Any], budget: float, min_runs: int) -> list[float]:
    """Times `min_runs` to MAX_RUNS runs, as many as fit into the budget, seconds."""
    warm_up = [_once(action)]
    while len(warm_up) < WARM_UPS and sum(warm_up) < budget / 4:
        warm_up.append(_once(action))
    times: list[float] = []
    while len(times) < min_runs or (len(times) < MAX_RUNS and sum(times) < budget):
        times.append(_once(action))
    return times


def _once(action: Callable[[], Any]) -> float:
    started = time.perf_counter()
    action()
    return time.perf_counter() - started
