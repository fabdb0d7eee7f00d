"""Who showed what and when in a video: what its report and its summary are made of."""

from __future__ import annotations

import functools
import io
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rich import box
from rich.table import Table

from mien.labels import class_colours
from mien.recognition.crops import crop_face
from mien.video.recognizer import TrackedFace, VideoFrame

GAP_S = 0.5
"""A face that is not seen for longer was away, unless the video's pictures are further apart; a shorter time is part of
what it showed before."""
MOMENTS = 6
"""Pictures kept of a face, at most: the most expressive ones."""
APART_S = 2.0
"""Least time between two of them."""
PICTURE_PX = 128
"""Height and width of such a picture."""
UNEXPRESSIVE = "neutral"


@dataclass(frozen=True)
class Moment:
    """A time at which a face was at its most expressive.

    Attributes:
        time_s: In the video.
        name: The expression.
        confidence: In [0, 1].
        jpeg: The face, PICTURE_PX square.
    """

    time_s: float
    name: str
    confidence: float
    jpeg: bytes = field(repr=False)


class Track:
    """One face throughout a video.

    Args:
        number: Its number.
        classes: The model's.
        portrait: Its first picture, a JPEG.
    """

    def __init__(self, number: int, classes: Sequence[str], portrait: bytes) -> None:
        self.number = number
        self.classes = tuple(classes)
        self.portrait = portrait
        self.moments: list[Moment] = []
        self._times, self._ends, self._values = array("d"), array("d"), array("f")
        self._names, self._uncertain = array("b"), array("b")

    def add(self, face: TrackedFace, time_s: float) -> None:
        """Takes in what it shows in the next picture that it is in."""
        steady = face.steady
        self._times.append(time_s)
        self._values.extend(steady.probabilities.values())
        self._names.append(self.classes.index(steady.name))
        self._uncertain.append(steady.uncertain)

    def gave_way(self, time_s: float) -> None:
        """Takes in when the picture that was added last gave way to the video's next, which it may not be in."""
        self._ends.append(time_s)

    @property
    def times_s(self) -> NDArray[np.float64]:
        """(N,) when the pictures began that it was seen in."""
        return np.array(self._times)

    @property
    def ends_s(self) -> NDArray[np.float64]:
        """(N,) when each of them gave way to the video's next; the video's last one is as long as usual."""
        ends_s = np.array(self._ends)
        return ends_s if len(ends_s) == len(self._times) else np.append(ends_s, self._times[-1] + self._usual_step_s)

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """(N, K) averaged over time."""
        return np.array(self._values, np.float64).reshape(-1, len(self.classes))

    @property
    def names(self) -> NDArray[np.int64]:
        """(N,) the class that it was said to show, by its place in `classes`."""
        return np.array(self._names, np.int64)

    @property
    def uncertain(self) -> NDArray[np.bool_]:
        """(N,) whether that was uncertain."""
        return np.array(self._uncertain, np.bool_)

    @property
    def durations_s(self) -> NDArray[np.float64]:
        """(N,) how long each picture counts: until the next one of this face, or as it stood where it was away then."""
        times_s, ends_s = self.times_s, self.ends_s
        back_s = np.append(times_s[1:], ends_s[-1])
        return np.where(back_s - ends_s > self.gap_s, ends_s, back_s) - times_s

    @property
    def gap_s(self) -> float:
        """A face that is not seen for longer was away."""
        return max(GAP_S, 2.5 * self._usual_step_s)

    @property
    def _usual_step_s(self) -> float:
        return float(np.median(np.diff(self.times_s))) if len(self._times) > 1 else 1 / 25

    @property
    def shares(self) -> NDArray[np.float64]:
        """(K,) of the time that it was seen, how much it was said to show each class; they sum to 1."""
        durations = self.durations_s
        counted = np.bincount(self.names, durations, len(self.classes))
        return np.asarray(counted / durations.sum())

    @property
    def uncertain_share(self) -> float:
        """Of the time that it was seen, how much was uncertain."""
        durations = self.durations_s
        return float(durations[self.uncertain].sum() / durations.sum())

    def offer(self, time_s: float, name: str, confidence: float, picture: Callable[[], bytes]) -> None:
        """Keeps a moment where it is among the best, APART_S from any better one; only then is its picture made."""
        near = [kept for kept in self.moments if abs(kept.time_s - time_s) < APART_S]
        full = len(self.moments) == MOMENTS
        rivals = near or ([min(self.moments, key=lambda kept: kept.confidence)] if full else [])
        if any(kept.confidence >= confidence for kept in rivals):
            return
        moment = Moment(time_s, name, confidence, picture())
        kept = [each for each in self.moments if each not in rivals]
        self.moments = sorted([*kept, moment], key=lambda each: each.time_s)


