from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray
from PIL import Image, ImageOps

from mien.detection import blazeface
from mien.detection.base import Detection, Detector, create_detector, framed, overlap, suppress_weighted
from mien.detection.blazeface import (
    MAX_CLOSER_LOOKS,
    MAX_TILES,
    MODEL,
    SIZE,
    BlazeFace,
    BlazeFaceVideo,
    drop_nested,
    tile_looks,
)
from mien.detection.yunet import YuNet
from mien.errors import ConfigError, ImageError, WeightsError

BLAZEFACE_COUNTS = {
    "single_face.jpg": 1,
    "multi_face.jpg": 5,
    "couple.jpg": 2,
    "selfie-many-people.jpg": 5,  # of 6: the picture's edge cuts one through the eye
    "free-mountain-vector-01.jpg": 0,
}
YUNET_COUNTS = BLAZEFACE_COUNTS | {"selfie-many-people.jpg": 6}
Photographs = Callable[[str], NDArray[np.uint8]]
EYES_PX = {"right_eye": (202, 102), "left_eye": (246, 104)}  # of the astronaut, read off the picture by hand


@pytest.fixture(scope="module")
def detector() -> BlazeFace:
    return BlazeFace(threads=1)


@pytest.fixture(scope="module")
def astronaut() -> NDArray[np.uint8]:
    return np.asarray(skimage.data.astronaut())


@pytest.fixture(scope="module")
def yunet(yunet_file: Path) -> YuNet:
    return YuNet(yunet_file, threads=1)


@pytest.fixture
def photograph(photographs: Path) -> Photographs:
    """File name -> the photograph."""

    def read(name: str) -> NDArray[np.uint8]:
        with Image.open(photographs / name) as picture:
            return np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))

    return read


