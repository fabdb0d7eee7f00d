"""Recognises the faces in a picture: detect, crop, classify."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.deprecation import warn_deprecated
from mien.detection import DEFAULT_DETECTOR
from mien.detection.base import Detection, Detector
from mien.detection.registry import DetectorOptions, create_detector
from mien.models.model import Model
from mien.models.onnx_model import OnnxModel
from mien.models.zoo import DEFAULT_MODEL
from mien.recognition import photo
from mien.recognition.crops import crop_faces
from mien.types import Expression, Face

MIN_CERTAIN_SCORE = 0.5
"""Below this score of the detector, it is more probable that there is no face: the expression is uncertain."""


class Recognizer:
    """Finds the faces in a picture and classifies their expressions.

    A recogniser can be pickled, for example for a pool of processes: the copy opens the same files again.

    Args:
        model: The name of a shipped model, the path of an .onnx file that `mien export` wrote, or any object that
            implements `mien.models.model.Model`, such as a network in torch.
        detector: A name in `mien.detection.registry.DETECTORS`, the path of a YuNet .onnx file, or any object that
            implements `mien.detection.base.Detector`. `none` takes each picture as one cropped face.
        threads: CPU threads of the model and of the detector; None lets ONNX Runtime use every core.
        min_score: The lowest score of a face, in [0, 1], for a detector given by name; None uses the detector's own. A
            lower one finds more faces, and more things that are none.
        thorough: Whether a detector given by name searches longer, for faces that are small or turned.

    Raises:
        WeightsError: The model or the detector is missing or damaged.
        ConfigError: There is no detector of that name, or `min_score` is outside [0, 1].
    """

    def __init__(
        self,
        model: str | Path | Model = DEFAULT_MODEL,
        detector: str | Path | Detector = DEFAULT_DETECTOR,
        threads: int | None = None,
        min_score: float | None = None,
        thorough: bool = False,
    ) -> None:
        options = DetectorOptions(threads, min_score, thorough)
        self.model = OnnxModel(model, threads) if isinstance(model, str | Path) else model
        self.detector = create_detector(str(detector), options) if isinstance(detector, str | Path) else detector

    def __call__(self, picture: photo.Picture) -> tuple[Face, ...]:
        """Recognises the faces in a picture.

        Args:
            picture: A path, the bytes of a file, a binary file object, a Pillow image, or an array: gray, RGB or RGBA;
                see `mien.recognition.photo.read`.

        Returns:
            The faces from left to right, in pixels of the upright picture.

        Raises:
            ImageError: The picture cannot be read.
        """
        return self.recognize_batch([picture])[0]

    def recognize_batch(self, pictures: Sequence[photo.Picture]) -> list[tuple[Face, ...]]:
        """Recognises the faces in several pictures, and classifies all of them in one batch.

        Returns:
            The faces in each picture, as `__call__` returns them.

        Raises:
            ImageError: One of the pictures cannot be read.
        """
        detections: list[list[Detection]] = []
        crops: list[NDArray[np.uint8]] = []
        for picture in pictures:
            image_rgb = photo.read(picture)
            detections.append(sorted(self.detector(image_rgb), key=lambda detection: detection.box.x0))
            crops += crop_faces(image_rgb, detections[-1])
        expressions = iter(self.classify_crops(crops))
        return [tuple(_face(each, next(expressions)) for each in of_picture) for of_picture in detections]

    def classify_crops(self, crops: Sequence[NDArray[np.uint8]]) -> list[Expression]:
        """Classifies cropped faces in one batch.

        Args:
            crops: Gray squares, each (side, side), values 0..255, as `mien.recognition.crops.crop_faces` makes them.
        """
        calibration = self.model.calibration
        probabilities = calibration.probabilities(self.model.logits(list(crops)))
        uncertain = calibration.is_uncertain(probabilities)
        return [
            Expression(dict(zip(self.model.classes, row, strict=True)), is_uncertain)
            for row, is_uncertain in zip(probabilities.tolist(), uncertain.tolist(), strict=True)
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


def _face(detection: Detection, expression: Expression) -> Face:
    is_uncertain = expression.uncertain or detection.score < MIN_CERTAIN_SCORE
    return Face(detection.box, detection.landmarks, detection.score, replace(expression, uncertain=is_uncertain))
