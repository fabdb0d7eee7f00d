from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray
from PIL import Image

from mien.detection import blazeface as module
from mien.detection.blazeface import LANDMARKS, MAX_TILES, MAX_ZOOMS, SIZE, BlazeFace, drop_nested, tile_regions
from tests.detection.images import EYES_PX, assert_astronaut, collage, resized, small_face

COUNTS = {
    "single_face.jpg": 1,
    "multi_face.jpg": 5,
    "couple.jpg": 2,
    "selfie-many-people.jpg": 5,  # of 6: the edge of the photograph cuts one through the eye
    "free-mountain-vector-01.jpg": 0,
}


@pytest.mark.parametrize("name", COUNTS)
def test_finds_faces_in_photographs(
    name: str, blazeface: BlazeFace, photograph: Callable[[str], NDArray[np.uint8]]
) -> None:
    assert len(blazeface(photograph(name))) == COUNTS[name]


def test_finds_the_astronaut(blazeface: BlazeFace, astronaut: NDArray[np.uint8]) -> None:
    faces = blazeface(astronaut)
    assert_astronaut(faces)
    assert faces[0].score > 0.9
    assert tuple(faces[0].landmarks) == LANDMARKS


def test_finds_the_astronaut_without_tiles_and_with_two_threads(astronaut: NDArray[np.uint8]) -> None:
    assert_astronaut(BlazeFace(small_faces=False)(astronaut))
    assert_astronaut(BlazeFace(threads=2)(astronaut))


def test_repeated_call_gives_the_same_and_keeps_the_image(blazeface: BlazeFace, astronaut: NDArray[np.uint8]) -> None:
    before = astronaut.copy()
    assert blazeface(astronaut) == blazeface(astronaut)
    assert (astronaut == before).all()


def test_finds_the_astronaut_in_gray_and_mirrored(blazeface: BlazeFace, astronaut: NDArray[np.uint8]) -> None:
    gray = np.repeat(astronaut.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)
    assert_astronaut(blazeface(gray))
    (face,) = blazeface(np.ascontiguousarray(astronaut[:, ::-1]))
    assert face.landmarks["left_eye"][0] == pytest.approx(511 - EYES_PX["right_eye"][0], abs=8)


def test_array_view_gives_the_same_as_the_array(blazeface: BlazeFace, astronaut: NDArray[np.uint8]) -> None:
    bgr = np.ascontiguousarray(astronaut[:, :, ::-1])
    assert blazeface(bgr[:, :, ::-1]) == blazeface(astronaut)


def test_finds_the_astronaut_tilted_by_25_degrees(blazeface: BlazeFace, astronaut: NDArray[np.uint8]) -> None:
    (face,) = blazeface(np.asarray(Image.fromarray(astronaut).rotate(25, resample=Image.Resampling.BILINEAR)))
    (right_x, right_y), (left_x, left_y) = face.landmarks["right_eye"], face.landmarks["left_eye"]
    assert np.degrees(np.arctan2(right_y - left_y, left_x - right_x)) == pytest.approx(25 - 3, abs=6)


@pytest.mark.parametrize(("width", "height"), [(900, 512), (512, 900), (2000, 512), (513, 777)])
def test_boxes_are_in_pixels_of_images_of_any_shape(
    width: int, height: int, blazeface: BlazeFace, astronaut: NDArray[np.uint8]
) -> None:
    x, y = (width - 512) // 2, height - 512
    assert_astronaut(blazeface(collage(astronaut, width, height, [(x, y)])), dx=x, dy=y)


@pytest.mark.parametrize("side", [100, 300, 1500])
def test_boxes_scale_with_the_image(side: int, blazeface: BlazeFace, astronaut: NDArray[np.uint8]) -> None:
    assert_astronaut(blazeface(resized(astronaut, side, side)), scale=side / 512)


def test_boxes_are_square(blazeface: BlazeFace, astronaut: NDArray[np.uint8]) -> None:
    (face,) = blazeface(resized(astronaut, 512, 700))  # stretched, and so is the network's own box
    assert face.box.width == pytest.approx(face.box.height)


def test_finds_a_face_that_fills_the_image(blazeface: BlazeFace, astronaut: NDArray[np.uint8]) -> None:
    assert_astronaut(blazeface(astronaut[50:190, 155:295]), dx=-155, dy=-50)


def test_finds_small_faces_in_a_large_image_only_with_tiles(blazeface: BlazeFace, astronaut: NDArray[np.uint8]) -> None:
    places = [(x, y) for x in range(20, 1180, 145) for y in range(20, 860, 210)]
    image = collage(small_face(astronaut), 1280, 960, places)
    faces = blazeface(image)
    assert len(faces) == len(places) == 32
    eyes = np.array([face.landmarks["right_eye"] for face in faces])
    scale = 96 / 260
    for x, y in places:
        expected = x + (EYES_PX["right_eye"][0] - 90) * scale, y + EYES_PX["right_eye"][1] * scale
        assert np.abs(eyes - expected).max(axis=1).min() < 4
    assert len(BlazeFace(threads=1, small_faces=False)(image)) < 5