def resized(image_rgb: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    return np.asarray(Image.fromarray(image_rgb).resize((width, height)))


def collage(patch: NDArray[np.uint8], width: int, height: int, places: Sequence[tuple[int, int]]) -> NDArray[np.uint8]:
    """Copies of a patch on gray, each with its top left corner at one place (x, y)."""
    canvas = np.full((height, width, 3), 90, np.uint8)
    for x, y in places:
        canvas[y : y + patch.shape[0], x : x + patch.shape[1]] = patch
    return canvas


def assert_is_the_astronaut(found: tuple[Detection, ...], scale: float = 1, dx: float = 0, dy: float = 0) -> None:
    assert len(found) == 1
    for name, (x, y) in EYES_PX.items():
        assert found[0].landmarks[name] == pytest.approx((x * scale + dx, y * scale + dy), abs=7 * scale)
    centre = (found[0].box.x0 + found[0].box.x1) / 2, (found[0].box.y0 + found[0].box.y1) / 2
    assert centre == pytest.approx((225 * scale + dx, 122 * scale + dy), abs=16 * scale)
    assert 85 * scale < found[0].box.height < 140 * scale


def test_the_astronaut_is_found(detector: BlazeFace, astronaut: NDArray[np.uint8]) -> None:
    found = detector(astronaut)
    assert_is_the_astronaut(found)
    assert found[0].score > 0.9
    assert tuple(found[0].landmarks) == blazeface.LANDMARKS


def test_it_is_found_without_tiles_and_with_any_number_of_threads(astronaut: NDArray[np.uint8]) -> None:
    assert_is_the_astronaut(BlazeFace(small_faces=False)(astronaut))
    assert_is_the_astronaut(BlazeFace(threads=2)(astronaut))


def test_calls_do_not_change_the_picture_and_repeat_exactly(detector: BlazeFace, astronaut: NDArray[np.uint8]) -> None:
    before = astronaut.copy()
    assert detector(astronaut) == detector(astronaut)
    assert (astronaut == before).all()


def test_a_gray_and_a_mirrored_astronaut_are_found(detector: BlazeFace, astronaut: NDArray[np.uint8]) -> None:
    gray = np.repeat(astronaut.mean(axis=2, keepdims=True).astype(np.uint8), 3, axis=2)
    assert_is_the_astronaut(detector(gray))
    found = detector(np.ascontiguousarray(astronaut[:, ::-1]))
    assert len(found) == 1
    assert found[0].landmarks["left_eye"][0] == pytest.approx(511 - EYES_PX["right_eye"][0], abs=8)


def test_a_view_of_another_array_is_as_good_as_an_array(detector: BlazeFace, astronaut: NDArray[np.uint8]) -> None:
    bgr = np.ascontiguousarray(astronaut[:, :, ::-1])
    assert detector(bgr[:, :, ::-1]) == detector(astronaut)


def test_a_tilted_astronaut_is_found(detector: BlazeFace, astronaut: NDArray[np.uint8]) -> None:
    tilted = np.asarray(Image.fromarray(astronaut).rotate(25, resample=Image.Resampling.BILINEAR))
    found = detector(tilted)
    assert len(found) == 1
    (right_x, right_y), (left_x, left_y) = found[0].landmarks["right_eye"], found[0].landmarks["left_eye"]
    assert np.degrees(np.arctan2(right_y - left_y, left_x - right_x)) == pytest.approx(25 - 3, abs=6)


@pytest.mark.parametrize(("width", "height"), [(900, 512), (512, 900), (2000, 512), (513, 777)])
def test_boxes_stand_in_the_pixels_of_any_shape_of_picture(
    width: int, height: int, detector: BlazeFace, astronaut: NDArray[np.uint8]
) -> None:
    x, y = (width - 512) // 2, height - 512
    assert_is_the_astronaut(detector(collage(astronaut, width, height, [(x, y)])), dx=x, dy=y)


@pytest.mark.parametrize("side", [100, 300, 1500])
def test_boxes_grow_with_the_picture(side: int, detector: BlazeFace, astronaut: NDArray[np.uint8]) -> None:
    assert_is_the_astronaut(detector(resized(astronaut, side, side)), scale=side / 512)


def test_a_face_that_fills_the_picture_is_found(detector: BlazeFace, astronaut: NDArray[np.uint8]) -> None:
    assert_is_the_astronaut(detector(astronaut[50:190, 155:295]), dx=-155, dy=-50)


def test_small_faces_in_a_large_picture_are_found_by_tiles_alone(
    detector: BlazeFace, astronaut: NDArray[np.uint8]
) -> None:
    patch = resized(astronaut[:260, 90:350], 96, 96)
    places = [(x, y) for x in range(20, 1180, 145) for y in range(20, 860, 210)]
    picture = collage(patch, 1280, 960, places)
    found = detector(picture)
    assert len(found) == len(places) == 32
    eyes = np.array([d.landmarks["right_eye"] for d in found])
    scale = 96 / 260
    for x, y in places:
        wanted = x + (EYES_PX["right_eye"][0] - 90) * scale, y + EYES_PX["right_eye"][1] * scale
        assert np.abs(eyes - wanted).max(axis=1).min() < 4
    assert len(BlazeFace(threads=1, small_faces=False)(picture)) < 5


def test_small_faces_are_followed_from_picture_to_picture(astronaut: NDArray[np.uint8], monkeypatch) -> None:
    patch = resized(astronaut[:260, 90:350], 96, 96)
    detector = BlazeFace(threads=1)
    following = BlazeFaceVideo(detector)
    looks: list[int] = []
    candidates = BlazeFace._candidates
    monkeypatch.setattr(BlazeFace, "_candidates", lambda *given: looks.append(1) or candidates(*given))
    runs = []
    for number in range(20):
        picture = collage(patch, 1280, 960, [(100 + 5 * number, 200), (900, 700 - 5 * number)])
        looks.clear()
        found = following(picture)
        runs.append(len(looks))
        assert len(found) == 2
        for each in found:
            assert overlap(np.array([d.box.xyxy for d in detector(picture)]), np.array(each.box.xyxy)).max() > 0.8
    assert runs[0] > 20
    assert max(runs[1:]) <= 1 + 3 + 2  # edge to edge, in turn, and a closer look a face


def test_a_small_face_that_comes_is_found_when_its_tile_is_at_turn(astronaut: NDArray[np.uint8]) -> None:
    following = BlazeFaceVideo(BlazeFace(threads=1))
    patch = resized(astronaut[:260, 90:350], 96, 96)
    assert following(collage(patch, 1280, 960, [])) == ()
    for x, y in [(20, 20), (600, 430), (1180, 860)]:
        found = [len(following(collage(patch, 1280, 960, [(x, y)]))) for _ in range(blazeface.ROUND)]
        assert found == sorted(found)
        assert found[-1] == 1, (x, y)
        assert following(collage(patch, 1280, 960, [])) == ()


def test_a_small_face_that_hurries_is_followed(astronaut: NDArray[np.uint8]) -> None:
    following = BlazeFaceVideo(BlazeFace(threads=1))
    patch = resized(astronaut[:260, 90:350], 96, 96)  # its face is 40 pixels wide
    for number in range(20):
        found = following(collage(patch, 1280, 960, [(50 + 45 * number, 300)]))
        assert len(found) == 1, number
        assert found[0].landmarks["nose"][0] == pytest.approx(50 + 45 * number + 50, abs=6)


def test_a_large_face_that_rests_has_a_box_that_rests(astronaut: NDArray[np.uint8]) -> None:
    random = np.random.default_rng(0)
    following = BlazeFaceVideo(BlazeFace(threads=1))
    picture = collage(astronaut[:480, :480], 640, 480, [(80, 0)]).astype(int)
    sides = []
    for _ in range(20):
        noisy = np.clip(picture + random.normal(0, 4, picture.shape), 0, 255).astype(np.uint8)
        (found,) = following(noisy)
        sides.append(found.box.width)
    assert np.ptp(sides[1:]) < 0.02 * sides[0]


def test_after_a_cut_no_face_stays(astronaut: NDArray[np.uint8]) -> None:
    following = BlazeFaceVideo(BlazeFace(threads=1))
    patch = resized(astronaut[:260, 90:350], 96, 96)
    assert len(following(collage(patch, 1280, 960, [(100, 200), (600, 500)]))) == 2
    scene = resized(np.asarray(skimage.data.coffee()), 1280, 960)
    assert [len(following(scene)) for _ in range(5)] == [0] * 5


@pytest.mark.parametrize(("before", "after"), [((1280, 960), (640, 480)), ((640, 480), (1280, 960))])
def test_a_video_may_change_its_size(
    before: tuple[int, int], after: tuple[int, int], astronaut: NDArray[np.uint8]
) -> None:
    following = BlazeFaceVideo(BlazeFace(threads=1))
    patch = resized(astronaut[:260, 90:350], 96, 96)
    for width, height in (before, after, before):
        for _ in range(2):
            assert len(following(collage(patch, width, height, [(width - 120, height - 120)]))) == 1


def test_without_small_faces_none_are_followed(astronaut: NDArray[np.uint8]) -> None:
    picture = collage(resized(astronaut[:260, 90:350], 96, 96), 1280, 960, [(100, 200)])
    assert BlazeFaceVideo(BlazeFace(threads=1, small_faces=False))(picture) == ()


def test_pictures_too_small_for_tiles_are_followed(astronaut: NDArray[np.uint8]) -> None:
    following = BlazeFaceVideo(BlazeFace(threads=1))
    for _ in range(3):
        assert_is_the_astronaut(following(resized(astronaut, 200, 200)), scale=200 / 512)


def test_a_face_is_found_wherever_it_stands(detector: BlazeFace, astronaut: NDArray[np.uint8]) -> None:
    patch = resized(astronaut[:260, 90:350], 200, 200)  # its face is 80 pixels, across many cuts between tiles
    for x, y in [(0, 0), (700, 500), (437, 301), (1080, 760), (560, 130), (333, 380)]:
        found = detector(collage(patch, 1280, 960, [(x, y)]))
        assert len(found) == 1, (x, y)


def test_scores_descend(detector: BlazeFace, astronaut: NDArray[np.uint8]) -> None:
    places = [(x, 0) for x in range(0, 1536, 512)]
    found = detector(collage(astronaut, 1536, 512, places))
    assert len(found) == 3
    assert [d.score for d in found] == sorted((d.score for d in found), reverse=True)
    assert all(0.6 <= d.score <= 1 for d in found)


@pytest.mark.parametrize("name", ["coffee", "chelsea", "rocket", "brick", "hubble_deep_field", "moon", "text"])
def test_no_face_is_seen_where_there_is_none(name: str, detector: BlazeFace) -> None:
    picture = np.asarray(getattr(skimage.data, name)())
    picture = np.repeat(picture[:, :, None], 3, axis=2) if picture.ndim == 2 else picture[:, :, :3]
    assert detector(picture) == ()
    assert detector(resized(picture, 3 * picture.shape[1], 3 * picture.shape[0])) == ()


def test_no_face_is_seen_in_noise_and_plain_colours(detector: BlazeFace) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (600, 800, 3), np.uint8)
    assert detector(noise) == ()
    for value in (0, 128, 255):
        assert detector(np.full((500, 500, 3), value, np.uint8)) == ()


