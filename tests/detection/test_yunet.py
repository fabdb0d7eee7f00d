from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray
from PIL import Image

from mien.detection.blazeface import BlazeFace
from mien.detection.boxes import iou
from mien.detection.face_check import Checked
from mien.detection.tilt import tilt_deg
from mien.detection.yunet import FRAMES_PER_CHECK, LANDMARKS, NO_CANDIDATES, YuNet, tiles
from mien.recognition.crops import crop_face
from mien.recognition.photo import to_gray
from tests.detection.images import assert_astronaut, collage, resized, small_face

COUNTS = {
    "single_face.jpg": 1,
    "multi_face.jpg": 5,
    "couple.jpg": 2,
    "selfie-many-people.jpg": 6,
    "free-mountain-vector-01.jpg": 0,
}


@pytest.mark.parametrize("name", COUNTS)
def test_finds_all_faces_in_photographs(
    name: str, yunet: YuNet, photograph: Callable[[str], NDArray[np.uint8]]
) -> None:
    assert len(yunet(photograph(name))) == COUNTS[name]


def test_finds_the_astronaut_at_any_size(yunet: YuNet, astronaut: NDArray[np.uint8]) -> None:
    assert_astronaut(yunet(astronaut))
    assert_astronaut(yunet(resized(astronaut, 333, 333)), scale=333 / 512)
    assert_astronaut(yunet(resized(astronaut, 2000, 2000)), scale=2000 / 512)


def test_landmarks_are_named_in_order(yunet: YuNet, astronaut: NDArray[np.uint8]) -> None:
    (face,) = yunet(astronaut)
    assert tuple(face.landmarks) == LANDMARKS


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 4000, 3)])
def test_finds_nothing_in_extreme_shapes(shape: tuple[int, int, int], yunet: YuNet) -> None:
    assert yunet(np.zeros(shape, np.uint8)) == ()


def test_boxes_are_square(yunet: YuNet, astronaut: NDArray[np.uint8]) -> None:
    (face,) = yunet(resized(astronaut, 512, 700))  # stretched, and so is the network's own box
    assert face.box.width == pytest.approx(face.box.height)


def test_agrees_with_blazeface(
    yunet: YuNet, blazeface: BlazeFace, photograph: Callable[[str], NDArray[np.uint8]]
) -> None:
    image = photograph("multi_face.jpg")
    faces = blazeface(image)
    boxes = np.array([face.box.xyxy for face in yunet(image)])
    assert len(faces) == len(boxes) == COUNTS["multi_face.jpg"]
    for face in faces:
        assert iou(boxes, np.array(face.box.xyxy)).max() > 0.5


@pytest.mark.parametrize("degrees", [40, -45, 90, 180, 270])
def test_turned_astronaut_is_found_and_turned_upright(degrees: int, yunet: YuNet, astronaut: NDArray[np.uint8]) -> None:
    turned = np.asarray(Image.fromarray(astronaut).rotate(degrees, Image.Resampling.BICUBIC, expand=True))
    (face,) = yunet(turned)
    assert (tilt_deg(face.landmarks) + degrees + 180) % 360 - 180 == pytest.approx(0, abs=14)
    (upright,) = yunet(astronaut)
    a = np.asarray(Image.fromarray(crop_face(to_gray(turned), face)).resize((48, 48)), np.float64)
    b = np.asarray(Image.fromarray(crop_face(to_gray(astronaut), upright)).resize((48, 48)), np.float64)
    assert np.corrcoef(a.ravel(), b.ravel())[0, 1] > 0.8


def test_lower_min_score_finds_more(photograph: Callable[[str], NDArray[np.uint8]]) -> None:
    image_rgb = np.asarray(skimage.data.cat())
    strict, loose = YuNet(threads=1), YuNet(threads=1, min_score=0.0)
    assert strict(image_rgb) == ()
    assert all(face.score < strict.min_score for face in loose(image_rgb))
    many = photograph("selfie-many-people.jpg")
    assert len(loose(many)) >= len(strict(many)) > len(YuNet(threads=1, min_score=0.995)(many))


@pytest.mark.parametrize("picture", ["cat", "coffee", "rocket", "chelsea"])
def test_animals_and_objects_have_no_face(picture: str, yunet: YuNet) -> None:
    assert yunet(np.asarray(getattr(skimage.data, picture)())) == ()


