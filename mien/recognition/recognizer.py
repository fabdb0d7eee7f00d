"""From a picture to its faces: find, cut out, classify."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.deprecation import warn_deprecated
from mien.detection.base import Detection, Detector
from mien.detection.registry import create_detector
from mien.models.model import Model
from mien.models.onnx_model import OnnxModel
from mien.models.zoo import DEFAULT_MODEL
from mien.preprocess import crop
from mien.recognition import photo
from mien.types import Expression, Face


class Recognizer:
    """Names the expression on every face of a picture.

    Args:
        model: A shipped model's name, the path of an .onnx file that `mien export` wrote, or any object of the `Model`
            protocol, such as a trained network of torch.
        detector: `blazeface` (shipped), `yunet` (fetched on first use), the path of a YuNet file, `none` where each
            picture is one face already cut out, or any object of the `Detector` protocol.
        threads: CPU threads of the classifier and the detector; None leaves the choice to ONNX Runtime.

    Raises:
        WeightsError: The model or the detector cannot be had.
        ConfigError: There is no such detector.
    """

    def __init__(
        self,
        model: str | Path | Model = DEFAULT_MODEL,
        detector: str | Path | Detector = "blazeface",
        threads: int | None = None,
    ) -> None:
        self.model = OnnxModel(model, threads) if isinstance(model, str | Path) else model
        self.detector = create_detector(str(detector), threads) if isinstance(detector, str | Path) else detector

    def __call__(self, picture: photo.Picture) -> tuple[Face, ...]:
        """Finds the faces of a picture, from left to right, and classifies them in one batch.

        Args:
            picture: A path, a file's bytes, a Pillow image, or an array: (H, W, 3) RGB or (H, W) gray, 0..255.

        Raises:
            ImageError: It is no picture that can be read.
        """
        return self.recognize_batch([picture])[0]

    def recognize_batch(self, pictures: Sequence[photo.Picture]) -> list[tuple[Face, ...]]:
        """Finds the faces of each picture and classifies all of them in one batch; each picture as `__call__` gives it.

        Raises:
            ImageError: One of them is no picture that can be read.
        """
        found: list[list[Detection]] = []
        crops: list[NDArray[np.uint8]] = []
        for picture in pictures:
            image_rgb = photo.read(picture)
            found.append(sorted(self.detector(image_rgb), key=lambda detection: detection.box.x0))
            gray = photo.gray(image_rgb)
            crops += [crop(gray, detection.box) for detection in found[-1]]
        expressions = iter(self.classify_crops(crops))
        return [
            tuple(Face(each.box, each.landmarks, each.score, next(expressions)) for each in detections)
            for detections in found
        ]

    def classify_crops(self, crops: Sequence[NDArray[np.uint8]]) -> list[Expression]:
        """What faces show that are already cut out: gray squares, each (h, w), values 0..255, as `crop` cuts them."""
        calibration = self.model.calibration
        probabilities = calibration.probabilities(self.model.logits(list(crops)))
        uncertain = calibration.is_uncertain(probabilities)
        return [
            Expression(dict(zip(self.model.classes, row, strict=True)), doubtful)
            for row, doubtful in zip(probabilities.tolist(), uncertain.tolist(), strict=True)
        ]

    def together(self, pictures: Sequence[photo.Picture]) -> list[tuple[Face, ...]]:
        """Deprecated: use `recognize_batch`."""
        warn_deprecated("Recognizer.together", "Recognizer.recognize_batch")
        return self.recognize_batch(pictures)

    def expressions(self, crops: Sequence[NDArray[np.uint8]]) -> list[Expression]:
        """Deprecated: use `classify_crops`."""
        warn_deprecated("Recognizer.expressions", "Recognizer.classify_crops")
        return self.classify_crops(crops)

    @property
    def classifier(self) -> Model:
        """Deprecated: use `model`."""
        warn_deprecated("Recognizer.classifier", "Recognizer.model")
        return self.model