@pytest.mark.parametrize("shape", [(1, 1, 3), (1, 3000, 3), (3000, 1, 3), (2, 3, 3), (10, 5000, 3)])
def test_the_smallest_and_the_widest_pictures_are_empty_and_no_error(
    shape: tuple[int, int, int], detector: BlazeFace
) -> None:
    assert detector(np.full(shape, 100, np.uint8)) == ()


@pytest.mark.parametrize("name", BLAZEFACE_COUNTS)
def test_photographs(name: str, detector: BlazeFace, photograph: Photographs) -> None:
    assert len(detector(photograph(name))) == BLAZEFACE_COUNTS[name]


@pytest.mark.parametrize("name", YUNET_COUNTS)
def test_photographs_with_yunet(name: str, yunet: YuNet, photograph: Photographs) -> None:
    assert len(yunet(photograph(name))) == YUNET_COUNTS[name]


def test_yunet_finds_the_astronaut_in_any_size(yunet: YuNet, astronaut: NDArray[np.uint8]) -> None:
    assert_is_the_astronaut(yunet(astronaut))
    assert_is_the_astronaut(yunet(resized(astronaut, 333, 333)), scale=333 / 512)
    assert_is_the_astronaut(yunet(resized(astronaut, 2000, 2000)), scale=2000 / 512)
    assert yunet(np.zeros((1, 1, 3), np.uint8)) == ()
    assert yunet(np.zeros((3, 4000, 3), np.uint8)) == ()


