"""The seven classes: their order, names and colours, and how each data set numbers or names them."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

EXPRESSIONS = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
"""Class names in FER2013's order: the class with id i is EXPRESSIONS[i], everywhere in mien."""

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
"""The splits of FER2013: to train on, to choose on, to publish."""

USAGES = {"Training": "training", "PublicTest": "public", "PrivateTest": "private"}
"""FER2013's own names of the splits, as its CSV column and its picture file names have them."""

FERPLUS_COLUMNS = {
    "neutral": "neutral",
    "happiness": "happy",
    "surprise": "surprise",
    "sadness": "sad",
    "anger": "angry",
    "disgust": "disgust",
    "fear": "fear",
}
"""FER+ vote columns and the class each counts for."""

FERPLUS_OTHERS = ("contempt", "unknown", "NF")
"""FER+ vote columns that have no class here; NF is no face."""

FOLDER_NAMES = {name: name for name in EXPRESSIONS} | {
    "anger": "angry",
    "disgusted": "disgust",
    "fearful": "fear",
    "happiness": "happy",
    "sadness": "sad",
    "surprised": "surprise",
}
"""Names of class folders, in lower case, and the class each means. The digits 0 to 6 are FER2013's ids."""


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


def class_of_folder(name: str) -> str | None:
    """The class that a folder's name stands for, or None where it stands for none."""
    if len(name) == 1 and name.isdecimal() and int(name) < len(EXPRESSIONS):
        return EXPRESSIONS[int(name)]
    return FOLDER_NAMES.get(name.lower())
