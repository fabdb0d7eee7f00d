"""Track tracks of faces, and smoothing of their expressions over time."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from mien.detection.base import Detection
from mien.errors import ConfigError
from mien.types import Box
from mien.video.track import ExpressionSmoother, Smoothing, Tracker


def at(x: float, y: float = 50, side: float = 60, score: float = 0.9) -> Detection:
    return Detection(Box(x, y, x + side, y + side), {}, score)


def test_faces_that_pass_each_other_keep_their_tracks() -> None:
    tracker = Tracker()
    tracks = []
    for i in range(30):
        left, right = at(10 + 8 * i, 20), at(250 - 8 * i, 120)
        if i % 2:  # the order of the detections must not matter
            tracks.append(tracker((left, right), i / 10))
        else:
            tracks.append(tracker((right, left), i / 10)[::-1])
    assert tracks[0] == (None, None)
    assert len(set(tracks[1:])) == 1
    assert sorted(tracks[-1]) == [1, 2]


@pytest.mark.parametrize(("away_s", "same"), [(0.5, True), (1.5, True), (6.0, False)])
def test_face_that_returns_soon_keeps_its_track(away_s: float, same: bool) -> None:
    tracker = Tracker(lost_s=2.0)
    before = [tracker([at(100)], i / 10) for i in range(10)][-1]
    start_s = 1 + away_s
    for i in range(round(away_s * 10)):
        assert tracker([], 1 + i / 10) == ()
    after = [tracker([at(104)], start_s + i / 10) for i in range(3)][-1]
    assert before == (1,)
    assert after == ((1,) if same else (2,))


@pytest.mark.parametrize("away_s", [0.5, 1.0, 1.5])
def test_moving_face_that_stops_while_hidden_keeps_its_track(away_s: float) -> None:
    """The boxes jitter by 3 pixels."""
    random = np.random.default_rng(0)

    def seen(x: float) -> Detection:
        x0, y0, x1, y1 = np.array([x, 50, x + 60, 110]) + random.normal(0, 3, 4)
        return Detection(Box(x0, y0, x1, y1), {}, 0.9)

    same = 0
    for _ in range(20):
        tracker = Tracker(lost_s=2.0)
        for i in range(12):
            before = tracker([seen(100 + 2 * i)], 0.12 * i)
        for i in range(12, 12 + round(away_s / 0.12)):
            tracker([], 0.12 * i)
        for i in range(12 + round(away_s / 0.12), 14 + round(away_s / 0.12)):
            after = tracker([seen(124)], 0.12 * i)
        same += before == after == (1,)
    assert same >= 19


def test_track_survives_frames_further_apart_than_lost_s() -> None:
    tracker = Tracker(lost_s=2.0)
    assert [tracker([at(100)], 3.0 * i) for i in range(4)] == [(None,), (1,), (1,), (1,)]


def test_tracks_are_lost_by_time_and_not_by_number_of_frames() -> None:
    for step_s, same in ((0.02, True), (1.0, False)):
        tracker = Tracker(lost_s=1.0)
        for i in range(5):
            tracker([at(100)], i * step_s)
        for i in range(5, 15):
            tracker([], i * step_s)
        last = [tracker([at(100)], i * step_s) for i in (15, 16)][-1]
        assert (last == (1,)) is same


def test_detection_with_a_low_score_is_tracked() -> None:
    tracker = Tracker()
    assert [tracker([at(100, score=0.05)], i / 10) for i in range(3)] == [(None,), (1,), (1,)]


HAPPY, SAD = {"happy": 0.9, "sad": 0.1}, {"happy": 0.1, "sad": 0.9}


def test_average_depends_on_time_and_not_on_the_number_of_frames() -> None:
    smoothing = Smoothing(seconds=0.5, lead=0, forget_s=10)
    once, often = ExpressionSmoother(smoothing), ExpressionSmoother(smoothing)
    once(HAPPY, 0, 0)
    often(HAPPY, 0, 0)
    seldom = once(SAD, 0.5, 0).probabilities["sad"]
    for i in range(1, 11):
        last = often(SAD, i * 0.05, 0).probabilities["sad"]
    assert seldom == pytest.approx(0.9 - 0.8 * math.exp(-1))
    assert last == pytest.approx(seldom)


def test_name_changes_only_with_a_lead() -> None:
    steady = ExpressionSmoother(Smoothing(seconds=0, lead=0.1))
    names = [
        steady({"happy": happy, "sad": 1 - happy}, i / 25, 0).name
        for i, happy in enumerate((0.6, 0.49, 0.52, 0.46, 0.44, 0.5, 0.54, 0.56))
    ]
    assert names == ["happy", "happy", "happy", "happy", "sad", "sad", "sad", "happy"]


def test_name_does_not_flicker_with_noisy_probabilities() -> None:
    random = np.random.default_rng(0)
    raw = 0.5 + random.normal(0, 0.15, 300).clip(-0.5, 0.5)
    steady = ExpressionSmoother(Smoothing())
    names = [steady({"happy": p, "sad": 1 - p}, i / 25, 0).name for i, p in enumerate(raw)]
    flips = sum(before != after for before, after in itertools.pairwise(names))
    raw_flips = int((np.diff(raw > 0.5) != 0).sum())
    assert raw_flips > 100
    assert flips < raw_flips / 10


def test_average_restarts_after_a_long_absence() -> None:
    steady = ExpressionSmoother(Smoothing(seconds=5, forget_s=1))
    steady(HAPPY, 0, 0)
    assert steady(SAD, 0.9, 0).name == "happy"
    assert steady(SAD, 2.0, 0).probabilities == SAD


def test_uncertainty_applies_to_the_named_class() -> None:
    steady = ExpressionSmoother(Smoothing(seconds=0, lead=0.2))
    assert not steady({"happy": 0.6, "sad": 0.4}, 0, 0.5).uncertain
    held = steady({"happy": 0.45, "sad": 0.55}, 0.1, 0.5)
    assert (held.name, held.uncertain, held.confidence) == ("happy", True, 0.45)


def test_invalid_smoothing_is_an_error() -> None:
    for wrong in ({"seconds": -1}, {"lead": 1}, {"forget_s": 0}):
        with pytest.raises(ConfigError, match="smoothing needs"):
            Smoothing(**wrong)
