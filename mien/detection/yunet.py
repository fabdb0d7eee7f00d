"""YuNet (Wu, Peng and Yu, Machine Intelligence Research 2023) with a second look: the detector used by default.

YuNet finds nearly every face, and sees some in animals, drawings and folds of cloth. `FaceCheck` looks at each
candidate a second time and gives the score. The browser page repeats this arithmetic in JavaScript.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.detection.base import Detection, check_rgb
from mien.detection.boxes import iou, to_detections, to_fer2013_squares, weighted_nms
from mien.detection.face_check import FaceCheck
from mien.detection.tilt import is_level
from mien.detection.turned_copies import QUARTER_TURNS, TurnedCopies
from mien.errors import WeightsError
from mien.models.session import open_session
from mien.preprocess import crop_turned
from mien.types import Box

MODEL = Path(__file__).parents[1] / "models" / "zoo" / "yunet.onnx"

LANDMARKS = ("right_eye", "left_eye", "nose", "mouth_right", "mouth_left")
"""The landmarks in the network's order; left and right are the person's own."""

STRIDES = (8, 16, 32)
"""Pixels per grid cell of the three outputs; the sides of the input are multiples of the largest stride."""

MAX_INPUT_SIDE = 1280
"""The longer side of the largest input, in pixels. Larger images are downscaled, which bounds time and memory."""

MARGIN, LIFT = -0.03, 0.0
"""See `to_fer2013_squares`; measured on 2,000 training faces, of which YuNet finds 98 %."""

MIN_CANDIDATE_SCORE = 0.5
"""YuNet's lowest score of a candidate, in [0, 1]."""

MIN_TILTED_CANDIDATE_SCORE, MAX_TILTED_CANDIDATES = 0.3, 1
"""YuNet's lowest score of a candidate that the second look finds to be tilted, since the score falls with the tilt, and
how many of those below `MIN_CANDIDATE_SCORE` are looked at, best first."""

MIN_SCORE = 0.5
"""The lowest probability of a face, in [0, 1], as `mien.detection.face_check` gives it."""

NMS_IOU = 0.3
"""Candidates with a larger intersection over union are the same face."""

CERTAIN_SCORE = 0.9
"""Turned copies of the image are searched only if no upright face has this score in both looks. Of 44 upright portraits
32 have it, and of the same portraits turned by a quarter, a half and three quarters, none."""

TURNED_SIDE, MAX_TURNED_SIDE = 192, 640
"""The longer side of the turned copies, in pixels, and that of a thorough search. At 160 pixels, two or three more of
44 portraits are missed (results/LOG.md)."""

GLANCE_SIDE, MIN_GLANCE_SCORE = 112, 0.15
"""The longer side of the copies at which the search glances first, in pixels, and YuNet's lowest score of a candidate
there. A third of photographs of animals and objects have one, and of 126 turned portraits whose face is found at
192 pixels, all (results/LOG.md)."""

MIN_TURNED_CANDIDATE_SCORE = 0.6
"""YuNet's lowest score of a candidate in a turned copy."""

MIN_TILTED_SCORE, MIN_TURN_RATIO = 0.05, 0.9
"""A candidate with the first score or a better one, which seems to be tilted, is looked at again in an upright view. It
is turned if its score falls to no less than the second, as a fraction."""

MIN_TURNED_SCORE = 0.75
"""The lowest probability of a face that is not upright, since there are three chances for a false one."""

CROWD_SIDE, CROWD_FACES = 24, 4
"""Parts of a large image are searched at twice the scale if it has this many faces below this side, in pixels of the
first input: where many faces are small, others are smaller."""

REFINED_WIDTH, MAX_REFINED_SIDE = 2.5, 640
"""A tilted face is searched again in an upright view this many times as wide, of this many pixels at most: YuNet's box
of a tilted face does not frame it as that of an upright one does."""

TILE_OVERLAP = 64
"""Pixels of the input by which neighbouring parts overlap; the largest face that is whole in one of them."""

