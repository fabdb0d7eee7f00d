"""The timeline of a video, its summary, and its report."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.labels import COLOURS, EXPRESSIONS, class_colours
from mien.types import Box, Expression, Face
from mien.video import report as video_report
from mien.video.recognizer import TrackedFace, VideoFrame
from mien.video.timeline import (
    MAX_MOMENTS,
    MIN_MOMENT_DISTANCE_S,
    THUMBNAIL_PX,
    Timeline,
    Track,
    format_time,
    no_tracks_message,
    summary_table,
    whole_percentages,
)


def expression(name: str, confidence: float = 0.8, uncertain: bool = False, classes=EXPRESSIONS) -> Expression:
    rest = (1 - confidence) / (len(classes) - 1)
    return Expression({each: confidence if each == name else rest for each in classes}, uncertain)


def frame(number: int, time_s: float, *faces: tuple[int | None, Expression]) -> VideoFrame:
    image_rgb = np.full((60, 80, 3), number % 256, np.uint8)
    tracked = [TrackedFace(track, Face(Box(10, 10, 50, 50), {}, 0.9, each), each) for track, each in faces]
    return VideoFrame(number, time_s, image_rgb, tuple(tracked))


@pytest.fixture
def timeline() -> Timeline:
    """Face 1 for 10 s, happy then sad; face 2 from 2 to 4 s and, uncertain, from 8 to 9 s; a face without a track."""
    timeline = Timeline(EXPRESSIONS)
    for i in range(100):
        time_s = i / 10
        faces: list[tuple[int | None, Expression]] = [(1, expression("happy" if i < 75 else "sad"))]
        if 20 <= i < 40 or 80 <= i < 90:
            faces.append((2, expression("neutral" if i < 40 else "fear", 0.5, uncertain=i >= 80)))
        if i == 5:
            faces.append((None, expression("angry")))
        timeline.add(frame(i, time_s, *faces))
    return timeline


def test_fractions_are_of_the_time_in_sight(timeline: Timeline) -> None:
    one, two = timeline.longest_first
    assert (one.number, two.number) == (1, 2)
    assert one.durations_s.sum() == pytest.approx(10)
    assert two.durations_s.sum() == pytest.approx(3)
    assert dict(zip(EXPRESSIONS, one.class_fractions, strict=True)) == pytest.approx(
        dict.fromkeys(EXPRESSIONS, 0) | {"happy": 0.75, "sad": 0.25}
    )
    assert two.uncertain_fraction == pytest.approx(1 / 3)
    assert one.uncertain_fraction == 0


def test_frames_count_by_their_duration() -> None:
    timeline = Timeline(EXPRESSIONS)
    for number, (time_s, name) in enumerate([(0, "happy"), (0.3, "sad"), (0.4, "sad"), (0.5, "sad"), (0.6, "sad")]):
        timeline.add(frame(number, time_s, (1, expression(name))))
    assert timeline.tracks[1].class_fractions[EXPRESSIONS.index("happy")] == pytest.approx(0.3 / 0.7)


def test_low_frame_rate_is_not_a_row_of_gaps() -> None:
    timeline = Timeline(EXPRESSIONS)
    for i in range(10):
        timeline.add(frame(i, float(i), (1, expression("happy"))))
    assert timeline.tracks[1].durations_s.sum() == pytest.approx(10)
    _, probabilities, _ = video_report._points(timeline.tracks[1], timeline.end_s)
    assert (probabilities.sum(axis=1) > 0.99).all()


def timeline_of(*frames: tuple[float, bool]) -> Timeline:
    """Returns the timeline of frames, given by their start time and whether face 1 is in sight."""
    timeline = Timeline(EXPRESSIONS)
    for number, (time_s, in_sight) in enumerate(frames):
        timeline.add(frame(number, time_s, *([(1, expression("happy"))] if in_sight else [])))
    return timeline


MOVES = [0.04 * i for i in range(25)]


@pytest.mark.parametrize(
    ("frames", "in_sight_s", "absent_s"),
    [
        ([(t, True) for t in (*MOVES, 5.0, 5.04)], 5.08, 0),
        ([*((t, True) for t in MOVES), (5.0, False), (5.04, True), (5.08, True)], 5.12, 0),
        ([*((t, True) for t in MOVES), (5.0, False), (6.0, True), (6.04, True)], 5.08, 1.0),
        ([*((t, True) for t in MOVES), (1.0, False), (5.0, True), (5.04, True)], 1.08, 4.0),
        ([*((t, True) for t in MOVES), (5.0, False), (6.0, False)], 5.0, 0),
    ],
    ids=["long frame", "missed in one frame", "leaves", "absent during a long frame", "leaves for good"],
)
def test_long_frame_is_not_an_absence(frames: list[tuple[float, bool]], in_sight_s: float, absent_s: float) -> None:
    """A recorded call has new frames only while something moves."""
    timeline = timeline_of(*frames)
    track = timeline.tracks[1]
    assert track.durations_s.sum() == pytest.approx(in_sight_s)
    assert track.class_fractions.sum() == pytest.approx(1)
    times, probabilities, _ = video_report._points(track, timeline.end_s)
    drawn = probabilities.sum(axis=1)
    assert np.diff(times).min() >= 0
    area = (np.diff(times) * (drawn[1:] + drawn[:-1]) / 2).sum()
    assert area == pytest.approx(min(in_sight_s, timeline.end_s - absent_s))
    assert np.diff(times)[(drawn[1:] == 0) & (drawn[:-1] == 0)].sum() == pytest.approx(absent_s)


def test_long_video_with_long_frames_has_no_gaps() -> None:
    timeline = timeline_of(*((minute + 0.01 * i, True) for minute in range(0, 3600, 60) for i in range(25)))
    _, probabilities, _ = video_report._points(timeline.tracks[1], timeline.end_s)
    assert len(probabilities) <= video_report.MAX_POINTS + 1
    assert probabilities.sum(axis=1) == pytest.approx(1)


def test_moments_are_the_most_confident_ones_with_a_distance() -> None:
    track = Track(1, EXPRESSIONS, b"")
    random = np.random.default_rng(0)
    offered = [(float(i) / 5, float(random.uniform(0.5, 1))) for i in range(300)]
    for time_s, confidence in offered:
        drawn: list[bytes] = []
        before = list(track.moments)
        track.offer_moment(time_s, "happy", confidence, lambda drawn=drawn: drawn.append(b"") or b"")
        assert (track.moments != before) is bool(drawn)  # an image is made only if the moment is kept
    times_s = [moment.time_s for moment in track.moments]
    assert len(times_s) == MAX_MOMENTS
    assert times_s == sorted(times_s)
    assert min(np.diff(times_s)) >= MIN_MOMENT_DISTANCE_S
    assert max(offered, key=lambda each: each[1])[1] in [moment.confidence for moment in track.moments]


def test_every_class_that_was_shown_has_a_moment() -> None:
    track = Track(1, EXPRESSIONS, b"")
    for i in range(20):
        track.offer_moment(3.0 * i, "happy", 0.9 + i / 1000, lambda: b"")
    for i, name in enumerate(("sad", "fear", "sad", "surprise")):
        track.offer_moment(60.0 + 0.1 * i, name, 0.5 + i / 1000, lambda: b"")
    assert len(track.moments) == MAX_MOMENTS
    names = [moment.name for moment in track.moments]
    assert sorted(names) == ["fear", "happy", "happy", "happy", "sad", "surprise"]
    assert max(moment.confidence for moment in track.moments) == pytest.approx(0.919)
    assert next(moment.confidence for moment in track.moments if moment.name == "sad") == pytest.approx(0.502)


@pytest.mark.parametrize(
    ("fractions", "percentages"),
    [
        ([1 / 3, 1 / 3, 1 / 3], [34, 33, 33]),
        ([0.996, 0.004, 0.0], [100, 0, 0]),
        ([0.125] * 8, [13, 13, 13, 13, 12, 12, 12, 12]),
        ([1.0], [100]),
        ([0.07, 0.93], [7, 93]),
    ],
)
def test_percentages_sum_to_100(fractions: list[float], percentages: list[int]) -> None:
    assert whole_percentages(np.array(fractions)) == percentages


def test_time_in_sight_is_never_longer_than_the_span() -> None:
    random = np.random.default_rng(1)
    for _ in range(50):
        times_s = np.cumsum(random.uniform(0.01, 0.07, 40))
        first_s, last_s, in_sight_s = timeline_of(*((float(time_s), True) for time_s in times_s)).tracks[1].span_s
        assert 0 < in_sight_s <= last_s - first_s + 1e-9


def test_faces_are_listed_in_order(tmp_path: Path) -> None:
    timeline = Timeline(EXPRESSIONS)
    for i in range(30):
        timeline.add(frame(i, i / 10, *((track, expression("happy")) for track in (1, 2, 3) if i < 10 * track)))
    assert [track.number for track in timeline.longest_first] == [3, 2, 1]
    text = video_report.write(timeline, tmp_path / "report.html", "video.mp4")[0].read_text(encoding="utf-8")
    assert re.findall(r"<h2>Face (\d)</h2>", text) == ["1", "2", "3"]


def test_neutral_and_uncertain_expressions_make_no_moments(timeline: Timeline) -> None:
    assert timeline.tracks[2].moments == []
    assert {moment.name for moment in timeline.tracks[1].moments} == {"happy", "sad"}
    with Image.open(io.BytesIO(timeline.tracks[1].moments[0].jpeg)) as image:
        assert image.size == (THUMBNAIL_PX, THUMBNAIL_PX)


@pytest.mark.parametrize(
    ("time_s", "words"), [(0, "0:00.0"), (59.96, "1:00.0"), (62.5, "1:02.5"), (3661.04, "1:01:01.0")]
)
def test_format_time(time_s: float, words: str) -> None:
    assert format_time(time_s) == words


def test_summary_table(timeline: Timeline) -> None:
    from rich.console import Console

    console = Console(width=100, file=io.StringIO())
    console.print(summary_table(timeline))
    lines = console.file.getvalue().splitlines()  # type: ignore[attr-defined]
    one, two = [line.split() for line in lines if re.match(r"\s+[12]\s", line)]
    assert one == ["1", "0:00.0", "0:10.0", "10.0", "happy", "75%,", "sad", "25%", "0%"]
    assert two == ["2", "0:02.0", "0:09.0", "3.0", "neutral", "67%,", "fear", "33%", "33%"]


def test_no_tracks_message() -> None:
    timeline = Timeline(EXPRESSIONS)
    timeline.add(frame(0, 0.0))
    assert no_tracks_message(timeline) == "no face"
    untracked = Timeline(EXPRESSIONS)
    untracked.add(frame(0, 0.0, (None, expression("happy"))))
    assert no_tracks_message(untracked) == "the video has a single frame: recognise its faces with mien recognize"
    untracked.add(frame(1, 0.04))
    assert (
        no_tracks_message(untracked)
        == "no face was detected twice: run the detector on every frame with --detect-every 1"
    )


class Links(HTMLParser):
    """Collects the links, the texts and the tags of a page."""

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


def test_page_has_no_external_links_and_escapes_its_title(timeline: Timeline, tmp_path: Path) -> None:
    page, png = video_report.write(timeline, tmp_path / "report.html", "a <b>video</b> & more.mp4")
    text = page.read_text(encoding="utf-8")
    links = Links()
    links.feed(text)
    assert [link for link in links.fetched if not link.startswith(("data:", "#"))] == []
    assert not re.search(r"url\((?!#)|@import", text)
    assert "script" not in links.tags
    assert "<b>video" not in text
    words = " ".join(links.texts)
    assert "a <b>video</b> & more.mp4" in words
    assert "Face 1" in words
    assert "in sight for 10.0 s, uncertain for 0% of it" in words
    assert "in sight for 3.0 s, uncertain for 33% of it" in words
    assert "happy 75%, sad 25%" in words
    assert links.tags.count("figure") == len(timeline.tracks[1].moments)
    with Image.open(png) as drawn:
        colours = {colour for _, colour in drawn.convert("RGB").getcolors(1 << 24)}
    for name in ("happy", "sad", "neutral"):
        assert tuple(bytes.fromhex(COLOURS[name][1:])) in colours


def test_face_is_drawn_only_while_in_sight(timeline: Timeline) -> None:
    times, probabilities, uncertain = video_report._points(timeline.tracks[2], 9.9)
    total = probabilities.sum(axis=1)
    away = (times >= 4.0) & (times <= 8.0)
    assert set(np.round(total, 6)) == {0.0, 1.0}
    assert (total[away][1:-1] == 0).all()
    assert (total[~away] > 0.99).all()
    assert uncertain[times > 8.0].all()
    assert not uncertain[times < 4.0].any()


def test_long_video_is_averaged_down() -> None:
    timeline = Timeline(EXPRESSIONS)
    for i in range(20_000):
        timeline.add(frame(i, i / 10, (1, expression("happy" if (i // 5000) % 2 == 0 else "sad"))))
    times, probabilities, _ = video_report._points(timeline.tracks[1], timeline.end_s)
    assert len(times) <= video_report.MAX_POINTS + 1
    assert np.interp([100, 700, 1200, 1700], times, probabilities[:, EXPRESSIONS.index("happy")]) == pytest.approx(
        [0.8, 0.2 / 6, 0.8, 0.2 / 6], abs=0.01
    )


def test_report_of_many_faces_and_of_none(tmp_path: Path) -> None:
    timeline = Timeline(EXPRESSIONS)
    for i in range(20):
        timeline.add(frame(i, i / 10, *((track, expression("happy")) for track in range(1, 16) if track <= i)))
    text = video_report.write(timeline, tmp_path / "many.html", "many")[0].read_text()
    assert text.count("<section>") == video_report.MAX_TRACKS
    assert "3 more faces, in sight for a shorter time: 13, 14, 15." in text
    text = video_report.write(Timeline(EXPRESSIONS), tmp_path / "none.html", "none")[0].read_text()
    assert "<p>No face.</p>" in text


@pytest.mark.parametrize("classes", [("bored", "engaged"), tuple(f"a class with a long name {i}" for i in range(30))])
def test_report_of_a_model_with_other_classes(classes: tuple[str, ...], tmp_path: Path) -> None:
    timeline = Timeline(classes)
    for i in range(20):
        timeline.add(frame(i, i / 10, (1, expression(classes[i // 15], classes=classes))))
    page, png = video_report.write(timeline, tmp_path / "report.html", "video.mp4")
    text = page.read_text(encoding="utf-8")
    assert f"{classes[0]} 75%, {classes[1]} 25%" in text
    colours = class_colours(classes)
    assert all(f'background:{colours[name]}"></i>{name}' in text for name in classes)
    with Image.open(png) as drawn:
        assert tuple(bytes.fromhex(colours[classes[0]][1:])) in {
            colour for _, colour in drawn.convert("RGB").getcolors(1 << 24)
        }


def test_report_without_faces_has_no_pictures_and_says_who_was_told(timeline: Timeline, tmp_path: Path) -> None:
    path, _ = video_report.write(timeline, tmp_path / "with.html", "film.mp4")
    assert path.read_text().count("data:image/jpeg") > 2
    assert "People were told" not in path.read_text()
    path, _ = video_report.write(timeline, tmp_path / "without.html", "film.mp4", faces=False, notice="by a <sign>")
    assert "data:image/jpeg" not in path.read_text()
    assert "<h2>Face 2</h2>" in path.read_text()
    assert "<p>People were told: by a &lt;sign&gt;</p>" in path.read_text()
