"""Runs the parts of a list of pictures on a Ray cluster, each worker a named actor."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import mien
from mien.errors import ConfigError, error_text, require, shortened
from mien.models.devices import PROVIDERS_VARIABLE
from mien.recognition.workers import Outcome, attempt, run

T = TypeVar("T")
R = TypeVar("R")

THIS_MACHINE = "ray"
"""The address that means the cluster of RAY_ADDRESS, or else one that is started on this machine for the job."""
_ADDRESS = re.compile(r"(ray://)?[^/\s]+:[0-9]+")
GPU_PROVIDERS = "CUDAExecutionProvider"
"""ONNX Runtime's execution providers of workers with a GPU."""
MAX_REASON = 200
"""Most characters of Ray's description of an error."""


@contextmanager
def connected(address: str) -> Iterator[None]:
    """Connects to a Ray cluster unless the process is connected already, and disconnects at the end.

    Args:
        address: THIS_MACHINE, ray://HOST:PORT of a cluster's client server, or HOST:PORT of its head.

    Raises:
        ConfigError: There is no cluster at the address, or it has another version of Ray or Python.
        MissingExtraError: Ray is not installed.
    """
    if address != THIS_MACHINE and not _ADDRESS.fullmatch(address):
        raise ConfigError(f"--on must be ray, ray://HOST:PORT or HOST:PORT, got {shortened(address)}")
    ray = require("ray", "cluster")
    if ray.is_initialized():
        yield
        return
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # mien sends nothing to anyone
    where = None if address == THIS_MACHINE else address
    try:
        ray.init(where, log_to_driver=False, logging_level="ERROR")
    except (ConnectionError, RuntimeError, ValueError, TimeoutError) as error:
        raise ConfigError(
            f"there is no Ray cluster to use at {shortened(where or os.environ.get('RAY_ADDRESS', 'this machine'))}: "
            f"{shortened(error_text(error))}; check the address, that it runs Ray {ray.__version__}, and RAY_AUTH_MODE "
            "and RAY_AUTH_TOKEN if it wants a token"
        ) from None
    try:
        yield
    finally:
        ray.shutdown()


def cluster_cores() -> int:
    """Returns the number of CPUs of the cluster that the process is connected to."""
    return max(1, int(require("ray", "cluster").cluster_resources().get("CPU", 1)))


def on_ray(
    start: Callable[[], Callable[[T], R]], tasks: Iterable[T], workers: int, gpus: float = 0
) -> Iterator[Outcome[T, R]]:
    """Runs a function on tasks in actors of the Ray cluster that the process is connected to.

    Each actor has one task at a time, so there are never more tasks in flight than workers. An actor that dies, with
    or without its machine, is replaced. The actors are named `mien-1`, `mien-2` and so on.

    Args:
        start: Called once in each actor; returns the function. Ray pickles it.
        tasks: Picklable values. They are taken one by one, when there is a worker for them.
        workers: The number of actors, each with one CPU; those that the cluster has no room for wait for it.
        gpus: The GPUs of each actor, such as 0.25 for four on one GPU.

    Yields:
        The outcomes, in the order in which they end.

    Raises:
        ConfigError: The workers have another version of mien.
        MienError: No worker can start.
        MissingExtraError: Ray is not installed.
    """
    ray = require("ray", "cluster")
    numbers = itertools.count(1)

    def create() -> _ActorWorker:
        return _ActorWorker(start, f"mien-{next(numbers)}", gpus)

    def ready(actors: Sequence[_ActorWorker]) -> list[_ActorWorker]:
        finished, _ = ray.wait([actor.answer for actor in actors], num_returns=1)
        return [actor for actor in actors if actor.answer in finished]

    yield from run(create, ready, tasks, workers)


class _Actor:
    """What runs in a worker of the cluster."""

    def __init__(self, start: Callable[[], Callable[[Any], Any]], environment: dict[str, str]) -> None:
        os.environ.update(environment)
        self._function = start()

    def version(self) -> str:
        """Returns this worker's version of mien."""
        return mien.__version__

    def attempt(self, task: Any) -> tuple[Any, str]:
        """Applies the function to a task; see `mien.recognition.workers.attempt`."""
        return attempt(self._function, task)


class _ActorWorker:
    """An actor, as the driver sees it; see `mien.recognition.workers.Worker`."""

    def __init__(self, start: Callable[[], Callable[[Any], Any]], name: str, gpus: float) -> None:
        self._ray = require("ray", "cluster")
        environment = {"OMP_NUM_THREADS": "1"} | ({PROVIDERS_VARIABLE: GPU_PROVIDERS} if gpus else {})
        actor = self._ray.remote(_Actor)
        self._actor = actor.options(name=name, num_cpus=1, num_gpus=gpus).remote(start, environment)
        self._is_ready = False
        self.is_alive = True
        self.answer = self._actor.version.remote()

    def send(self, task: Any) -> None:
        """Gives it a task."""
        self.answer = self._actor.attempt.remote(task)

    def receive(self) -> tuple[Any, str]:
        """Returns the result and the error of what it was doing.

        Raises:
            ConfigError: It has another version of mien.
        """
        try:
            answer = self._ray.get(self.answer)
        except self._ray.exceptions.RayError as error:
            self.is_alive = False
            self.stop()
            return None, _reason(error)
        if self._is_ready:
            result: tuple[Any, str] = answer
            return result
        self._is_ready = True
        if answer != mien.__version__:
            raise ConfigError(
                f"the workers of the cluster must have mien {mien.__version__}, as this machine has, got {answer}: "
                "install the same version everywhere"
            )
        return None, ""

    def stop(self) -> None:
        """Ends it at once."""
        self._ray.kill(self._actor)


def _reason(error: Exception) -> str:
    """Returns one line about why a worker died: the error of its start, or what Ray says."""
    text = str(error)
    if of_mien := re.search(r"^mien\.errors\.\w+: (.+)$", text, re.MULTILINE):
        return of_mien[1]
    detail = re.search(r"Worker exit detail: (.+?)(?: Some common causes|$)", text, re.MULTILINE)
    return f"its worker died: {detail[1] if detail else error_text(error)[:MAX_REASON]}"
