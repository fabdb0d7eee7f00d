"""Recognises the faces in a picture: detect, crop, classify."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.deprecation import warn_deprecated
from mien.detection import DEFAULT_DETECTOR
from mien.detection.base import Detection, Detector
from mien.detection.registry import DetectorOptions, create_detector
from mien.errors import ImageError
from mien.files import printable
from mien.models.devices import CPU
from mien.models.model import Model
from mien.models.onnx_model import OnnxModel
from mien.models.zoo import DEFAULT_MODEL
from mien.recognition import photo
from mien.recognition.crops import crop_faces
from mien.recognition.tables import Faces, Table
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
        device: What runs a model and a detector that are given by name: a name in `mien.models.devices.DEVICES`, such
            as cuda or openvino; `auto` for the best one that works; None for the CPU.

    Raises:
        WeightsError: The model or the detector is missing, damaged, or cannot be fetched.
        ConfigError: There is no detector of that name, `min_score` is outside [0, 1], or the device cannot be used.
    """

    def __init__(
        self,
        model: str | Path | Model = DEFAULT_MODEL,
        detector: str | Path | Detector = DEFAULT_DETECTOR,
        threads: int | None = None,
        min_score: float | None = None,
        thorough: bool = False,
        device: str | None = None,
    ) -> None:
        options = DetectorOptions(threads, min_score, thorough, device)
        self.model = OnnxModel(model, threads, device) if isinstance(model, str | Path) else model
        self.detector = create_detector(str(detector), options) if isinstance(detector, str | Path) else detector

    def __call__(self, picture: photo.Picture) -> Faces:
        """Recognises the faces in a picture.

        Args:
            picture: A path, the bytes of a file, a binary file object, a Pillow image, or an array: gray, RGB or RGBA;
                see `mien.recognition.photo.read`.

        Returns:
            The faces from left to right, in pixels of the upright picture: a tuple, which can also be a table.

        Raises:
            ImageError: The picture cannot be read.
        """
        return self.recognize_batch([picture])[0]

    def recognize_batch(self, pictures: Sequence[photo.Picture]) -> list[Faces]:
        """Recognises the faces in several pictures, and classifies all of them in one batch.

        Returns:
            The faces in each picture, as `__call__` returns them.

        Raises:
            ImageError: One of the pictures cannot be read.
        """
        detections: list[list[Detection]] = []
        sizes: list[tuple[int, int]] = []
        crops: list[NDArray[np.uint8]] = []
        for picture in pictures:
            image_rgb = photo.read(picture)
            sizes.append((image_rgb.shape[1], image_rgb.shape[0]))
            detections.append(sorted(self.detector(image_rgb), key=lambda detection: detection.box.x0))
            crops += crop_faces(image_rgb, detections[-1])
        expressions = iter(self.classify_crops(crops))
        return [
            Faces(
                (_face(each, next(expressions)) for each in of_picture),
                self.model.classes,
                size,
                photo.path_of(picture),
            )
            for picture, of_picture, size in zip(pictures, detections, sizes, strict=True)
        ]

    def recognize_files(self, paths: Iterable[str | Path]) -> Table:
        """Recognises the faces in picture files, one after the other, into one table.

        Args:
            paths: Paths; `mien.data.picture_lists.find` finds those in folders. For more than some hundreds, there is
                `mien.recognition.batch`.

        Returns:
            One row per face, with the columns of the Parquet files of `mien recognize`. A picture without faces has
            one row, and so has one that cannot be read, with the reason in `error`.
        """
        from mien.recognition.records import file_columns  # it imports rich, which most programs do not need

        rows: list[dict[str, Any]] = []
        for path in paths:
            try:
                rows += self(path).table.rows
            except ImageError as error:
                rows.append({"path": photo.path_of(path), "error": printable(str(error))})
        return Table(rows, file_columns(self.model.classes))

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

    @property
    def device(self) -> str:
        """The name of the device that the model runs on, such as cpu."""
        return str(getattr(self.model, "device", CPU))

    def together(self, pictures: Sequence[photo.Picture]) -> list[Faces]:
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
