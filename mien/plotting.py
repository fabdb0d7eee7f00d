"""The common look of all figures: sizes, colours, title and caption; and writing them as PNG files."""

from __future__ import annotations

import textwrap
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mien.errors import ConfigError, require
from mien.files import MARK, printable, replaced
from mien.labels import USAGES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

LABEL_PT, SMALL_PT = 9.5, 8.0
INK, GRAY, RULE = "#222222", "#666666", "#dddddd"
BLUE, ORANGE = "#1f77b4", "#e8590c"
_TITLE_PT, _DPI = 12.0, 160
_SPLIT_NAMES = {split: usage for usage, split in USAGES.items()}


def save(figure: Figure, path: Path, metadata: Mapping[str, str] | None = None) -> Path:
    """Writes a figure as a PNG file with mien's mark, atomically.

    Args:
        figure: The figure.
        path: The file to write.
        metadata: Text chunks of the PNG file, key -> text.

    Returns:
        The path.

    Raises:
        ConfigError: The file's name does not end in .png.
        OSError: The folder cannot be written.
    """
    if path.suffix.lower() != ".png":
        raise ConfigError(f"the name of a figure's file must end in .png, got {path.name[-80:]}")
    with replaced(path) as part, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")  # a class may have any name
        figure.savefig(part, format="png", dpi=_DPI, facecolor="white", metadata={"Software": MARK, **(metadata or {})})
    return path


def new_figure(
    inches: tuple[float, float],
    headline: str,
    subtitle: str,
    caption: str,
    mosaic: Any = None,
    **subplots: Any,
) -> tuple[Figure, Any]:
    """Makes an empty figure with a title, a subtitle and a caption.

    Args:
        inches: Width, and height without the caption.
        headline: What the figure shows.
        subtitle: The network and the faces.
        caption: What the axes mean.
        mosaic: Names of the axes by row, as `Figure.subplot_mosaic` takes them, for axes that are not a plain grid.
        subplots: Arguments of `Figure.subplots` or `Figure.subplot_mosaic`.

    Returns:
        The figure, and its Axes: a single one, an array, or a dictionary by name for a mosaic.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    figure_module, layout = require("matplotlib.figure", "figures"), require("matplotlib.layout_engine", "figures")
    headline, subtitle, caption = map(printable, (headline, subtitle, caption))
    width = inches[0]
    subtitle_lines = textwrap.wrap(subtitle, int((width - 0.3) * 13.5))  # characters per inch at these text sizes
    caption_lines = textwrap.wrap(caption, int((width - 0.3) * 15.5))
    above, below = 0.5 + 0.17 * len(subtitle_lines), 0.22 + 0.155 * len(caption_lines)
    height = inches[1] + below + 0.1
    figure: Figure = figure_module.Figure(figsize=(width, height), dpi=_DPI)
    rect = (0.06 / width, below / height, 1 - 0.14 / width, 1 - (below + above) / height)
    figure.set_layout_engine(layout.ConstrainedLayoutEngine(rect=rect, w_pad=0.06, h_pad=0.06))

    def write(y: float, text: str, **style: Any) -> None:
        figure.text(0.15 / width, y, text, parse_math=False, **style)  # a file's name may contain dollar signs

    write(1 - 0.12 / height, headline, size=_TITLE_PT, weight="bold", va="top", color=INK)
    write(1 - 0.39 / height, "\n".join(subtitle_lines), size=LABEL_PT, va="top", color=GRAY)
    write(0.1 / height, "\n".join(caption_lines), size=SMALL_PT, va="bottom", color=GRAY, linespacing=1.25)
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


def legend(axes: Axes, location: Literal["best", "lower left", "lower right", "upper left"]) -> None:
    """Adds a legend of the labelled lines and bars."""
    added = axes.legend(loc=location, fontsize=SMALL_PT, frameon=True, framealpha=0.9, edgecolor="none", labelcolor=INK)
    for text in added.get_texts():
        text.set_parse_math(False)


def split_name(split: str) -> str:
    """FER2013's own name of a split, such as PublicTest; other names stay as they are."""
    return _SPLIT_NAMES.get(split, split)


def split_and_n(split: str, n: int) -> str:
    """FER2013's own name of a split, with the number of faces."""
    return f"{split_name(split)} n = {n:,}"
