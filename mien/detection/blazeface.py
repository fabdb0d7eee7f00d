"""BlazeFace full range (Bazarevsky et al., arXiv:1907.05047, as MediaPipe ships it).

The network's input is 192 x 192 pixels. A single pass over the whole image misses small faces and is unsure of faces
that fill the image or are cut off by its edge. The detector therefore searches several square regions: the whole image
edge to edge, the whole image with a wide border, and overlapping tiles. Each small or uncertain candidate is checked by
zooming in on it, which separates faces from, say, folds in a sleeve better than a high threshold does, and gives a
better box. In a video, all regions but the first take turns, and a face that was in the previous frame and is missing
in this one is searched for by zooming in on its last place.
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

from mien.detection.base import Detection, check_rgb
from mien.detection.boxes import iou, to_detections, to_fer2013_squares, weighted_nms
from mien.models.session import open_session

MODEL = Path(__file__).parents[1] / "models" / "zoo" / "blazeface_full_range.onnx"

SIZE = 192
"""Height and width of the network's input, in pixels."""

STRIDE = 4
"""Pixels between anchors: one in the centre of each cell of a 48 x 48 grid, row by row, each one input wide."""

LANDMARKS = ("right_eye", "left_eye", "nose", "mouth", "right_ear", "left_ear")
"""The landmarks in the network's order; left and right are the person's own."""

MIN_SCORE = 0.6
"""The lowest score of a face, in [0, 1]: MediaPipe's threshold for this network."""

MIN_CANDIDATE_SCORE = 0.4
"""The lowest score of a candidate that is zoomed in on. Of about 180 such candidates that were not faces, none scored
0.5 when zoomed in; faces score 0.8 and more, unless they are cut off or turned away."""

MIN_CONFIDENT_SIDE = 1 / 8
"""The smallest face that is accepted without zooming in, as a fraction of the image's longer side. Smaller boxes can be
off by a fifth of their side."""

NMS_IOU = 0.3
"""Candidates with a larger intersection over union are the same face: MediaPipe's value."""

BORDER = 0.2
"""Width of the border around the whole image in the second region, as a fraction of the image's longer side."""

MAX_NESTED_FRACTION = 0.7
"""A box is dropped if its intersection with a better box is more than this fraction of the smaller one of the two."""

MARGIN, LIFT = 0.12, 0.05
"""See `to_fer2013_squares`; measured on 2,000 training faces, of which BlazeFace finds 94 %."""

MAX_TILES = 36
"""The most tiles per image, which bounds the time of one call."""

FRAMES_PER_CYCLE = 11
"""Frames of a video within which each region is searched once: a new small face is found within so many frames."""

MAX_ZOOMS = 48
"""The most candidates that are zoomed in on per image, best first, which also bounds the time of one call."""

ZOOM_SIDES = 4.0
"""Side of the region around a candidate when zooming in, in sides of the candidate's box."""

TILE_OVERLAP = 0.25
"""The smallest overlap of neighbouring tiles, as a fraction of a tile's side."""


Candidates: TypeAlias = tuple[NDArray[np.float64], NDArray[np.float64]]
"""(M, 16) x0, y0, x1, y1 and six landmarks x, y of possible faces, and their (M,) scores in [0, 1]."""

NO_CANDIDATES: Candidates = (np.zeros((0, 4 + 2 * len(LANDMARKS))), np.zeros(0))


@dataclass(frozen=True)
class Region:
    """A square region of an image that the network searches; whatever lies outside the image is black.

    Attributes:
        x0: Left edge, in pixels of the image; may be negative.
        y0: Top edge, likewise.
        side: Width and height, in pixels of the image.
    """

    x0: float
    y0: float
    side: float


