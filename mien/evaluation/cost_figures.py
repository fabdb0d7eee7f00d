"""Accuracy against cost: mien's networks, the paper's, and what others ship."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mien.errors import DataError, require
from mien.evaluation.cost import Cost
from mien.evaluation.literature import PEERS, TABLE_2
from mien.evaluation.results import Result
from mien.evaluation.style import BLUE, GRAY, INK, ORANGE, SMALL_PT, legend, new_figure, save, split_and_n
from mien.networks.registry import NETWORKS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE_INCHES = (9.0, 6.6)
FLOOR = 0.54
"""The lowest accuracy that has room; what is worse stands on the edge with its accuracy in words."""

MARKER_PX = 7
"""Half of the room that a point takes, pixels."""
PASSES = 5
"""How often each name looks for a better place."""

Pixels = NDArray[np.float64]
NOWHERE = np.full((1, 2), np.inf)


@dataclass(frozen=True)
class Point:
    """A network on a figure.

    Attributes:
        name: Written beside it.
        cost: Where it stands across, above 0.
        accuracy: Where it stands up, a fraction.
    """

    name: str
    cost: float
    accuracy: float


def write(table: Path, costs: Sequence[Cost], results: Sequence[Result]) -> list[Path]:
    """Draws both figures beside the table that they are of.

    Args:
        table: The cost sheet's file.
        costs: Its rows.
        results: As for `multiply_adds_figure`.

    Returns:
        The figures' paths.

    Raises:
        DataError: There is no row to draw.
        OSError: The folder cannot be written.
    """
    if not costs:
        raise DataError(f"{table} has no row to draw: measure one or more networks first, with mien cost NETWORK")
    return [
        save(multiply_adds_figure(costs, results), table.with_name(f"{table.stem}-multiply-adds.png")),
        save(latency_figure(costs, results), table.with_name(f"{table.stem}-latency.png")),
    ]


def multiply_adds_figure(costs: Sequence[Cost], results: Sequence[Result]) -> Figure:
    """Accuracy on PrivateTest against multiply-adds of one face, logarithmic.

    Args:
        costs: Rows of the cost sheet; of a network that it lacks, the registry knows the multiply-adds.
        results: Rows of the results; those of PrivateTest and single view are drawn, seeds by their mean.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure, axes = _new_figure(
        "Accuracy against multiply-adds",
        "Across: multiply-adds of one face at the network's own input size. Those of what others ship were not "
        "counted, so the best of them is a line.",
        "their multiply-adds are counted on mien's same network",
    )
    axes.set_xlabel("multiply-adds of one face, millions")
    at = {(spec.name, spec.variant): spec.multiply_adds / 1e6 for spec in NETWORKS}
    at |= {row.key: row.multiply_adds / 1e6 for row in costs}
    best = max(PEERS, key=lambda peer: peer.accuracy)
    label = f"the best that others ship: {best.name}, {best.accuracy:.2%}"
    axes.axhline(best.accuracy * 100, color=GRAY, linewidth=1, linestyle="--", zorder=1, label=label)
    _scatter(figure, axes, _ours(results, at), _papers(at), ())
    return figure


