"""Opens ONNX files with ONNX Runtime, on the CPU unless an environment variable names other execution providers."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import onnxruntime

from mien.errors import ConfigError, WeightsError, error_text, shortened
from mien.models.onnx_check import check_graph

PROVIDERS_VARIABLE = "MIEN_PROVIDERS"
"""The environment variable with ONNX Runtime's execution providers, separated by commas, to be tried before the CPU."""
_ERRORS_ONLY = 3
_SHIPPED = Path(__file__).parent / "zoo"


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
    """A session that can be pickled: the copy opens the file again, so that pools of processes can receive models."""

    def __init__(self, path: Path, threads: int | None, options: onnxruntime.SessionOptions) -> None:
        super().__init__(str(path), options, providers=_providers())
        self._arguments = path.resolve(), threads

    def run(self, output_names: Any, input_feed: Any, run_options: Any = None) -> Any:
        """See InferenceSession; returns freed memory if it is asked for."""
        is_large = _freed.returned and max(value.size for value in input_feed.values()) > LARGE_INPUT_VALUES
        if is_large and run_options is None:
            run_options = onnxruntime.RunOptions()
            run_options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
        return super().run(output_names, input_feed, run_options)

    def __reduce__(self) -> tuple[Any, ...]:
        return open_session, self._arguments


def open_session(path: Path, threads: int | None = None) -> onnxruntime.InferenceSession:
    """Opens an ONNX file for inference.

    Args:
        path: An .onnx file.
        threads: CPU threads of one run; None lets ONNX Runtime use all cores.

    Raises:
        WeightsError: The file is missing, is not an ONNX model, or could not be a network of mien.
        ConfigError: The environment variable PROVIDERS_VARIABLE names a provider that is not installed.
    """
    if not path.is_file():
        raise WeightsError(f"there is no model file {path}: check the path")
    if _SHIPPED not in path.parents:  # the files that ship with mien are as trusted as its code
        _check(path)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = _ERRORS_ONLY  # the warnings are about graph optimization, not about the user's data
    try:
        return _Session(path, threads, options)
    except ConfigError:
        raise
    except Exception as error:  # ONNX Runtime's exceptions have no other common base class
        raise WeightsError(
            f"{path} is damaged or is not an ONNX model ({error_text(error)}): download or export it again"
        ) from None


def _providers() -> list[str]:
    """Returns the execution providers of all sessions, the CPU last.

    Raises:
        ConfigError: One of them is not installed.
    """
    names = [name.strip() for name in os.environ.get(PROVIDERS_VARIABLE, "").split(",") if name.strip()]
    installed = onnxruntime.get_available_providers()
    for name in names:
        if name not in installed:
            raise ConfigError(
                f"{PROVIDERS_VARIABLE} names {shortened(name)}, and the installed ONNX Runtime has only "
                f"{', '.join(installed)}: install the package of ONNX Runtime for it, such as onnxruntime-gpu"
            )
    return [*dict.fromkeys([*names, "CPUExecutionProvider"])]


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
