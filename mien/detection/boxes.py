"""Geometry of face boxes: intersection over union, non-maximum suppression and FER2013's framing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mien.detection.base import Detection
from mien.types import Box


def iou(boxes_xyxy: NDArray[np.float64], box_xyxy: NDArray[np.float64]) -> NDArray[np.float64]:
    """Computes the intersection over union of (N, 4) boxes with one box (4,): (N,) values in [0, 1]."""
    width = np.minimum(boxes_xyxy[:, 2], box_xyxy[2]) - np.maximum(boxes_xyxy[:, 0], box_xyxy[0])
    height = np.minimum(boxes_xyxy[:, 3], box_xyxy[3]) - np.maximum(boxes_xyxy[:, 1], box_xyxy[1])
    intersections = np.maximum(width, 0) * np.maximum(height, 0)
    areas = (boxes_xyxy[:, 2] - boxes_xyxy[:, 0]) * (boxes_xyxy[:, 3] - boxes_xyxy[:, 1])
    area = (box_xyxy[2] - box_xyxy[0]) * (box_xyxy[3] - box_xyxy[1])
    return np.asarray(intersections / (areas + area - intersections))


def weighted_nms(
    values: NDArray[np.float64], scores: NDArray[np.float64], max_iou: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Merges overlapping candidates by weighted non-maximum suppression.

    The best candidate and all candidates that overlap it become one face: their mean, weighted by score, with the
    best score. The result jitters less from frame to frame than the best candidate alone (Bazarevsky et al.,
    BlazeFace, arXiv:1907.05047, section 3.4).

    Args:
        values: (N, 4 + 2 K) box x0, y0, x1, y1 and K landmarks x, y of each candidate. Every box has an area.
        scores: (N,) scores above 0.
        max_iou: Candidates with a larger intersection over union are the same face.

    Returns:
        (M, 4 + 2 K) faces and their (M,) scores, in descending order of score.
    """
    order = np.argsort(-scores, kind="stable")
    values, scores = values[order], scores[order]
    faces, face_scores = [], []
    while len(scores):
        same_face = iou(values[:, :4], values[0, :4]) > max_iou
        same_face[0] = True
        weights = scores[same_face]
        faces.append((values[same_face] * weights[:, None]).sum(axis=0) / weights.sum())
        face_scores.append(scores[0])
        values, scores = values[~same_face], scores[~same_face]
    return np.array(faces).reshape(-1, values.shape[1]), np.array(face_scores)


def to_fer2013_squares(boxes_xyxy: NDArray[np.float64], margin: float, lift: float) -> NDArray[np.float64]:
    """Turns a detector's boxes into squares framed like the faces of FER2013.

    `tools/measure_margin.py` measures `margin` and `lift` for a detector.

    Args:
        boxes_xyxy: (N, 4) in pixels.
        margin: How much wider a square is than the longer side of its box, as a fraction of that side.
        lift: How far the centre of a square is above the centre of its box, as a fraction of that side.

    Returns:
        (N, 4) squares x0, y0, x1, y1, in pixels.
    """
    sides = boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]
    longer_sides = sides.max(axis=1, keepdims=True, initial=0)
    centres = boxes_xyxy[:, :2] + sides / 2 - longer_sides * np.array([0, lift])
    half = longer_sides * (1 + margin) / 2
    return np.concatenate([centres - half, centres + half], axis=1)


def to_detections(
    values: NDArray[np.float64], scores: NDArray[np.float64], landmark_names: Sequence[str]
) -> tuple[Detection, ...]:
    """Converts arrays to detections.

    Args:
        values: (N, 4 + 2 K) box x0, y0, x1, y1 and K landmarks x, y of each face, in pixels.
        scores: (N,) in [0, 1].
        landmark_names: K names.
    """
    detections = []
    for row, score in zip(values.tolist(), scores.tolist(), strict=True):
        points = zip(row[4::2], row[5::2], strict=True)
        detections.append(Detection(Box(*row[:4]), dict(zip(landmark_names, points, strict=True)), score))
    return tuple(detections)