class BlazeFace:
    """The BlazeFace detector, full range.

    Args:
        threads: CPU threads; None lets ONNX Runtime use every core.
        small_faces: Whether to search tiles as well.
        min_score: The lowest score of a face, in [0, 1].
        device: See `mien.models.devices.candidates`.

    Raises:
        WeightsError: The model file in the package is missing or damaged.
        ConfigError: The device is not there, or cannot run the detector.
    """

    def __init__(
        self,
        threads: int | None = None,
        small_faces: bool = True,
        min_score: float = MIN_SCORE,
        device: str | None = None,
    ) -> None:
        self._session = open_session(MODEL, threads, device)
        self.small_faces = small_faces
        self.min_score = min_score

    def __call__(self, image_rgb: NDArray[np.uint8]) -> tuple[Detection, ...]:
        """See `mien.detection.base.Detector`."""
        check_rgb(image_rgb)
        height, width, _ = image_rgb.shape
        faces = self.search(image_rgb, whole_image_regions(width, height), self.tile_regions(width, height))
        return _to_detections(faces)

    def for_video(self) -> BlazeFaceVideo:
        """See `mien.detection.base.SupportsVideo`."""
        return BlazeFaceVideo(self)

    def tile_regions(self, width: int, height: int) -> list[Region]:
        """Returns the tiles to search in an image of this size, in pixels; none if `small_faces` is off."""
        return tile_regions(width, height) if self.small_faces else []

    def search(
        self,
        image_rgb: NDArray[np.uint8],
        whole: Sequence[Region],
        parts: Sequence[Region],
        previous: Candidates = NO_CANDIDATES,
    ) -> Candidates:
        """Finds the faces in regions of one image.

        Args:
            image_rgb: (H, W, 3), values 0..255.
            whole: Regions that show the whole image. A large face with a good score is accepted at once there.
            parts: Regions that show parts of the image. Every candidate there is zoomed in on.
            previous: The faces in the previous frame. If one is missing, the region around it is searched; the face
                may have moved anywhere within that region.

        Returns:
            The faces with the network's own boxes, in descending order of score.
        """
        image = Image.fromarray(image_rgb)
        values, scores = _concatenate([self._candidates(image, region, MIN_CANDIDATE_SCORE) for region in whole])
        large = values[:, 2] - values[:, 0] >= MIN_CONFIDENT_SIDE * max(image.size)
        accepted = (scores >= self.min_score) & large
        others = [self._candidates(image, region, MIN_CANDIDATE_SCORE) for region in parts]
        uncertain, _ = weighted_nms(*_concatenate([(values[~accepted], scores[~accepted]), *others]), NMS_IOU)
        zoomed = self._zoom_in(image, uncertain, values[accepted], MAX_ZOOMS)
        faces = _concatenate([(values[accepted], scores[accepted]), *zoomed])
        followed = self._zoom_in(image, previous[0], faces[0], MAX_ZOOMS - len(zoomed), moved=True)
        return drop_nested(*weighted_nms(*_concatenate([faces, *followed]), NMS_IOU))

    def _zoom_in(
        self,
        image: Image.Image,
        candidates: NDArray[np.float64],
        known: NDArray[np.float64],
        max_zooms: int,
        moved: bool = False,
    ) -> list[Candidates]:
        """Searches a small region around each candidate that does not overlap a known face.

        Args:
            image: The image.
            candidates: (N, 16), best first.
            known: (M, 16) faces that are already found.
            max_zooms: The most regions to search.
            moved: Whether to take any face in the region, instead of only one that overlaps the candidate.

        Returns:
            The faces in each searched region.
        """
        found: list[Candidates] = []
        for candidate in candidates:
            if len(found) == max_zooms:
                break
            if (iou(known, candidate) > NMS_IOU).any():
                continue
            x0, y0, x1, y1 = candidate[:4].tolist()
            side = ZOOM_SIDES * max(x1 - x0, y1 - y0)
            region = Region((x0 + x1 - side) / 2, (y0 + y1 - side) / 2, side)
            values, scores = self._candidates(image, region, self.min_score)
            kept = np.full(len(values), True) if moved else iou(values, candidate) > NMS_IOU
            found.append((values[kept], scores[kept]))
        return found

    def _candidates(self, image: Image.Image, region: Region, min_score: float) -> Candidates:
        """Runs the network on one region and returns its candidates in pixels of the image."""
        # The part of the region inside the image, and its place in the input: whole pixels in both.
        scale = SIZE / region.side
        x0, y0 = max(0, round(region.x0)), max(0, round(region.y0))
        x1 = min(image.width, max(x0 + 1, round(region.x0 + region.side)))
        y1 = min(image.height, max(y0 + 1, round(region.y0 + region.side)))
        columns = min(SIZE, max(1, round((x1 - x0) * scale)))
        rows = min(SIZE, max(1, round((y1 - y0) * scale)))
        left = min(SIZE - columns, max(0, round((x0 - region.x0) * scale)))
        top = min(SIZE - rows, max(0, round((y0 - region.y0) * scale)))
        canvas = np.zeros((SIZE, SIZE, 3), np.uint8)
        # Pillow's bilinear filter widens when it downscales, so fine patterns do not alias into faces.
        resized = image.resize((columns, rows), Image.Resampling.BILINEAR, box=(x0, y0, x1, y1))
        canvas[top : top + rows, left : left + columns] = np.asarray(resized)
        images = (canvas.astype(np.float32) / np.float32(127.5) - 1).transpose(2, 0, 1)[None]

        boxes, logits = self._session.run(["boxes", "scores"], {"images": images})
        values, scores = decode(boxes[0], logits[0, :, 0], min_score)
        values[:, 0::2] = (values[:, 0::2] - left) * ((x1 - x0) / columns) + x0
        values[:, 1::2] = (values[:, 1::2] - top) * ((y1 - y0) / rows) + y0

        # A face that the region cuts off is whole in the neighbouring tile or in the whole image.
        uncut = np.ones(len(values), np.bool_)
        if x0 > 0:
            uncut &= values[:, 0] > x0
        if y0 > 0:
            uncut &= values[:, 1] > y0
        if x1 < image.width:
            uncut &= values[:, 2] < x1
        if y1 < image.height:
            uncut &= values[:, 3] < y1
        return values[uncut], scores[uncut]


