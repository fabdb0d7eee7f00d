"""Which face of one picture is which of the next, and what a face shows over time."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mien.detection.base import Detection
from mien.errors import ConfigError, require
from mien.types import Expression

LOST_S = 2.0
"""How long a face may be out of sight and still be the same one."""
LEAST_OVERLAP = 0.1
"""A face is looked for where it was heading: so much of it must overlap what is found (intersection over union)."""


class Tracker:
    """Gives each face of a video a number that stays with it.

    ByteTrack (Zhang et al., ECCV 2022) as the package `trackers` has it: a Kalman filter says where each face will be,
    and faces are assigned so that all overlap most. It goes by the true times of the pictures.

    Args:
        lost_s: How long a face may be out of sight and still be the same one.

    Raises:
        MissingExtraError: The package is not installed.
    """

    def __init__(self, lost_s: float = LOST_S) -> None:
        trackers = require("trackers", "video")
        self._detections = require("supervision", "video").Detections
        # Every detection counts in full: the detector has left out already what is no face.
        self._tracker = trackers.ByteTrackTracker(
            lost_track_buffer=round(lost_s * 30),  # of 30 frames a second, whatever the video has
            track_activation_threshold=0.0,
            minimum_consecutive_frames=2,
            minimum_iou_threshold=LEAST_OVERLAP,
            high_conf_det_threshold=0.0,
            state_estimator_class=_standing_while_lost(),
        )
        self._longest_step_s = lost_s / 2
        self._last_s = self._clock_s = 0.0

    def __call__(self, detections: Sequence[Detection], time_s: float) -> tuple[int | None, ...]:
        """Looks at the next picture.

        Args:
            detections: Its faces.
            time_s: Its time, after the one before.

        Returns:
            The number of each face, from 1; None where it is seen for the first time, since what is not seen twice may
            be no face.
        """
        boxes = np.array([each.box.xyxy for each in detections], np.float32).reshape(-1, 4)
        given = self._detections(
            xyxy=boxes,
            confidence=np.array([each.score for each in detections], np.float32),
            data={"place": np.arange(len(detections))},
        )
        # A face cannot be lost between two looks that follow each other, however far apart they are.
        self._clock_s += min(time_s - self._last_s, self._longest_step_s)
        self._last_s = time_s
        tracked = self._tracker.update(given, timestamp=self._clock_s)
        numbers: list[int | None] = [None] * len(detections)
        for place, number in zip(tracked.data.get("place", ()), tracked.tracker_id, strict=True):
            numbers[int(place)] = int(number) + 1 if number >= 0 else None
        return tuple(numbers)


def _standing_while_lost() -> type:
    """ByteTrack's Kalman filter, but that a face out of sight is looked for where it was last.

    At these sizes the speed of a box is mostly the detector's noise: followed for a second it leads astray.
    """
    filters: Any = require("trackers.utils.state_representations", "video")

    class StandingWhileLost(filters.XYXYStateEstimator):  # type: ignore[misc]
        _seen = True

        def predict(self, *timing: float) -> None:
            if not self._seen:
                self.kf.state[self._VEL_IDX] = 0
            self._seen = False
            super().predict(*timing)

        def update(self, bbox: Any) -> None:
            self._seen = True
            super().update(bbox)

    return StandingWhileLost


@dataclass(frozen=True)
class Smoothing:
    """How a face's expression is steadied over time, so that its name does not flicker.

    Attributes:
        seconds: Time over which probabilities are averaged: what lies that far back counts 1 / e of what is now. 0
            takes each picture as it is.
        lead: Another class becomes the face's name only when its averaged probability is larger by this much.
        forget_s: After so long without the face its average begins anew.
    """

    seconds: float = 0.3
    lead: float = 0.1
    forget_s: float = 1.0

    def __post_init__(self) -> None:
        if not (self.seconds >= 0 and 0 <= self.lead < 1 and self.forget_s > 0):
            raise ConfigError(f"smoothing needs seconds of 0 or more, a lead of 0..1 and forget_s above 0, got {self}")


class SteadyExpression:
    """One face's expression over time: an exponential average by the true times, and a name with hysteresis."""

    def __init__(self, smoothing: Smoothing) -> None:
        self._smoothing = smoothing
        self._time_s = -math.inf
        self._probabilities: dict[str, float] = {}
        self._name = ""

    def __call__(self, probabilities: Mapping[str, float], time_s: float, uncertain_below: float) -> Expression:
        """Takes in what the next picture shows.

        Args:
            probabilities: Class name -> probability of that picture alone.
            time_s: Its time, after the one before.
            uncertain_below: The confidence below which the network is uncertain.

        Returns:
            The averaged probabilities and the name that goes with them.
        """
        passed_s = time_s - self._time_s
        if passed_s > self._smoothing.forget_s or not self._smoothing.seconds:
            self._probabilities = dict(probabilities)
        else:
            share = -math.expm1(-passed_s / self._smoothing.seconds)
            self._probabilities = {
                name: before + share * (probabilities[name] - before) for name, before in self._probabilities.items()
            }
        first = max(self._probabilities, key=self._probabilities.__getitem__)
        held = self._probabilities.get(self._name, 0.0)
        if passed_s > self._smoothing.forget_s or self._probabilities[first] >= held + self._smoothing.lead:
            self._name = first
        self._time_s = time_s
        return Expression(self._probabilities, self._probabilities[self._name] < uncertain_below, self._name)
