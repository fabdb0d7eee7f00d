"""The seven classes: their order, names and colours, and how each data set numbers or names them."""

from __future__ import annotations

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
}
"""One colour a class for every figure, table and box."""

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


def class_of_folder(name: str) -> str | None:
    """The class that a folder's name stands for, or None where it stands for none."""
    if len(name) == 1 and name.isdecimal() and int(name) < len(EXPRESSIONS):
        return EXPRESSIONS[int(name)]
    return FOLDER_NAMES.get(name.lower())
