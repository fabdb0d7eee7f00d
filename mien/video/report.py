"""Writes the report of a video: one HTML page without external files, and its timeline as PNG."""

from __future__ import annotations

import base64
import html
import io
import math
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mien import plotting
from mien.errors import ConfigError
from mien.files import MARK, printable, write_text
from mien.labels import class_colours
from mien.video.timeline import Timeline, Track, format_time, no_tracks_message, whole_percentages

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MAX_TRACKS = 12
"""The most faces that are drawn: those that are longest in sight, in order. The others are listed by number."""
MAX_POINTS = 1200
"""The most points across a timeline, about the width of a screen; longer videos are averaged down."""
ROW_INCHES = 1.15
"""Height of one face's row in the PNG."""
LEGEND_ROW_INCHES = 0.2
"""Height of one row of the legend in the PNG."""
LEGEND_CHARACTERS = 110
"""Characters that fit into one row of the legend."""
TEMPLATE = Path(__file__).parents[1] / "page" / "report.html"
"""The page without its content; the browser page writes the same report."""


def write(timeline: Timeline, path: Path, title: str, faces: bool = True, notice: str = "") -> tuple[Path, Path]:
    """Writes the page, and the timeline beside it as PNG.

    Args:
        timeline: The timeline of the video.
        path: The page; it must end in `.html`.
        title: The name of the video.
        faces: Whether the page shows pictures of the faces.
        notice: How the people in the video were told of it; empty if nothing is known.

    Returns:
        The paths of the page and of the PNG.

    Raises:
        ConfigError: The path has another suffix.
        OSError: The folder is not writable.
    """
    if path.suffix.lower() != ".html":
        raise ConfigError(f"the name of a report must end in .html, got {path.name}")
    tracks = sorted(timeline.longest_first[:MAX_TRACKS], key=lambda track: track.number)
    png = plotting.save(_figure(timeline, tracks, title), timeline_path(path))
    write_text(path, _page(timeline, tracks, printable(title), faces, notice))
    return path, png


def timeline_path(path: Path) -> Path:
    """Returns the path of the PNG that is written beside a page."""
    return path.with_suffix(".png")


