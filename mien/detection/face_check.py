"""A second look at the candidates of a detector: CenterFace (Xu et al., arXiv:1911.03599) scores each one, enlarged."""

from __future__ import annotations

import cmath
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.detection.tilt import tilt_deg, wrapped_deg
from mien.models.session import open_session

MODEL = Path(__file__).parents[1] / "models" / "zoo" / "centerface.onnx"

SIZE = 96
"""Height and width of a view, in pixels."""

WIDTHS = (1.6, 2.0, 2.5)
"""Sides of the views of a candidate, in sides of its square. The first and the last view are mirrored. A view is no
larger than the longer side of the image, unless the candidate is."""

LANDMARKS = ("right_eye", "left_eye", "nose", "mouth_right", "mouth_left")
"""The landmarks in the network's order."""

MAX_SIDE_PX = 32
"""Candidates count as no larger than this. Faces of animals, dolls and statues are rarely small in a photograph, so a
small candidate needs less of a score."""

SLOPE, SIZE_SLOPE, INTERCEPT = 2.572, -2.801, 10.437
"""The logistic regression on `features` (tools/fit_face_check.py)."""

_BATCH = 32


class Checked(NamedTuple):
    """What the second look says about candidates.

    Attributes:
        probabilities: (N,) in [0, 1] that the candidate is a face of a person; 0.5 is where two of a hundred
            photographs of animals and objects have a false face.
        tilts_deg: (N,) tilt of the face in degrees clockwise, -180 to 180, as `mien.detection.tilt.tilt_deg` gives it.
    """

    probabilities: NDArray[np.float64]
    tilts_deg: NDArray[np.float64]


class FaceCheck:
    """Looks a second time at candidates: whether each is a face of a person, and how it is tilted.

    Args:
        threads: CPU threads; None lets ONNX Runtime use every core.

    Raises:
        WeightsError: The model file in the package is missing or damaged.
    """

    def __init__(self, threads: int | None = None) -> None:
        self._session = open_session(MODEL, threads)

    def __call__(
        self, image_rgb: NDArray[np.uint8], squares: NDArray[np.float64], angles_deg: NDArray[np.float64]
    ) -> Checked:
        """Checks the candidates in one image.

        Args:
            image_rgb: (H, W, 3), values 0..255.
            squares: (N, 4) the square x0, y0, x1, y1 of each candidate, in pixels, as `Detection` describes it.
            angles_deg: (N,) degrees counterclockwise by which each view is turned.

        Returns:
            The probability and the tilt of each candidate in the image.
        """
        if not len(squares):
            return Checked(np.zeros(0), np.zeros(0))
        scores, points = self.look(image_rgb, squares, angles_deg)
        tilts = [
            angle + _mean_tilt_deg(view_points, view_scores)
            for angle, view_points, view_scores in zip(angles_deg, points, scores, strict=True)
        ]
        probabilities = face_probability(scores.mean(axis=1), squares[:, 2] - squares[:, 0])
        return Checked(probabilities, wrapped_deg(np.array(tilts)))

    def look(
        self, image_rgb: NDArray[np.uint8], squares: NDArray[np.float64], angles_deg: NDArray[np.float64]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Runs the network on the views of candidates; see `__call__`.

        Returns:
            (N, V) scores in [0, 1] and (N, V, 5, 2) landmarks x, y of the views, in pixels from an
            unknown point.
        """
        inputs = views(image_rgb, squares, angles_deg)
        starts = range(0, len(inputs), _BATCH)
        outputs = [self._session.run(["scores", "landmarks"], {"views": inputs[i : i + _BATCH]}) for i in starts]
        scores, points = (np.concatenate(arrays) for arrays in zip(*outputs, strict=True))
        return scores.reshape(-1, len(WIDTHS)), points.reshape(-1, len(WIDTHS), len(LANDMARKS), 2)


def _mean_tilt_deg(points: NDArray[np.float32], scores: NDArray[np.float32]) -> float:
    """Returns the mean tilt of the views of one candidate, weighted by their scores.

    Args:
        points: (V, 5, 2) landmarks of each view, in pixels.
        scores: (V,) in [0, 1].
    """
    total = 0j
    for i, (view_points, score) in enumerate(zip(points.tolist(), scores.tolist(), strict=True)):
        angle = math.radians(tilt_deg(dict(zip(LANDMARKS, view_points, strict=True))))
        total += score * cmath.exp(-1j * angle if _is_mirrored(i) else 1j * angle)
    return math.degrees(cmath.phase(total))


def _is_mirrored(view: int) -> bool:
    return view % 2 == 0


def views(
    image_rgb: NDArray[np.uint8], squares: NDArray[np.float64], angles_deg: NDArray[np.float64]
) -> NDArray[np.float32]:
    """Crops the views of each candidate from an image; what lies outside the image is black.

    Args:
        image_rgb: (H, W, 3), values 0..255.
        squares: (N, 4) x0, y0, x1, y1 in pixels.
        angles_deg: (N,) degrees counterclockwise by which the views of each candidate are turned.

    Returns:
        (N * len(WIDTHS), 3, SIZE, SIZE) the views of the first candidate, then those of the next, values 0..255.
    """
    image = Image.fromarray(image_rgb)
    result = np.empty((len(squares) * len(WIDTHS), 3, SIZE, SIZE), np.float32)
    rows = iter(result)
    for (x0, y0, x1, y1), angle_deg in zip(squares.tolist(), angles_deg.tolist(), strict=True):
        for i, width in enumerate(WIDTHS):
            # Where a face fills its picture, a wider view would show little but black.
            side = min((x1 - x0) * width, max(x1 - x0, *image.size))
            view = _view(image, ((x0 + x1) / 2, (y0 + y1) / 2), side, angle_deg)
            next(rows)[:] = (view[:, ::-1] if _is_mirrored(i) else view).transpose(2, 0, 1)
    return result


def _view(image: Image.Image, centre: tuple[float, float], side: float, angle_deg: float) -> NDArray[np.uint8]:
    """Crops a square, turns it around its centre and scales it to (SIZE, SIZE, 3)."""
    size = SIZE if not angle_deg else math.ceil(SIZE * math.sqrt(2) / 2) * 2  # holds every turn of the square
    half = side / 2 * size / SIZE
    x, y = centre
    region = image.crop((round(x - half), round(y - half), round(x + half), round(y + half)))
    view = region.resize((size, size), Image.Resampling.BILINEAR, reducing_gap=2)
    margin = (size - SIZE) // 2
    turned = np.asarray(view.rotate(angle_deg, Image.Resampling.BILINEAR) if angle_deg else view)
    return turned[margin : margin + SIZE, margin : margin + SIZE]


def face_probability(scores: NDArray[np.floating], sides_px: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turns the network's mean score of a candidate and its size into a probability.

    Args:
        scores: (N,) in [0, 1].
        sides_px: (N,) sides of the candidates' squares, in pixels.
    """
    odds = features(scores, sides_px) @ np.array([SLOPE, SIZE_SLOPE]) + INTERCEPT
    return np.asarray(1 / (1 + np.exp(-odds)))


def features(scores: NDArray[np.floating], sides_px: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns what the probability depends on: (N, 2) log-odds of the score, and logarithm of the side."""
    return np.stack([np.log((scores + 0.02) / (1.02 - scores)), np.log(np.minimum(sides_px, MAX_SIDE_PX))], axis=1)
