"""Figures of accuracy against cost: the networks trained here, those of the paper, and those of other packages."""

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
"""Lowest accuracy on the axis, a fraction; a lower point is drawn on the edge, labelled with its accuracy."""

DIGEST_KEY = "Rows"
"""Key of the PNG text chunk that holds `digest`."""

PRIVATE_TEST = 3589
"""Number of faces of PrivateTest; all accuracies in the figures are measured on them."""

POINT_RADIUS_PX = 7
"""Half the side of the square around a point that labels must not cover, pixels."""


@dataclass(frozen=True)
class Point:
    """A network in a figure.

    Attributes:
        name: Its label; variants of a sweep are not labelled.
        cost: Position on the x axis, above 0.
        accuracy: Position on the y axis, a fraction.
    """

    name: str
    cost: float
    accuracy: float


def write(table: Path, costs: Sequence[Cost], results: Sequence[Result]) -> list[Path]:
    """Draws both figures beside the table of costs.

    Args:
        table: The table of costs.
        costs: Its rows.
        results: As for `multiply_adds_figure`.

    Returns:
        The paths of the figures.

    Raises:
        DataError: There are no rows.
        OSError: The folder cannot be written.
    """
    if not costs:
        raise DataError(f"{table} has no row to draw: measure one or more networks first, with mien cost NETWORK")
    metadata = {DIGEST_KEY: digest(costs, results)}
    by_multiply_adds, by_latency = figure_files(table)
    return [
        save(multiply_adds_figure(costs, results), by_multiply_adds, metadata),
        save(latency_figure(costs, results), by_latency, metadata),
    ]


def figure_files(table: Path) -> tuple[Path, Path]:
    """Returns the paths of both figures beside the table."""
    return table.with_name(f"{table.stem}-multiply-adds.png"), table.with_name(f"{table.stem}-latency.png")


def digest(costs: Sequence[Cost], results: Sequence[Result]) -> str:
    """Computes the digest of the drawn rows; each figure stores it, so that a test can detect a stale figure."""
    rows = [row for row in results if row.split == "private" and row.view == "single"]
    return hashlib.sha256(repr([*costs, *rows]).encode()).hexdigest()[:16]


def multiply_adds_figure(costs: Sequence[Cost], results: Sequence[Result]) -> Figure:
    """Draws the accuracy on PrivateTest against the multiply-adds of one face, on a logarithmic axis.

    Args:
        costs: Rows of the table of costs; the multiply-adds of other networks come from the registry.
        results: Rows of the table of results; those on PrivateTest with a single view are drawn, as means over seeds.

    Raises:
        DataError: The results are not of FER2013's PrivateTest.
        MissingExtraError: matplotlib is not installed.
    """
    figure, axes = _new_figure(
        "Accuracy against multiply-adds",
        "x axis: multiply-adds of one face at the network's own input size. They were not counted for other packages, "
        "so the most accurate of these is a line.",
        "their multiply-adds are those of mien's implementation",
    )
    axes.set_xlabel("multiply-adds of one face, millions")
    multiply_adds = {(spec.name, spec.variant): spec.multiply_adds / 1e6 for spec in NETWORKS}
    multiply_adds |= {row.key: row.multiply_adds / 1e6 for row in costs}
    best = max(PEERS, key=lambda peer: peer.accuracy)
    label = f"best other package: {best.name}, {best.accuracy:.2%}"
    axes.axhline(best.accuracy * 100, color=GRAY, linewidth=1, linestyle="--", zorder=1, label=label)
    ours = _own_points(results, lambda row: row.multiply_adds / 1e6)
    _scatter(figure, axes, ours, _paper_points(multiply_adds), ())
    return figure


def latency_figure(costs: Sequence[Cost], results: Sequence[Result]) -> Figure:
    """Draws the accuracy on PrivateTest against the latency of one face in ONNX Runtime, on a logarithmic axis.

    Args:
        costs: Rows of the table of costs; networks without a row, or with other masks or another size, are not drawn.
        results: As for `multiply_adds_figure`.

    Raises:
        DataError: As for `multiply_adds_figure`.
        MissingExtraError: matplotlib is not installed.
    """
    threads = " or ".join(sorted({str(row.threads) for row in costs}))
    figure, axes = _new_figure(
        "Accuracy against latency",
        f"x axis: median latency of one face in ONNX Runtime in float32, threads: {threads}; the shipped 8-bit files "
        "of `small` and `tiny`, whose accuracy is drawn, are faster. Other packages ran as published, one face at a "
        "time on one thread, on another machine, so only large gaps mean much.",
        "their latency is that of mien's implementation",
    )
    axes.set_xlabel("latency of one face, milliseconds")
    latencies = {row.key: row.onnx_p50_ms for row in costs}
    measured = {(row.network, row.variant, row.multiply_adds): row.onnx_p50_ms for row in costs}
    ours = _own_points(results, lambda row: measured.get((row.network, row.variant, row.multiply_adds)))
    peers = [Point(peer.name, 1000 / peer.faces_per_s, peer.accuracy) for peer in PEERS]
    _scatter(figure, axes, ours, _paper_points(latencies), peers)
    return figure