def _figure(timeline: Timeline, tracks: Sequence[Track], title: str) -> Figure:
    """Draws one row per face: the probabilities of the classes, stacked, over time."""
    rows = max(1, len(tracks))
    legend_columns = max(1, min(len(timeline.classes), LEGEND_CHARACTERS // (max(map(len, timeline.classes)) + 5)))
    legend_rows = math.ceil(len(timeline.classes) / legend_columns)
    figure, axes = plotting.new_figure(
        (10.0, 0.7 + LEGEND_ROW_INCHES * legend_rows + ROW_INCHES * rows),
        "Expressions over time",
        f"{title}: {format_time(timeline.duration_s)}, {timeline.frames:,} frames",
        "Smoothed probabilities of the expressions, stacked. Hatched: uncertain. White: not in sight.",
        nrows=rows,
        sharex=True,
        squeeze=False,
    )
    for axis, track in zip(axes[:, 0], tracks, strict=False):
        _draw_track(axis, track, timeline.end_s)
    if not tracks:
        axes[0, 0].text(0.5, 0.5, "no face", ha="center", va="center", transform=axes[0, 0].transAxes)
        axes[0, 0].set_yticks([])
    axes[-1, 0].set_xlabel("time, s")
    axes[-1, 0].set_xlim(0, max(timeline.end_s, 1e-3))
    _draw_legend(axes[0, 0], timeline.classes, legend_columns)
    return figure


def _draw_legend(axis: Any, classes: Sequence[str], columns: int) -> None:
    """Draws the colours of the classes above the first row."""
    from matplotlib.patches import Patch

    handles = [Patch(color=colour, label=name) for name, colour in class_colours(classes).items()]
    axis.legend(
        handles=handles,
        loc="lower right",
        bbox_to_anchor=(1.0, 1.0),
        ncols=columns,
        fontsize=plotting.SMALL_PT,
        frameon=False,
        handlelength=1,
        columnspacing=1.2,
    )


def _draw_track(axis: Any, track: Track, end_s: float) -> None:
    times_s, probabilities, uncertain = _points(track, end_s)
    colours = list(class_colours(track.classes).values())
    axis.stackplot(times_s, probabilities.T, colors=colours, linewidth=0)
    axis.fill_between(
        times_s,
        0,
        1,
        where=uncertain,
        facecolor="none",
        edgecolor="white",
        hatch="////",
        linewidth=0,
        alpha=0.65,
        step="mid",
    )
    axis.set_ylim(0, 1)
    axis.set_yticks([0, 1])
    axis.grid(False)
    axis.set_ylabel(f"face {track.number}", rotation=0, ha="right", va="center")


def _points(track: Track, end_s: float) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Computes the points of a track's timeline, averaged down to about MAX_POINTS.

    Returns:
        Times (M,), probabilities (M, K), which are 0 while the face is not in sight, and whether the prediction is
        uncertain (M,).
    """
    times_s, probabilities, uncertain = track.times_s, track.probabilities, track.uncertain
    starts_s, ends_s = times_s, track.ends_s
    if len(times_s) > MAX_POINTS:
        bins = np.minimum(times_s / max(end_s, 1e-9) * MAX_POINTS, MAX_POINTS - 1).astype(np.int64)
        _, first = np.unique(bins, return_index=True)
        counts = np.diff(np.append(first, len(times_s)))
        starts_s, ends_s = starts_s[first], ends_s[first + counts - 1]
        times_s = np.add.reduceat(times_s, first) / counts
        probabilities = np.add.reduceat(probabilities, first) / counts[:, None]
        uncertain = np.add.reduceat(uncertain.astype(np.float64), first) / counts > 0.5
    max_gap_s = max(track.max_gap_s, 2 * end_s / MAX_POINTS)
    returns = np.flatnonzero(starts_s[1:] - ends_s[:-1] > max_gap_s) + 1
    # Before each return, three points: the last frame again at its end, and zeros at that time and at the return.
    # After the last point, that frame again at its end.
    places = np.append(np.repeat(returns, 3), len(times_s))
    added_s = np.stack([ends_s[returns - 1], ends_s[returns - 1], times_s[returns]], axis=1).reshape(-1)
    sources = np.insert(np.arange(len(times_s)), places, places - 1)
    in_sight = np.insert(np.full(len(times_s), True), places, [*[True, False, False] * len(returns), True])
    return (
        np.insert(times_s, places, np.append(added_s, min(ends_s[-1], end_s))),
        probabilities[sources] * in_sight[:, None],
        uncertain[sources] & in_sight,
    )


def _page(timeline: Timeline, tracks: Sequence[Track], title: str, faces: bool, notice: str) -> str:
    sections = "".join(_section(track, timeline, faces) for track in tracks)
    others = sorted(timeline.longest_first[MAX_TRACKS:], key=lambda track: track.number)
    if others:
        numbers = ", ".join(str(track.number) for track in others)
        sections += f"<p class=quiet>{_count(len(others), 'more face')}, in sight for a shorter time: {numbers}.</p>"
    return Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        title=html.escape(title),
        generator=MARK,
        facts=f"{format_time(timeline.duration_s)} · {timeline.frames:,} frames · "
        + _count(len(timeline.tracks), "face"),
        faces=(f"<p>People were told: {html.escape(printable(notice))}</p>" if notice else "")
        + (sections or f"<p>{no_tracks_message(timeline).capitalize()}.</p>"),
        legend="".join(
            f'<span><i style="background:{colour}"></i>{html.escape(name)}</span>'
            for name, colour in class_colours(timeline.classes).items()
        ),
    )


def _section(track: Track, timeline: Timeline, faces: bool) -> str:
    colours = class_colours(track.classes)
    percentages = zip(whole_percentages(track.class_fractions), track.classes, strict=True)
    shown = sorted(((each, name) for each, name in percentages if each), key=lambda each: -each[0])
    bar = "".join(
        f'<b style="width:{percentage}%;background:{colours[name]}" title="{html.escape(name)} {percentage}%"></b>'
        for percentage, name in shown
    )
    summary = ", ".join(f"{html.escape(name)} {percentage}%" for percentage, name in shown)
    first_s, last_s, in_sight_s = track.span_s
    moments = "".join(
        f"<figure>{_image(moment.jpeg, f'face {track.number} at {format_time(moment.time_s)}') if faces else ''}"
        f"<figcaption>{format_time(moment.time_s)}<br>{html.escape(moment.name)} {moment.confidence:.0%}</figcaption>"
        "</figure>"
        for moment in track.moments
    )
    return (
        f"<section><header>{_image(track.portrait) if faces else ''}"
        f"<div><h2>Face {track.number}</h2><p>{format_time(first_s)} to {format_time(last_s)}, in sight for "
        f"{in_sight_s:.1f} s, uncertain for {track.uncertain_fraction:.0%} of it</p></div></header>"
        f"<div class=bar>{bar}</div><p class=quiet>{summary}</p>{_svg(track, timeline)}"
        + (f"<div class=moments>{moments}</div>" if moments else "")
        + "</section>"
    )


def _svg(track: Track, timeline: Timeline) -> str:
    """Draws the timeline of a face as inline SVG."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 1.3), layout="constrained")
    axis = figure.subplots()
    _draw_track(axis, track, timeline.end_s)
    axis.set_xlim(0, max(timeline.end_s, 1e-3))
    axis.set_ylabel("")
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(labelsize=plotting.SMALL_PT, colors=plotting.GRAY)
    output = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": f"track {track.number}"}):
        figure.savefig(output, format="svg", transparent=True, metadata={"Date": None})
    svg = output.getvalue()
    return f'<div class=timeline role=img aria-label="probabilities over time">{svg[svg.index("<svg") :]}</div>'


def _image(jpeg: bytes, description: str = "") -> str:
    return f'<img src="data:image/jpeg;base64,{base64.b64encode(jpeg).decode()}" alt="{description}">'


def _count(n: int, noun: str) -> str:
    return f"{n:,} {noun}" if n == 1 else f"{n:,} {noun}s"
