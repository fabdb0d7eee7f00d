"""Exports a trained network as one ONNX file that needs neither torch nor other files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import mien
from mien import config as configs
from mien import files
from mien.data.dataset import FaceDataset
from mien.deprecation import moved_names
from mien.errors import ConfigError, WeightsError, shortened
from mien.files import replaced
from mien.models import onnx_file
from mien.models.onnx_model import METADATA_FORMAT, METADATA_KEY, VERSION_MARK, OnnxModel
from mien.models.torch_model import TorchModel

TOLERANCE = 1e-4
"""Largest accepted difference between a logit of torch and of ONNX Runtime, relative to logits larger than 1."""
LICENCE = (
    "mien gives the weights under the MIT licence as far as it can. This does not cover the rights in the pictures "
    "that they were trained on: those of FER2013 come from web searches for a 2013 research challenge, and their "
    "rights are unclear."
)


def export(trained: TorchModel, path: Path, public: FaceDataset, metrics: dict[str, Any]) -> float:
    """Writes a network as an ONNX file, after comparing its logits with torch's.

    The graph takes `images` (batch, C, size, size), as `mien.preprocess.Preprocessing` returns them, and returns
    `logits` (batch, K) and the masks; see `mien.models.onnx_file.write`. Its metadata holds what is needed to use it;
    see `mien.models.onnx_model.METADATA_KEY`.

    Args:
        trained: The network.
        path: The file to write; an existing file is replaced only once the new one is complete.
        public: The faces on which the logits are compared.
        metrics: Known metrics of the weights, split and view -> metric -> value, stored unchanged.

    Returns:
        The largest absolute difference of a logit.

    Raises:
        WeightsError: The difference is above TOLERANCE; nothing is written.
        ConfigError: The file name does not end in .onnx.
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
                f"a logit of the exported network differs from torch's by {difference:.2g}, more than {TOLERANCE:g}: "
                f"{path} was not written"
            )
    return difference


def check_output(path: Path, overwrite: bool) -> None:
    """Checks, before the work begins, that an .onnx file can be written and replaces only one of mien.

    Raises:
        ConfigError: It cannot, or would replace another file.
    """
    check_onnx_suffix(path)
    files.check_output(path, overwrite, mark=VERSION_MARK)


def check_onnx_suffix(path: Path) -> None:
    """Checks that the name of a file to write ends in .onnx.

    Raises:
        ConfigError: It does not.
    """
    if path.suffix != ".onnx":
        raise ConfigError(f"the name of an exported network must end in .onnx, got {shortened(path.name)}")


if not TYPE_CHECKING:
    __getattr__ = moved_names(__name__, {"recalibrate": "mien.export.calibrate.recalibrate"})