def _new_figure(headline: str, x_axis: str, papers_cost: str) -> tuple[Figure, Axes]:
    figure, axes = new_figure(
        SIZE_INCHES,
        headline,
        f"FER2013, {split_and_n('private', PRIVATE_TEST)}",
        f"{x_axis} y axis: accuracy on PrivateTest. Trained here: single view, mean over the seeds; the variants of a "
        "sweep are named in its own table. Paper: accuracies that Shen and Li report in Table 2 for full-size "
        f"trainings, which mien has not repeated; {papers_cost}.",
    )
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter("{x:,g}")
    axes.set_ylabel("accuracy, %")
    return figure, axes


def _paper_points(costs: Mapping[tuple[str, str], float]) -> list[Point]:
    return [
        Point(row.network.replace("_masking_reconstruction", " RMRN"), costs[row.network, row.variant], row.accuracy)
        for row in TABLE_2
        if (row.network, row.variant) in costs
    ]


def _own_points(results: Sequence[Result], cost_of: Callable[[Result], float | None]) -> list[Point]:
    """Makes one point per config, with the mean over its seeds; configs whose cost is None are left out."""
    configs: dict[str, list[Result]] = {}
    for row in results:
        if row.split != "private" or row.view != "single":
            continue
        if row.n != PRIVATE_TEST:
            raise DataError(
                f"the results must be of FER2013's {PRIVATE_TEST:,} PrivateTest faces, got {row.n:,} for {row.config}: "
                "choose a table of FER2013 with --results"
            )
        configs.setdefault(row.config, []).append(row)
    return [
        Point(name, cost, sum(row.accuracy for row in rows) / len(rows))
        for name, rows in configs.items()
        if (cost := cost_of(rows[0])) is not None
    ]


def _scatter(
    figure: Figure, axes: Axes, ours: Sequence[Point], papers: Sequence[Point], peers: Sequence[Point]
) -> None:
    swept = [point for point in ours if ":" in point.name]  # too many and too close together for labels
    named_ours = [point for point in ours if point not in swept]
    kinds = (
        ("trained here, in a sweep", swept, "o", ORANGE, 4.5),
        ("trained here", named_ours, "o", ORANGE, 7.5),
        ("paper", papers, "D", BLUE, 5.5),
        ("other packages", peers, "s", GRAY, 5.5),
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
    figure.draw_without_rendering()  # the positions of the labels depend on the layout
    _add_labels(axes, named, swept)


def _on_the_edge(axes: Axes, point: Point) -> Point:
    """Marks a point below FLOOR on the edge of the figure."""
    axes.plot([point.cost], [FLOOR * 100], "v", color=GRAY, markersize=6, clip_on=False, zorder=3)
    return Point(f"{point.name}, {point.accuracy:.2%}", point.cost, FLOOR)


def _add_labels(axes: Axes, points: Sequence[Point], unlabelled: Sequence[Point]) -> None:
    """Writes the names beside the points, each at the first position where it covers no other name or point.

    The library adjustText left overlapping names in these figures.
    """
    pixels = axes.transData.transform([(point.cost, point.accuracy * 100) for point in (*points, *unlabelled)]).tolist()
    occupied: list[tuple[float, ...]] = [
        (x - POINT_RADIUS_PX, y - POINT_RADIUS_PX, x + POINT_RADIUS_PX, y + POINT_RADIUS_PX) for x, y in pixels
    ]
    if key := axes.get_legend():
        occupied.append(tuple(key.get_window_extent().extents))
    frame = axes.get_window_extent()
    effects = require("matplotlib.patheffects", "figures")
    for point, (x, y) in zip(points, pixels, strict=False):
        text = axes.text(0, 0, point.name, size=SMALL_PT)
        width, height = text.get_window_extent().width, text.get_window_extent().height
        text.remove()
        right, left = x + 1.5 * POINT_RADIUS_PX, x - 1.5 * POINT_RADIUS_PX - width
        heights = (y + step * height for step in (-0.5, 0.6, -1.6, 1.7, -2.7, 2.8, -3.8, 3.9))
        positions = [
            (start, low, start + width, low + height) for low in heights for start in (right, left, x - width / 2)
        ]
        inside = [each for each in positions if each[0] > frame.x0 and each[2] < frame.x1 and each[1] > frame.y0]
        free = [each for each in inside if not any(_overlap(each, other) for other in occupied)]
        chosen = (free or inside or positions)[0]
        occupied.append(chosen)
        start, low = axes.transData.inverted().transform(chosen[:2]).tolist()
        axes.annotate(
            point.name,
            (point.cost, point.accuracy * 100),
            (start, low),
            size=SMALL_PT,
            color=INK,
            arrowprops={"arrowstyle": "-", "color": GRAY, "linewidth": 0.6, "shrinkA": 0, "shrinkB": 4},
            path_effects=[effects.withStroke(linewidth=2, foreground="white")],  # keeps the text legible on grid lines
        )


def _overlap(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