def test_finds_a_face_wherever_it_is(blazeface: BlazeFace, astronaut: NDArray[np.uint8]) -> None:
    patch = small_face(astronaut, 200)  # some places are on the edges of several tiles
    for x, y in [(0, 0), (700, 500), (437, 301), (1080, 760), (560, 130), (333, 380)]:
        assert len(blazeface(collage(patch, 1280, 960, [(x, y)]))) == 1, (x, y)


def test_scores_descend(blazeface: BlazeFace, astronaut: NDArray[np.uint8]) -> None:
    faces = blazeface(collage(astronaut, 1536, 512, [(x, 0) for x in range(0, 1536, 512)]))
    assert len(faces) == 3
    assert [face.score for face in faces] == sorted((face.score for face in faces), reverse=True)
    assert all(0.6 <= face.score <= 1 for face in faces)


@pytest.mark.parametrize("name", ["coffee", "chelsea", "rocket", "brick", "hubble_deep_field", "moon", "text"])
def test_finds_nothing_in_images_without_faces(name: str, blazeface: BlazeFace) -> None:
    image = np.asarray(getattr(skimage.data, name)())
    image = np.repeat(image[:, :, None], 3, axis=2) if image.ndim == 2 else image[:, :, :3]
    assert blazeface(image) == ()
    assert blazeface(resized(image, 3 * image.shape[1], 3 * image.shape[0])) == ()


def test_finds_nothing_in_noise_and_plain_colours(blazeface: BlazeFace) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (600, 800, 3), np.uint8)
    assert blazeface(noise) == ()
    for value in (0, 128, 255):
        assert blazeface(np.full((500, 500, 3), value, np.uint8)) == ()


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 3000, 3), (3000, 1, 3), (2, 3, 3), (10, 5000, 3)])
def test_finds_nothing_in_extreme_shapes(shape: tuple[int, int, int], blazeface: BlazeFace) -> None:
    assert blazeface(np.full(shape, 100, np.uint8)) == ()


def test_drop_nested_drops_boxes_inside_or_around_a_better_one() -> None:
    values = np.array([[0.0, 0, 100, 100], [10, 10, 40, 40], [-200, -200, 300, 300], [95, 0, 195, 100]])
    kept, scores = drop_nested(values, np.array([0.9, 0.8, 0.7, 0.6]))
    assert kept.tolist() == [values[0].tolist(), values[3].tolist()]
    assert scores.tolist() == [0.9, 0.6]


@pytest.mark.parametrize(
    ("width", "height"), [(384, 384), (640, 480), (800, 800), (1920, 1080), (8000, 6000), (20000, 500), (700, 9000)]
)
def test_tiles_cover_the_image_and_are_bounded(width: int, height: int) -> None:
    tiles = tile_regions(width, height)
    assert 0 < len(tiles) <= MAX_TILES
    assert min(tile.side for tile in tiles) >= SIZE
    for side in {tile.side for tile in tiles}:
        level = [tile for tile in tiles if tile.side == side]
        for length, starts in ((width, {tile.x0 for tile in level}), (height, {tile.y0 for tile in level})):
            ordered = sorted(starts)
            assert ordered[0] <= 0
            assert ordered[-1] + side >= length - 1e-6
            assert all(b - a <= side * 0.75 + 1e-6 for a, b in pairwise(ordered))


@pytest.mark.parametrize(("width", "height"), [(1, 1), (383, 200), (48, 48)])
def test_small_images_have_no_tiles(width: int, height: int) -> None:
    assert tile_regions(width, height) == []


def test_zooms_are_bounded(monkeypatch: pytest.MonkeyPatch, blazeface: BlazeFace) -> None:
    regions = []

    def candidates(self: BlazeFace, image: Image.Image, region: module.Region, min_score: float) -> module.Candidates:
        regions.append(region)
        if min_score == module.MIN_SCORE:
            return module.NO_CANDIDATES
        x, y = np.random.default_rng(len(regions)).uniform(0, 900, (2, 50))
        values = np.zeros((50, 16))
        values[:, :4] = np.stack([x, y, x + 5, y + 5], axis=1)
        return values, np.full(50, 0.5)

    monkeypatch.setattr(BlazeFace, "_candidates", candidates)
    assert blazeface(np.zeros((1000, 1000, 3), np.uint8)) == ()
    assert len(regions) == 2 + len(tile_regions(1000, 1000)) + MAX_ZOOMS
