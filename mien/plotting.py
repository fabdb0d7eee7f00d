"""How every figure looks: sizes, colours, heading and caption; and how it is written."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mien.errors import ConfigError, require
from mien.files import printable, replaced
from mien.labels import USAGES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABEL_PT, SMALL_PT = 9.5, 8.0
INK, GRAY, RULE = "#222222", "#666666", "#dddddd"
BLUE, ORANGE = "#1f77b4", "#e8590c"
_TITLE_PT, _DPI = 12.0, 160
_SPLIT_NAMES = {split: usage for usage, split in USAGES.items()}


def save(figure: Figure, path: Path, about: Mapping[str, str] | None = None) -> Path:
    """Writes a figure as PNG, whole or not at all.

    Args:
        figure: What to write.
        path: Where.
        about: Texts that the file keeps.

    Returns:
        The path.

    Raises:
        ConfigError: The file's name does not end in .png.
        OSError: The folder cannot be written.
    """
    if path.suffix.lower() != ".png":
        raise ConfigError(f"a figure is written as PNG, so its name must end in .png, got {path.name}")
    with replaced(path) as part:
        figure.savefig(part, format="png", dpi=_DPI, facecolor="white", metadata=about)
    return path


def new_figure(
    inches: tuple[float, float],
    headline: str,
    subtitle: str,
    caption: str,
    mosaic: Any = None,
    **subplots: Any,
) -> tuple[Figure, Any]:
    """A figure with its words above and below, and its axes between them.

    Args:
        inches: Width, and height without the caption.
        headline: What it shows.
        subtitle: Of which network and faces.
        caption: What the axes are.
        mosaic: Lists of names of the axes by row, as `Figure.subplot_mosaic` takes them, where they are no plain grid.
        subplots: Arguments of `Figure.subplots`, or of `Figure.subplot_mosaic`.

    Returns:
        The figure, and one Axes, or an array of them where subplots asks for more, or those of the mosaic by name.
    """
    figure_module, layout = require("matplotlib.figure", "figures"), require("matplotlib.layout_engine", "figures")
    headline, subtitle, caption = map(printable, (headline, subtitle, caption))
    width = inches[0]
    under = textwrap.wrap(subtitle, int((width - 0.3) * 13.5))  # letters an inch at these sizes
    lines = textwrap.wrap(caption, int((width - 0.3) * 15.5))
    above, below = 0.5 + 0.17 * len(under), 0.22 + 0.155 * len(lines)
    height = inches[1] + below + 0.1
    figure: Figure = figure_module.Figure(figsize=(width, height), dpi=_DPI)
    rect = (0.06 / width, below / height, 1 - 0.14 / width, 1 - (below + above) / height)
    figure.set_layout_engine(layout.ConstrainedLayoutEngine(rect=rect, w_pad=0.06, h_pad=0.06))
    across = 0.15 / width
    plain: dict[str, Any] = {"parse_math": False}  # a file's name may have dollars in it
    figure.text(across, 1 - 0.12 / height, headline, size=_TITLE_PT, weight="bold", va="top", color=INK, **plain)
    figure.text(across, 1 - 0.39 / height, "\n".join(under), size=LABEL_PT, va="top", color=GRAY, **plain)
    figure.text(
        across, 0.1 / height, "\n".join(lines), size=SMALL_PT, va="bottom", color=GRAY, linespacing=1.25, **plain
    )
    axes = figure.subplot_mosaic(mosaic, **subplots) if mosaic else figure.subplots(**subplots)
    for each in figure.axes:
        each.spines[["top", "right"]].set_visible(False)
        each.spines[["left", "bottom"]].set_color(GRAY)
        each.grid(True, color=RULE, linewidth=0.6)
        each.set_axisbelow(True)
        each.tick_params(labelsize=SMALL_PT, colors=INK)
        each.xaxis.label.set(size=LABEL_PT, color=INK)
        each.yaxis.label.set(size=LABEL_PT, color=INK)
    return figure, axes


def legend(axes: Axes, place: Literal["best", "lower left", "lower right", "upper left"]) -> None:
    """Adds the legend."""
    drawn = axes.legend(loc=place, fontsize=SMALL_PT, frameon=True, framealpha=0.9, edgecolor="none", labelcolor=INK)
    for text in drawn.get_texts():
        text.set_parse_math(False)


def split_name(split: str) -> str:
    """A split by FER2013's own name."""
    return _SPLIT_NAMES.get(split, split)


def split_and_n(split: str, n: int) -> str:
    """A split by FER2013's own name, with its number of faces."""
    return f"{split_name(split)} n = {n:,}"
