"""From a picture to its faces: find, cut out, classify."""

from __future__ import annotations

from pathlib import Path

from mien.preprocess import crop
from mien.recognition import photo
from mien.recognition.classifier import DEFAULT, Classifier
from mien.recognition.detect import Detector, create_detector
from mien.types import Expression, Face


class Recognizer:
    """Names the expression on every face of a picture.

    Args:
        model: A shipped model's name, or the path of an .onnx file that `mien export` wrote.
        detector: `blazeface` (shipped), `yunet` (fetched on first use), the path of a YuNet file, `none` where each
            picture is one face already cut out, or any object of the `Detector` protocol.
        threads: CPU threads of the classifier and the detector; None leaves the choice to ONNX Runtime.

    Raises:
        WeightsError: The model or the detector cannot be had.
    """

    def __init__(
        self, model: str | Path = DEFAULT, detector: str | Detector = "blazeface", threads: int | None = None
    ) -> None:
        self.classifier = Classifier(model, threads)
        self.detector = create_detector(detector, threads) if isinstance(detector, str) else detector

    def __call__(self, picture: photo.Picture) -> tuple[Face, ...]:
        """Finds the faces of a picture, from left to right, and classifies them in one batch.

        Args:
            picture: A path, a file's bytes, a Pillow image, or an array: (H, W, 3) RGB or (H, W) gray, 0..255.

        Raises:
            ImageError: It is no picture that can be read.
        """
        image_rgb = photo.read(picture)
        detections = sorted(self.detector(image_rgb), key=lambda detection: detection.box.x0)
        gray = photo.gray(image_rgb)
        crops = [crop(gray, detection.box) for detection in detections]
        calibration = self.classifier.calibration
        probabilities = calibration.probabilities(self.classifier.logits(crops))
        uncertain = calibration.uncertain(probabilities)
        expressions = [
            Expression(dict(zip(self.classifier.classes, row, strict=True)), doubtful)
            for row, doubtful in zip(probabilities.tolist(), uncertain.tolist(), strict=True)
        ]
        return tuple(
            Face(detection.box, detection.landmarks, detection.score, expression)
            for detection, expression in zip(detections, expressions, strict=True)
        )
