"""BlazeFace, full range (Bazarevsky et al., arXiv:1907.05047, as MediaPipe ships it): the detector inside mien.

The network sees 192 x 192 pixels. One look at the whole picture therefore misses faces that are small in it, and is
unsure of those that fill it or are cut by its edge. So it looks several times: at the picture edge to edge, at the
picture with a wide border, and at overlapping tiles. What these show unsurely or small gets one closer look: it
tells faces from folds in a sleeve better than a high threshold would, and its boxes are better. In a video all looks
but the first take turns, and a face that is missing in the next picture gets a closer look there, where it was. The
arithmetic is plain, so that a browser can do the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.detection.base import Detection, check_rgb, detections, framed, overlap, suppress_weighted
from mien.models.download import open_session

MODEL = Path(__file__).parents[1] / "models" / "zoo" / "blazeface_full_range.onnx"

SIZE = 192
"""Height and width of the network's input, pixels."""

STRIDE = 4
"""Pixels from anchor to anchor: one in the middle of each cell of a 48 x 48 grid, row by row, each one input wide."""

LANDMARKS = ("right_eye", "left_eye", "nose", "mouth", "right_ear", "left_ear")
"""Its landmarks in the network's order; right and left are the person's own."""

MIN_SCORE = 0.6
"""Least score of a face, in [0, 1]: MediaPipe's threshold for this network."""

MIN_UNSURE_SCORE = 0.4
"""Least score of what gets a closer look. Of some 180 such candidates that were no faces none scored 0.5 there; faces
score 0.8 and more, unless they are cut off or turned away."""

SURE_SIDE = 1 / 8
"""Least side of a face that needs no closer look, as a share of the picture's longer side: smaller boxes may be a
fifth off."""

OVERLAP = 0.3
"""Candidates that overlap more (intersection over union) are the same face: MediaPipe's value."""

BORDER = 0.2
"""Width of the border of the second look, as a share of the picture's longer side, on each side."""

NESTED = 0.7
"""A box that shares more than this of the smaller one of the two with a surer box is no face of its own."""

MARGIN, LIFT = 0.12, 0.05
"""How its boxes become FER2013's squares (see `framed`): measured on 2,000 training faces, of which it finds 94 %."""

MAX_TILES = 36
"""Most tiles of a picture, so that the time of one call is bounded."""

ROUND = 11
"""Pictures of a video within which each look is taken once: a small face that comes is found within so many."""

MAX_CLOSER_LOOKS = 48
"""Most closer looks at a picture, the best candidates first, for the same reason."""

CLOSER_LOOK = 4.0
"""Side of a closer look, in sides of the candidate's box."""

TILE_OVERLAP = 0.25
"""How much of a tile its neighbour repeats at least, as a share of its side."""


Candidates: TypeAlias = tuple[NDArray[np.float64], NDArray[np.float64]]
"""(M, 16) x0, y0, x1, y1 and six landmarks, x before y, of what may be faces, and their (M,) scores in [0, 1]."""

NONE: Candidates = (np.zeros((0, 4 + 2 * len(LANDMARKS))), np.zeros(0))


@dataclass(frozen=True)
class Look:
    """A square of the picture to show to the network; what lies outside the picture is black.

    Attributes:
        x0: Left edge, pixels of the picture; may be negative.
        y0: Top edge, likewise.
        side: Width and height, pixels of the picture.
    """

    x0: float
    y0: float
    side: float