class BlazeFaceVideo:
    """BlazeFace for the frames of one video, called in order.

    It searches all regions of the first frame, and of the first frame of another size. In each later frame it searches
    the whole image edge to edge, a few of the other regions in turn, and the surroundings of each face of the previous
    frame that is missing in these.

    Args:
        detector: The detector for single images.
    """

    def __init__(self, detector: BlazeFace) -> None:
        self._detector = detector
        self._size_px = 0, 0
        self._next_region = 0
        self._previous = NO_CANDIDATES

    def __call__(self, image_rgb: NDArray[np.uint8]) -> tuple[Detection, ...]:
        """See `mien.detection.base.Detector`."""
        check_rgb(image_rgb)
        height, width, _ = image_rgb.shape
        whole, tiles = whole_image_regions(width, height), self._detector.tile_regions(width, height)
        if self._size_px != (width, height):
            self._size_px, self._next_region = (width, height), 0
            self._previous = self._detector.search(image_rgb, whole, tiles)
        else:
            parts = self._regions_of_this_frame(whole[1:] + tiles)
            self._previous = self._detector.search(image_rgb, whole[:1], parts, self._previous)
        return _to_detections(self._previous)

    def _regions_of_this_frame(self, regions: list[Region]) -> list[Region]:
        """Takes the next regions in turn, as many as complete a cycle in `FRAMES_PER_CYCLE` frames."""
        indices = range(self._next_region, self._next_region + math.ceil(len(regions) / FRAMES_PER_CYCLE))
        self._next_region = indices.stop
        return [regions[i % len(regions)] for i in indices]


def _to_detections(faces: Candidates) -> tuple[Detection, ...]:
    values, scores = faces
    squares = to_fer2013_squares(values[:, :4], MARGIN, LIFT)
    return to_detections(np.concatenate([squares, values[:, 4:]], axis=1), scores, LANDMARKS)


