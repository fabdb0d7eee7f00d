"""A trained network as an ONNX file: everything it needs to be used is read from the file itself."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import WeightsError, near
from mien.preprocess import Preprocessing
from mien.recognition.weights import open_session

METADATA = "mien"
"""The key of the ONNX metadata that holds mien's JSON: format, network, classes, preprocessing, config, metrics."""
FORMAT = 1
DEFAULT = "small"
"""The shipped model that is used when none is named."""


def shipped() -> dict[str, Path]:
    """The classifiers inside the package: name -> file."""
    zoo = Path(str(resources.files("mien.recognition") / "zoo"))
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


class Classifier:
    """Gray faces in, class scores out, with ONNX Runtime.

    Args:
        model: A shipped model's name, or a path of an .onnx file that `mien export` wrote.
        threads: CPU threads; None leaves the choice to ONNX Runtime, which takes all cores.

    Raises:
        WeightsError: There is no such model, the file is damaged, or it was not written by `mien export`.
    """

    def __init__(self, model: str | Path = DEFAULT, threads: int | None = None) -> None:
        path = find(model)
        self._session = open_session(path, threads)
        stored = self._session.get_modelmeta().custom_metadata_map.get(METADATA)
        if stored is None:
            raise WeightsError(f"{path} has no {METADATA} metadata: use a file that mien export wrote")
        self.metadata: dict[str, Any] = json.loads(stored)
        if self.metadata["format"] > FORMAT:
            raise WeightsError(
                f"{path} has metadata format {self.metadata['format']} and this mien reads up to {FORMAT}: update mien"
            )
        self.classes: tuple[str, ...] = tuple(self.metadata["classes"])
        self.preprocessing = Preprocessing(**self.metadata["preprocessing"])

    def logits(self, images: list[NDArray[np.uint8]] | NDArray[np.uint8], batch_size: int = 256) -> NDArray[np.float32]:
        """Gray faces, each (h, w), values 0..255 -> (N, K) class scores before softmax."""
        parts = [np.empty((0, len(self.classes)), np.float32)]
        for start in range(0, len(images), batch_size):
            batch = self.preprocessing(images[start : start + batch_size])
            parts.append(self._session.run(["logits"], {"images": batch})[0])
        return np.concatenate(parts)
