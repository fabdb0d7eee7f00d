"""Boxes, expressions and confidences on a picture."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mien.labels import COLOURS
from mien.types import Face


def annotate(image_rgb: NDArray[np.uint8], faces: Sequence[Face]) -> Image.Image:
    """A copy of a picture with a box around each face, and its expression and confidence above or below the box.

    Args:
        image_rgb: (H, W, 3), values 0..255.
        faces: In pixels of that picture.
    """
    picture = Image.fromarray(image_rgb)
    draw = ImageDraw.Draw(picture)
    line = max(2, round(min(picture.size) / 250))
    for face in faces:
        colour = COLOURS.get(face.expression.name, "#ffffff")
        draw.rectangle(face.box.xyxy, outline=colour, width=line)
        _label(draw, picture, face, colour)
    return picture


def _label(draw: ImageDraw.ImageDraw, picture: Image.Image, face: Face, colour: str) -> None:
    size = float(np.clip(face.box.width / 6, 11, max(11, picture.height / 20)))
    font = ImageFont.load_default(size)
    text = f"{face.expression.name} {face.expression.confidence:.0%}"
    pad = size / 4
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    width, height = right - left + 2 * pad, bottom - top + 2 * pad
    x = float(np.clip(face.box.x0, 0, max(0, picture.width - width)))
    y = face.box.y0 - height
    if y < 0:  # no room above the face
        y = min(face.box.y1, picture.height - height)
    draw.rectangle((x, y, x + width, y + height), fill=colour)
    draw.text((x + pad - left, y + pad - top), text, font=font, fill="white" if _dark(colour) else "black")


def _dark(colour: str) -> bool:
    """Whether white text reads better on a colour than black (luma of ITU-R 601)."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return 0.299 * red + 0.587 * green + 0.114 * blue < 150
