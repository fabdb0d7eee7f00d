"""Opens ONNX files with ONNX Runtime on the CPU."""

from __future__ import annotations

from pathlib import Path

import onnxruntime

from mien.errors import WeightsError, error_text

_ERRORS_ONLY = 3


def open_session(path: Path, threads: int | None = None) -> onnxruntime.InferenceSession:
    """Opens an ONNX file for inference on the CPU.

    Args:
        path: An .onnx file.
        threads: CPU threads of one run; None lets ONNX Runtime use all cores.

    Raises:
        WeightsError: The file is missing or is not an ONNX model.
    """
    if not path.is_file():
        raise WeightsError(f"there is no model file {path}: check the path")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = _ERRORS_ONLY  # the warnings are about graph optimization, not about the user's data
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's exceptions have no other common base class
        raise WeightsError(
            f"{path} is damaged or is not an ONNX model ({error_text(error)}): download or export it again"
        ) from None