def latency_figure(costs: Sequence[Cost], results: Sequence[Result]) -> Figure:
    """Accuracy on PrivateTest against the latency of one face in ONNX Runtime, logarithmic.

    Args:
        costs: Rows of the cost sheet; a network that it lacks is not drawn.
        results: As for `multiply_adds_figure`.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    threads = " or ".join(sorted({str(row.threads) for row in costs}))
    figure, axes = _new_figure(
        "Accuracy against latency",
        f"Across: median time of one face in ONNX Runtime, threads: {threads}. What others ship runs as it is shipped, "
        "one face at a time on one thread, and was measured on another day on a machine of the same kind.",
        "their time is measured on mien's same network",
    )
    axes.set_xlabel("one face, milliseconds")
    at = {row.key: row.onnx_p50_ms for row in costs}
    peers = [Point(peer.name, 1000 / peer.faces_per_s, peer.accuracy) for peer in PEERS]
    _scatter(figure, axes, _ours(results, at), _papers(at), peers)
    return figure


def _new_figure(headline: str, across: str, theirs: str) -> tuple[Figure, Axes]:
    figure, axes = new_figure(
        SIZE_INCHES,
        headline,
        f"FER2013, {split_and_n('private', 3589)}",
        f"{across} Up: share of PrivateTest's faces that are right. Trained here: single view, mean over the seeds. "
        "The paper's accuracies (Shen and Li, Table 2) are its own, of full-size trainings that mien has not repeated; "
        f"{theirs}.",
    )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.set_ylabel("accuracy, %")
    return figure, axes


def _papers(at: Mapping[tuple[str, str], float]) -> list[Point]:
    return [
        Point(row.network.replace("_masking_reconstruction", " RMRN"), at[row.network, row.variant], row.accuracy)
        for row in TABLE_2
        if (row.network, row.variant) in at
    ]


def _ours(results: Sequence[Result], at: Mapping[tuple[str, str], float]) -> list[Point]:
    """One point a config, its seeds' mean."""
    configs: dict[str, list[Result]] = {}
    for row in results:
        if row.split == "private" and row.view == "single" and (row.network, row.variant) in at:
            configs.setdefault(row.config, []).append(row)
    return [
        Point(
            name.rpartition(":")[2],
            at[rows[0].network, rows[0].variant],
            sum(row.accuracy for row in rows) / len(rows),
        )
        for name, rows in configs.items()
    ]


def _scatter(
    figure: Figure, axes: Axes, ours: Sequence[Point], papers: Sequence[Point], peers: Sequence[Point]
) -> None:
    kinds = (
        ("trained here", ours, "o", ORANGE, 7.5),
        ("the paper's", papers, "D", BLUE, 5.5),
        ("what others ship", peers, "s", GRAY, 5.5),
    )
    for label, points, marker, colour, size in kinds:
        if points:
            axes.plot(
                [point.cost for point in points],
                [point.accuracy * 100 for point in points],
                marker,
                color=colour,
                markersize=size,
                markeredgecolor="white",
                markeredgewidth=0.7,
                label=label,
                zorder=3,
            )
    points = [*ours, *papers, *peers]
    axes.margins(x=0.1, y=0.08)
    if min(point.accuracy for point in points) < FLOOR:
        axes.set_ylim(bottom=FLOOR * 100)
    legend(axes, "upper left")
    named = [point if point.accuracy >= FLOOR else _on_the_edge(axes, point) for point in points]
    _name(figure, axes, named)


def _on_the_edge(axes: Axes, point: Point) -> Point:
    """Marks where a point below FLOOR would be found."""
    axes.plot([point.cost], [FLOOR * 100], "v", color=GRAY, markersize=6, clip_on=False, zorder=3)
    return Point(f"{point.name}, {point.accuracy:.2%}", point.cost, FLOOR)


def _name(figure: Figure, axes: Axes, points: Sequence[Point]) -> None:
    """Writes names beside the points, each where it is near and covers little."""
    figure.draw_without_rendering()  # places depend on the layout
    pixels = axes.transData.transform([(point.cost, point.accuracy * 100) for point in points])
    frame = np.asarray(axes.get_window_extent().extents)
    places = [_places(place, *_size(axes, point.name)) for place, point in zip(pixels, points, strict=True)]
    fixed = np.concatenate([pixels - MARKER_PX, pixels + MARKER_PX], axis=1)
    if key := axes.get_legend():
        fixed = np.vstack([fixed, key.get_window_extent().extents])
    chosen = [each[0] for each in places]
    for _ in range(PASSES):  # each moves away from where the others stand now
        for i, place in enumerate(pixels):
            others = [box for j, box in enumerate(chosen) if j != i]
            lines = [_line(box, pixels[j]) for j, box in enumerate(chosen) if j != i] or [NOWHERE]
            boxes = np.vstack([fixed, *others])
            harms = [_harm(box, place, boxes, np.vstack(lines), frame) for box in places[i]]
            chosen[i] = places[i][int(np.argmin(harms + np.arange(len(harms)) * 0.3))]  # of equals the first
    for point, place, box in zip(points, pixels, chosen, strict=True):
        _write(axes, point, place, box)


