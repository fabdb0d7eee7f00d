from __future__ import annotations

import itertools
import math

import pytest

from mien.detection.tilt import LEVEL_DEG, TURNED_DEG, is_level, tilt_deg, turn_deg


def turned_landmarks(degrees: float) -> dict[str, tuple[float, float]]:
    """Landmarks of a face that is tilted clockwise by some degrees."""
    upright = {"right_eye": (-10, -8), "left_eye": (10, -8), "mouth_right": (-6, 12), "mouth_left": (6, 12)}
    c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return {name: (50 + x * c - y * s, 60 + x * s + y * c) for name, (x, y) in upright.items()}


@pytest.mark.parametrize("degrees", [-179, -90, -31, 0, 5, 44, 90, 135, 180])
def test_tilt_of_turned_landmarks_is_their_turn(degrees: float) -> None:
    assert tilt_deg(turned_landmarks(degrees)) == pytest.approx(degrees)


def test_tilt_without_eyes_is_zero() -> None:
    assert tilt_deg({}) == tilt_deg({"nose": (3, 4), "left_eye": (1, 2)}) == 0


def test_tilt_of_face_in_profile_follows_the_mouth() -> None:
    # Both eyes are nearly in one place, so the line between them says nothing.
    landmarks = {"right_eye": (50, 40), "left_eye": (51, 42), "mouth": (49, 70)}
    assert abs(tilt_deg(landmarks)) < 10


@pytest.mark.parametrize(
    ("tilt", "turn"),
    [(0, 0), (LEVEL_DEG - 1, 0), (-(LEVEL_DEG - 1), 0), (TURNED_DEG, TURNED_DEG), (-45, -45), (88, 90), (-91, -90)],
)
def test_turn_leaves_small_tilts_and_follows_large_ones(tilt: float, turn: float) -> None:
    assert turn_deg(turned_landmarks(tilt)) == pytest.approx(turn)


def test_turn_grows_without_jumps() -> None:
    turns = [turn_deg(turned_landmarks(tilt / 4)) for tilt in range(4 * 40)]
    steps = [b - a for a, b in itertools.pairwise(turns)]
    assert min(steps) >= -1e-9
    assert max(steps) < 1.1


def test_is_level_counts_from_upright_around_the_circle() -> None:
    assert is_level(0)
    assert is_level(360 + LEVEL_DEG / 2)
    assert not is_level(90)
    assert not is_level(180)
