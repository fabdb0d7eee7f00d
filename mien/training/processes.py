"""The processes that train together, started by torchrun, by srun or by mien itself, and what they agree on."""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import torch
from lightning_fabric import Fabric
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from torch import distributed

from mien.config import TrainingConfig
from mien.cores import usable_cores
from mien.errors import ConfigError, MienError, TrainingError

T = TypeVar("T")


@dataclass(frozen=True)
class Launcher:
    """A program that started this process as one of several.

    Attributes:
        name: The program, for messages.
        nodes: Number of machines.
        per_node: Number of processes on each machine.
    """

    name: str
    nodes: int
    per_node: int


def find_launcher() -> Launcher | None:
    """Returns the program that started this process as one of several, or None.

    After it, the environment has torchrun's variables whichever program it is.

    Raises:
        ConfigError: The machines have different numbers of processes.
    """
    env = os.environ
    if "TORCHELASTIC_RUN_ID" in env:
        name, world, per_node = "torchrun", int(env["WORLD_SIZE"]), int(env["LOCAL_WORLD_SIZE"])
        nodes = int(env.get("GROUP_WORLD_SIZE", world // per_node))
    elif int(env.get("SLURM_STEP_NUM_TASKS", "1")) > 1:  # set by srun, and not in a batch script around it
        name, world, nodes = "srun", int(env["SLURM_STEP_NUM_TASKS"]), int(env["SLURM_STEP_NUM_NODES"])
        per_node = world // nodes
        env |= {"RANK": env["SLURM_PROCID"], "LOCAL_RANK": env["SLURM_LOCALID"], "GROUP_RANK": env["SLURM_NODEID"]}
        env |= {"WORLD_SIZE": str(world), "LOCAL_WORLD_SIZE": str(per_node)}
        env.setdefault("MASTER_ADDR", SLURMEnvironment.resolve_root_node_address(env["SLURM_STEP_NODELIST"]))
        env.setdefault("MASTER_PORT", str(15000 + int(env["SLURM_JOB_ID"]) % 10_000))
    else:
        return None
    if nodes * per_node != world:
        raise ConfigError(
            f"{name} must start the same number of processes on each machine, got {world} processes on {nodes} "
            "machines: set --nproc-per-node of torchrun or --ntasks-per-node of srun"
        )
    return Launcher(name, nodes, per_node)


def launch(training: TrainingConfig) -> Fabric:
    """Connects the processes of a training; starts them if neither torchrun nor srun did.

    Raises:
        ConfigError: The machine has too few GPUs or cores, or no GPU for 16-mixed.
    """
    launcher, gpus = find_launcher(), torch.cuda.device_count()
    per_node, nodes = (launcher.per_node, launcher.nodes) if launcher else (training.devices, 1)
    if launcher and 0 < gpus < per_node:
        raise ConfigError(
            f"{launcher.name} must start at most one process per GPU, got {per_node} on a machine where a process "
            f"sees {gpus}: start fewer, or let each process see all GPUs (srun --gpus-per-node, not --gpus-per-task)"
        )
    if not launcher and per_node > (gpus or usable_cores()):
        unit = f"GPUs of this machine, {gpus}" if gpus else f"CPU cores of this machine, {usable_cores()}"
        raise ConfigError(f"training.devices must be at most the number of {unit}, got {per_node}")
    if training.precision == "16-mixed" and not gpus:
        raise ConfigError("training.precision 16-mixed needs a GPU, but there is none: use bf16-mixed or 32-true")
    logging.getLogger("lightning.fabric").setLevel(logging.WARNING)  # it announces each process
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    fabric = Fabric(
        accelerator="cuda" if gpus else "cpu",
        devices=per_node,
        num_nodes=nodes,
        precision=training.precision,
        strategy="ddp" if nodes * per_node > 1 else "auto",
        plugins=[TorchElasticEnvironment() if launcher else LightningEnvironment()],
    )
    fabric.launch()
    return fabric


@contextmanager
def shared_errors(fabric: Fabric) -> Iterator[None]:
    """Ends all processes if the block raises a MienError or an OSError in one of them.

    Process 0 raises the error, so that it is reported once; the others end silently. All processes must run the block,
    and they wait for each other at its end.

    Raises:
        TrainingError: The block raised an error in another process only.
    """
    if fabric.world_size == 1:
        yield
        return
    error: Exception | None = None
    try:
        yield
    except (MienError, OSError) as caught:
        error = caught
    sentences = gather(fabric, None if error is None else str(error))
    failed = [rank for rank, sentence in enumerate(sentences) if sentence is not None]
    if not failed:
        return
    leave_unless_first(fabric)
    if error is not None:
        raise error
    raise TrainingError(f"process {failed[0] + 1} of {fabric.world_size} cannot train: {sentences[failed[0]]}")


def on_first(fabric: Fabric, function: Callable[[], T]) -> T:
    """Calls a function in process 0 and returns its result in all; its error ends all, as in `shared_errors`."""
    result: T | None = None
    with shared_errors(fabric):
        if fabric.is_global_zero:
            result = function()
    return cast(T, fabric.broadcast(result))


def gather(fabric: Fabric, value: T) -> list[T]:
    """Returns the values of all processes in the order of the processes."""
    if fabric.world_size == 1:
        return [value]
    values: list[Any] = [None] * fabric.world_size
    distributed.all_gather_object(values, value)
    return values


def leave_unless_first(fabric: Fabric) -> None:
    """Ends every process but process 0, which reports for all."""
    if not fabric.is_global_zero:
        sys.exit(0)
