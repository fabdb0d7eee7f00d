"""Boxes, expressions and confidences on a picture."""

from __future__ import annotations

import itertools
from collections.abc import Sequence, Set
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mien.files import replaced
from mien.labels import class_colours
from mien.types import Face

SMALLEST_TEXT = 6
"""Least height of a legible text, pixels: where there is no room for it the box's colour alone says the class."""


def annotate(
    image_rgb: NDArray[np.uint8], faces: Sequence[Face], numbers: Sequence[int | None] | None = None
) -> Image.Image:
    """A copy of a picture with a box around each face, and its expression and confidence above or below the box.

    An uncertain expression has a question mark.

    Args:
        image_rgb: (H, W, 3), values 0..255.
        faces: In pixels of that picture.
        numbers: What each face is called by, before its expression; None leaves it out.
    """
    picture = Image.fromarray(image_rgb)
    draw = ImageDraw.Draw(picture)
    for face in faces:
        x0, y0, x1, y1 = map(round, face.box.xyxy)
        line = max(2, round(min(*picture.size, 10 * face.box.width) / 250))
        draw.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=_colour(face), width=line)
    for face, number in zip(faces, numbers or [None] * len(faces), strict=True):  # after all boxes: none over a text
        _label(draw, picture, face, number)
    return picture


def save(picture: Image.Image, folder: Path, stem: str, taken: Set[Path]) -> Path:
    """Writes an annotated picture as `STEM-faces.jpg`, whole or not at all.

    Args:
        picture: RGB.
        folder: Exists.
        stem: The name of the picture it was made from, without suffix.
        taken: Files that are not to be replaced, of resolved folders: a number is added to the name then.

    Returns:
        The file.

    Raises:
        OSError: The folder cannot be written, or the picture has more than JPEG's 65,500 pixels to a side.
    """
    names = itertools.chain([f"{stem}-faces.jpg"], (f"{stem}-faces-{number}.jpg" for number in itertools.count(2)))
    place = folder.resolve()
    path = folder / next(name for name in names if place / name not in taken)
    with replaced(path) as part:
        picture.save(part, "JPEG", quality=92)
    return path


def _colour(face: Face) -> str:
    return class_colours(tuple(face.expression.probabilities))[face.expression.name]


def _label(draw: ImageDraw.ImageDraw, picture: Image.Image, face: Face, number: int | None) -> None:
    """Writes above the box, below it where there is no room, and inside at its top where there is none either."""
    doubt = "?" if face.expression.uncertain else ""
    called = "" if number is None else f"{number} "
    text = f"{called}{face.expression.name}{doubt} {face.expression.confidence:.0%}"
    shorter = min(picture.size)
    # In proportion to the face, but still legible where the whole picture is looked at, and no wider than that.
    size = round(np.clip(face.box.width / 7, max(11, shorter / 100), max(11, shorter / 20)))
    while draw.textlength(text, ImageFont.load_default(size)) + size / 2 > picture.width:
        size -= 1
        if size < SMALLEST_TEXT:
            return
    font, pad = ImageFont.load_default(size), size / 4
    _, top, _, bottom = draw.textbbox((0, 0), "hy", font)  # of any text, so that all labels are of one height
    width, height = round(draw.textlength(text, font) + 2 * pad), round(bottom - top + 2 * pad)
    x0, y0, _, y1 = map(round, face.box.xyxy)
    y = y0 - height
    if y < 0:
        y = y1 if y1 + height <= picture.height else y0
    x, y = max(0, min(x0, picture.width - width)), max(0, min(y, picture.height - height))
    draw.rectangle((x, y, x + width - 1, y + height - 1), fill=_colour(face))
    draw.text((x + pad, y + pad - top), text, "black" if _bright(_colour(face)) else "white", font)


def _bright(colour: str) -> bool:
    """Whether black text reads better on a colour than white: from a luminance of 0.18 on its contrast is higher."""
    red, green, blue = ((int(colour[i : i + 2], 16) / 255) ** 2.2 for i in (1, 3, 5))
    return bool(0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18)