@pytest.mark.parametrize("name", ["detector", "yunet"])
def test_boxes_are_squares(name: str, request: pytest.FixtureRequest, astronaut: NDArray[np.uint8]) -> None:
    (found,) = request.getfixturevalue(name)(resized(astronaut, 512, 700))  # stretched, as the network's own box is
    assert found.box.width == pytest.approx(found.box.height)


def test_both_detectors_agree_on_where_faces_are(detector: BlazeFace, yunet: YuNet, photograph: Photographs) -> None:
    picture = photograph("multi_face.jpg")
    others = np.array([d.box.xyxy for d in yunet(picture)])
    for found in detector(picture):
        assert overlap(others, np.array(found.box.xyxy)).max() > 0.5


def test_none_takes_the_whole_picture() -> None:
    (found,) = create_detector("none")(np.zeros((48, 40, 3), np.uint8))
    assert found.box.xyxy == (0, 0, 40, 48)
    assert (found.score, dict(found.landmarks)) == (1.0, {})


def test_detectors_by_name_and_path(yunet_file: Path) -> None:
    detectors: list[Detector] = [create_detector("blazeface", threads=1), create_detector(str(yunet_file), threads=1)]
    assert [type(detector) for detector in detectors] == [BlazeFace, YuNet]


def test_an_unknown_name_is_one_sentence_with_the_near_names() -> None:
    with pytest.raises(ConfigError, match=r"there is no detector blazface: did you mean blazeface\?"):
        create_detector("blazface")
    with pytest.raises(ConfigError, match="known are blazeface, none, yunet"):
        create_detector("qqq")


def test_a_path_without_a_yunet_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="there is none at"):
        create_detector(str(tmp_path / "missing.onnx"))
    with pytest.raises(WeightsError, match="is not YuNet for pictures of any size"):
        create_detector(str(MODEL))


@pytest.mark.parametrize(
    "array",
    [np.zeros((48, 48), np.uint8), np.zeros((48, 48, 4), np.uint8), np.zeros((0, 5, 3), np.uint8), np.zeros((4, 4, 3))],
    ids=["gray", "four channels", "no pixel", "floats"],
)
def test_what_is_no_picture_is_refused(array: NDArray[np.uint8], detector: BlazeFace) -> None:
    for refuses in (detector, create_detector("none")):
        with pytest.raises(ImageError, match="a picture must be"):
            refuses(array)


