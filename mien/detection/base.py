"""The contract of a face detector, and what it returns."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mien.deprecation import moved_names
from mien.errors import ImageError
from mien.types import Box


@dataclass(frozen=True)
class Detection:
    """One detected face.

    Attributes:
        box: The face in pixels, framed like the faces of FER2013: the square with the box's centre and longer side
            reaches from the forehead to the chin. It may extend beyond the image.
        landmarks: Named points of the face, in pixels; empty if the detector finds none. Left and right are the
            person's own: in an upright face that looks at the camera, `right_eye` is on the left of the image.
        score: The detector's confidence, in [0, 1].
    """

    box: Box
    landmarks: Mapping[str, tuple[float, float]]
    score: float


class Detector(Protocol):
    """Anything that finds the faces in an image."""

    def __call__(self, image_rgb: NDArray[np.uint8]) -> tuple[Detection, ...]:
        """Finds the faces in one image.

        Args:
            image_rgb: (H, W, 3), values 0..255.

        Returns:
            The faces in descending order of score, in pixels of this image; empty if there are none.

        Raises:
            ImageError: The array is not an RGB image.
        """
        ...


@runtime_checkable
class SupportsVideo(Protocol):
    """A detector that can use what it found in the previous frames of a video."""

    def for_video(self) -> Detector:
        """Returns a detector with its own state, to be called with the frames of one video in order."""
        ...


def detector_for_video(detector: Detector) -> Detector:
    """Returns the detector's version for one video, or the detector itself if it has none."""
    return detector.for_video() if isinstance(detector, SupportsVideo) else detector


def check_rgb(image_rgb: NDArray[np.uint8]) -> None:
    """Checks that an array is an RGB image.

    Raises:
        ImageError: The array is not (H, W, 3) of uint8, or has no pixels.
    """
    if image_rgb.dtype != np.uint8 or image_rgb.ndim != 3 or image_rgb.shape[2] != 3 or not image_rgb.size:
        raise ImageError(
            f"expected an image of shape (height, width, 3) and type uint8 with at least one pixel, got "
            f"{image_rgb.shape} of {image_rgb.dtype}; convert it to RGB first"
        )


if not TYPE_CHECKING:
    __getattr__ = moved_names(
        __name__,
        {
            "DETECTORS": "mien.detection.registry.DETECTORS",
            "WholePicture": "mien.detection.whole_image.WholeImage",
            "create_detector": "mien.detection.registry.create_detector",
        },
    )
