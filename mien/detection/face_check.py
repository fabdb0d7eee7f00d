"""A second look at the candidates of a detector: CenterFace (Xu et al., arXiv:1911.03599) scores each one, enlarged."""

from __future__ import annotations

import cmath
import math
from collections.abc import Sequence
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

DOUBTFUL = (0.02, 0.97)
"""A candidate whose probability in the first view is between these is looked at in the others, too. With all views of
all candidates, no more people are told from animals and objects (results/LOG.md)."""

LANDMARKS = ("right_eye", "left_eye", "nose", "mouth_right", "mouth_left")
"""The landmarks in the network's order."""

MAX_SIDE_PX = 32
"""Candidates count as no larger than this. Faces of animals, dolls and statues are rarely small in a photograph, so a
small candidate needs less of a score."""

SLOPE, SIZE_SLOPE, INTERCEPT = 2.572, -2.801, 10.437
"""The logistic regression on `features` (tools/fit_face_check.py)."""

CROP_SLOPE, CROP_INTERCEPT = 2.416, 4.572
"""The logistic regression of `FaceCheck.crop_probability` (tools/fit_crop_check.py)."""

_BATCH = 32


class View(NamedTuple):
    """A square view of a candidate.

    Attributes:
        width: The side in sides of the candidate's square. It is no larger than the longer side of the image, unless
            the candidate is.
        is_mirrored: Whether left and right are exchanged.
    """

    width: float
    is_mirrored: bool


VIEWS = (View(2.0, False), View(1.6, True), View(2.5, True))


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
        device: See `mien.models.devices.candidates`.

    Raises:
        WeightsError: The model file in the package is missing or damaged.
        ConfigError: The device is not there, or cannot run the network.
    """

    def __init__(self, threads: int | None = None, device: str | None = None) -> None:
        self._session = open_session(MODEL, threads, device)

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
        sides_px = squares[:, 2] - squares[:, 0]
        scores, points = self.look(image_rgb, squares, angles_deg, VIEWS[:1])
        probabilities = face_probability(scores[:, 0], sides_px)
        tilts_deg = angles_deg + _mean_tilts_deg(points, scores)
        rows = np.flatnonzero((probabilities > DOUBTFUL[0]) & (probabilities < DOUBTFUL[1]))
        if len(rows):
            more_scores, more_points = self.look(image_rgb, squares[rows], angles_deg[rows], VIEWS[1:])
            scores = np.concatenate([scores[rows], more_scores], axis=1)
            points = np.concatenate([points[rows], more_points], axis=1)
            probabilities[rows] = face_probability(scores.mean(axis=1), sides_px[rows])
            tilts_deg[rows] = angles_deg[rows] + _mean_tilts_deg(points, scores)
        return Checked(probabilities, wrapped_deg(tilts_deg))

    def crop_probability(self, image_rgb: NDArray[np.uint8]) -> float:
        """Returns how probable it is that an image (H, W, 3) shows one face and little else, in [0, 1].

        One in a hundred of FER2013's training faces is below 0.5.
        """
        odds = CROP_SLOPE * log_odds(np.array(self.crop_score(image_rgb))) + CROP_INTERCEPT
        return float(1 / (1 + np.exp(-odds)))

    def crop_score(self, image_rgb: NDArray[np.uint8]) -> float:
        """Returns the network's score of a whole image (H, W, 3), values 0..255, in [0, 1]."""
        height, width, _ = image_rgb.shape
        whole = np.array([[0.0, 0.0, width, height]])
        scores, _ = self.look(image_rgb, whole, np.zeros(1), VIEWS[:1])
        return float(scores[0, 0])

    def look(
        self,
        image_rgb: NDArray[np.uint8],
        squares: NDArray[np.float64],
        angles_deg: NDArray[np.float64],
        kinds: Sequence[View] = VIEWS,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Runs the network on views of candidates; see `__call__` and `views`.

        Returns:
            (N, V) scores in [0, 1] and (N, V, 5, 2) landmarks x, y of the views, in pixels from an
            unknown point.
        """
        inputs = views(image_rgb, squares, angles_deg, kinds)
        starts = range(0, len(inputs), _BATCH)
        outputs = [self._session.run(["scores", "landmarks"], {"views": inputs[i : i + _BATCH]}) for i in starts]
        scores, points = (np.concatenate(arrays) for arrays in zip(*outputs, strict=True))
        points = points.reshape(-1, len(kinds), len(LANDMARKS), 2)
        return scores.reshape(-1, len(kinds)), points


def _mean_tilts_deg(points: NDArray[np.float32], scores: NDArray[np.float32]) -> NDArray[np.float64]:
    """Returns the mean tilts of candidates in the first of `VIEWS`, weighted by the scores of the views.

    Args:
        points: (N, V, 5, 2) landmarks of each view, in pixels.
        scores: (N, V) in [0, 1].
    """
    tilts = [
        sum(
            score * cmath.exp((-1j if view.is_mirrored else 1j) * math.radians(_tilt_deg(landmarks)))
            for view, landmarks, score in zip(VIEWS, view_points, view_scores, strict=False)
        )
        for view_points, view_scores in zip(points.tolist(), scores.tolist(), strict=True)
    ]
    return np.asarray(np.degrees(np.angle(np.array(tilts, np.complex128))))


def _tilt_deg(landmarks: Sequence[Sequence[float]]) -> float:
    return tilt_deg(dict(zip(LANDMARKS, landmarks, strict=True)))


def views(
    image_rgb: NDArray[np.uint8],
    squares: NDArray[np.float64],
    angles_deg: NDArray[np.float64],
    kinds: Sequence[View] = VIEWS,
) -> NDArray[np.float32]:
    """Crops views of each candidate from an image; what lies outside the image is black.

    Args:
        image_rgb: (H, W, 3), values 0..255.
        squares: (N, 4) x0, y0, x1, y1 in pixels.
        angles_deg: (N,) degrees counterclockwise by which the views of each candidate are turned.
        kinds: The views.

    Returns:
        (N * len(kinds), 3, SIZE, SIZE) the views of the first candidate, then those of the next, values 0..255.
    """
    image = Image.fromarray(image_rgb)
    result = np.empty((len(squares) * len(kinds), 3, SIZE, SIZE), np.float32)
    rows = iter(result)
    for (x0, y0, x1, y1), angle_deg in zip(squares.tolist(), angles_deg.tolist(), strict=True):
        for kind in kinds:
            # Where a face fills its picture, a wider view would show little but black.
            side = min((x1 - x0) * kind.width, max(x1 - x0, *image.size))
            view = _view(image, ((x0 + x1) / 2, (y0 + y1) / 2), side, angle_deg)
            next(rows)[:] = (view[:, ::-1] if kind.is_mirrored else view).transpose(2, 0, 1)
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
    return np.stack([log_odds(scores), np.log(np.minimum(sides_px, MAX_SIDE_PX))], axis=1)


def log_odds(scores: NDArray[np.floating]) -> NDArray[np.float64]:
    """Returns the logarithms of the odds of scores in [0, 1], which 0.02 keeps finite."""
    return np.asarray(np.log((scores + 0.02) / (1.02 - scores)))
