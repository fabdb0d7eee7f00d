"""The expression of every face of a video, picture by picture: find now and then, follow, classify together, steady."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.cores import usable_cores
from mien.detection.base import Detection, Detector, detector_for_video
from mien.detection.boxes import iou
from mien.errors import ConfigError, VideoError
from mien.models.zoo import DEFAULT_MODEL
from mien.recognition.crops import crop_faces
from mien.recognition.recognizer import Recognizer
from mien.types import Box, Expression, Face
from mien.video.source import Frame, VideoSource
from mien.video.track import LEAST_OVERLAP, LOST_S, Smoothing, SteadyExpression, Tracker

DETECT_EVERY = 3
"""Pictures from one look for faces to the next."""


@dataclass(frozen=True)
class TrackedFace:
    """A face of one picture of a video.

    Attributes:
        track: The same number for the same face throughout, from 1; None where it was seen in one look alone.
        face: What this picture alone shows.
        steady: What it shows over time, and the name that does not flicker.
    """

    track: int | None
    face: Face
    steady: Expression

    @property
    def steady_face(self) -> Face:
        """The face with what it shows over time, to be drawn."""
        return replace(self.face, expression=self.steady)


@dataclass(frozen=True)
class VideoFrame:
    """One picture of a video and its faces, from left to right.

    Attributes:
        number: From 0.
        time_s: From the video's start.
        image_rgb: (H, W, 3), values 0..255, upright.
        faces: In pixels of that picture.
    """

    number: int
    time_s: float
    image_rgb: NDArray[np.uint8]
    faces: tuple[TrackedFace, ...]


@dataclass(frozen=True)
class _Stretch:
    """The pictures from one look for faces up to the next.

    Attributes:
        found: What is found in the first of them, sooner or later.
        frames: The pictures.
    """

    found: Future[tuple[Detection, ...]]
    frames: list[Frame]


@dataclass(frozen=True)
class _Look:
    """One look for faces.

    Attributes:
        time_s: Of its picture.
        detections: What was found.
        tracks: The number of each.
    """

    time_s: float
    detections: tuple[Detection, ...] = ()
    tracks: tuple[int | None, ...] = ()


class _Readable:
    """The pictures of a video up to its end, or up to the error that ends it, which is kept.

    Attributes:
        error: Why there are no more, where that is not the video's end.
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
    """Names the expression on every face of a video.

    Faces are looked for in every `detect_every`-th picture; in those between, a face that both looks found is where
    the straight line from one to the other has it. All faces from one look to the next are classified in one batch,
    while a thread looks for the next, so a picture's result comes up to twice `detect_every` pictures later.

    Args:
        model: As `Recognizer` takes it.
        detector: As `Recognizer` takes it; called in a thread of its own for each video. BlazeFace goes on from one
            picture to the next (`mien.detection.blazeface.BlazeFaceVideo`): a face below a twentieth of the picture may
            be found up to 11 looks after it came, and so may one that fills the picture.
        threads: CPU threads of the classifier, and as many of the detector beside it; None is half of the cores each.
        detect_every: Pictures from one look for faces to the next, 1 or more.
        smoothing: How expressions are steadied.
        lost_s: How long a face may be out of sight and still be the same one.

    Raises:
        WeightsError: The model or the detector cannot be had.
        ConfigError: detect_every is below 1, or there is no such detector.
    """

    def __init__(
        self,
        model: str | Path = DEFAULT_MODEL,
        detector: str | Detector = "blazeface",
        threads: int | None = None,
        detect_every: int = DETECT_EVERY,
        smoothing: Smoothing = Smoothing(),  # noqa: B008  (frozen)
        lost_s: float = LOST_S,
    ) -> None:
        if detect_every < 1:
            raise ConfigError(f"faces are looked for in every picture (1) or fewer (2, 3, ...), got {detect_every}")
        threads = threads or max(1, usable_cores() // 2)
        self.recognizer = Recognizer(model, detector, threads)
        self.detect_every = detect_every
        self.smoothing = smoothing
        self.lost_s = lost_s

    def __call__(self, video: VideoSource | str | Path) -> Iterator[VideoFrame]:
        """The pictures of a video with their faces, in order, as soon as they are known.

        Args:
            video: An opened one, or a path, a URL or a camera's number.

        Raises:
            VideoError: It cannot be opened or read on; all that could be read comes before.
        """
        if not isinstance(video, VideoSource):
            with VideoSource(video) as opened:
                yield from self(opened)
            return
        tracker = Tracker(self.lost_s)
        steady: defaultdict[int, SteadyExpression] = defaultdict(lambda: SteadyExpression(self.smoothing))
        before: list[Frame] = []
        last = _Look(0.0)
        readable = _Readable(video)
        for stretch in self._stretches(readable):
            detections, time_s = stretch.found.result(), stretch.frames[0].time_s
            look = _Look(time_s, detections, tracker(detections, time_s))
            yield from self._recognised(before, _confirmed(last, look), look, steady)
            before, last = stretch.frames, look
        yield from self._recognised(before, last, replace(last, time_s=math.inf), steady)
        if readable.error:
            raise readable.error

    def _stretches(self, video: Iterable[Frame]) -> Iterator[_Stretch]:
        """A video in stretches, each once the next has begun: its own look is done while another is classified."""
        detector = detector_for_video(self.recognizer.detector)
        last: _Stretch | None = None
        with ThreadPoolExecutor(1, "detector") as looks:
            for frame in video:
                if frame.number % self.detect_every:
                    assert last is not None  # a video begins with a look
                    last.frames.append(frame)
                    continue
                begun = _Stretch(looks.submit(detector, frame.image_rgb), [frame])
                if last:
                    yield last
                last = begun
            if last:
                yield last

    def _recognised(
        self, frames: Sequence[Frame], before: _Look, after: _Look, steady: Mapping[int, SteadyExpression]
    ) -> Iterator[VideoFrame]:
        """The pictures from one look up to the next, with the faces that both found, classified in one batch."""
        placed = [_between(before, after, frame.time_s) for frame in frames]
        crops: list[NDArray[np.uint8]] = []
        for frame, detections in zip(frames, placed, strict=True):
            crops += crop_faces(frame.image_rgb, [detection for _, detection in detections])
        expressions = iter(self.recognizer.classify_crops(crops))
        for frame, detections in zip(frames, placed, strict=True):
            faces = []
            for track, detection in detections:
                face = Face(detection.box, detection.landmarks, detection.score, next(expressions))
                steadied = face.expression if track is None else self._steadied(face, steady[track], frame.time_s)
                faces.append(TrackedFace(track, face, steadied))
            yield VideoFrame(frame.number, frame.time_s, frame.image_rgb, tuple(faces))

    def _steadied(self, face: Face, steady: SteadyExpression, time_s: float) -> Expression:
        below = self.recognizer.model.calibration.uncertain_below
        return steady(face.expression.probabilities, time_s, below)


def _confirmed(before: _Look, after: _Look) -> _Look:
    """A look, with the numbers that only the next one gave to the faces that it had seen for the first time."""
    tracks = list(before.tracks)
    for number, now in zip(after.tracks, after.detections, strict=True):
        fresh = [place for place, track in enumerate(tracks) if track is None]
        if number is None or number in tracks or not fresh:
            continue
        boxes = np.array([before.detections[place].box.xyxy for place in fresh])
        overlaps = iou(boxes, np.array(now.box.xyxy))
        if overlaps.max() >= LEAST_OVERLAP:
            tracks[fresh[int(overlaps.argmax())]] = number
    return replace(before, tracks=tuple(tracks))


def _between(before: _Look, after: _Look, time_s: float) -> list[tuple[int | None, Detection]]:
    """Where the faces of a look are at a time from it up to the next: on the line to where they are then.

    One that the next look did not find is told for the look's own picture alone, and so is one without a number.
    """
    share = (time_s - before.time_s) / (after.time_s - before.time_s)
    places = []
    for track, detection in zip(before.tracks, before.detections, strict=True):
        if time_s == before.time_s:
            places.append((track, detection))
        elif track is not None and track in after.tracks:
            places.append((track, _moved(detection, after.detections[after.tracks.index(track)], share)))
    return sorted(places, key=lambda place: place[1].box.x0)


def _moved(start: Detection, end: Detection, share: float) -> Detection:
    """A face on its way, `share` of it done."""

    def mean(a: Sequence[float], b: Sequence[float]) -> list[float]:
        return [x + share * (y - x) for x, y in zip(a, b, strict=True)]

    landmarks = {name: mean(point, end.landmarks[name]) for name, point in start.landmarks.items()}
    return Detection(
        Box(*mean(start.box.xyxy, end.box.xyxy)),
        {name: (x, y) for name, (x, y) in landmarks.items()},
        start.score,
    )
