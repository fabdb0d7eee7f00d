from __future__ import annotations

import numpy as np
import pytest

from mien.detection.boxes import iou, to_detections, to_fer2013_squares, weighted_nms
from mien.types import Box


def test_iou_of_same_half_touching_and_nested_boxes() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [5, 0, 15, 10], [10, 0, 20, 10], [2, 2, 4, 4]])
    assert iou(boxes, boxes[0]) == pytest.approx([1, 1 / 3, 0, 0.04])


def test_weighted_nms_merges_overlapping_boxes_weighted_by_score() -> None:
    values = np.array([[100.0, 100, 200, 200, 1, 1], [0, 0, 10, 10, 2, 2], [2, 0, 12, 10, 6, 6]])
    faces, scores = weighted_nms(values, np.array([0.7, 0.6, 0.9]), 0.3)
    assert scores.tolist() == [0.9, 0.7]
    assert faces[0] == pytest.approx((0.6 * values[1] + 0.9 * values[2]) / 1.5)
    assert faces[1].tolist() == values[0].tolist()


def test_weighted_nms_of_no_candidates_is_empty() -> None:
    faces, scores = weighted_nms(np.empty((0, 16)), np.empty(0), 0.3)
    assert faces.shape == (0, 16)
    assert scores.shape == (0,)


@pytest.mark.parametrize("box", [[10.0, 20, 50, 100], [-10, 40, 70, 80]], ids=["tall", "wide"])
def test_squares_have_the_longer_side_of_the_box(box: list[float]) -> None:
    assert to_fer2013_squares(np.array([box]), margin=0, lift=0).tolist() == [[-10, 20, 70, 100]]


def test_squares_with_margin_and_lift_are_larger_and_higher() -> None:
    boxes = np.array([[0.0, 0, 40, 100], [200, 200, 220, 210]])
    squares = to_fer2013_squares(boxes, margin=0.2, lift=0.1)
    assert squares == pytest.approx(np.array([[-40.0, -20, 80, 100], [198, 191, 222, 215]]))
    assert boxes.tolist() == [[0, 0, 40, 100], [200, 200, 220, 210]]


def test_squares_of_no_boxes_are_empty() -> None:
    assert to_fer2013_squares(np.empty((0, 4)), margin=0.12, lift=0.05).shape == (0, 4)


def test_to_detections_names_the_landmarks() -> None:
    (detection,) = to_detections(np.array([[0.0, 1, 10, 11, 2, 3, 4, 5]]), np.array([0.5]), ("nose", "mouth"))
    assert detection.box == Box(0, 1, 10, 11)
    assert detection.landmarks == {"nose": (2, 3), "mouth": (4, 5)}
    assert detection.score == 0.5
