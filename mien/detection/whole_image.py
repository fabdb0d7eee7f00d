"""The detectors `none` and `auto`: an image as one face that was cropped beforehand."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mien.detection.base import Detection, Detector, check_rgb, detector_for_video
from mien.types import Box

MAX_CROP_SIDE_PX = 256
"""The longer side of the largest image that `auto` may take as one cropped face, in pixels."""

MAX_CROP_RATIO = 1.25
"""The largest ratio of the sides of such an image."""


def may_be_crop(width: int, height: int) -> bool:
    """Returns whether an image of this size, in pixels, is so small and square that it may be one cropped face."""
    shorter, longer = sorted((width, height))
    return longer <= MAX_CROP_SIDE_PX and longer <= MAX_CROP_RATIO * shorter


class WholeImage:
    """Returns one face that covers the whole image."""

    def __call__(self, image_rgb: NDArray[np.uint8]) -> tuple[Detection, ...]:
        """See `mien.detection.base.Detector`. The score is 1 and there are no landmarks."""
        check_rgb(image_rgb)
        return (_whole(image_rgb, 1.0),)


class WholeImageIfNoFace:
    """Returns the faces of another detector, or the whole of a small square image in which it finds none.

    Args:
        detector: The other detector.
    """

    def __init__(self, detector: Detector) -> None:
        self._detector = detector

    def __call__(self, image_rgb: NDArray[np.uint8]) -> tuple[Detection, ...]:
        """See `mien.detection.base.Detector`. The whole image has the score 0 and no landmarks."""
        faces = self._detector(image_rgb)
        height, width, _ = image_rgb.shape
        return (_whole(image_rgb, 0.0),) if not faces and may_be_crop(width, height) else faces

    def for_video(self) -> Detector:
        """Returns the other detector's version for a video, whose frames are never one cropped face."""
        return detector_for_video(self._detector)


def _whole(image_rgb: NDArray[np.uint8], score: float) -> Detection:
    height, width, _ = image_rgb.shape
    return Detection(Box(0, 0, width, height), {}, score)