def whole_image_regions(width: int, height: int) -> list[Region]:
    """Returns the regions that show a whole image of this size, in pixels: edge to edge, and with a border."""
    regions = []
    for border in (0.0, BORDER):
        side = max(width, height) * (1 + 2 * border)
        regions.append(Region((width - side) / 2, (height - side) / 2, side))
    return regions


def tile_regions(width: int, height: int) -> list[Region]:
    """Returns the tiles of an image of this size, in pixels, row by row.

    The first level of tiles has half the image's longer side, the next a quarter, and so on. The levels end where the
    tiles would have to be upscaled, or where there would be more than `MAX_TILES` in all. Tiles of each level overlap
    by more than the size of the faces that are too small for the level before, so every face is whole in some tile.
    """
    regions: list[Region] = []
    side = max(width, height) / 2
    while side >= SIZE:
        columns, rows = _tile_count(width, side), _tile_count(height, side)
        if len(regions) + columns * rows > MAX_TILES:
            break
        regions += [
            Region((width - side) * _position(column, columns), (height - side) * _position(row, rows), side)
            for row in range(rows)
            for column in range(columns)
        ]
        side /= 2
    return regions


def _tile_count(length: int, side: float) -> int:
    """Returns how many tiles cover a length if neighbours overlap by at least `TILE_OVERLAP` of a side."""
    return max(1, math.ceil((length / side - TILE_OVERLAP) / (1 - TILE_OVERLAP)))


def _position(index: int, count: int) -> float:
    """Returns the position of a tile from 0, the near edge, to 1, the far edge; a single tile is in the middle."""
    return index / (count - 1) if count > 1 else 0.5


def decode(boxes: NDArray[np.float32], logits: NDArray[np.float32], min_score: float) -> Candidates:
    """Decodes the network's output, like MediaPipe's TensorsToDetectionsCalculator.

    Args:
        boxes: (2304, 16) for each anchor: centre, width and height of the box, then six points. The centre and the
            points are offsets from the anchor. All are in pixels of the input, x before y.
        logits: (2304,) scores before the logistic function.
        min_score: The lowest score of a candidate, in [0, 1].

    Returns:
        Candidates in pixels of the input.
    """
    scores = 1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -100, 100)))
    # The network occasionally gives a negative width; MediaPipe drops such boxes as well.
    kept = np.flatnonzero((scores >= min_score) & (boxes[:, 2] > 0) & (boxes[:, 3] > 0))
    cells = SIZE // STRIDE
    anchors = (np.stack([kept % cells, kept // cells], axis=1) + 0.5) * STRIDE
    raw = boxes[kept].astype(np.float64)
    centre, half = raw[:, :2] + anchors, raw[:, 2:4] / 2
    landmarks = raw[:, 4:] + np.tile(anchors, len(LANDMARKS))
    return np.concatenate([centre - half, centre + half, landmarks], axis=1), scores[kept]


def drop_nested(values: NDArray[np.float64], scores: NDArray[np.float64]) -> Candidates:
    """Drops each box that lies inside or around a box with a better score.

    Args:
        values: (M, 16) faces in descending order of score.
        scores: (M,) their scores.
    """
    kept: list[int] = []
    for i, (x0, y0, x1, y1) in enumerate(values[:, :4]):
        better = values[kept]
        intersections = np.maximum(np.minimum(better[:, 2], x1) - np.maximum(better[:, 0], x0), 0)
        intersections *= np.maximum(np.minimum(better[:, 3], y1) - np.maximum(better[:, 1], y0), 0)
        areas = (better[:, 2] - better[:, 0]) * (better[:, 3] - better[:, 1])
        if (intersections <= MAX_NESTED_FRACTION * np.minimum(areas, (x1 - x0) * (y1 - y0))).all():
            kept.append(i)
    return values[kept], scores[kept]


def _concatenate(parts: Sequence[Candidates]) -> Candidates:
    return np.concatenate([values for values, _ in parts]), np.concatenate([scores for _, scores in parts])
