"""A video's faces as one HTML page without any outside part, and their timeline as PNG."""

from __future__ import annotations

import base64
import html
import io
from collections.abc import Sequence
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mien import plotting as style
from mien.errors import ConfigError
from mien.files import printable, write_text
from mien.labels import class_colours
from mien.video.timeline import Timeline, Track, clock, nobody

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_TRACKS = 12
"""Faces drawn, those seen longest; the others are named below."""
POINTS = 1200
"""Points across a timeline: what a screen can show. Longer videos are averaged down to it."""
ROW_INCHES = 1.15


def write(timeline: Timeline, path: Path, title: str) -> tuple[Path, Path]:
    """Writes the page, and the timeline beside it as PNG.

    Args:
        timeline: All of the video.
        path: The page, `.html`.
        title: The video's name.

    Returns:
        The page and the picture.

    Raises:
        ConfigError: The name ends in something else.
        OSError: The folder cannot be written.
    """
    if path.suffix.lower() != ".html":
        raise ConfigError(f"a report is one HTML page, so its name must end in .html, got {path.name}")
    drawn = timeline.longest_first[:MOST_TRACKS]
    figure = _figure(timeline, drawn, title)
    picture = style.save(figure, picture_beside(path))
    write_text(path, _page(timeline, drawn, printable(title)))
    return path, picture


def picture_beside(path: Path) -> Path:
    """Where the timeline of a page goes."""
    return path.with_suffix(".png")


def _figure(timeline: Timeline, tracks: Sequence[Track], title: str) -> Figure:
    """A row a face: its seven probabilities stacked, over time."""
    rows = max(1, len(tracks))
    figure, axes = style.new_figure(
        (10.0, 0.9 + ROW_INCHES * rows),
        "What each face showed",
        f"{title}: {clock(timeline.end_s)}, {timeline.frames:,} pictures",
        "Probabilities of the expressions, averaged over a moment, stacked. Hatched: uncertain. White: not in sight.",
        nrows=rows,
        sharex=True,
        squeeze=False,
    )
    for axis, track in zip(axes[:, 0], tracks, strict=False):
        _draw(axis, track, timeline.end_s)
    if not tracks:
        axes[0, 0].text(0.5, 0.5, "no face", ha="center", va="center", transform=axes[0, 0].transAxes)
        axes[0, 0].set_yticks([])
    axes[-1, 0].set_xlabel("time, s")
    axes[-1, 0].set_xlim(0, max(timeline.end_s, 1e-3))
    handles = [_patch(name, colour) for name, colour in class_colours(timeline.classes).items()]
    axes[0, 0].legend(
        handles=handles, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(handles), fontsize=style.SMALL_PT,
        frameon=False, handlelength=1, columnspacing=1.2,
    )  # fmt: skip
    return figure


def _patch(name: str, colour: str) -> Any:
    from matplotlib.patches import Patch

    return Patch(color=colour, label=name)


