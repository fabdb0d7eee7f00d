"""The detector `none`: every image is one face that was cropped beforehand."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mien.detection.base import Detection, check_rgb
from mien.types import Box


class WholeImage:
    """Returns one face that covers the whole image."""

    def __call__(self, image_rgb: NDArray[np.uint8]) -> tuple[Detection, ...]:
        """See `mien.detection.base.Detector`. The score is 1 and there are no landmarks."""
        check_rgb(image_rgb)
        height, width, _ = image_rgb.shape
        return (Detection(Box(0, 0, width, height), {}, 1.0),)
