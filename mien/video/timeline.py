"""The expressions of each tracked face over the time of a video, from which the report and the summary are made."""

from __future__ import annotations

import functools
import io
from array import array
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich import box
from rich.table import Table
from rich.text import Text

from mien.labels import class_colours
from mien.recognition.crops import crop_face
from mien.video.recognizer import TrackedFace, VideoFrame

MAX_GAP_S = 0.5
"""A face that is out of sight for longer was absent, unless the frames of the video are further apart. A shorter gap
counts as time in sight."""
MAX_MOMENTS = 6
"""The most moments that are kept per face."""
MIN_MOMENT_DISTANCE_S = 2.0
"""The shortest time between two moments of a face with the same expression."""
THUMBNAIL_PX = 128
"""Height and width of the images of faces."""
UNEXPRESSIVE = "neutral"
"""The class that never makes a moment."""
FALLBACK_STEP_S = 1 / 25
"""The duration of the only frame of a face."""


@dataclass(frozen=True)
class Moment:
    """A time at which a face was most expressive.

    Attributes:
        time_s: In seconds from the start of the video.
        name: The expression.
        confidence: In [0, 1].
        jpeg: An image of the face, THUMBNAIL_PX square.
    """

    time_s: float
    name: str
    confidence: float
    jpeg: bytes = field(repr=False)


class Track:
    """One face throughout a video.

    Args:
        number: The track number.
        classes: The classes of the model.
        portrait: The first image of the face, as JPEG.
    """

    def __init__(self, number: int, classes: Sequence[str], portrait: bytes) -> None:
        self.number = number
        self.classes = tuple(classes)
        self.portrait = portrait
        self.moments: list[Moment] = []
        self._times, self._ends, self._probabilities = array("d"), array("d"), array("f")
        self._predicted, self._uncertain = array("i"), array("b")

    def add(self, face: TrackedFace, time_s: float) -> None:
        """Adds the face in the next frame in which it is in sight."""
        steady = face.steady
        self._times.append(time_s)
        self._probabilities.extend(steady.probabilities.values())
        self._predicted.append(self.classes.index(steady.name))
        self._uncertain.append(steady.uncertain)

    def end_frame(self, time_s: float) -> None:
        """Sets when the last added frame ended, which is when the next frame of the video started."""
        self._ends.append(time_s)

    @property
    def times_s(self) -> NDArray[np.float64]:
        """(N,) start times of the frames in which the face is in sight."""
        return np.array(self._times)

    @property
    def ends_s(self) -> NDArray[np.float64]:
        """(N,) end times of these frames; the last frame of the video has the usual duration."""
        ends_s = np.array(self._ends)
        return ends_s if len(ends_s) == len(self._times) else np.append(ends_s, self._times[-1] + self._usual_step_s)

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """(N, K) smoothed probabilities."""
        return np.array(self._probabilities, np.float64).reshape(-1, len(self.classes))

    @property
    def predicted(self) -> NDArray[np.int64]:
        """(N,) predicted classes, as indices into `classes`."""
        return np.array(self._predicted, np.int64)

    @property
    def uncertain(self) -> NDArray[np.bool_]:
        """(N,) whether the predictions are uncertain."""
        return np.array(self._uncertain, np.bool_)

    @property
    def durations_s(self) -> NDArray[np.float64]:
        """(N,) how long each frame counts: until the next one with this face, or to its own end before an absence."""
        times_s, ends_s = self.times_s, self.ends_s
        next_times_s = np.append(times_s[1:], ends_s[-1])
        return np.where(next_times_s - ends_s > self.max_gap_s, ends_s, next_times_s) - times_s

    @property
    def max_gap_s(self) -> float:
        """The longest time out of sight that does not count as an absence."""
        return max(MAX_GAP_S, 2.5 * self._usual_step_s)

    @property
    def _usual_step_s(self) -> float:
        return float(np.median(np.diff(self.times_s))) if len(self._times) > 1 else FALLBACK_STEP_S

    @property
    def class_fractions(self) -> NDArray[np.float64]:
        """(K,) the fraction of the time in sight for which each class was predicted; they sum to 1."""
        durations_s = self.durations_s
        per_class_s = np.bincount(self.predicted, durations_s, len(self.classes))
        return np.asarray(per_class_s / durations_s.sum())

    @property
    def uncertain_fraction(self) -> float:
        """The fraction of the time in sight for which the prediction was uncertain."""
        durations_s = self.durations_s
        return float(durations_s[self.uncertain].sum() / durations_s.sum())

    @property
    def span_s(self) -> tuple[float, float, float]:
        """When the face was first and last in sight and for how long, in seconds, rounded to tenths for display.

        The time in sight is at most the difference of the other two, also after rounding.
        """
        first_s, last_s = round(float(self.times_s[0]), 1), round(float(self.ends_s[-1]), 1)
        return first_s, last_s, min(round(float(self.durations_s.sum()), 1), round(last_s - first_s, 1))

    def offer_moment(self, time_s: float, name: str, confidence: float, make_jpeg: Callable[[], bytes]) -> None:
        """Keeps a moment if it is among the most confident ones and not close to a better one of its class.

        The first moment of a class takes the place of one whose class has several.

        Args:
            time_s: In seconds from the start of the video.
            name: The expression.
            confidence: In [0, 1].
            make_jpeg: Makes the image of the face; called only if the moment is kept.
        """
        counts = Counter(moment.name for moment in self.moments)
        of_class = [moment for moment in self.moments if moment.name == name]
        rivals = [moment for moment in of_class if abs(moment.time_s - time_s) < MIN_MOMENT_DISTANCE_S]
        if not rivals and len(self.moments) == MAX_MOMENTS:
            repeated = [moment for moment in self.moments if counts[moment.name] > 1]
            replaceable = repeated or of_class or self.moments
            rivals = [min(replaceable, key=lambda moment: moment.confidence)]
            confidence_to_beat = 0.0 if repeated and not of_class else rivals[0].confidence
        else:
            confidence_to_beat = max((moment.confidence for moment in rivals), default=0.0)
        if confidence <= confidence_to_beat:
            return
        others = [moment for moment in self.moments if moment not in rivals]
        new = Moment(time_s, name, confidence, make_jpeg())
        self.moments = sorted([*others, new], key=lambda moment: moment.time_s)