def _draw(axis: Any, track: Track, end_s: float) -> None:
    times, probabilities, uncertain = _drawable(track, end_s)
    colours = class_colours(track.classes)
    axis.stackplot(times, probabilities.T, colors=list(colours.values()), linewidth=0)
    axis.fill_between(
        times,
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


def _drawable(track: Track, end_s: float) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Times (M,), probabilities (M, K) and doubt (M,), averaged down to POINTS; 0 where it was not in sight."""
    times, probabilities, uncertain = track.times_s, track.probabilities, track.uncertain
    begins, ends = times, track.ends_s
    if len(times) > POINTS:
        bins = np.minimum(times / max(end_s, 1e-9) * POINTS, POINTS - 1).astype(np.int64)
        _, starts = np.unique(bins, return_index=True)
        counts = np.diff(np.append(starts, len(times)))
        begins, ends = begins[starts], ends[starts + counts - 1]
        times = np.add.reduceat(times, starts) / counts
        probabilities = np.add.reduceat(probabilities, starts) / counts[:, None]
        uncertain = np.add.reduceat(uncertain.astype(np.float64), starts) / counts > 0.5
    gap_s = max(track.gap_s, 2 * end_s / POINTS)
    back = np.flatnonzero(begins[1:] - ends[:-1] > gap_s) + 1
    # Where it leaves, its last picture again when that ends, and two points of nothing: then, and when it comes back.
    places = np.append(np.repeat(back, 3), len(times))
    added = np.stack([ends[back - 1], ends[back - 1], times[back]], axis=1).reshape(-1)
    shown = np.insert(np.arange(len(times)), places, places - 1)
    seen = np.insert(np.full(len(times), True), places, [*[True, False, False] * len(back), True])
    return (
        np.insert(times, places, np.append(added, min(ends[-1], end_s))),
        probabilities[shown] * seen[:, None],
        uncertain[shown] & seen,
    )


def _page(timeline: Timeline, drawn: Sequence[Track], title: str) -> str:
    faces = "".join(_section(track, timeline) for track in drawn)
    left_out = timeline.longest_first[MOST_TRACKS:]
    if left_out:
        numbers = ", ".join(str(track.number) for track in left_out)
        faces += f"<p class=quiet>{len(left_out)} more faces, seen for a shorter time, are not drawn: {numbers}.</p>"
    return _PAGE.substitute(
        title=html.escape(title),
        facts=f"{clock(timeline.end_s)} · {timeline.frames:,} pictures · {_count(len(timeline.tracks), 'face')}",
        faces=faces or f"<p>{nobody(timeline).capitalize()}.</p>",
        legend="".join(
            f'<span><i style="background:{colour}"></i>{html.escape(name)}</span>'
            for name, colour in class_colours(timeline.classes).items()
        ),
    )


def _section(track: Track, timeline: Timeline) -> str:
    times = track.times_s
    shares = sorted(zip(track.shares, class_colours(track.classes).items(), strict=True), key=lambda each: -each[0])
    shown = [(share, name, colour) for share, (name, colour) in shares if share >= 0.005]
    bar = "".join(
        f'<b style="width:{100 * share:.2f}%;background:{colour}" title="{html.escape(name)} {share:.0%}"></b>'
        for share, name, colour in shown
    )
    words = ", ".join(f"{html.escape(name)} {share:.0%}" for share, name, _ in shown)
    moments = "".join(
        f'<figure><img src="{_data(moment.jpeg, "jpeg")}" alt="face {track.number} at {clock(moment.time_s)}">'
        f"<figcaption>{clock(moment.time_s)}<br>{html.escape(moment.name)} {moment.confidence:.0%}</figcaption>"
        "</figure>"
        for moment in track.moments
    )
    return (
        f'<section><header><img src="{_data(track.portrait, "jpeg")}" alt="">'
        f"<div><h2>Face {track.number}</h2><p>{clock(times[0])} to {clock(times[-1])}, seen for "
        f"{track.durations_s.sum():.1f} s, uncertain {track.uncertain_share:.0%} of it</p></div></header>"
        f"<div class=bar>{bar}</div><p class=quiet>{words}</p>{_svg(track, timeline)}"
        + (f"<div class=moments>{moments}</div>" if moments else "")
        + "</section>"
    )


def _svg(track: Track, timeline: Timeline) -> str:
    """The face's timeline as inline SVG."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 1.3), layout="constrained")
    axis = figure.subplots()
    _draw(axis, track, timeline.end_s)
    axis.set_xlim(0, max(timeline.end_s, 1e-3))
    axis.set_ylabel("")
    axis.spines[["top", "right", "left"]].set_visible(False)
    axis.tick_params(labelsize=style.SMALL_PT, colors=style.GRAY)
    drawn = io.StringIO()
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": f"track {track.number}"}):
        figure.savefig(drawn, format="svg", transparent=True, metadata={"Date": None})
    svg = drawn.getvalue()
    return f'<div class=timeline role=img aria-label="probabilities over time">{svg[svg.index("<svg") :]}</div>'


def _data(content: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


_PAGE = Template("""<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>$title: expressions</title>
<style>
:root { color-scheme: light dark; --ink: light-dark(#222, #e8e8e8); --quiet: light-dark(#666, #a0a0a0);
  --line: light-dark(#ddd, #3a3a3a); --back: light-dark(#fff, #181818); --plot: light-dark(#fff, #f2f2f2) }
body { font: 16px/1.45 system-ui, sans-serif; color: var(--ink); background: var(--back); margin: 0 auto;
  max-width: 62rem; padding: 2rem 1rem }
h1 { font-size: 1.5rem; margin: 0; overflow-wrap: anywhere } h2 { font-size: 1.1rem; margin: 0 } p { margin: .25rem 0 }
.quiet, figcaption, header p { color: var(--quiet); font-size: .875rem }
.legend { display: flex; flex-wrap: wrap; gap: .25rem 1rem; margin: 1rem 0; font-size: .875rem }
.legend i { display: inline-block; width: .8em; height: .8em; margin-right: .4em; border-radius: 2px }
section { border-top: 1px solid var(--line); padding: 1.25rem 0 }
header { display: flex; gap: 1rem; align-items: center; margin-bottom: .75rem }
header img { width: 64px; height: 64px; border-radius: 6px }
.bar { display: flex; height: 14px; border-radius: 4px; overflow: hidden }
.timeline { background: var(--plot); border-radius: 6px; margin: .5rem 0; padding: .25rem }
.timeline svg { width: 100%; height: auto; display: block }
.moments { display: flex; flex-wrap: wrap; gap: .75rem; margin-top: .75rem }
figure { margin: 0; width: 96px } figure img { width: 96px; height: 96px; border-radius: 6px; display: block }
</style></head><body>
<h1>$title</h1><p class=quiet>$facts</p>
<div class=legend>$legend<span class=quiet>hatched: uncertain</span></div>
$faces
<p class=quiet>A face shows an expression; it does not confess a feeling. Made with mien.</p>
</body></html>
""")
