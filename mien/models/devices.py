"""Devices that run networks: their names, ONNX Runtime's execution provider for each, and which are installed."""

from __future__ import annotations

import ctypes
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mien.errors import ConfigError, near, shortened
from mien.models import runtime

PROVIDERS_VARIABLE = "MIEN_PROVIDERS"
"""The environment variable with ONNX Runtime's execution providers, separated by commas, to be tried before the CPU,
where no device is named."""
CPU = "cpu"
AUTO = "auto"
"""The name that means the best device that works for a file."""
_SUFFIX = "ExecutionProvider"


@dataclass(frozen=True)
class Device:
    """A kind of device.

    Attributes:
        provider: ONNX Runtime's name of its execution provider.
        package: The package of ONNX Runtime that has it.
        choice: The provider's option that the text after the colon sets, as in cuda:1; empty if there is none.
        options: Options of the provider.
    """

    provider: str
    package: str = "onnxruntime"
    choice: str = ""
    options: Mapping[str, str] | None = None


DEVICES: Mapping[str, Device] = {
    # Trying all algorithms of cuDNN for each new size of a photograph would take longer than the photograph.
    "cuda": Device(f"CUDA{_SUFFIX}", "onnxruntime-gpu", "device_id", {"cudnn_conv_algo_search": "HEURISTIC"}),
    "tensorrt": Device(f"Tensorrt{_SUFFIX}", "onnxruntime-gpu", "device_id"),
    "migraphx": Device(f"MIGraphX{_SUFFIX}", "onnxruntime-migraphx", "device_id"),
    "directml": Device(f"Dml{_SUFFIX}", "onnxruntime-directml", "device_id"),
    "coreml": Device(f"CoreML{_SUFFIX}"),
    "openvino": Device(f"OpenVINO{_SUFFIX}", "onnxruntime-openvino", "device_type"),
    "qnn": Device(f"QNN{_SUFFIX}", "onnxruntime-qnn"),
    CPU: Device(f"CPU{_SUFFIX}"),
}
"""Name -> device. A provider that ONNX Runtime offers beyond these has its own name in lower case."""
AUTOMATIC = ("cuda", "migraphx", "directml", "coreml", "openvino", CPU)
"""The order in which `auto` tries devices. TensorRT is left out, since it compiles each network for minutes."""
_REMOTE = "azure"
"""Sends what it is given to another machine, so that no device has its name."""


@dataclass(frozen=True)
class Candidate:
    """A device to try for a file.

    Attributes:
        name: Its name, such as cuda.
        providers: ONNX Runtime's execution providers with their options, the CPU last.
    """

    name: str
    providers: list[tuple[str, dict[str, str]]]


def available_devices() -> dict[str, str]:
    """Returns the name and the execution provider of each device that the installed ONNX Runtime offers."""
    names = {device.provider: name for name, device in DEVICES.items()}
    offered = runtime.import_runtime().get_available_providers()
    found = {names.get(provider, provider.removesuffix(_SUFFIX).lower()): provider for provider in offered}
    return {name: provider for name, provider in found.items() if name != _REMOTE}


def candidates(device: str | None, threads: int | None) -> list[Candidate]:
    """Returns the devices to try, in order.

    Args:
        device: The name of a device, with its number or kind after a colon if it is to be another than the first, such
            as cuda:1 or openvino:GPU; AUTO; or None for PROVIDERS_VARIABLE, or else the CPU.
        threads: CPU threads of one run; None leaves them to ONNX Runtime.

    Raises:
        ConfigError: There is no such device, or the installed ONNX Runtime does not have it.
    """
    if device is None:
        return _from_environment(threads)
    available = available_devices()
    if device == AUTO:
        return [_candidate(name, available[name], "", threads) for name in AUTOMATIC if name in available]
    name, _, choice = device.partition(":")
    if name not in available:
        raise _missing(name, sorted(available))
    if choice and not (name in DEVICES and DEVICES[name].choice):
        raise ConfigError(f"the device {name} has no number or kind, got {shortened(device)}: write {name}")
    return [_candidate(name, available[name], choice, threads)]


def missing_library(provider: str) -> str:
    """Returns why the library of an execution provider cannot be loaded, as far as the system says."""
    module: Any = runtime.import_runtime()
    name = provider.removesuffix(_SUFFIX).lower()
    library = Path(module.__file__).parent / "capi" / f"libonnxruntime_providers_{name}.so"
    try:
        if library.exists():
            ctypes.CDLL(str(library))
    except OSError as error:
        return str(error)
    return "are its libraries and its driver installed?"


def _candidate(name: str, provider: str, choice: str, threads: int | None) -> Candidate:
    device = DEVICES.get(name, Device(provider))
    options = dict(device.options or {})
    if choice:
        options[device.choice] = choice
    if name == "openvino" and threads:
        options["num_of_threads"] = str(threads)
    providers = [(provider, options)]
    if name == "tensorrt":  # CUDA runs the operations that TensorRT does not have
        providers.append((DEVICES["cuda"].provider, dict(DEVICES["cuda"].options or {})))
    if name != CPU:
        providers.append((DEVICES[CPU].provider, {}))
    return Candidate(name, providers)


def _from_environment(threads: int | None) -> list[Candidate]:
    """Returns the providers of PROVIDERS_VARIABLE as one candidate, and the CPU behind it.

    Raises:
        ConfigError: One of them is not installed.
    """
    names = [name.strip() for name in os.environ.get(PROVIDERS_VARIABLE, "").split(",") if name.strip()]
    installed = runtime.import_runtime().get_available_providers()
    for name in names:
        if name not in installed:
            raise ConfigError(
                f"{PROVIDERS_VARIABLE} names {shortened(name)}, and the installed ONNX Runtime has only "
                f"{', '.join(installed)}: install the package of ONNX Runtime for it, such as onnxruntime-gpu"
            )
    cpu = _candidate(CPU, DEVICES[CPU].provider, "", threads)
    if set(names) <= {cpu.providers[0][0]}:
        return [cpu]
    providers = dict.fromkeys([*names, cpu.providers[0][0]])
    of_provider = {provider: name for name, provider in available_devices().items()}
    return [Candidate(of_provider.get(names[0], names[0]), [(name, {}) for name in providers]), cpu]


def _missing(name: str, available: list[str]) -> ConfigError:
    """Returns the error about a device that is unknown or not installed."""
    if name not in DEVICES:
        # A distance of letters would suggest the CPU for "gpu".
        hint = near("" if name.lower() == "gpu" else name, {*DEVICES, AUTO})
        return ConfigError(f"unknown device {shortened(name)}: {hint}")
    package = DEVICES[name].package
    module: Any = runtime.import_runtime()
    if package == runtime.NAME:
        where = "on macOS" if name == "coreml" else f"not on {sys.platform}"
        advice = f"that package has it {where} alone"
    else:
        advice = f"{package} has it; {runtime.advice(module, package)}"
    return ConfigError(
        f"the device {name} is not there: the installed ONNX Runtime has {', '.join(available)}, and {advice}"
    )