def _size(axes: Axes, name: str) -> tuple[float, float]:
    """Width and height of a name, pixels."""
    text = axes.text(0, 0, name, size=SMALL_PT)
    extent = text.get_window_extent()
    text.remove()
    return extent.width, extent.height


def _places(point: Pixels, width: float, height: float) -> list[Pixels]:
    """Boxes where the name of a point may stand: right and left of it, then around it and farther away."""
    places, half = [], np.array([width, height]) / 2
    for away in (0.0, 0.7, 1.5, 2.4, 3.4, 4.5):
        for angle in np.deg2rad((0, 180, 90, -90, 35, -35, 145, -145, 65, -65, 115, -115)):
            across, up = np.cos(angle), np.sin(angle)
            middle = point + (MARKER_PX + 2 + away * height) * np.array([across, up])
            middle += half * (across, up)
            places.append(np.concatenate([middle - half, middle + half]))
    return places


def _harm(box: Pixels, point: Pixels, boxes: Pixels, lines: Pixels, frame: Pixels) -> float:
    """How bad a place for a name is: what it and its line would cover, and then how far it is.

    Args:
        box: Its left, low, right and high end.
        point: What it belongs to, (2,).
        boxes: Names and points that are not to be covered, (M, 4).
        lines: Places on the lines of other names, (L, 2).
        frame: The figure's, as a box.
    """
    line = _line(box, point)
    outside = np.any(box[:2] < frame[:2]) or np.any(box[2:] > frame[2:])
    covered = np.sum(np.all((box[:2] < boxes[:, 2:]) & (boxes[:, :2] < box[2:]), axis=1))
    on_line = np.all((boxes[:, :2] < line[:, None]) & (line[:, None] < boxes[:, 2:]), axis=2)
    crossed = np.sum(np.any(on_line[2:], axis=0))  # the first are at the point itself
    struck = np.any(np.all((box[:2] < lines) & (lines < box[2:]), axis=1))
    distance = np.hypot(*(line[-1] - line[0]))
    return float(1000 * (outside + covered) + 200 * (crossed + struck) + distance)


def _nearest(box: Pixels, point: Pixels) -> Pixels:
    """The place of a box that is nearest to a point."""
    return np.clip(point, box[:2], box[2:])


def _line(box: Pixels, point: Pixels) -> Pixels:
    """Places on the line from a point to its name, (12, 2)."""
    return np.linspace(point, _nearest(box, point), 12)


def _write(axes: Axes, point: Point, place: Pixels, box: Pixels) -> None:
    """Writes a name into its box, with a line to its point where that is not beside it."""
    effects = require("matplotlib.patheffects", "train")
    end = _nearest(box, place)
    left, middle = axes.transData.inverted().transform((box[0], (box[1] + box[3]) / 2)).tolist()
    line = {
        "arrowstyle": "-",
        "color": GRAY,
        "linewidth": 0.6,
        "shrinkA": 0,
        "shrinkB": 3,
        "relpos": tuple((end - box[:2]) / (box[2:] - box[:2])),
    }
    axes.annotate(
        point.name,
        (point.cost, point.accuracy * 100),
        (left, middle),
        size=SMALL_PT,
        color=INK,
        va="center",
        arrowprops=line if np.hypot(*(end - place)) > 2 * MARKER_PX else None,
        path_effects=[effects.withStroke(linewidth=2, foreground="white")],  # where it stands on a line of the grid
    )