class BlazeFace:
    """The BlazeFace detector, full range.

    Args:
        threads: Processor threads of one call; None leaves it to ONNX Runtime.
        small_faces: Whether to look at tiles too.

    Raises:
        WeightsError: The model file inside the package is missing or damaged.
    """

    def __init__(self, threads: int | None = None, small_faces: bool = True) -> None:
        self._session = open_session(MODEL, threads)
        self.small_faces = small_faces

    def __call__(self, image_rgb: NDArray[np.uint8]) -> tuple[Detection, ...]:
        """See `mien.detection.base.Detector`."""
        check_rgb(image_rgb)
        height, width, _ = image_rgb.shape
        return _detections(self.faces(image_rgb, whole_looks(width, height), self.tiles(width, height)))

    def tiles(self, width: int, height: int) -> list[Look]:
        """The looks at tiles that it takes of a picture of so many pixels."""
        return tile_looks(width, height) if self.small_faces else []

    def faces(
        self, image_rgb: NDArray[np.uint8], looks: Sequence[Look], narrow: Sequence[Look], before: Candidates = NONE
    ) -> Candidates:
        """The faces of one picture, by descending score; their boxes are not framed yet.

        Args:
            image_rgb: (H, W, 3), values 0..255.
            looks: Where to look at the whole; a large and clear face needs no closer look then.
            narrow: Where else to look; what is seen there always gets one.
            before: The faces of the picture before: one that is missing gets a closer look where it was, and may have
                gone as far as that reaches.
        """
        picture = Image.fromarray(image_rgb)
        values, scores = _joined([self._candidates(picture, look, MIN_UNSURE_SCORE) for look in looks])
        sure = (scores >= MIN_SCORE) & (values[:, 2] - values[:, 0] >= SURE_SIDE * max(picture.size))
        others = [self._candidates(picture, look, MIN_UNSURE_SCORE) for look in narrow]
        unsure, _ = suppress_weighted(*_joined([(values[~sure], scores[~sure]), *others]), OVERLAP)
        closer = self._closer_looks(picture, unsure, values[sure], MAX_CLOSER_LOOKS)
        known = _joined([(values[sure], scores[sure]), *closer])
        left = MAX_CLOSER_LOOKS - len(closer)
        gone_on = self._closer_looks(picture, before[0], known[0], left, moved=True)
        return drop_nested(*suppress_weighted(*_joined([known, *gone_on]), OVERLAP))

    def _closer_looks(
        self,
        picture: Image.Image,
        candidates: NDArray[np.float64],
        known: NDArray[np.float64],
        most: int,
        moved: bool = False,
    ) -> list[Candidates]:
        """The faces among candidates (N, 16), best first, that are not among the known faces (M, 16) already.

        At most so many are looked at; `moved` takes a face anywhere in the look for the candidate.
        """
        found: list[Candidates] = []
        for candidate in candidates:
            if len(found) == most:
                break
            if (overlap(known, candidate) > OVERLAP).any():
                continue
            x0, y0, x1, y1 = candidate[:4].tolist()
            side = CLOSER_LOOK * max(x1 - x0, y1 - y0)
            look = Look((x0 + x1 - side) / 2, (y0 + y1 - side) / 2, side)
            values, scores = self._candidates(picture, look, MIN_SCORE)
            same = np.full(len(values), True) if moved else overlap(values, candidate) > OVERLAP
            found.append((values[same], scores[same]))
        return found

    def _candidates(self, picture: Image.Image, look: Look, min_score: float) -> Candidates:
        """What one look shows, in pixels of the picture."""
        # The part of the picture that the square shows, and where it stands in the input: whole pixels in both.
        scale = SIZE / look.side
        x0, y0 = max(0, round(look.x0)), max(0, round(look.y0))
        x1 = min(picture.width, max(x0 + 1, round(look.x0 + look.side)))
        y1 = min(picture.height, max(y0 + 1, round(look.y0 + look.side)))
        columns = min(SIZE, max(1, round((x1 - x0) * scale)))
        rows = min(SIZE, max(1, round((y1 - y0) * scale)))
        left = min(SIZE - columns, max(0, round((x0 - look.x0) * scale)))
        top = min(SIZE - rows, max(0, round((y0 - look.y0) * scale)))
        canvas = np.zeros((SIZE, SIZE, 3), np.uint8)
        # Pillow's bilinear widens with the reduction, so fine patterns do not alias into faces.
        shown = picture.resize((columns, rows), Image.Resampling.BILINEAR, box=(x0, y0, x1, y1))
        canvas[top : top + rows, left : left + columns] = np.asarray(shown)
        images = (canvas.astype(np.float32) / np.float32(127.5) - 1).transpose(2, 0, 1)[None]

        boxes, logits = self._session.run(["boxes", "scores"], {"images": images})
        values, scores = decode(boxes[0], logits[0, :, 0], min_score)
        values[:, 0::2] = (values[:, 0::2] - left) * ((x1 - x0) / columns) + x0
        values[:, 1::2] = (values[:, 1::2] - top) * ((y1 - y0) / rows) + y0

        # A face at a cut through the picture is seen whole by the neighbouring tile or by the look at everything.
        whole = np.ones(len(values), np.bool_)
        if x0 > 0:
            whole &= values[:, 0] > x0
        if y0 > 0:
            whole &= values[:, 1] > y0
        if x1 < picture.width:
            whole &= values[:, 2] < x1
        if y1 < picture.height:
            whole &= values[:, 3] < y1
        return values[whole], scores[whole]


class BlazeFaceVideo:
    """BlazeFace as a detector for one video, whose pictures it is given in their order.

    It takes all looks at the first picture, and at the first of another size. Of each later one it takes the look
    from edge to edge and a few of the others, in turn, and a closer look where a face of the picture before was that
    these do not see.

    Args:
        detector: What looks.
    """

    def __init__(self, detector: BlazeFace) -> None:
        self._detector = detector
        self._size_px = 0, 0
        self._turn = 0
        self._before = NONE

    def __call__(self, image_rgb: NDArray[np.uint8]) -> tuple[Detection, ...]:
        """See `mien.detection.base.Detector`."""
        check_rgb(image_rgb)
        height, width, _ = image_rgb.shape
        whole, tiles = whole_looks(width, height), self._detector.tiles(width, height)
        if self._size_px != (width, height):
            self._size_px, self._turn = (width, height), 0
            self._before = self._detector.faces(image_rgb, whole, tiles)
        else:
            at_turn = self._at_turn(whole[1:] + tiles)
            self._before = self._detector.faces(image_rgb, whole[:1], at_turn, self._before)
        return _detections(self._before)

    def _at_turn(self, looks: list[Look]) -> list[Look]:
        turns = range(self._turn, self._turn + math.ceil(len(looks) / ROUND))
        self._turn = turns.stop
        return [looks[turn % len(looks)] for turn in turns]


