"""Who showed what and when, and the page that tells it without any outside part."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.labels import COLOURS, EXPRESSIONS
from mien.types import Box, Expression, Face
from mien.video import report as video_report
from mien.video.recognizer import TrackedFace, VideoFrame
from mien.video.timeline import APART_S, MOMENTS, PICTURE_PX, Timeline, Track, clock, nobody, table


def said(name: str, confidence: float = 0.8, uncertain: bool = False) -> Expression:
    rest = (1 - confidence) / 6
    return Expression({each: confidence if each == name else rest for each in EXPRESSIONS}, uncertain)


def frame(number: int, time_s: float, *faces: tuple[int | None, Expression]) -> VideoFrame:
    image_rgb = np.full((60, 80, 3), number % 256, np.uint8)
    tracked = [TrackedFace(track, Face(Box(10, 10, 50, 50), {}, 0.9, each), each) for track, each in faces]
    return VideoFrame(number, time_s, image_rgb, tuple(tracked))


@pytest.fixture
def timeline() -> Timeline:
    """Face 1 for 10 s, happy then sad; face 2 from 2 to 4 and from 8 to 9 s, then uncertain; one without a number."""
    timeline = Timeline(EXPRESSIONS)
    for i in range(100):
        time_s = i / 10
        faces: list[tuple[int | None, Expression]] = [(1, said("happy" if i < 75 else "sad"))]
        if 20 <= i < 40 or 80 <= i < 90:
            faces.append((2, said("neutral" if i < 40 else "fear", 0.5, uncertain=i >= 80)))
        if i == 5:
            faces.append((None, said("angry")))
        timeline.add(frame(i, time_s, *faces))
    return timeline


def test_shares_are_of_the_time_in_sight(timeline: Timeline) -> None:
    one, two = timeline.longest_first
    assert (one.number, two.number) == (1, 2)
    assert one.durations_s.sum() == pytest.approx(10)
    assert two.durations_s.sum() == pytest.approx(3)
    assert dict(zip(EXPRESSIONS, one.shares, strict=True)) == pytest.approx(
        dict.fromkeys(EXPRESSIONS, 0) | {"happy": 0.75, "sad": 0.25}
    )
    assert two.uncertain_share == pytest.approx(1 / 3)
    assert one.uncertain_share == 0


def test_uneven_times_count_by_their_length() -> None:
    timeline = Timeline(EXPRESSIONS)
    for number, (time_s, name) in enumerate([(0, "happy"), (0.3, "sad"), (0.4, "sad"), (0.5, "sad"), (0.6, "sad")]):
        timeline.add(frame(number, time_s, (1, said(name))))
    assert timeline.tracks[1].shares[EXPRESSIONS.index("happy")] == pytest.approx(0.3 / 0.7)


def test_a_film_of_few_pictures_a_second_is_no_row_of_gaps() -> None:
    timeline = Timeline(EXPRESSIONS)
    for i in range(10):
        timeline.add(frame(i, float(i), (1, said("happy"))))
    assert timeline.tracks[1].durations_s.sum() == pytest.approx(10)
    _, probabilities, _ = video_report._drawable(timeline.tracks[1], timeline.end_s)
    assert (probabilities.sum(axis=1) > 0.99).all()


def pictures(*shown: tuple[float, bool]) -> Timeline:
    """A video of pictures that begin at those times, and whether face 1 is in them."""
    timeline = Timeline(EXPRESSIONS)
    for number, (time_s, there) in enumerate(shown):
        timeline.add(frame(number, time_s, *([(1, said("happy"))] if there else [])))
    return timeline


MOVES = [0.04 * i for i in range(25)]


@pytest.mark.parametrize(
    ("shown", "seen_s", "white_s"),
    [
        ([(t, True) for t in (*MOVES, 5.0, 5.04)], 5.08, 0),
        ([*((t, True) for t in MOVES), (5.0, False), (5.04, True), (5.08, True)], 5.12, 0),
        ([*((t, True) for t in MOVES), (5.0, False), (6.0, True), (6.04, True)], 5.08, 1.0),
        ([*((t, True) for t in MOVES), (1.0, False), (5.0, True), (5.04, True)], 1.08, 4.0),
        ([*((t, True) for t in MOVES), (5.0, False), (6.0, False)], 5.0, 0),
    ],
    ids=["goes on", "missed once", "leaves", "is away while a picture stands", "leaves for good"],
)
def test_a_picture_that_stands_is_no_absence(shown: list[tuple[float, bool]], seen_s: float, white_s: float) -> None:
    """A recorded call has new pictures only while something moves."""
    timeline = pictures(*shown)
    track = timeline.tracks[1]
    assert track.durations_s.sum() == pytest.approx(seen_s)
    assert track.shares.sum() == pytest.approx(1)
    times, probabilities, _ = video_report._drawable(track, timeline.end_s)
    drawn = probabilities.sum(axis=1)
    assert np.diff(times).min() >= 0
    area = (np.diff(times) * (drawn[1:] + drawn[:-1]) / 2).sum()
    assert area == pytest.approx(min(seen_s, timeline.end_s - white_s))
    assert np.diff(times)[(drawn[1:] == 0) & (drawn[:-1] == 0)].sum() == pytest.approx(white_s)


def test_a_long_film_of_pictures_that_stand_is_drawn_throughout() -> None:
    timeline = pictures(*((minute + 0.01 * i, True) for minute in range(0, 3600, 60) for i in range(25)))
    _, probabilities, _ = video_report._drawable(timeline.tracks[1], timeline.end_s)
    assert len(probabilities) <= video_report.POINTS + 1
    assert probabilities.sum(axis=1) == pytest.approx(1)


def test_moments_are_the_most_expressive_ones_apart_from_each_other() -> None:
    track = Track(1, EXPRESSIONS, b"")
    random = np.random.default_rng(0)
    offered = [(float(i) / 5, float(random.uniform(0.5, 1))) for i in range(300)]
    for time_s, confidence in offered:
        drawn: list[bytes] = []
        before = list(track.moments)
        track.offer(time_s, "happy", confidence, lambda drawn=drawn: drawn.append(b"") or b"")
        assert (track.moments != before) is bool(drawn)  # no picture is made for nothing
    times_s = [moment.time_s for moment in track.moments]
    assert len(times_s) == MOMENTS
    assert times_s == sorted(times_s)
    assert min(np.diff(times_s)) >= APART_S
    assert max(offered, key=lambda each: each[1])[1] in [moment.confidence for moment in track.moments]


def test_neutral_and_uncertain_are_no_moments(timeline: Timeline) -> None:
    assert timeline.tracks[2].moments == []
    assert {moment.name for moment in timeline.tracks[1].moments} == {"happy", "sad"}
    with Image.open(io.BytesIO(timeline.tracks[1].moments[0].jpeg)) as picture:
        assert picture.size == (PICTURE_PX, PICTURE_PX)


@pytest.mark.parametrize(
    ("time_s", "words"), [(0, "0:00.0"), (59.96, "1:00.0"), (62.5, "1:02.5"), (3661.04, "1:01:01.0")]
)
def test_clock(time_s: float, words: str) -> None:
    assert clock(time_s) == words


def test_the_summary(timeline: Timeline) -> None:
    from rich.console import Console

    console = Console(width=100, file=io.StringIO())
    console.print(table(timeline))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    one, two = [line.split() for line in lines if re.match(r"\s+[12]\s", line)]
    assert one == ["1", "0:00.0", "0:09.9", "10.0", "happy", "75%,", "sad", "25%", "0%"]
    assert two == ["2", "0:02.0", "0:08.9", "3.0", "neutral", "67%,", "fear", "33%", "33%"]


def test_a_video_without_tracks_is_told_why() -> None:
    timeline = Timeline(EXPRESSIONS)
    timeline.add(frame(0, 0.0))
    assert nobody(timeline) == "no face"
    passing = Timeline(EXPRESSIONS)
    passing.add(frame(0, 0.0, (None, said("happy"))))
    assert nobody(passing) == "a video of one picture: see what its faces show with mien recognize"
    passing.add(frame(1, 0.04))
    assert nobody(passing) == "no face was seen twice: look more often, with --detect-every 1"


class Links(HTMLParser):
    """Collects what a page would fetch, and its texts."""

    def __init__(self) -> None:
        super().__init__()
        self.fetched: list[str] = []
        self.texts: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "data")]

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def test_the_page_needs_nothing_else(timeline: Timeline, tmp_path: Path) -> None:
    page, picture = video_report.write(timeline, tmp_path / "report.html", "a <b>film</b> & more.mp4")
    text = page.read_text(encoding="utf-8")
    links = Links()
    links.feed(text)
    assert [link for link in links.fetched if not link.startswith(("data:", "#"))] == []
    assert not re.search(r"url\((?!#)|@import", text)
    assert "script" not in links.tags
    assert "<b>film" not in text
    words = " ".join(links.texts)
    assert "a <b>film</b> & more.mp4" in words
    assert "Face 1" in words
    assert "seen for 10.0 s, uncertain 0% of it" in words
    assert "seen for 3.0 s, uncertain 33% of it" in words
    assert "happy 75%, sad 25%" in words
    assert links.tags.count("figure") == len(timeline.tracks[1].moments)
    with Image.open(picture) as drawn:
        colours = {colour for _, colour in drawn.convert("RGB").getcolors(1 << 24)}
    for name in ("happy", "sad", "neutral"):
        assert tuple(bytes.fromhex(COLOURS[name][1:])) in colours


def test_a_face_is_drawn_only_while_in_sight(timeline: Timeline) -> None:
    times, probabilities, uncertain = video_report._drawable(timeline.tracks[2], 9.9)
    total = probabilities.sum(axis=1)
    away = (times >= 4.0) & (times <= 8.0)
    assert set(np.round(total, 6)) == {0.0, 1.0}
    assert (total[away][1:-1] == 0).all()
    assert (total[~away] > 0.99).all()
    assert uncertain[times > 8.0].all()
    assert not uncertain[times < 4.0].any()


def test_a_long_film_is_averaged_down() -> None:
    timeline = Timeline(EXPRESSIONS)
    for i in range(20_000):
        timeline.add(frame(i, i / 10, (1, said("happy" if (i // 5000) % 2 == 0 else "sad"))))
    times, probabilities, _ = video_report._drawable(timeline.tracks[1], timeline.end_s)
    assert len(times) <= video_report.POINTS + 1
    assert np.interp([100, 700, 1200, 1700], times, probabilities[:, EXPRESSIONS.index("happy")]) == pytest.approx(
        [0.8, 0.2 / 6, 0.8, 0.2 / 6], abs=0.01
    )


def test_many_faces_and_none(tmp_path: Path) -> None:
    timeline = Timeline(EXPRESSIONS)
    for i in range(20):
        timeline.add(frame(i, i / 10, *((track, said("happy")) for track in range(1, 16) if track <= i)))
    text = video_report.write(timeline, tmp_path / "many.html", "many")[0].read_text()
    assert text.count("<section>") == video_report.MOST_TRACKS
    assert "3 more faces, seen for a shorter time, are not drawn: 13, 14, 15." in text
    text = video_report.write(Timeline(EXPRESSIONS), tmp_path / "none.html", "none")[0].read_text()
    assert "<p>No face.</p>" in text
