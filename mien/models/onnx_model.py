"""A trained network in an ONNX file, which holds all that is needed to use it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mien.calibration import Calibration
from mien.deprecation import moved_names
from mien.errors import WeightsError, require, shortened
from mien.models.session import open_session
from mien.models.stored import check_stored
from mien.models.zoo import DEFAULT_MODEL, find_model
from mien.parsing import parse_json
from mien.preprocess import Preprocessing

if TYPE_CHECKING:
    from mien.config import Config

METADATA_KEY = "mien"
"""The key of the ONNX metadata under which mien stores a JSON object.

Its keys are format, mien (the version that wrote the file), network, classes, preprocessing, calibration, config,
weights (their digest), log_row, metrics, licence and, in 8-bit files, quantized.
"""
VERSION_MARK = '"mien": "'
"""Text in that object, at the end of the file, by which `mien.files.check_output` knows a file of mien."""
METADATA_FORMAT = 1
"""The newest value of `format` that this version of mien reads."""


class OnnxModel:
    """A trained network that runs in ONNX Runtime: gray faces in, class scores out.

    Attributes:
        path: The .onnx file.
        metadata: The JSON object that `mien export` stored in the file; see `METADATA_KEY`.
        title: The network's name and variant.
        classes: K class names, in the order of the logits.
        preprocessing: How gray faces become the network's input.
        calibration: How logits become probabilities, and below which confidence a face is uncertain.

    Args:
        model: The name of a shipped model, or the path of an .onnx file written by `mien export`.
        threads: CPU threads; None lets ONNX Runtime use all cores.
        device: The name of a device, `auto`, or None; see `mien.models.devices.candidates`.

    Raises:
        WeightsError: There is no such model, the file is damaged, or `mien export` did not write it.
        ConfigError: The device is not there, or cannot run the model.
    """

    def __init__(
        self, model: str | Path = DEFAULT_MODEL, threads: int | None = None, device: str | None = None
    ) -> None:
        self.path = find_model(model)
        self._session = open_session(self.path, threads, device)
        self.metadata = _parse_metadata(self._session.get_modelmeta().custom_metadata_map.get(METADATA_KEY), self.path)
        self.title: str = self.metadata["network"]
        self.classes: tuple[str, ...] = tuple(self.metadata["classes"])
        try:
            self.preprocessing = Preprocessing.from_dict(self.metadata["preprocessing"])
            calibration = self.metadata.get("calibration")
            self.calibration = Calibration() if calibration is None else Calibration.from_dict(calibration)
        except ValueError as error:
            raise WeightsError(f"{self.path} has invalid metadata ({error}): export it again") from None
        self._check_shapes()

    @property
    def device(self) -> str:
        """The name of the device that it runs on, such as cpu."""
        return self._session.device

    @property
    def digest(self) -> str:
        """Identifies the weights by the digest of the network that the file was exported from."""
        return str(self.metadata.get("weights", ""))

    @property
    def config(self) -> Config:
        """The config that the network was trained with.

        Raises:
            ConfigError: The file's config has fields that this version of mien does not know.
            WeightsError: The file has no config.
            MissingExtraError: pydantic is not installed.
        """
        require("pydantic", "train")
        from mien import config as configs  # imported here, since recognition never needs it

        if "config" not in self.metadata:
            raise WeightsError(f"{self.path} does not hold the config that it was trained with: export it again")
        return configs.from_dict(self.metadata["config"])

    def masks(self, images: list[NDArray[np.uint8]] | NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
        """Gray faces, each (h, w), values 0..255 -> (N, h', w') in [0, 1] for each masked stage.

        Each mask is averaged over its channels. The tuple is empty for a network without masks and for a file of an
        early version of mien, which did not export them.
        """
        names = [output.name for output in self._session.get_outputs() if output.name.startswith("mask_")]
        return tuple(self._session.run(names, {"images": self.preprocessing(images)})) if names else ()

    def logits(self, images: list[NDArray[np.uint8]] | NDArray[np.uint8]) -> NDArray[np.float32]:
        """Gray faces, each (h, w), values 0..255 -> (N, K) class scores before softmax."""
        batches = [np.empty((0, len(self.classes)), np.float32)]
        batch_size = self.preprocessing.batch_size
        for start in range(0, len(images), batch_size):
            inputs = {"images": self.preprocessing(images[start : start + batch_size])}
            batches.append(self._session.run(["logits"], inputs)[0])
        return np.concatenate(batches)

    def _check_shapes(self) -> None:
        """Checks that the graph's input and logits have the shapes that its metadata promises.

        Raises:
            WeightsError: They do not, or the batch size is fixed.
        """
        inputs = {value.name: value.shape for value in self._session.get_inputs()}
        outputs = {value.name: value.shape for value in self._session.get_outputs()}
        size = self.preprocessing.size
        image, row = [self.preprocessing.channels, size, size], [len(self.classes)]
        images, logits = inputs.get("images", []), outputs.get("logits", [])
        matches = len(inputs) == 1 and images[1:] == image and logits[1:] == row
        if not matches or isinstance(images[0], int):
            raise WeightsError(
                f"{self.path} must take images {['batch', *image]} and give logits {['batch', *row]} according to its "
                f"metadata, got {shortened(inputs)} and {shortened(outputs)}: export it again"
            )


def _parse_metadata(stored: str | None, path: Path) -> dict[str, Any]:
    """Parses the JSON object that `mien export` stored in a file.

    Raises:
        WeightsError: It is missing or invalid, or needs a newer version of mien.
    """
    if stored is None:
        raise WeightsError(f"{path} has no {METADATA_KEY} metadata: use a file written by mien export")
    try:
        metadata = parse_json(stored)
    except ValueError:
        metadata = None
    if not isinstance(metadata, dict):
        raise WeightsError(f"the {METADATA_KEY} metadata of {path} must be a JSON object: export it again")
    version = metadata.get("format", METADATA_FORMAT)
    if type(version) is not int or version > METADATA_FORMAT:  # checked first: a newer format may have other keys
        raise WeightsError(
            f"{path} has metadata of format {shortened(version)}, and this version of mien reads up to "
            f"{METADATA_FORMAT}: update mien"
        )
    if missing := {"format", "network", "classes", "preprocessing"} - metadata.keys():
        raise WeightsError(f"the {METADATA_KEY} metadata of {path} lacks {', '.join(sorted(missing))}: export it again")
    check_stored(metadata, f"the {METADATA_KEY} metadata of {path}")
    return metadata


if not TYPE_CHECKING:
    __getattr__ = moved_names(
        __name__,
        {
            "DEFAULT": "mien.models.zoo.DEFAULT_MODEL",
            "FORMAT": "mien.models.onnx_model.METADATA_FORMAT",
            "METADATA": "mien.models.onnx_model.METADATA_KEY",
            "Model": "mien.models.model.Model",
            "find": "mien.models.zoo.find_model",
            "shipped": "mien.models.zoo.shipped_models",
        },
    )
