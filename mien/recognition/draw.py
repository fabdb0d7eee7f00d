"""Draws boxes, expressions and confidences on an image."""

from __future__ import annotations

import itertools
from collections.abc import Sequence, Set
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mien.files import MARK, is_replaceable, replaced
from mien.labels import class_colours
from mien.pixels import save_png
from mien.types import Face

BLUR_CELLS, BLUR_WIDTH = 5, 1.3
"""A blurred face has this many cells a side, which tell nobody apart, and covers this many sides of its box."""

MIN_TEXT_PX = 6
"""The smallest legible text, in pixels. If a label would be smaller, only the colour of the box shows the class."""


def annotate(
    image_rgb: NDArray[np.uint8],
    faces: Sequence[Face],
    numbers: Sequence[int | None] | None = None,
    blur: bool = False,
) -> Image.Image:
    """Draws a box around each face on a copy of an image, with the expression and its confidence above or below it.

    A question mark follows an uncertain expression.

    Args:
        image_rgb: (H, W, 3), values 0..255.
        faces: Faces in pixels of this image.
        numbers: The number to write before each expression; None writes none.
        blur: Whether to blur the faces, so that nobody can be recognised by them.
    """
    image = Image.fromarray(image_rgb)
    for face in faces if blur else ():
        _blur(image, face)
    draw = ImageDraw.Draw(image)
    for face in faces:
        x0, y0, x1, y1 = map(round, face.box.xyxy)
        line_px = max(2, round(min(*image.size, 10 * face.box.width) / 250))
        draw.rectangle((x0, y0, max(x0, x1 - 1), max(y0, y1 - 1)), outline=_colour(face), width=line_px)
    for face, number in zip(faces, numbers or [None] * len(faces), strict=True):  # last, so that no box covers a label
        _draw_label(draw, image.size, face, number)
    return image


def _blur(image: Image.Image, face: Face) -> None:
    """Replaces a face and its surroundings by a few cells of their mean colours."""
    x, y, half = (face.box.x0 + face.box.x1) / 2, (face.box.y0 + face.box.y1) / 2, face.box.width * BLUR_WIDTH / 2
    x0, y0 = max(0, round(x - half)), max(0, round(y - half))
    x1, y1 = min(image.width, round(x + half)), min(image.height, round(y + half))
    if x1 > x0 and y1 > y0:
        cells = image.crop((x0, y0, x1, y1)).resize((BLUR_CELLS, BLUR_CELLS), Image.Resampling.BOX)
        image.paste(cells.resize((x1 - x0, y1 - y0), Image.Resampling.BILINEAR), (x0, y0))


def save(image: Image.Image, folder: Path, stem: str, reserved: Set[Path]) -> Path:
    """Writes an annotated picture as `STEM-faces.jpg`, either completely or not at all.

    A file of that name that mien has not written stays, and the picture gets a name with a number.

    Args:
        image: RGB.
        folder: An existing folder.
        stem: The name of the original picture without its suffix.
        reserved: Resolved paths that must not be overwritten; if needed, a number is added to the name.

    Returns:
        The path of the file.

    Raises:
        OSError: The folder is not writable, or a side of the image is longer than JPEG's limit of 65,500 pixels.
    """
    names = itertools.chain([f"{stem}-faces.jpg"], (f"{stem}-faces-{number}.jpg" for number in itertools.count(2)))
    resolved = folder.resolve()
    path = folder / next(name for name in names if resolved / name not in reserved and is_replaceable(resolved / name))
    save_as(image, path)
    return path


def save_as(image: Image.Image, path: Path) -> None:
    """Writes an annotated picture as PNG or JPEG, by the suffix of the path, either completely or not at all.

    Args:
        image: RGB.
        path: The file.

    Raises:
        OSError: The folder is not writable, or a side of the image is longer than JPEG's limit of 65,500 pixels.
    """
    if path.suffix.lower() == ".png":
        save_png(image, path)
        return
    with replaced(path) as part:
        image.save(part, "JPEG", quality=92, comment=MARK)


def _colour(face: Face) -> str:
    return class_colours(tuple(face.expression.probabilities))[face.expression.name]


def _draw_label(draw: ImageDraw.ImageDraw, size_px: tuple[int, int], face: Face, number: int | None) -> None:
    """Draws a label above the box; or below it, or else inside it at the top, if there is no room.

    Args:
        draw: Draws on the image.
        size_px: Width and height of the image.
        face: The face.
        number: The number to write before the expression, if any.
    """
    image_width, image_height = size_px
    shorter_side = min(size_px)
    question_mark = "?" if face.expression.uncertain else ""
    prefix = "" if number is None else f"{number} "
    text = f"{prefix}{face.expression.name}{question_mark} {face.expression.confidence:.0%}"
    # In proportion to the face, but legible when the whole image is viewed, and not wider than the image.
    text_px = round(np.clip(face.box.width / 7, max(11, shorter_side / 100), max(11, shorter_side / 20)))
    while draw.textlength(text, ImageFont.load_default(text_px)) + text_px / 2 > image_width:
        text_px -= 1
        if text_px < MIN_TEXT_PX:
            return
    font, padding = ImageFont.load_default(text_px), text_px / 4
    _, top, _, bottom = draw.textbbox((0, 0), "hy", font)  # the same for every text, so labels have the same height
    width = round(draw.textlength(text, font) + 2 * padding)
    height = round(bottom - top + 2 * padding)
    x0, y0, _, y1 = map(round, face.box.xyxy)
    y = y0 - height
    if y < 0:
        y = y1 if y1 + height <= image_height else y0
    x, y = max(0, min(x0, image_width - width)), max(0, min(y, image_height - height))
    colour = _colour(face)
    draw.rectangle((x, y, x + width - 1, y + height - 1), fill=colour)
    draw.text((x + padding, y + padding - top), text, "black" if _is_bright(colour) else "white", font)


def _is_bright(colour: str) -> bool:
    """Returns whether black text has more contrast on a colour than white, which starts at a luminance of 0.18."""
    red, green, blue = ((int(colour[i : i + 2], 16) / 255) ** 2.2 for i in (1, 3, 5))
    return bool(0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.18)
