"""Accuracy against cost: mien's networks, the paper's, and what others ship."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mien.errors import DataError, require
from mien.evaluation.results import Result
from mien.experiments.cost import Cost
from mien.experiments.literature import PEERS, TABLE_2
from mien.networks.registry import NETWORKS
from mien.plotting import BLUE, GRAY, INK, ORANGE, SMALL_PT, legend, new_figure, save, split_and_n

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE_INCHES = (9.0, 6.6)
FLOOR = 0.54
"""The lowest accuracy that has room; what is worse stands on the edge with its accuracy in words."""

ROWS = "Rows"
"""The text in a figure's file that holds `digest`."""

PRIVATE_TEST = 3589
"""Faces of it, on which the paper's accuracies and those of others are too."""

ROOM_PX = 7
"""Half of the room that a point takes, pixels."""


@dataclass(frozen=True)
class Point:
    """A network on a figure.

    Attributes:
        name: Written beside it, but for the variants of a sweep.
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
    about = {ROWS: digest(costs, results)}
    return [
        save(multiply_adds_figure(costs, results), table.with_name(f"{table.stem}-multiply-adds.png"), about),
        save(latency_figure(costs, results), table.with_name(f"{table.stem}-latency.png"), about),
    ]


def digest(costs: Sequence[Cost], results: Sequence[Result]) -> str:
    """Of the rows that the figures are drawn of, which each keeps as ROWS: whether it is of today's can be seen."""
    drawn = [row for row in results if row.split == "private" and row.view == "single"]
    return hashlib.sha256(repr([*costs, *drawn]).encode()).hexdigest()[:16]


def multiply_adds_figure(costs: Sequence[Cost], results: Sequence[Result]) -> Figure:
    """Accuracy on PrivateTest against multiply-adds of one face, logarithmic.

    Args:
        costs: Rows of the cost sheet; of a network that it lacks, the registry knows the multiply-adds.
        results: Rows of the results; those of PrivateTest and single view are drawn, seeds by their mean.

    Raises:
        DataError: The results are of other faces than FER2013's PrivateTest.
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
    _scatter(figure, axes, _ours(results, lambda row: row.multiply_adds / 1e6), _papers(at), ())
    return figure


def latency_figure(costs: Sequence[Cost], results: Sequence[Result]) -> Figure:
    """Accuracy on PrivateTest against the latency of one face in ONNX Runtime, logarithmic.

    Args:
        costs: Rows of the cost sheet; a network that it lacks is not drawn, nor one with other masks or size.
        results: As for `multiply_adds_figure`.

    Raises:
        DataError: As `multiply_adds_figure`.
        MissingExtraError: matplotlib is not installed.
    """
    threads = " or ".join(sorted({str(row.threads) for row in costs}))
    figure, axes = _new_figure(
        "Accuracy against latency",
        f"Across: median time of one face in ONNX Runtime in single precision, threads: {threads}; in 8 bits, which "
        "`small` and `tiny` are shipped and scored in, it is less. What others ship runs as it is shipped, one face at "
        "a time on one thread, and was measured elsewhere, so only large gaps mean much.",
        "their time is measured on mien's same network",
    )
    axes.set_xlabel("one face, milliseconds")
    at = {row.key: row.onnx_p50_ms for row in costs}
    measured = {(row.network, row.variant, row.multiply_adds): row.onnx_p50_ms for row in costs}
    ours = _ours(results, lambda row: measured.get((row.network, row.variant, row.multiply_adds)))
    peers = [Point(peer.name, 1000 / peer.faces_per_s, peer.accuracy) for peer in PEERS]
    _scatter(figure, axes, ours, _papers(at), peers)
    return figure


def _new_figure(headline: str, across: str, theirs: str) -> tuple[Figure, Axes]:
    figure, axes = new_figure(
        SIZE_INCHES,
        headline,
        f"FER2013, {split_and_n('private', PRIVATE_TEST)}",
        f"{across} Up: share of PrivateTest's faces that are right. Trained here: single view, mean over the seeds; "
        "the variants of a sweep are named in its own table. "
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


def _ours(results: Sequence[Result], across: Callable[[Result], float | None]) -> list[Point]:
    """One point a config, its seeds' mean, where `across` has a place for its network."""
    configs: dict[str, list[Result]] = {}
    for row in results:
        if row.split != "private" or row.view != "single":
            continue
        if row.n != PRIVATE_TEST:
            raise DataError(
                f"the results of {row.config} are of {row.n:,} faces, and these figures compare accuracies on "
                f"PrivateTest's {PRIVATE_TEST:,}: name a table of FER2013 with --results"
            )
        configs.setdefault(row.config, []).append(row)
    return [
        Point(name, place, sum(row.accuracy for row in rows) / len(rows))
        for name, rows in configs.items()
        if (place := across(rows[0])) is not None
    ]


