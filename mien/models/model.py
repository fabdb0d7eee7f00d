"""The protocol that every trained network fulfils, whatever format its weights have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import numpy as np
from numpy.typing import NDArray

from mien.calibration import Calibration
from mien.preprocess import Preprocessing

if TYPE_CHECKING:
    from mien.config import Config


class Model(Protocol):
    """A trained network: `mien.models.onnx_model.OnnxModel` or `mien.models.torch_model.TorchModel`."""

    @property
    def title(self) -> str:
        """The network's name and variant."""

    @property
    def classes(self) -> tuple[str, ...]:
        """K class names, in the order of the logits."""

    @property
    def config(self) -> Config:
        """The config that the network was trained with."""

    @property
    def digest(self) -> str:
        """Identifies the weights; the same for a network in torch and for the file exported from it."""

    @property
    def preprocessing(self) -> Preprocessing:
        """How gray faces become the network's input."""

    @property
    def calibration(self) -> Calibration:
        """How logits become probabilities, and below which confidence a face is uncertain."""

    def logits(self, images: list[NDArray[np.uint8]] | NDArray[np.uint8]) -> NDArray[np.float32]:
        """Gray faces, each (h, w), values 0..255 -> (N, K) class scores before softmax."""

    def masks(self, images: list[NDArray[np.uint8]] | NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
        """Gray faces, each (h, w), values 0..255 -> (N, h', w') in [0, 1] for each masked stage.

        Each mask is averaged over its channels. The tuple is empty for a network without masks.
        """