class Timeline:
    """All tracks of a video. It needs a few dozen bytes for each face in a frame, and a few small images per track.

    Args:
        classes: The classes of the model.

    Attributes:
        tracks: Track number -> track.
        frames: The number of frames so far.
        end_s: The time of the last frame.
        untracked: The number of faces that were detected only once and have no track.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self.tracks: dict[int, Track] = {}
        self.frames = 0
        self.end_s = 0.0
        self.untracked = 0
        self._in_sight: list[Track] = []

    def add(self, frame: VideoFrame) -> None:
        """Adds the next frame; faces without a track are only counted."""
        self.frames += 1
        self.end_s = frame.time_s
        for track in self._in_sight:
            track.end_frame(frame.time_s)
        self._in_sight = []
        for face in frame.faces:
            if face.track is None:
                self.untracked += 1
                continue
            if face.track not in self.tracks:
                self.tracks[face.track] = Track(face.track, self.classes, _thumbnail(frame, face))
            track, steady = self.tracks[face.track], face.steady
            track.add(face, frame.time_s)
            self._in_sight.append(track)
            if not steady.uncertain and steady.name != UNEXPRESSIVE:
                make_jpeg = functools.partial(_thumbnail, frame, face)
                track.offer_moment(frame.time_s, steady.name, steady.confidence, make_jpeg)

    @property
    def duration_s(self) -> float:
        """When the last frame ends, as far as the faces in it show."""
        return max([self.end_s, *(float(track.ends_s[-1]) for track in self.tracks.values())])

    @property
    def longest_first(self) -> list[Track]:
        """The tracks in descending order of their time in sight."""
        return sorted(self.tracks.values(), key=lambda track: -track.durations_s.sum())


def _thumbnail(frame: VideoFrame, face: TrackedFace) -> bytes:
    """Returns an image of a face as JPEG."""
    image = Image.fromarray(crop_face(frame.image_rgb, face.face))
    image = image.resize((THUMBNAIL_PX, THUMBNAIL_PX), Image.Resampling.BILINEAR)
    jpeg = io.BytesIO()
    image.save(jpeg, "JPEG", quality=85)
    return jpeg.getvalue()


def format_time(time_s: float) -> str:
    """Formats a time as 1:02.5 or 1:01:02.5."""
    minutes, seconds = divmod(round(time_s, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{seconds:04.1f}" if hours else f"{minutes}:{seconds:04.1f}"


def no_tracks_message(timeline: Timeline) -> str:
    """Returns why a timeline has no tracks, and what to do."""
    if not timeline.untracked:
        return "no face"
    if timeline.frames == 1:
        return "the video has a single frame: recognise its faces with mien recognize"
    return "no face was detected twice: run the detector on every frame with --detect-every 1"


def summary_table(timeline: Timeline) -> Table:
    """Makes a table for the terminal: one row per face, with the expressions that it showed for most of the time."""
    columns = ("face", "from", "to", "in sight, s", "expressions", "uncertain")
    table = Table(*columns, box=box.SIMPLE, pad_edge=False)
    for column in table.columns:
        column.justify = "left" if column.header == "expressions" else "right"
    colours = class_colours(timeline.classes)
    for _, track in sorted(timeline.tracks.items()):
        percentages = whole_percentages(track.class_fractions)
        expressions = Text()
        for k in np.argsort(-track.class_fractions, kind="stable")[:3]:
            if percentages[k]:
                name = timeline.classes[k]
                separator = ", " if expressions else ""
                expressions.append(f"{separator}{name} {percentages[k]}%", style=colours[name])
        first_s, last_s, in_sight_s = track.span_s
        table.add_row(
            str(track.number),
            format_time(first_s),
            format_time(last_s),
            f"{in_sight_s:.1f}",
            expressions,
            f"{track.uncertain_fraction:.0%}",
        )
    return table


def whole_percentages(fractions: NDArray[np.float64]) -> list[int]:
    """Rounds fractions (K,) that sum to 1 to whole percentages that sum to 100, by the largest remainders."""
    exact = 100 * fractions
    whole = np.floor(exact + 1e-9)
    largest_remainders = np.argsort(whole - exact, kind="stable")[: round(100 - whole.sum())]
    whole[largest_remainders] += 1
    return [int(percentage) for percentage in whole]
