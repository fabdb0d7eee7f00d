"""A trained network as an ONNX file: everything it needs to be used is read from the file itself."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mien.calibration import Calibration
from mien.errors import WeightsError, near, require
from mien.models.download import open_session
from mien.preprocess import Preprocessing

if TYPE_CHECKING:
    from mien.config import Config

METADATA = "mien"
"""The key of the ONNX metadata that holds mien's JSON: format, mien (the version that wrote it), network, classes,
preprocessing, calibration, config, weights (their digest), log_row, metrics, licence, and quantized, in 8 bits."""
FORMAT = 1
DEFAULT = "small"
"""The shipped model that is used when none is named."""


def shipped() -> dict[str, Path]:
    """The classifiers inside the package: name -> file."""
    zoo = Path(str(resources.files("mien.models") / "zoo"))
    return {path.stem: path for path in sorted((zoo / "classifiers").glob("*.onnx"))}


def find(model: str | Path) -> Path:
    """The file of a model.

    Args:
        model: A shipped model's name, or a path of an .onnx file.

    Raises:
        WeightsError: It is neither.
    """
    path = Path(model)
    if path.suffix == ".onnx":
        return path
    models = shipped()
    if str(model) not in models:
        raise WeightsError(f"unknown model {model}: {near(str(model), models)}; or give the path of an .onnx file")
    return models[str(model)]


class Model(Protocol):
    """What recognises and can be evaluated: a `OnnxModel`, or `mien.models.torch_model.TorchModel`."""

    @property
    def title(self) -> str:
        """The network's name and variant."""

    @property
    def classes(self) -> tuple[str, ...]:
        """K class names."""

    @property
    def config(self) -> Config:
        """What it was trained with."""

    @property
    def digest(self) -> str:
        """Says which weights it has; the same in torch and in a file exported from there."""

    @property
    def preprocessing(self) -> Preprocessing:
        """What its images go through."""

    @property
    def calibration(self) -> Calibration:
        """What its confidence is worth."""

    def logits(self, images: list[NDArray[np.uint8]] | NDArray[np.uint8]) -> NDArray[np.float32]:
        """Gray faces, each (h, w), values 0..255 -> (N, K) class scores before softmax."""

    def masks(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
        """Gray faces (N, h, w) -> for each masked stage (N, h', w') in [0, 1]; empty where it does not give them."""


class OnnxModel:
    """Gray faces in, class scores out, with ONNX Runtime.

    Args:
        model: A shipped model's name, or a path of an .onnx file that `mien export` wrote.
        threads: CPU threads; None leaves the choice to ONNX Runtime, which takes all cores.

    Raises:
        WeightsError: There is no such model, the file is damaged, or it was not written by `mien export`.
    """

    def __init__(self, model: str | Path = DEFAULT, threads: int | None = None) -> None:
        self.file = path = find(model)
        self._session = open_session(path, threads)
        self.metadata = _metadata(self._session.get_modelmeta().custom_metadata_map.get(METADATA), path)
        self.title: str = self.metadata["network"]
        self.classes: tuple[str, ...] = tuple(self.metadata["classes"])
        try:
            self.preprocessing = Preprocessing.from_dict(self.metadata["preprocessing"])
            stored = self.metadata.get("calibration")
            self.calibration = Calibration() if stored is None else Calibration.from_dict(stored)
        except ValueError as error:
            raise WeightsError(f"{path} cannot be used: {error}; export it again") from None
        self._check_shapes(path)

    @property
    def digest(self) -> str:
        """Says which weights the file has: the digest of those that it was exported from."""
        return str(self.metadata.get("weights", ""))

    @property
    def config(self) -> Config:
        """What the network was trained with.

        Raises:
            ConfigError: The file's config has fields that this version of mien does not know.
            WeightsError: The file has no config.
            MissingExtraError: pydantic is not installed.
        """
        require("pydantic", "train")
        from mien import config as configs  # recognition never needs it

        if "config" not in self.metadata:
            raise WeightsError(f"{self.file} does not say what it was trained with; export it again")
        return configs.from_dict(self.metadata["config"])

    def masks(self, images: list[NDArray[np.uint8]] | NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
        """Gray faces, each (h, w), values 0..255 -> for each masked stage (N, h', w') in [0, 1], means over channels.

        Empty where the network has none, or its file was exported before files gave them.
        """
        names = [output.name for output in self._session.get_outputs() if output.name.startswith("mask_")]
        return tuple(self._session.run(names, {"images": self.preprocessing(images)})) if names else ()

    def logits(self, images: list[NDArray[np.uint8]] | NDArray[np.uint8]) -> NDArray[np.float32]:
        """Gray faces, each (h, w), values 0..255 -> (N, K) class scores before softmax."""
        parts = [np.empty((0, len(self.classes)), np.float32)]
        n = self.preprocessing.at_once
        for start in range(0, len(images), n):
            batch = self.preprocessing(images[start : start + n])
            parts.append(self._session.run(["logits"], {"images": batch})[0])
        return np.concatenate(parts)

    def _check_shapes(self, path: Path) -> None:
        inputs = {value.name: value.shape for value in self._session.get_inputs()}
        outputs = {value.name: value.shape for value in self._session.get_outputs()}
        size = self.preprocessing.size
        image, row = [self.preprocessing.channels, size, size], [len(self.classes)]
        images, logits = inputs.get("images", []), outputs.get("logits", [])
        fits = len(inputs) == 1 and images[1:] == image and logits[1:] == row
        if not fits or isinstance(images[0], int):
            raise WeightsError(
                f"{path} must take images {['batch', *image]} and give logits {['batch', *row]}, as its metadata says, "
                f"got {inputs} and {outputs}; export it again"
            )


def _metadata(stored: str | None, path: Path) -> dict[str, Any]:
    """What `mien export` stored in the file.

    Raises:
        WeightsError: Something else is there, or something that only a newer mien can read.
    """
    if stored is None:
        raise WeightsError(f"{path} has no {METADATA} metadata: use a file that mien export wrote")
    try:
        metadata = json.loads(stored)
    except ValueError:
        metadata = None
    if not isinstance(metadata, dict):
        raise WeightsError(f"{path} has {METADATA} metadata that is not a JSON object; export it again")
    missing = {"format", "network", "classes", "preprocessing"} - metadata.keys()
    version = metadata.get("format", FORMAT)
    if type(version) is not int or version > FORMAT:  # first, for a newer format may have other keys
        raise WeightsError(f"{path} has metadata format {version} and this mien reads up to {FORMAT}: update mien")
    if missing:
        raise WeightsError(f"{path} has {METADATA} metadata without {', '.join(sorted(missing))}; export it again")
    classes = metadata["classes"]
    named = isinstance(classes, list) and all(isinstance(name, str) for name in classes)
    if not named or not classes or len(set(classes)) < len(classes):
        raise WeightsError(f"{path} must name its classes, each once, in its metadata, got {classes}; export it again")
    return metadata
