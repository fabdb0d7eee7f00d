"""A trained network to one ONNX file that can be used without torch and without anything beside it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import mien
from mien import config as configs
from mien.calibration import COVERAGE, Calibration, calibrate
from mien.data.dataset import FaceDataset
from mien.errors import ConfigError, WeightsError
from mien.evaluation.predict import predict
from mien.files import replaced
from mien.models import onnx_file
from mien.models.onnx_model import METADATA_FORMAT, METADATA_KEY, OnnxModel
from mien.models.torch_model import TorchModel
from mien.models.zoo import find_model
from mien.types import Predictions

TOLERANCE = 1e-4
"""Largest difference allowed between a logit of torch and of ONNX Runtime."""
LICENCE = (
    "The weights were trained on FER2013, whose pictures were collected from web searches for a 2013 research "
    "challenge; their rights are unclear. mien gives the weights under the MIT licence as far as it can."
)


def export(trained: TorchModel, path: Path, public: FaceDataset, metrics: dict[str, Any]) -> float:
    """Writes an ONNX file after its logits were found equal to torch's on all of PublicTest.

    The file takes `images`, (batch, C, size, size) as `mien.preprocess.Preprocessing` gives them, and gives `logits`,
    (batch, K), and its masks: see `mien.models.onnx_file.write`. Its metadata holds what a user of the file needs:
    see `mien.models.onnx_model.METADATA_KEY`.

    Args:
        trained: The network.
        path: The file to write, whole or not at all.
        public: The faces to compare on.
        metrics: What is known of the weights, split -> metric -> value; stored as it is.

    Returns:
        The largest absolute difference of a logit.

    Raises:
        WeightsError: The difference is above TOLERANCE; nothing is written.
        ConfigError: The file's name does not end in .onnx.
    """
    check_onnx_suffix(path)
    preprocessing = trained.preprocessing
    metadata = {
        "format": METADATA_FORMAT,
        "mien": mien.__version__,
        "network": trained.title,
        "classes": list(trained.classes),
        "preprocessing": preprocessing.to_dict(),
        "calibration": trained.calibration.to_dict(),
        "config": configs.without_folders(trained.config),
        "weights": trained.digest,
        "log_row": trained.log_row,
        "metrics": metrics,
        "licence": LICENCE,
    }
    with replaced(path) as part:
        onnx_file.write(
            trained.network, preprocessing.channels, preprocessing.size, part, {METADATA_KEY: json.dumps(metadata)}
        )
        expected = trained.logits(public.images)
        difference = float(np.abs(OnnxModel(part).logits(public.images) - expected).max())
        if not difference <= TOLERANCE * max(1, np.abs(expected).max()):
            raise WeightsError(
                f"the exported network differs from torch's by {difference:.2g} in a logit, allowed are {TOLERANCE:g}: "
                f"{path} was not written"
            )
    return difference


CALIBRATED = ("ece", "nll", "macro_auc", "micro_auc")
"""Metrics of single views that other temperatures change; of two, they change the order of faces by confidence too."""


def recalibrate(
    model: str, path: Path, faces: FaceDataset, coverage: float = COVERAGE
) -> tuple[Calibration, Predictions]:
    """Writes an exported file again, with temperatures and a threshold found on other faces.

    What its metadata said of CALIBRATED is taken out, since it holds no more; and all that it said of several views,
    where the mean of probabilities may have another class first now.

    Args:
        model: A shipped model's name, or the path of an .onnx file.
        path: The file to write, whole or not at all; may be that of the model.
        faces: Labelled faces that it was not trained on, of the kind that it will see.
        coverage: Share of them that it should be certain of, above 0, at most 1.

    Returns:
        What was found, and what the model said of the faces before.

    Raises:
        WeightsError: There is no such model, or its file cannot be used.
        DataError: The faces have other classes, or there are none.
        ConfigError: The coverage is out of range, or the file's name does not end in .onnx.
    """
    check_onnx_suffix(path)
    classifier = OnnxModel(model)
    own = predict(classifier, faces, calibrated=False)
    before = replace(own, logits=classifier.calibration.scale_logits(own.logits))
    calibration = calibrate(own, coverage)
    metrics = {
        name: {key: value for key, value in values.items() if key not in CALIBRATED}
        for name, values in classifier.metadata.get("metrics", {}).items()
        if name.endswith("-single")
    }
    metadata = classifier.metadata | {"calibration": calibration.to_dict(), "metrics": metrics}
    with replaced(path) as part:
        onnx_file.replace_metadata(find_model(model), part, {METADATA_KEY: json.dumps(metadata)})
    return calibration, before


def check_onnx_suffix(path: Path) -> None:
    """Refuses a file to write whose name does not end in .onnx.

    Raises:
        ConfigError: It is one.
    """
    if path.suffix != ".onnx":
        raise ConfigError(f"an exported network is an ONNX file, so its name must end in .onnx, got {path.name}")
