"""Crops faces: the only way from an image and its detections to the faces that a network classifies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from mien.detection.base import Detection
from mien.detection.tilt import turn_deg
from mien.preprocess import crop_turned
from mien.recognition.photo import to_gray
from mien.types import Face


def crop_faces(image_rgb: NDArray[np.uint8], faces: Sequence[Detection | Face]) -> list[NDArray[np.uint8]]:
    """Crops faces for `Recognizer.classify_crops`.

    Args:
        image_rgb: (H, W, 3), values 0..255.
        faces: Faces in pixels of this image.

    Returns:
        A gray square (side, side) for each face, in order, values 0..255.
    """
    if not faces:
        return []
    gray = to_gray(image_rgb)
    return [crop_face(gray, face) for face in faces]


def crop_face(image: NDArray[np.uint8], face: Detection | Face) -> NDArray[np.uint8]:
    """Crops the square that `mien.detection.base.Detection` describes; outside the image, the edge pixels repeat.

    A face that is tilted is turned upright around the centre of its square; see `mien.detection.tilt.turn_deg`.

    Args:
        image: (H, W) or (H, W, 3), values 0..255.
        face: A face in pixels of this image.

    Returns:
        (side, side) or (side, side, 3), values 0..255. A large face that is turned is reduced.
    """
    return crop_turned(image, face.box, turn_deg(face.landmarks))
