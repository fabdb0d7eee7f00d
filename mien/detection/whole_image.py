"""The detectors `none` and `auto`: an image as one face that was cropped beforehand."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mien.detection.base import Detection, Detector, check_rgb, detector_for_video
from mien.detection.face_check import FaceCheck
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
    """Returns one face that covers the whole image.

    Args:
        threads: CPU threads; None lets ONNX Runtime use every core.
    """

    def __init__(self, threads: int | None = None) -> None:
        self._check = FaceCheck(threads)

    def __call__(self, image_rgb: NDArray[np.uint8]) -> tuple[Detection, ...]:
        """See `mien.detection.base.Detector`. There are no landmarks, and the score may be anything in [0, 1]."""
        check_rgb(image_rgb)
        height, width, _ = image_rgb.shape
        return (Detection(Box(0, 0, width, height), {}, self._check.crop_probability(image_rgb)),)


class WholeImageIfNoFace:
    """Returns the faces of another detector, or the whole of a small square image in which it finds none.

    Args:
        detector: The other detector.
        whole_image: What takes the whole of an image.
    """

    def __init__(self, detector: Detector, whole_image: WholeImage) -> None:
        self._detector = detector
        self._whole_image = whole_image

    def __call__(self, image_rgb: NDArray[np.uint8]) -> tuple[Detection, ...]:
        """See `mien.detection.base.Detector`. The whole image has no landmarks."""
        faces = self._detector(image_rgb)
        height, width, _ = image_rgb.shape
        return self._whole_image(image_rgb) if not faces and may_be_crop(width, height) else faces

    def for_video(self) -> Detector:
        """Returns the other detector's version for a video, whose frames are never one cropped face."""
        return detector_for_video(self._detector)
