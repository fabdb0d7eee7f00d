"""Where the faces of a picture are: the contract of a detector, what all detectors share, and their names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from mien.errors import ConfigError, ImageError, WeightsError, near
from mien.types import Box

DETECTORS = ("blazeface", "yunet", "none")
"""The names that `create_detector` knows."""


@dataclass(frozen=True)
class Detection:
    """One face as a detector found it.

    Attributes:
        box: Where it is, pixels, framed as FER2013's faces were cut: a square of its longer side about its centre
            shows what they show, forehead to chin. It may reach over the picture's edge.
        landmarks: Points of the face by name, pixels; empty where the detector gives none. Right and left are the
            person's own: `right_eye` is on the picture's left in an upright face that looks at the camera.
        score: How sure the detector is, in [0, 1].
    """

    box: Box
    landmarks: Mapping[str, tuple[float, float]]
    score: float


class Detector(Protocol):
    """Anything that finds faces in a picture."""

    def __call__(self, image_rgb: NDArray[np.uint8]) -> tuple[Detection, ...]:
        """The faces of one picture.

        Args:
            image_rgb: (H, W, 3), values 0..255.

        Returns:
            The faces by descending score, in pixels of this picture; empty where there is none.

        Raises:
            ImageError: The array is not such a picture.
        """
        ...


class WholePicture:
    """The detector `none`: the faces were cut out before, so every picture is one face from edge to edge."""

    def __call__(self, image_rgb: NDArray[np.uint8]) -> tuple[Detection, ...]:
        """See `Detector`. The score is 1 and there are no landmarks."""
        check_rgb(image_rgb)
        height, width, _ = image_rgb.shape
        return (Detection(Box(0, 0, width, height), {}, 1.0),)


def create_detector(name_or_path: str, threads: int | None = None) -> Detector:
    """Makes a detector.

    Args:
        name_or_path: `blazeface` (it ships with mien), `yunet` (fetched at first use), `none` (the faces are already
            cut out), or the path of a YuNet .onnx file.
        threads: Processor threads of one call; None leaves it to ONNX Runtime, which takes every core.

    Raises:
        ConfigError: There is no detector of that name.
        WeightsError: The model file is missing, damaged, of another kind, or could not be fetched.
    """
    from mien.detection.blazeface import BlazeFace  # they import this module in turn
    from mien.detection.yunet import YuNet, fetched_yunet

    if name_or_path == "blazeface":
        return BlazeFace(threads=threads)
    if name_or_path == "yunet":
        return YuNet(fetched_yunet(), threads=threads)
    if name_or_path == "none":
        return WholePicture()
    path = Path(name_or_path)
    if path.is_file():
        return YuNet(path, threads=threads)
    if path.suffix == ".onnx":
        raise WeightsError(f"expected a YuNet model file, but there is none at {path}; check the path")
    raise ConfigError(
        f"there is no detector {name_or_path}: {near(name_or_path, DETECTORS)}; the path of a YuNet .onnx file will "
        "do as well"
    )


def check_rgb(image_rgb: NDArray[np.uint8]) -> None:
    """Refuses what is not a picture.

    Raises:
        ImageError: The array is not (H, W, 3) with values 0..255, or has no pixels.
    """
    if image_rgb.dtype != np.uint8 or image_rgb.ndim != 3 or image_rgb.shape[2] != 3 or not image_rgb.size:
        raise ImageError(
            f"a picture must be (height, width, 3) of uint8 with at least one pixel, got {image_rgb.shape} of "
            f"{image_rgb.dtype}; convert it to RGB first"
        )


def overlap(boxes_xyxy: NDArray[np.float64], box_xyxy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Intersection over union of (N, 4) boxes with one box (4,), each in [0, 1]."""
    width = np.minimum(boxes_xyxy[:, 2], box_xyxy[2]) - np.maximum(boxes_xyxy[:, 0], box_xyxy[0])
    height = np.minimum(boxes_xyxy[:, 3], box_xyxy[3]) - np.maximum(boxes_xyxy[:, 1], box_xyxy[1])
    shared = np.maximum(width, 0) * np.maximum(height, 0)
    areas = (boxes_xyxy[:, 2] - boxes_xyxy[:, 0]) * (boxes_xyxy[:, 3] - boxes_xyxy[:, 1])
    area = (box_xyxy[2] - box_xyxy[0]) * (box_xyxy[3] - box_xyxy[1])
    return np.asarray(shared / (areas + area - shared))


def suppress_weighted(
    values: NDArray[np.float64], scores: NDArray[np.float64], threshold: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weighted non-maximum suppression (Bazarevsky et al., BlazeFace, arXiv:1907.05047, section 3.4).

    The best candidate takes in all that overlap it; the face is their mean, weighted by score, and keeps the best
    one's score. This jitters less from frame to frame than keeping the best alone.

    Args:
        values: (N, 4 + 2 K) box x0, y0, x1, y1 and the K landmarks of each candidate; every box has an area.
        scores: (N,) of each candidate, above 0.
        threshold: Candidates whose intersection over union is above it are the same face.

    Returns:
        (M, 4 + 2 K) faces and their (M,) scores, by descending score.
    """
    order = np.argsort(-scores, kind="stable")
    values, scores = values[order], scores[order]
    faces, best = [], []
    while len(scores):
        same = overlap(values[:, :4], values[0, :4]) > threshold
        same[0] = True
        weights = scores[same]
        faces.append((values[same] * weights[:, None]).sum(axis=0) / weights.sum())
        best.append(scores[0])
        values, scores = values[~same], scores[~same]
    return np.array(faces).reshape(-1, values.shape[1]), np.array(best)


def framed(boxes_xyxy: NDArray[np.float64], margin: float, lift: float) -> NDArray[np.float64]:
    """A detector's own boxes -> the squares that FER2013 would have cut; `tools/measure_margin.py` finds both numbers.

    Args:
        boxes_xyxy: (N, 4) pixels.
        margin: How much a square is wider than its box's longer side, as a share of that side.
        lift: How far a square's centre stands above its box's, as a share of that side.
    """
    sides = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    longer = sides.max(axis=1, keepdims=True, initial=0)
    centres = boxes_xyxy[:, :2] + sides / 2 - longer * np.array([0, lift])
    half = longer * (1 + margin) / 2
    return np.concatenate([centres - half, centres + half], axis=1)


def detections(values: NDArray[np.float64], scores: NDArray[np.float64], names: Sequence[str]) -> tuple[Detection, ...]:
    """Rows of x0, y0, x1, y1 and landmarks (N, 4 + 2 K), their scores (N,) and K names -> N detections."""
    return tuple(
        Detection(Box(*row[:4]), dict(zip(names, zip(row[4::2], row[5::2], strict=True), strict=True)), score)
        for row, score in zip(values.tolist(), scores.tolist(), strict=True)
    )