class Timeline:
    """All tracks of a video: a few dozen bytes for each face of a picture, and a few small pictures of each track.

    Args:
        classes: The model's.

    Attributes:
        tracks: By their number.
        frames: Pictures so far.
        end_s: The last one's time.
        passing: Faces that were seen in one look alone, and are on no track.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        self.classes = tuple(classes)
        self.tracks: dict[int, Track] = {}
        self.frames = 0
        self.end_s = 0.0
        self.passing = 0
        self._in_sight: list[Track] = []

    def add(self, frame: VideoFrame) -> None:
        """Takes in the next picture; faces that were seen in one look alone are left out."""
        self.frames += 1
        self.end_s = frame.time_s
        for track in self._in_sight:
            track.gave_way(frame.time_s)
        self._in_sight = []
        for face in frame.faces:
            if face.track is None:
                self.passing += 1
                continue
            if face.track not in self.tracks:
                self.tracks[face.track] = Track(face.track, self.classes, _picture(frame, face))
            track, steady = self.tracks[face.track], face.steady
            track.add(face, frame.time_s)
            self._in_sight.append(track)
            expressive = not steady.uncertain and steady.name != UNEXPRESSIVE
            if expressive:
                track.offer(frame.time_s, steady.name, steady.confidence, functools.partial(_picture, frame, face))

    @property
    def longest_first(self) -> list[Track]:
        """The tracks by how long each was seen."""
        return sorted(self.tracks.values(), key=lambda track: -track.durations_s.sum())


def _picture(frame: VideoFrame, face: TrackedFace) -> bytes:
    picture = Image.fromarray(crop_face(frame.image_rgb, face.face)).resize(
        (PICTURE_PX, PICTURE_PX), Image.Resampling.BILINEAR
    )
    jpeg = io.BytesIO()
    picture.save(jpeg, "JPEG", quality=85)
    return jpeg.getvalue()


def clock(time_s: float) -> str:
    """A time as 1:02.5 or 1:01:02.5."""
    minutes, seconds = divmod(round(time_s, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    return f"{hours}:{minutes:02}:{seconds:04.1f}" if hours else f"{minutes}:{seconds:04.1f}"


def nobody(timeline: Timeline) -> str:
    """What there is to say of a video without tracks."""
    if not timeline.passing:
        return "no face"
    if timeline.frames == 1:
        return "a video of one picture: see what its faces show with mien recognize"
    return "no face was seen twice: look more often, with --detect-every 1"


def table(timeline: Timeline) -> Table:
    """One row a face: when it was seen, and what it showed most of that time."""
    from rich.text import Text

    result = Table(
        "face", "from", "to", "seen, s", "showed most of the time", "uncertain", box=box.SIMPLE, pad_edge=False
    )
    for column in result.columns:
        column.justify = "left" if column.header == "showed most of the time" else "right"
    colours = class_colours(timeline.classes)
    for track in timeline.longest_first:
        shares = track.shares
        shown = Text()
        for place in np.argsort(-shares, kind="stable")[:3]:
            if shares[place] >= 0.01:
                name = timeline.classes[place]
                shown.append(f"{', ' if shown else ''}{name} {shares[place]:.0%}", style=colours[name])
        times = track.times_s
        result.add_row(
            str(track.number),
            clock(times[0]),
            clock(times[-1]),
            f"{track.durations_s.sum():.1f}",
            shown,
            f"{track.uncertain_share:.0%}",
        )
    return result
