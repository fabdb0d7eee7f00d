"""Opens ONNX files with ONNX Runtime, on the CPU or on the device that a person names."""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mien.errors import ConfigError, WeightsError, error_text
from mien.models import devices
from mien.models.devices import Candidate
from mien.models.onnx_check import check_graph
from mien.models.runtime import import_runtime

if TYPE_CHECKING:
    import onnxruntime
else:
    onnxruntime = import_runtime()

_WARNINGS, _ERRORS_ONLY, _NOTHING = 2, 3, 4
"""Severities of ONNX Runtime's log; its default is _WARNINGS."""
MAX_REASON = 200
"""Most characters of ONNX Runtime's reason why a device does not run a network."""
_SHIPPED = Path(__file__).parent / "zoo"
_FREE_SIDE = 320
"""Height and width of the first image for a network of any size, pixels."""

logger = logging.getLogger("mien")
_unusable: set[str] = set()
"""Devices that could not be loaded in this process, which `auto` does not try again."""


LARGE_INPUT_VALUES = 3 * 640 * 640
"""An input with more values than this takes so much memory that it is worth to be returned after the run."""


@dataclass
class _Freed:
    """What sessions do with the memory of a run."""

    returned: bool = False


_freed = _Freed()


def return_freed_memory() -> None:
    """Makes all sessions return the memory of a run with a large input to the system.

    Otherwise ONNX Runtime keeps what the largest input has needed. Returning it after each run, however small, would
    take a fifth more time.
    """
    _freed.returned = True


class _Session(onnxruntime.InferenceSession):  # type: ignore[misc]  # ONNX Runtime has no types
    """A session that can be pickled: the copy opens the file again, so that pools of processes can receive models.

    Attributes:
        device: The name of the device that it runs on.
    """

    def __init__(self, path: Path, threads: int | None, device: str | None, candidate: Candidate) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = _ERRORS_ONLY  # the warnings are about graph optimization, not the user's data
        # Without enable_fallback=0, ONNX Runtime would print an error and go on with the CPU.
        super().__init__(str(path), options, providers=candidate.providers, enable_fallback=0)
        self.device = candidate.name
        self._arguments = path.resolve(), threads, device

    def run(self, output_names: Any, input_feed: Any, run_options: Any = None) -> Any:
        """See InferenceSession; returns freed memory if it is asked for."""
        is_large = _freed.returned and max(value.size for value in input_feed.values()) > LARGE_INPUT_VALUES
        if is_large and run_options is None and self.device == devices.CPU:
            run_options = onnxruntime.RunOptions()
            run_options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        return super().run(output_names, input_feed, run_options)

    def __reduce__(self) -> tuple[Any, ...]:
        return open_session, self._arguments


def open_session(path: Path, threads: int | None = None, device: str | None = None) -> _Session:
    """Opens an ONNX file for inference.

    Args:
        path: An .onnx file.
        threads: CPU threads of one run; None lets ONNX Runtime use all cores.
        device: The name of a device, `auto`, or None; see `mien.models.devices.candidates`.

    Raises:
        WeightsError: The file is missing, is not an ONNX model, or could not be a network of mien.
        ConfigError: The device is not there, or cannot run the file.
    """
    if not path.is_file():
        raise WeightsError(f"there is no model file {path}: check the path")
    if _SHIPPED not in path.parents:  # the files that ship with mien are as trusted as its code
        _check(path)
    cpu = devices.candidates(devices.CPU, threads)[0]
    for candidate in devices.candidates(device, threads):
        if candidate.name == devices.CPU:
            session = _open_on_cpu(path, threads, device, candidate)
            logger.info("%s runs on %s", path.name, candidate.name)
            return session
        if device == devices.AUTO and candidate.name in _unusable:
            continue
        try:
            session = _open_on_device(path, threads, device, candidate)
        except Exception as error:  # ONNX Runtime's exceptions have no other common base class
            reason = error_text(error)[:MAX_REASON]
        else:
            logger.info("%s runs on %s", path.name, candidate.name)
            return session
        if device not in (None, devices.AUTO):
            _open_on_cpu(path, threads, None, cpu)  # raises a WeightsError if the file is at fault
            raise ConfigError(f"{path.name} does not run on {candidate.name} ({reason}): use --device auto or cpu")
        logger.warning("%s does not run on %s (%s), so another device is used", path.name, candidate.name, reason)
    raise AssertionError("the CPU is always a candidate")


def _open_on_cpu(path: Path, threads: int | None, device: str | None, candidate: Candidate) -> _Session:
    """Opens an ONNX file on the CPU.

    Raises:
        WeightsError: ONNX Runtime does not take it.
    """
    try:
        return _Session(path, threads, device, candidate)
    except Exception as error:  # ONNX Runtime's exceptions have no other common base class
        raise WeightsError(
            f"{path} is damaged or is not an ONNX model ({error_text(error)}): download or export it again"
        ) from None


def _open_on_device(path: Path, threads: int | None, device: str | None, candidate: Candidate) -> _Session:
    """Opens an ONNX file on another device than the CPU, and runs it once, which also compiles it there.

    Raises:
        RuntimeError: ONNX Runtime left the device out, since its libraries or its driver are missing, or the result is
            not finite. Other errors are ONNX Runtime's own.
    """
    provider = candidate.providers[0][0]
    onnxruntime.set_default_logger_severity(_NOTHING)  # it would print the reason, among others, on several lines
    try:
        if candidate.name in ("cuda", "tensorrt") and hasattr(onnxruntime, "preload_dlls"):
            with contextlib.redirect_stdout(io.StringIO()):
                onnxruntime.preload_dlls()  # from NVIDIA's packages, where they are installed with pip
        session = _Session(path, threads, device, candidate)
    finally:
        onnxruntime.set_default_logger_severity(_WARNINGS)
    if provider not in session.get_providers():
        _unusable.add(candidate.name)
        raise RuntimeError(f"{provider} cannot be loaded: {devices.missing_library(provider)}")
    outputs = session.run(None, dict(_blank_inputs(session)))
    if not all(np.isfinite(output).all() for output in outputs):
        raise RuntimeError("its result is not finite")
    return session


def _blank_inputs(session: _Session) -> Iterator[tuple[str, Any]]:
    """Yields the name and a blank value of each input, for one image."""
    for value in session.get_inputs():
        sizes = [size if isinstance(size, int) else _FREE_SIDE for size in value.shape[1:]]
        yield value.name, np.zeros((1, *sizes), np.float32)


def _check(path: Path) -> None:
    """Checks a file's graph before ONNX Runtime, which would compute whatever it asks for.

    Raises:
        WeightsError: The file is no ONNX model, or its graph could not be a network of mien.
    """
    try:
        check_graph(path)
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error_text(error)}; check its permissions") from None
    except ValueError as error:
        if str(error):
            raise WeightsError(
                f"{path} is not opened, since its graph {error}: use a file that mien export wrote"
            ) from None
        raise WeightsError(f"{path} is damaged or is not an ONNX model: download or export it again") from None
