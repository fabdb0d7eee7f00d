"""Recognises the faces in a video: detects in every n-th frame, interpolates, classifies in batches and smooths."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.cores import usable_cores
from mien.detection import DEFAULT_DETECTOR
from mien.detection.base import Detection, Detector, detector_for_video
from mien.detection.boxes import iou
from mien.errors import ConfigError, VideoError
from mien.models.model import Model
from mien.models.zoo import DEFAULT_MODEL
from mien.recognition.crops import crop_faces
from mien.recognition.recognizer import Recognizer
from mien.recognition.tables import to_supervision
from mien.types import Box, Expression, Face
from mien.video.source import Frame, VideoSource
from mien.video.track import LOST_S, MIN_TRACK_IOU, ExpressionSmoother, Smoothing, Tracker

DETECT_EVERY = 3
"""Frames from one run of the detector to the next."""


@dataclass(frozen=True)
class TrackedFace:
    """A face in one frame of a video.

    Attributes:
        track: The number of the face, from 1 and the same in all frames; None for a face that was detected only once.
        face: The face with its expression in this frame alone.
        steady: The expression smoothed over time, whose name does not flicker.
    """

    track: int | None
    face: Face
    steady: Expression

    @property
    def steady_face(self) -> Face:
        """The face with its smoothed expression."""
        return replace(self.face, expression=self.steady)


@dataclass(frozen=True)
class VideoFrame:
    """A frame of a video and its faces.

    Attributes:
        number: From 0.
        time_s: In seconds from the start of the video.
        image_rgb: (H, W, 3), values 0..255, upright.
        faces: From left to right, in pixels of this frame.
        classes: The classes of the model, in order.
    """

    number: int
    time_s: float
    image_rgb: NDArray[np.uint8]
    faces: tuple[TrackedFace, ...]
    classes: tuple[str, ...] = ()

    def to_supervision(self) -> Any:
        """Returns supervision.Detections with smoothed expressions; see `mien.recognition.tables.to_supervision`."""
        tracks = [face.track for face in self.faces]
        return to_supervision([face.steady_face for face in self.faces], self.classes, tracks)


@dataclass(frozen=True)
class _Segment:
    """The frames from one run of the detector to the next.

    Attributes:
        detections: The faces in the first frame, once the detector has finished.
        frames: The frames.
    """

    detections: Future[tuple[Detection, ...]]
    frames: list[Frame]


@dataclass(frozen=True)
class _TrackedDetections:
    """The result of one run of the detector.

    Attributes:
        time_s: The time of the frame.
        detections: The faces.
        tracks: The track number of each face.
    """

    time_s: float
    detections: tuple[Detection, ...] = ()
    tracks: tuple[int | None, ...] = ()


class _FramesUntilError:
    """The frames of a video up to its end, or up to an error, which is kept instead of raised.

    Attributes:
        error: The error that ended the video early, if any.
    """

    def __init__(self, video: VideoSource) -> None:
        self._video = video
        self.error: VideoError | None = None

    def __iter__(self) -> Iterator[Frame]:
        try:
            yield from self._video
        except VideoError as error:
            self.error = error


class VideoRecognizer:
    """Recognises the expression on every face in a video.

    The detector runs on every `detect_every`-th frame. In between, a face that was detected both before and after is
    interpolated linearly. All faces from one run of the detector to the next are classified in one batch, while a
    thread runs the detector on the following frames. The result of a frame is therefore up to twice `detect_every`
    frames late.

    Args:
        model: See `Recognizer`.
        detector: See `Recognizer`; it runs in a thread. A detector that supports video keeps its state from frame to
            frame: BlazeFace may take up to 11 runs to find a new face that is narrower than a twentieth of the frame or
            fills the frame.
        threads: CPU threads of the model, and as many of the detector; None uses half of the cores for each.
        detect_every: Frames from one run of the detector to the next, at least 1.
        smoothing: How expressions are smoothed over time.
        lost_s: How long a face can be out of sight and keep its track.
        min_score: See `Recognizer`.
        device: See `Recognizer`.

    Raises:
        WeightsError: The model or the detector is missing, damaged, or cannot be fetched.
        ConfigError: `detect_every` is below 1, there is no detector of that name, or the device cannot be used.
    """

    def __init__(
        self,
        model: str | Path | Model = DEFAULT_MODEL,
        detector: str | Path | Detector = DEFAULT_DETECTOR,
        threads: int | None = None,
        detect_every: int = DETECT_EVERY,
        smoothing: Smoothing = Smoothing(),  # noqa: B008  (frozen)
        lost_s: float = LOST_S,
        min_score: float | None = None,
        device: str | None = None,
    ) -> None:
        if detect_every < 1:
            raise ConfigError(f"detect_every must be at least 1 (detect faces in every frame), got {detect_every}")
        threads = threads or max(1, usable_cores() // 2)
        self.recognizer = Recognizer(model, detector, threads, min_score, device=device)
        self.detect_every = detect_every
        self.smoothing = smoothing
        self.lost_s = lost_s

    def __call__(self, video: VideoSource | str | Path) -> Iterator[VideoFrame]:
        """Yields the frames of a video with their faces, in order, as soon as they are recognised.

        Args:
            video: An open video, a path, a URL, or the number of a camera.

        Raises:
            VideoError: The video cannot be opened, or ends with an error. All readable frames come first.
        """
        if not isinstance(video, VideoSource):
            with VideoSource(video) as source:
                yield from self(source)
            return
        tracker = Tracker(self.lost_s)
        smoothers: defaultdict[int, ExpressionSmoother] = defaultdict(lambda: ExpressionSmoother(self.smoothing))
        waiting: list[Frame] = []
        start = _TrackedDetections(0.0)
        source_frames = _FramesUntilError(video)
        for segment in self._segments(source_frames):
            detections, time_s = segment.detections.result(), segment.frames[0].time_s
            end = _TrackedDetections(time_s, detections, tracker(detections, time_s))
            yield from self._recognize(waiting, _confirm_tracks(start, end), end, smoothers)
            waiting, start = segment.frames, end
        yield from self._recognize(waiting, start, replace(start, time_s=math.inf), smoothers)
        if source_frames.error:
            raise source_frames.error

    def _segments(self, frames: Iterable[Frame]) -> Iterator[_Segment]:
        """Splits a video into segments. Each is yielded when the next has started, so that the detector is ahead."""
        detector = detector_for_video(self.recognizer.detector)
        previous: _Segment | None = None
        with ThreadPoolExecutor(1, "detector") as executor:
            for frame in frames:
                if frame.number % self.detect_every:
                    assert previous is not None  # the detector runs on frame 0
                    previous.frames.append(frame)
                    continue
                segment = _Segment(executor.submit(detector, frame.image_rgb), [frame])
                if previous:
                    yield previous
                previous = segment
            if previous:
                yield previous

    def _recognize(
        self,
        frames: Sequence[Frame],
        start: _TrackedDetections,
        end: _TrackedDetections,
        smoothers: Mapping[int, ExpressionSmoother],
    ) -> Iterator[VideoFrame]:
        """Recognises the frames of one segment, and classifies all of their faces in one batch."""
        faces_of_frames = [_interpolate(start, end, frame.time_s) for frame in frames]
        crops: list[NDArray[np.uint8]] = []
        for frame, tracked in zip(frames, faces_of_frames, strict=True):
            crops += crop_faces(frame.image_rgb, [detection for _, detection in tracked])
        expressions = iter(self.recognizer.classify_crops(crops))
        for frame, tracked in zip(frames, faces_of_frames, strict=True):
            faces = []
            for track, detection in tracked:
                face = Face(detection.box, detection.landmarks, detection.score, next(expressions))
                steady = face.expression if track is None else self._smooth(face, smoothers[track], frame.time_s)
                faces.append(TrackedFace(track, face, steady))
            yield VideoFrame(frame.number, frame.time_s, frame.image_rgb, tuple(faces), self.recognizer.model.classes)

    def _smooth(self, face: Face, smoother: ExpressionSmoother, time_s: float) -> Expression:
        uncertain_below = self.recognizer.model.calibration.uncertain_below
        return smoother(face.expression.probabilities, time_s, uncertain_below)


def _confirm_tracks(start: _TrackedDetections, end: _TrackedDetections) -> _TrackedDetections:
    """Gives first detections the track numbers that the tracker assigns only when it sees a face again."""
    tracks = list(start.tracks)
    for track, detection in zip(end.tracks, end.detections, strict=True):
        candidates = [i for i, known in enumerate(tracks) if known is None]
        if track is None or track in tracks or not candidates:
            continue
        boxes = np.array([start.detections[i].box.xyxy for i in candidates])
        overlaps = iou(boxes, np.array(detection.box.xyxy))
        if overlaps.max() >= MIN_TRACK_IOU:
            tracks[candidates[int(overlaps.argmax())]] = track
    return replace(start, tracks=tuple(tracks))


def _interpolate(
    start: _TrackedDetections, end: _TrackedDetections, time_s: float
) -> list[tuple[int | None, Detection]]:
    """Interpolates each face linearly between two detections.

    A face that has no track, or is not detected at the end, is only in the frame where it was detected.

    Returns:
        The faces at the given time with their track numbers, from left to right.
    """
    fraction = (time_s - start.time_s) / (end.time_s - start.time_s)
    faces = []
    for track, detection in zip(start.tracks, start.detections, strict=True):
        if time_s == start.time_s:
            faces.append((track, detection))
        elif track is not None and track in end.tracks:
            faces.append((track, _between(detection, end.detections[end.tracks.index(track)], fraction)))
    return sorted(faces, key=lambda face: face[1].box.x0)


def _between(start: Detection, end: Detection, fraction: float) -> Detection:
    """Returns the detection at a fraction of the way from one detection to another."""

    def interpolate(a: Sequence[float], b: Sequence[float]) -> list[float]:
        return [x + fraction * (y - x) for x, y in zip(a, b, strict=True)]

    names = [name for name in start.landmarks if name in end.landmarks]
    landmarks = {name: interpolate(start.landmarks[name], end.landmarks[name]) for name in names}
    return Detection(
        Box(*interpolate(start.box.xyxy, end.box.xyxy)),
        {name: (x, y) for name, (x, y) in landmarks.items()},
        start.score,
    )
