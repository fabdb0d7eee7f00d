"""The tilt of a face, from its landmarks, and the turn that makes it upright."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

Degrees = TypeVar("Degrees", bound=Any)

LEVEL_DEG, TURNED_DEG = 15.0, 25.0
"""A face that is tilted by less than the first is left as it is, as the faces of FER2013 were; one that is tilted by
more than the second is turned upright. In between, it is turned by a part, so that a film has no jumps. Both count from
the nearest quarter turn."""


def tilt_deg(landmarks: Mapping[str, Sequence[float]]) -> float:
    """Returns the tilt of a face: degrees clockwise, above -180 and up to 180; 0 without landmarks of the eyes.

    It is that of the line through the eyes and of the line from the eyes to the mouth together, since the eyes of a
    face in profile are close to each other.
    """
    if not {"right_eye", "left_eye"} <= set(landmarks):
        return 0.0
    right, left = landmarks["right_eye"], landmarks["left_eye"]
    mouth = [landmarks[name] for name in ("mouth", "mouth_right", "mouth_left") if name in landmarks]
    across_x, across_y = left[0] - right[0], left[1] - right[1]
    if mouth:
        down_x = sum(x for x, _ in mouth) / len(mouth) - (left[0] + right[0]) / 2
        down_y = sum(y for _, y in mouth) / len(mouth) - (left[1] + right[1]) / 2
        across_x, across_y = across_x + down_y, across_y - down_x
    return math.degrees(math.atan2(across_y, across_x))


def turn_deg(landmarks: Mapping[str, Sequence[float]]) -> float:
    """Returns by how much a face is turned before it is classified: degrees counterclockwise, -180 to 180."""
    tilt = tilt_deg(landmarks)
    quarter = 90.0 * round(tilt / 90)
    rest = tilt - quarter
    return quarter + rest * min(1.0, max(0.0, (abs(rest) - LEVEL_DEG) / (TURNED_DEG - LEVEL_DEG)))


def is_level(tilt_deg: Degrees) -> Any:
    """Returns whether a tilt, or each of several, is so small that the face is left as it is."""
    return abs(wrapped_deg(tilt_deg)) < LEVEL_DEG


def wrapped_deg(angle_deg: Degrees) -> Degrees:
    """Returns an angle, or each of several, as -180 to 180 degrees."""
    wrapped: Degrees = (angle_deg + 180) % 360 - 180
    return wrapped