def test_suppression_joins_what_overlaps_weighted_by_score() -> None:
    values = np.array([[100.0, 100, 200, 200, 1, 1], [0, 0, 10, 10, 2, 2], [2, 0, 12, 10, 6, 6]])
    faces, scores = suppress_weighted(values, np.array([0.7, 0.6, 0.9]), 0.3)
    assert scores.tolist() == [0.9, 0.7]
    assert faces[0] == pytest.approx((0.6 * values[1] + 0.9 * values[2]) / 1.5)
    assert faces[1].tolist() == values[0].tolist()


def test_suppression_of_nothing_is_nothing() -> None:
    faces, scores = suppress_weighted(np.empty((0, 16)), np.empty(0), 0.3)
    assert faces.shape == (0, 16)
    assert scores.shape == (0,)


@pytest.mark.parametrize("box", [[10.0, 20, 50, 100], [-10, 40, 70, 80]], ids=["high", "wide"])
def test_frames_are_squares_of_the_longer_side(box: list[float]) -> None:
    assert framed(np.array([box]), margin=0, lift=0).tolist() == [[-10, 20, 70, 100]]


def test_frames_with_margin_and_lift_are_wider_and_higher_up() -> None:
    boxes = np.array([[0.0, 0, 40, 100], [200, 200, 220, 210]])
    assert framed(boxes, margin=0.2, lift=0.1) == pytest.approx(np.array([[-40.0, -20, 80, 100], [198, 191, 222, 215]]))
    assert boxes.tolist() == [[0, 0, 40, 100], [200, 200, 220, 210]]


def test_frames_of_nothing_are_nothing() -> None:
    assert framed(np.empty((0, 4)), margin=0.12, lift=0.05).shape == (0, 4)


def test_overlap() -> None:
    boxes = np.array([[0.0, 0, 10, 10], [5, 0, 15, 10], [10, 0, 20, 10], [2, 2, 4, 4]])
    assert overlap(boxes, boxes[0]) == pytest.approx([1, 1 / 3, 0, 0.04])


def test_a_box_inside_a_surer_one_or_around_it_is_dropped() -> None:
    values = np.array([[0.0, 0, 100, 100], [10, 10, 40, 40], [-200, -200, 300, 300], [95, 0, 195, 100]])
    kept, scores = drop_nested(values, np.array([0.9, 0.8, 0.7, 0.6]))
    assert kept.tolist() == [values[0].tolist(), values[3].tolist()]
    assert scores.tolist() == [0.9, 0.6]


@pytest.mark.parametrize(
    ("width", "height"), [(384, 384), (640, 480), (800, 800), (1920, 1080), (8000, 6000), (20000, 500), (700, 9000)]
)
def test_tiles_cover_the_picture_and_are_bounded(width: int, height: int) -> None:
    looks = tile_looks(width, height)
    assert 0 < len(looks) <= MAX_TILES
    assert min(look.side for look in looks) >= SIZE
    for side in {look.side for look in looks}:
        level = [look for look in looks if look.side == side]
        for length, starts in ((width, {look.x0 for look in level}), (height, {look.y0 for look in level})):
            ordered = sorted(starts)
            assert ordered[0] <= 0
            assert ordered[-1] + side >= length - 1e-6
            assert all(b - a <= side * 0.75 + 1e-6 for a, b in pairwise(ordered))


@pytest.mark.parametrize(("width", "height"), [(1, 1), (383, 200), (48, 48)])
def test_small_pictures_need_no_tiles(width: int, height: int) -> None:
    assert tile_looks(width, height) == []


def test_closer_looks_are_bounded(monkeypatch: pytest.MonkeyPatch, detector: BlazeFace) -> None:
    looks = []

    def candidates(self: BlazeFace, picture: Image.Image, look: blazeface.Look, min_score: float) -> object:
        looks.append(look)
        if min_score == blazeface.MIN_SCORE:
            return np.empty((0, 16)), np.empty(0)
        x, y = np.random.default_rng(len(looks)).uniform(0, 900, (2, 50))
        values = np.zeros((50, 16))
        values[:, :4] = np.stack([x, y, x + 5, y + 5], axis=1)
        return values, np.full(50, 0.5)

    monkeypatch.setattr(BlazeFace, "_candidates", candidates)
    assert detector(np.zeros((1000, 1000, 3), np.uint8)) == ()
    assert len(looks) == 2 + len(tile_looks(1000, 1000)) + MAX_CLOSER_LOOKS
