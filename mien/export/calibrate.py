"""Calibrates an exported file on other faces."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from mien.calibration import COVERAGE, Calibration, fit_calibration
from mien.data.dataset import FaceDataset
from mien.evaluation.predict import predict
from mien.export.onnx import check_onnx_suffix
from mien.files import replaced
from mien.models import onnx_file
from mien.models.onnx_model import METADATA_KEY, OnnxModel
from mien.types import Predictions

CALIBRATION_METRICS = ("ece", "nll", "macro_auc", "micro_auc")
"""The metrics of single views that depend on the temperatures.

The areas under the curves do, since two temperatures change the order of faces by confidence.
"""


def recalibrate(
    model: str, path: Path, faces: FaceDataset, coverage: float = COVERAGE
) -> tuple[Calibration, Predictions]:
    """Writes a copy of an exported file with temperatures and a confidence threshold fitted to other faces.

    The network stays the same. CALIBRATION_METRICS are removed from the metadata, since they no longer hold, and so are
    all metrics of several views: their mean of probabilities can now have another most probable class.

    Args:
        model: The name of a shipped model, or the path of an .onnx file.
        path: The file to write, which may be that of the model; it is replaced only once the new one is complete.
        faces: Labelled faces that the network was not trained on, of the kind that it will be used for.
        coverage: Fraction of the faces that should be certain, above 0, at most 1.

    Returns:
        The new calibration, and the predictions with the old one.

    Raises:
        WeightsError: There is no such model, or its file cannot be used.
        DataError: The faces have other classes than the model, or there are none.
        ConfigError: The coverage is out of range, or the file name does not end in .onnx.
    """
    check_onnx_suffix(path)
    source = OnnxModel(model)
    uncalibrated = predict(source, faces, calibrated=False)
    before = replace(uncalibrated, logits=source.calibration.scale_logits(uncalibrated.logits))
    calibration = fit_calibration(uncalibrated, coverage)
    metrics = {
        split_and_view: {name: value for name, value in values.items() if name not in CALIBRATION_METRICS}
        for split_and_view, values in source.metadata.get("metrics", {}).items()
        if split_and_view.endswith("-single")
    }
    metadata = source.metadata | {"calibration": calibration.to_dict(), "metrics": metrics}
    with replaced(path) as part:
        onnx_file.replace_metadata(source.path, part, {METADATA_KEY: json.dumps(metadata)})
    return calibration, before