@pytest.mark.parametrize("size", [(1280, 1000), (4000, 3000), (3000, 4000), (6000, 1500), (1400, 1400)])
def test_tiles_cover_a_large_image_and_overlap(size: tuple[int, int]) -> None:
    width, height = size
    covered = np.zeros((height, width), np.uint8)
    for x0, y0, x1, y1 in tiles(width, height):
        assert 0 <= x0 < x1 <= width
        assert 0 <= y0 < y1 <= height
        assert max(x1 - x0, y1 - y0) <= 0.56 * max(width, height)
        covered[y0:y1, x0:x1] += 1
    assert covered.min() == 1
    assert covered.max() > 1


def test_crowd_of_small_faces_in_a_large_picture_is_found_whole(astronaut: NDArray[np.uint8]) -> None:
    places = [(200 + 600 * column, 150 + 480 * row) for row in range(6) for column in range(6)]
    image_rgb = collage(small_face(astronaut, 75), 4000, 3000, places)  # faces of 30 pixels
    for x, y in places[:6]:  # the first look sees those of 48 pixels, and with them a crowd
        image_rgb[y : y + 120, x : x + 120] = small_face(astronaut, 120)
    widths = sorted(face.box.width for face in YuNet(threads=1)(image_rgb))
    assert len(widths) == len(places)
    assert all(20 < width < 42 for width in widths[:-6])


def test_thorough_search_finds_one_small_face_in_a_large_picture(astronaut: NDArray[np.uint8]) -> None:
    image_rgb = collage(small_face(astronaut, 50), 4000, 3000, [(3100, 2200)])
    assert YuNet(threads=1)(image_rgb) == ()
    (face,) = YuNet(threads=1, thorough=True)(image_rgb)
    assert abs(face.box.x0 + face.box.width / 2 - 3125) < 15


def test_weak_candidate_is_a_face_only_if_it_is_tilted(
    astronaut: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    yunet = YuNet(threads=1)
    monkeypatch.setattr("mien.detection.yunet.MIN_CANDIDATE_SCORE", 0.99)  # every candidate is weak
    monkeypatch.setattr(yunet, "_turned_faces", lambda image_rgb: NO_CANDIDATES)
    assert yunet(astronaut) == ()
    (face,) = yunet(np.asarray(Image.fromarray(astronaut).rotate(40, expand=True)))
    assert tilt_deg(face.landmarks) == pytest.approx(-40, abs=14)


def test_turned_copies_are_searched_only_if_a_glance_shows_something(
    astronaut: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    yunet = YuNet(threads=1)
    widths: list[int] = []
    run = yunet._session.run
    monkeypatch.setattr(
        yunet._session, "run", lambda names, inputs: widths.append(inputs["input"].shape[3]) or run(names, inputs)
    )
    assert yunet(np.zeros((512, 512, 3), np.uint8)) == ()
    assert widths == [512, 352]  # the picture, and three copies of 112 pixels
    widths.clear()
    (_,) = yunet(np.ascontiguousarray(astronaut[::-1, ::-1]))
    assert widths[:2] == [512, 352]
    assert widths[2] in (192, 384, 576)  # one to three copies of 192 pixels


class CountingCheck:
    """Counts the candidates that are looked at a second time."""

    def __init__(self, check: Callable[..., Checked]) -> None:
        self.check, self.count = check, 0

    def __call__(
        self, image_rgb: NDArray[np.uint8], squares: NDArray[np.float64], angles: NDArray[np.float64]
    ) -> Checked:
        self.count += len(squares)
        return self.check(image_rgb, squares, angles)


def test_video_checks_a_face_once_in_several_frames(
    astronaut: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    yunet = YuNet(threads=1)
    counting = CountingCheck(yunet._check)
    monkeypatch.setattr(yunet, "_check", counting)
    video = yunet.for_video()
    frames = 2 * FRAMES_PER_CHECK
    for i in range(frames):
        (face,) = video(np.roll(astronaut, i, axis=1))
        assert face.score > 0.5
    assert 2 <= counting.count <= 4


def test_video_forgets_a_face_that_leaves(astronaut: NDArray[np.uint8]) -> None:
    video = YuNet(threads=1).for_video()
    assert len(video(astronaut)) == 1
    assert video(np.zeros_like(astronaut)) == ()
    assert len(video(astronaut)) == 1