CHECKED_IOU = 0.5
"""In a video, a candidate that overlaps a checked one of the frame before by more than this keeps its score."""

FRAMES_PER_CHECK = 10
"""Frames of a video after which a candidate is checked again."""


class Candidates(NamedTuple):
    """Possible faces.

    Attributes:
        values: (N, 14) the square x0, y0, x1, y1 and five landmarks x, y, in pixels of the image.
        scores: (N,) in [0, 1].
        angles_deg: (N,) degrees counterclockwise that make each face upright.
    """

    values: NDArray[np.float64]
    scores: NDArray[np.float64]
    angles_deg: NDArray[np.float64]

    def take(self, rows: NDArray[np.bool_] | NDArray[np.int64]) -> Candidates:
        """Returns some of the candidates."""
        return Candidates(*(field[rows] for field in self))


NO_CANDIDATES = Candidates(np.zeros((0, 4 + 2 * len(LANDMARKS))), np.zeros(0), np.zeros(0))


class YuNet:
    """The YuNet detector with a second look at each candidate.

    Faces that are not upright are searched for in copies turned by a quarter, a half and three quarters, unless a
    certain face is upright.

    Args:
        path: The .onnx file; None uses the one in the package.
        threads: CPU threads; None lets ONNX Runtime use every core.
        min_score: The lowest score of a face, in [0, 1].
        thorough: Whether to search any large image in parts, and turned copies at full size.
        device: See `mien.models.devices.candidates`.

    Raises:
        WeightsError: The file is missing, damaged or not YuNet with inputs of any size.
        ConfigError: The device is not there, or cannot run the detector.
    """

    def __init__(
        self,
        path: Path | None = None,
        threads: int | None = None,
        min_score: float = MIN_SCORE,
        thorough: bool = False,
        device: str | None = None,
    ) -> None:
        path = path or MODEL
        self._session = open_session(path, threads, device)
        self._output_names = [f"{kind}_{stride}" for stride in STRIDES for kind in ("cls", "obj", "bbox", "kps")]
        input_shape = self._session.get_inputs()[0].shape
        output_names = {output.name for output in self._session.get_outputs()}
        has_fixed_size = any(isinstance(side, int) for side in input_shape[2:])
        if not output_names >= set(self._output_names) or has_fixed_size:
            raise WeightsError(
                f"{path} is not YuNet for images of any size: expected the outputs {', '.join(self._output_names)} "
                f"and an input of variable height and width, got {', '.join(sorted(output_names))} and "
                f"{input_shape}; use yunet_s_dynamic.onnx or yunet_n_dynamic.onnx"
            )
        self._input_name = self._session.get_inputs()[0].name
        self._check = FaceCheck(threads, device)
        self.min_score = min_score
        self.thorough = thorough

    def __call__(self, image_rgb: NDArray[np.uint8]) -> tuple[Detection, ...]:
        """See `mien.detection.base.Detector`."""
        check_rgb(image_rgb)
        cells = self._cells(image_rgb, MAX_INPUT_SIDE, MIN_TILTED_CANDIDATE_SCORE)
        is_strong = cells.scores >= MIN_CANDIDATE_SCORE
        candidates = self._with_small_faces(image_rgb, merged(cells.take(is_strong)))
        faces = self.check(image_rgb, candidates)
        found = [faces]
        if not (np.minimum(candidates.scores, faces.scores) >= CERTAIN_SCORE).any():
            found += [self._tilted_faces(image_rgb, merged(cells.take(~is_strong))), self._turned_faces(image_rgb)]
        return self.detections(image_rgb, best_of(found))

    def for_video(self) -> YuNetVideo:
        """See `mien.detection.base.SupportsVideo`."""
        return YuNetVideo(self)

    def check(self, image_rgb: NDArray[np.uint8], candidates: Candidates) -> Candidates:
        """Looks at candidates a second time: replaces their scores, and turns those that are tilted."""
        squares, angles_deg = candidates.values[:, :4], candidates.angles_deg.copy()
        scores, tilts_deg = self._check(image_rgb, squares, angles_deg)
        rows = np.flatnonzero(~is_level(tilts_deg - angles_deg) & (scores >= MIN_TILTED_SCORE))
        upright = self._check(image_rgb, squares[rows], tilts_deg[rows])
        as_good = upright.probabilities >= MIN_TURN_RATIO * scores[rows]
        scores[rows[as_good]] = upright.probabilities[as_good]
        angles_deg[rows[as_good]] = upright.tilts_deg[as_good]
        return Candidates(candidates.values, scores, angles_deg)

    def detections(self, image_rgb: NDArray[np.uint8], checked: Candidates) -> tuple[Detection, ...]:
        """Keeps the candidates that are faces, and frames tilted ones as if they were upright."""
        faces = checked.take(checked.scores >= self.min_score)
        framed = to_detections(faces.values, faces.scores, LANDMARKS)
        angles_deg = faces.angles_deg.tolist()
        return tuple(self._refined(image_rgb, face, angle) for face, angle in zip(framed, angles_deg, strict=True))

    def _refined(self, image_rgb: NDArray[np.uint8], face: Detection, angle_deg: float) -> Detection:
        """Searches a tilted face again in an upright view, and returns it in pixels of the image.

        YuNet's box of a tilted face does not frame it as that of an upright one does, and its landmarks hardly tilt.
        """
        if is_level(angle_deg):
            return face
        box, half = face.box, face.box.width * REFINED_WIDTH / 2
        x, y = (box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2
        view_rgb = crop_turned(image_rgb, Box(x - half, y - half, x + half, y + half), angle_deg, MAX_REFINED_SIDE)
        found = self.candidates(view_rgb).values
        scale = 2 * half / len(view_rgb)
        # Relative to the middle of the view, in pixels of the image.
        squares, points = (found[:, :4] - len(view_rgb) / 2) * scale, (found[:, 4:] - len(view_rgb) / 2) * scale
        square = np.array([-1, -1, 1, 1]) * box.width / 2
        overlaps = iou(squares, square)
        if overlaps.max(initial=0) >= NMS_IOU:
            square, landmarks = squares[overlaps.argmax()], points[overlaps.argmax()].reshape(-1, 2)
        else:
            landmarks = np.array(list(face.landmarks.values())) - (x, y)
        angle = math.radians(angle_deg)
        turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])  # y points down
        centre = turn @ (square[:2] + square[2:]) / 2 + (x, y)
        half_side = (square[2] - square[0]) / 2
        box = Box(*(centre - half_side).tolist(), *(centre + half_side).tolist())
        turned = (landmarks @ turn.T + (x, y)).tolist()
        return Detection(box, {name: (px, py) for name, (px, py) in zip(LANDMARKS, turned, strict=True)}, face.score)

    def candidates(
        self, image_rgb: NDArray[np.uint8], max_side: int = MAX_INPUT_SIDE, min_score: float = MIN_CANDIDATE_SCORE
    ) -> Candidates:
        """Runs the network on an image.

        Args:
            image_rgb: (H, W, 3), values 0..255; downscaled if its longer side is above `max_side` pixels.
            max_side: See there.
            min_score: The network's lowest score of a candidate, in [0, 1].
        """
        return merged(self._cells(image_rgb, max_side, min_score))

    def _cells(self, image_rgb: NDArray[np.uint8], max_side: int, min_score: float) -> Candidates:
        """Runs the network; see `candidates`. Returns the candidate of each cell, of which several show one face."""
        height, width, _ = image_rgb.shape
        scale = min(1.0, max_side / max(height, width))
        rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
        if scale < 1:
            image = Image.fromarray(image_rgb)
            image_rgb = np.asarray(image.resize((columns, rows), Image.Resampling.BILINEAR, reducing_gap=2))
        images = np.zeros((1, 3, _padded(rows), _padded(columns)), np.float32)
        images[0, :, :rows, :columns] = image_rgb[:, :, ::-1].transpose(2, 0, 1)  # YuNet was trained on BGR

        outputs = self._session.run(self._output_names, {self._input_name: images})
        decoded = []
        for i, stride in enumerate(STRIDES):
            classes, objects, boxes, points = (output[0] for output in outputs[4 * i : 4 * i + 4])
            decoded.append(_decode(classes, objects, boxes, points, stride, images.shape[3] // stride, min_score))
        all_values, all_scores = zip(*decoded, strict=True)
        values, scores = np.concatenate(all_values), np.concatenate(all_scores)
        values *= np.tile([width / columns, height / rows], values.shape[1] // 2)
        return Candidates(values, scores, np.zeros(len(scores)))

    def _with_small_faces(self, image_rgb: NDArray[np.uint8], whole: Candidates) -> Candidates:
        """Searches the parts of a large image at twice the scale where the candidates in the whole promise more."""
        longer = max(image_rgb.shape[:2])
        if longer <= MAX_INPUT_SIDE:
            return whole
        sides = (whole.values[:, 2] - whole.values[:, 0]) * (MAX_INPUT_SIDE / longer)
        if not self.thorough and (sides < CROWD_SIDE).sum() < CROWD_FACES:
            return whole
        found = [whole]
        for x0, y0, x1, y1 in tiles(image_rgb.shape[1], image_rgb.shape[0]):
            part = self.candidates(np.ascontiguousarray(image_rgb[y0:y1, x0:x1]))
            part.values[:] += np.tile([x0, y0], part.values.shape[1] // 2)
            found.append(part)
        return best_of(found)

    def _tilted_faces(self, image_rgb: NDArray[np.uint8], weak: Candidates) -> Candidates:
        """Checks candidates that are too weak for upright faces, and keeps those that are tilted."""
        faces = self.check(image_rgb, weak.take(np.arange(min(MAX_TILTED_CANDIDATES, len(weak.scores)))))
        return faces.take(~is_level(faces.angles_deg) & (faces.scores >= max(MIN_TURNED_SCORE, self.min_score)))

    def _turned_faces(self, image_rgb: NDArray[np.uint8]) -> Candidates:
        """Searches copies of the image turned by one, two and three quarters, and checks what is found.

        A glance at smaller copies chooses those that are searched, unless the search is thorough.
        """
        quarter_turns: Sequence[int] = QUARTER_TURNS
        if not self.thorough:
            glance = TurnedCopies(image_rgb, GLANCE_SIDE)
            seen = self._cells(glance.canvas_rgb, MAX_INPUT_SIDE, MIN_GLANCE_SCORE)
            quarter_turns = np.unique(glance.turns_of(seen.values)).tolist()
        if not quarter_turns:
            return NO_CANDIDATES
        copies = TurnedCopies(image_rgb, MAX_TURNED_SIDE if self.thorough else TURNED_SIDE, quarter_turns)
        found = self.candidates(copies.canvas_rgb, max(copies.canvas_rgb.shape), MIN_TURNED_CANDIDATE_SCORE)
        angles_deg = copies.turns_of(found.values).astype(np.float64) * 90
        faces = self.check(image_rgb, Candidates(copies.in_image(found.values), found.scores, angles_deg))
        return faces.take(faces.scores >= max(MIN_TURNED_SCORE, self.min_score))


class YuNetVideo:
    """YuNet for the frames of one video, called in order.

    A candidate that stays in its place is checked only every `FRAMES_PER_CHECK` frames. Copies are not turned.

    Args:
        detector: The detector for single images.
    """

    def __init__(self, detector: YuNet) -> None:
        self._detector = detector
        self._previous = NO_CANDIDATES
        self._ages = np.zeros(0, np.int64)

    def __call__(self, image_rgb: NDArray[np.uint8]) -> tuple[Detection, ...]:
        """See `mien.detection.base.Detector`."""
        check_rgb(image_rgb)
        candidates = self._detector.candidates(image_rgb)
        scores, angles_deg = candidates.scores.copy(), candidates.angles_deg.copy()
        ages = np.zeros(len(scores), np.int64)
        for i, square in enumerate(candidates.values[:, :4]):
            overlaps = iou(self._previous.values[:, :4], square)
            if overlaps.max(initial=0) > CHECKED_IOU:
                same = overlaps.argmax()
                scores[i], angles_deg[i] = self._previous.scores[same], self._previous.angles_deg[same]
                ages[i] = (self._ages[same] + 1) % FRAMES_PER_CHECK
        unchecked = ages == 0
        new = self._detector.check(image_rgb, candidates.take(unchecked))
        scores[unchecked], angles_deg[unchecked] = new.scores, new.angles_deg
        self._previous, self._ages = Candidates(candidates.values, scores, angles_deg), ages
        best_first = np.argsort(-scores, kind="stable")
        return self._detector.detections(image_rgb, self._previous.take(best_first))


def tiles(width: int, height: int) -> list[tuple[int, int, int, int]]:
    """Returns the parts x0, y0, x1, y1 of a large image that are searched one by one, in pixels.

    Each part is half as long as the image, and overlaps its neighbours by `TILE_OVERLAP` pixels of the input or more.
    """
    side = -(-max(width, height) // 2)
    side += round(TILE_OVERLAP * side / MAX_INPUT_SIDE)
    columns, rows = ([0, length - side] if length > side else [0] for length in (width, height))
    return [(x0, y0, min(width, x0 + side), min(height, y0 + side)) for y0 in rows for x0 in columns]


def merged(cells: Candidates) -> Candidates:
    """Merges the candidates of neighbouring cells, and makes their boxes squares as `Detection` describes them."""
    values, scores = weighted_nms(cells.values, cells.scores, NMS_IOU)
    values[:, :4] = to_fer2013_squares(values[:, :4], MARGIN, LIFT)
    return Candidates(values, scores, np.zeros(len(scores)))


def best_of(found: Sequence[Candidates]) -> Candidates:
    """Keeps the best of the candidates that overlap, best first. They are not averaged, as their turns may differ."""
    candidates = Candidates(*(np.concatenate(fields) for fields in zip(*found, strict=True)))
    kept: list[int] = []
    for i in np.argsort(-candidates.scores, kind="stable").tolist():
        if not kept or iou(candidates.values[kept, :4], candidates.values[i, :4]).max() <= NMS_IOU:
            kept.append(i)
    return candidates.take(np.array(kept, np.int64))


def _padded(length: int) -> int:
    """Rounds a length up to a multiple of the largest stride."""
    return -(-length // STRIDES[-1]) * STRIDES[-1]


def _decode(
    classes: NDArray[np.float32],
    objects: NDArray[np.float32],
    boxes: NDArray[np.float32],
    points: NDArray[np.float32],
    stride: int,
    columns: int,
    min_score: float,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Decodes the cells of one output, row by row, into candidates in pixels of the input.

    Args:
        classes: (N, 1) probability of a face, in [0, 1].
        objects: (N, 1) probability of any object, in [0, 1]; the score is the geometric mean of both.
        boxes: (N, 4) offset of the box's centre from the cell's corner, in cells, and the logarithm of its width and
            height, in cells.
        points: (N, 10) offsets of the landmarks from the cell's corner, in cells.
        stride: Pixels per cell.
        columns: Cells per row.
        min_score: The lowest score of a candidate, in [0, 1].

    Returns:
        (M, 14) x0, y0, x1, y1 and five landmarks x, y, and (M,) scores.
    """
    kept = np.flatnonzero(classes * objects >= min_score**2)
    scores = np.sqrt(np.clip(classes[kept, 0], 0, 1) * np.clip(objects[kept, 0], 0, 1)).astype(np.float64)
    corner = np.stack([kept % columns, kept // columns], axis=1).astype(np.float64)
    centre = corner + boxes[kept, :2]
    half = np.exp(boxes[kept, 2:].astype(np.float64)) / 2
    landmarks = points[kept] + np.tile(corner, len(LANDMARKS))
    return np.concatenate([centre - half, centre + half, landmarks], axis=1) * stride, scores
