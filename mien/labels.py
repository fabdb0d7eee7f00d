"""Names, orders and colours of the known expressions, and how data sets name and number them."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

EXPRESSIONS: tuple[str, ...] = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""FER2013's seven classes in its order: the default classes of a data set and the classes of the shipped models."""

EIGHT_EXPRESSIONS = (*EXPRESSIONS, "contempt")
"""The seven and contempt, which FER+ and AffectNet have too."""

COLOURS = {
    "angry": "#d62728",
    "disgust": "#2ca02c",
    "fear": "#9467bd",
    "happy": "#ff9d00",
    "sad": "#1f77b4",
    "surprise": "#e377c2",
    "neutral": "#7f7f7f",
    "contempt": "#8c564b",
}
"""Class name -> assigned colour, for every figure, table and box. `class_colours` also covers other names."""

_FREE_COLOURS = ("#17becf", "#bcbd22", "#4b4fd1", "#00886b", "#a8324a", "#5fa8f0", "#c44e9d", "#b58900")
"""Colours for names without an assigned one."""

SPLITS = ("training", "public", "private")
"""FER2013's splits: to train on, to choose on, and to publish."""

USAGES = {"Training": "training", "PublicTest": "public", "PrivateTest": "private"}
"""FER2013's own split names, from its CSV column and its picture file names -> split."""

FERPLUS_COLUMNS = {
    "neutral": "neutral",
    "happiness": "happy",
    "surprise": "surprise",
    "sadness": "sad",
    "anger": "angry",
    "disgust": "disgust",
    "fear": "fear",
    "contempt": "contempt",
}
"""FER+ vote column -> class."""

FERPLUS_OTHERS = ("unknown", "NF")
"""FER+ vote columns that are not expressions; NF means no face."""

SYNONYMS = {name: name for name in EIGHT_EXPRESSIONS} | {
    "anger": "angry",
    "disgusted": "disgust",
    "fearful": "fear",
    "happiness": "happy",
    "sadness": "sad",
    "surprised": "surprise",
}
"""Label in lower case -> known expression."""

NUMBERINGS = {
    "fer2013": dict(enumerate(EXPRESSIONS)),
    "affectnet": dict(enumerate(("neutral", "happy", "sad", "surprise", "fear", "disgust", "angry", "contempt"))),
    "raf-db": dict(enumerate(("surprise", "fear", "disgust", "happy", "sad", "angry", "neutral"), start=1)),
}
"""Data set -> class number -> expression."""

RESERVED_NAMES = frozenset(
    {"path", "width", "height", "error", "face", "time_s", "frame", "track"}
    | {"x0", "y0", "x1", "y1", "score", "expression", "confidence", "uncertain"}
)
"""Columns of mien's tables of faces, which have another column for each class."""


def known_expression(label: str) -> str | None:
    """Returns the known expression that a label names, or None if it names none. Numbers name none."""
    return SYNONYMS.get(label.lower())


def class_colours(classes: Sequence[str]) -> dict[str, str]:
    """Returns a colour for each class of a list, as #rrggbb.

    A name in COLOURS has its assigned colour. Any other name starts at a place in a palette that depends on the name
    alone and takes the first colour there that no class before it has, so that a model always shows the same colours.
    Colours repeat only where there are more classes than colours.
    """
    colours = {name: COLOURS[name] for name in classes if name in COLOURS}
    for name in classes:
        if name not in colours:
            start = zlib.crc32(name.encode("utf-8", "surrogatepass")) % len(_FREE_COLOURS)
            palette = (*_FREE_COLOURS[start:], *_FREE_COLOURS[:start], *COLOURS.values())
            colours[name] = next((colour for colour in palette if colour not in colours.values()), palette[0])
    return {name: colours[name] for name in classes}