def _detections(faces: Candidates) -> tuple[Detection, ...]:
    """Faces with their boxes framed."""
    values, scores = faces
    boxes = framed(values[:, :4], MARGIN, LIFT)
    return detections(np.concatenate([boxes, values[:, 4:]], axis=1), scores, LANDMARKS)


def whole_looks(width: int, height: int) -> list[Look]:
    """The two looks at everything: edge to edge, and with a border. Width and height are the picture's, pixels."""
    looks = []
    for border in (0.0, BORDER):
        side = max(width, height) * (1 + 2 * border)
        looks.append(Look((width - side) / 2, (height - side) / 2, side))
    return looks


def tile_looks(width: int, height: int) -> list[Look]:
    """The looks at tiles, row by row: first of half the longer side, then of a quarter, and so on.

    A level is left out where its tiles would have to be enlarged, or would be more than MAX_TILES with those before.
    Each level's overlap is larger than the faces that the level before is too coarse for, so that no face is only
    ever seen in pieces.
    """
    looks: list[Look] = []
    side = max(width, height) / 2
    while side >= SIZE:
        columns, rows = _tiles_along(width, side), _tiles_along(height, side)
        if len(looks) + columns * rows > MAX_TILES:
            break
        looks += [
            Look((width - side) * _share(column, columns), (height - side) * _share(row, rows), side)
            for row in range(rows)
            for column in range(columns)
        ]
        side /= 2
    return looks


def _tiles_along(length: int, side: float) -> int:
    """Tiles that cover a length so that neighbours share TILE_OVERLAP of a side or more."""
    return max(1, math.ceil((length / side - TILE_OVERLAP) / (1 - TILE_OVERLAP)))


def _share(number: int, count: int) -> float:
    """Where the tile of that number stands, from 0, the near edge, to 1, the far edge; a single one in the middle."""
    return number / (count - 1) if count > 1 else 0.5


def decode(boxes: NDArray[np.float32], logits: NDArray[np.float32], min_score: float) -> Candidates:
    """The network's output -> candidates, as MediaPipe's TensorsToDetectionsCalculator decodes it.

    Args:
        boxes: (2304, 16) of each anchor: centre, width and height of the box, then six points; centre and points are
            offsets from the anchor. Pixels of the input, x before y.
        logits: (2304,) scores before the logistic function.
        min_score: Least score of a candidate, in [0, 1].

    Returns:
        Candidates in pixels of the input.
    """
    scores = 1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -100, 100)))
    # Now and then the network says a negative width; MediaPipe drops such boxes as well.
    kept = np.flatnonzero((scores >= min_score) & (boxes[:, 2] > 0) & (boxes[:, 3] > 0))
    cells = SIZE // STRIDE
    anchors = (np.stack([kept % cells, kept // cells], axis=1) + 0.5) * STRIDE
    raw = boxes[kept].astype(np.float64)
    centre, half = raw[:, :2] + anchors, raw[:, 2:4] / 2
    landmarks = raw[:, 4:] + np.tile(anchors, len(LANDMARKS))
    return np.concatenate([centre - half, centre + half, landmarks], axis=1), scores[kept]


def drop_nested(values: NDArray[np.float64], scores: NDArray[np.float64]) -> Candidates:
    """Drops boxes that lie in a surer one or around it. Faces (M, 16) and (M,), by descending score, in and out."""
    kept: list[int] = []
    for i, (x0, y0, x1, y1) in enumerate(values[:, :4]):
        others = values[kept]
        shared = np.maximum(np.minimum(others[:, 2], x1) - np.maximum(others[:, 0], x0), 0)
        shared *= np.maximum(np.minimum(others[:, 3], y1) - np.maximum(others[:, 1], y0), 0)
        areas = (others[:, 2] - others[:, 0]) * (others[:, 3] - others[:, 1])
        if (shared <= NESTED * np.minimum(areas, (x1 - x0) * (y1 - y0))).all():
            kept.append(i)
    return values[kept], scores[kept]


def _joined(parts: Sequence[Candidates]) -> Candidates:
    return np.concatenate([values for values, _ in parts]), np.concatenate([scores for _, scores in parts])
