"""Tracks faces from frame to frame, and smooths each face's expression over time."""

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
"""How long a face can be out of sight and keep its track."""
MIN_TRACK_IOU = 0.1
"""The smallest intersection over union of a detection with the predicted box of its track."""


class Tracker:
    """Gives each face in a video a track number that stays the same.

    It uses ByteTrack (Zhang et al., ECCV 2022) from the package `trackers`: a Kalman filter predicts the box of each
    face, and detections are assigned to tracks by overlap. The true times of the frames are used.

    Args:
        lost_s: How long a face can be out of sight and keep its track.

    Raises:
        MissingExtraError: The package is not installed.
    """

    def __init__(self, lost_s: float = LOST_S) -> None:
        trackers = require("trackers", "video")
        self._detections_type = require("supervision", "video").Detections
        # No threshold on scores: the detector has already left out what is not a face.
        self._tracker = trackers.ByteTrackTracker(
            lost_track_buffer=round(lost_s * 30),  # in frames at 30 frames per second, whatever the video has
            track_activation_threshold=0.0,
            minimum_consecutive_frames=2,
            minimum_iou_threshold=MIN_TRACK_IOU,
            high_conf_det_threshold=0.0,
            state_estimator_class=_resting_state_estimator(),
        )
        self._max_step_s = lost_s / 2
        self._last_time_s = self._clock_s = 0.0

    def __call__(self, detections: Sequence[Detection], time_s: float) -> tuple[int | None, ...]:
        """Assigns the detections in the next frame to tracks.

        Args:
            detections: The faces in the frame.
            time_s: The time of the frame, after the previous one.

        Returns:
            The track number of each face, from 1; None for a face that is detected for the first time, because a
            single detection may be a false alarm.
        """
        boxes = np.array([detection.box.xyxy for detection in detections], np.float32).reshape(-1, 4)
        inputs = self._detections_type(
            xyxy=boxes,
            confidence=np.array([detection.score for detection in detections], np.float32),
            data={"index": np.arange(len(detections))},
        )
        # The step is limited so that no track is lost between consecutive calls, however far apart the frames are.
        self._clock_s += min(time_s - self._last_time_s, self._max_step_s)
        self._last_time_s = time_s
        tracked = self._tracker.update(inputs, timestamp=self._clock_s)
        tracks: list[int | None] = [None] * len(detections)
        for index, tracker_id in zip(tracked.data.get("index", ()), tracked.tracker_id, strict=True):
            tracks[int(index)] = int(tracker_id) + 1 if tracker_id >= 0 else None
        return tuple(tracks)


def _resting_state_estimator() -> type:
    """Returns ByteTrack's Kalman filter, changed to predict that a face out of sight stays where it was last.

    With boxes of this size the estimated velocity is mostly noise of the detector, and a box that follows it for a
    second ends up elsewhere.
    """
    estimators: Any = require("trackers.utils.state_representations", "video")

    class RestingStateEstimator(estimators.XYXYStateEstimator):  # type: ignore[misc]
        _updated = True

        def predict(self, *timing: float) -> None:
            if not self._updated:
                self.kf.state[self._VEL_IDX] = 0
            self._updated = False
            super().predict(*timing)

        def update(self, bbox: Any) -> None:
            self._updated = True
            super().update(bbox)

    return RestingStateEstimator


@dataclass(frozen=True)
class Smoothing:
    """How a face's expression is smoothed over time, so that it does not flicker.

    Attributes:
        seconds: Time constant of the exponential average of the probabilities: a frame that lies this far back weighs
            1 / e of the current one. 0 uses each frame alone.
        lead: The named class changes only to one whose averaged probability is larger by this much.
        forget_s: The average restarts after a face was out of sight for longer than this.
    """

    seconds: float = 0.3
    lead: float = 0.1
    forget_s: float = 1.0

    def __post_init__(self) -> None:
        if not (self.seconds >= 0 and 0 <= self.lead < 1 and self.forget_s > 0):
            raise ConfigError(
                "smoothing needs seconds of at least 0, a lead of at least 0 and below 1, and forget_s above 0, got "
                f"{self.seconds:g}, {self.lead:g} and {self.forget_s:g}"
            )


class ExpressionSmoother:
    """Smooths the expression of one face: an exponential average over true times, and a name with hysteresis."""

    def __init__(self, smoothing: Smoothing) -> None:
        self._smoothing = smoothing
        self._time_s = -math.inf
        self._probabilities: dict[str, float] = {}
        self._name = ""

    def __call__(self, probabilities: Mapping[str, float], time_s: float, uncertain_below: float) -> Expression:
        """Adds the next frame.

        Args:
            probabilities: Class name -> probability in this frame alone.
            time_s: The time of the frame, after the previous one.
            uncertain_below: The confidence below which the expression is uncertain.

        Returns:
            The averaged probabilities and the class that they name.
        """
        elapsed_s = time_s - self._time_s
        restarts = elapsed_s > self._smoothing.forget_s
        if restarts or not self._smoothing.seconds:
            self._probabilities = dict(probabilities)
        else:
            weight = -math.expm1(-elapsed_s / self._smoothing.seconds)
            self._probabilities = {
                name: average + weight * (probabilities[name] - average)
                for name, average in self._probabilities.items()
            }
        best = max(self._probabilities, key=self._probabilities.__getitem__)
        current = self._probabilities.get(self._name, 0.0)
        if restarts or self._probabilities[best] >= current + self._smoothing.lead:
            self._name = best
        self._time_s = time_s
        return Expression(self._probabilities, self._probabilities[self._name] < uncertain_below, self._name)