def _scatter(
    figure: Figure, axes: Axes, ours: Sequence[Point], papers: Sequence[Point], peers: Sequence[Point]
) -> None:
    swept = [point for point in ours if ":" in point.name]  # too many and too near each other to be named
    named_ours = [point for point in ours if point not in swept]
    kinds = (
        ("trained here, in a sweep", swept, "o", ORANGE, 4.5),
        ("trained here", named_ours, "o", ORANGE, 7.5),
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
    named = [
        point if point.accuracy >= FLOOR else _on_the_edge(axes, point) for point in (*named_ours, *papers, *peers)
    ]
    figure.draw_without_rendering()  # places depend on the layout
    _name(axes, named, swept)


def _on_the_edge(axes: Axes, point: Point) -> Point:
    """Marks where a point below FLOOR would be found."""
    axes.plot([point.cost], [FLOOR * 100], "v", color=GRAY, markersize=6, clip_on=False, zorder=3)
    return Point(f"{point.name}, {point.accuracy:.2%}", point.cost, FLOOR)


def _name(axes: Axes, points: Sequence[Point], unnamed: Sequence[Point]) -> None:
    """Writes names beside the points, each at the first of some places where it covers no other name or point.

    A library for this, adjustText, left names on each other here.
    """
    pixels = axes.transData.transform([(point.cost, point.accuracy * 100) for point in (*points, *unnamed)]).tolist()
    taken: list[tuple[float, ...]] = [(x - ROOM_PX, y - ROOM_PX, x + ROOM_PX, y + ROOM_PX) for x, y in pixels]
    if key := axes.get_legend():
        taken.append(tuple(key.get_window_extent().extents))
    frame = axes.get_window_extent()
    effects = require("matplotlib.patheffects", "figures")
    for point, (x, y) in zip(points, pixels, strict=False):
        text = axes.text(0, 0, point.name, size=SMALL_PT)
        width, height = text.get_window_extent().width, text.get_window_extent().height
        text.remove()
        right, left = x + 1.5 * ROOM_PX, x - 1.5 * ROOM_PX - width
        heights = (y + step * height for step in (-0.5, 0.6, -1.6, 1.7, -2.7, 2.8, -3.8, 3.9))
        places = [
            (start, low, start + width, low + height) for low in heights for start in (right, left, x - width / 2)
        ]
        inside = [each for each in places if each[0] > frame.x0 and each[2] < frame.x1 and each[1] > frame.y0]
        free = [each for each in inside if not any(_meet(each, other) for other in taken)]
        chosen = (free or inside or places)[0]
        taken.append(chosen)
        start, low = axes.transData.inverted().transform(chosen[:2]).tolist()
        axes.annotate(
            point.name,
            (point.cost, point.accuracy * 100),
            (start, low),
            size=SMALL_PT,
            color=INK,
            arrowprops={"arrowstyle": "-", "color": GRAY, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 4},
            path_effects=[effects.withStroke(linewidth=2, foreground="white")],  # legible on a line of the grid
        )


def _meet(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
