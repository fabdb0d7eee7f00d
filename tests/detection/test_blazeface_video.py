from __future__ import annotations

import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray

from mien.detection.blazeface import FRAMES_PER_CYCLE, BlazeFace, BlazeFaceVideo
from mien.detection.boxes import iou
from tests.detection.images import assert_astronaut, collage, resized, small_face

pytestmark = pytest.mark.film


@pytest.fixture
def video_detector(blazeface: BlazeFace) -> BlazeFaceVideo:
    return blazeface.for_video()


def test_follows_moving_small_faces_at_a_low_cost(
    blazeface: BlazeFace, video_detector: BlazeFaceVideo, astronaut: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = 0
    candidates = BlazeFace._candidates

    def counted(*arguments: object) -> object:
        nonlocal runs
        runs += 1
        return candidates(*arguments)

    monkeypatch.setattr(BlazeFace, "_candidates", counted)
    runs_per_frame = []
    for number in range(20):
        frame = collage(small_face(astronaut), 1280, 960, [(100 + 5 * number, 200), (900, 700 - 5 * number)])
        runs = 0
        faces = video_detector(frame)
        runs_per_frame.append(runs)
        assert len(faces) == 2
        boxes = np.array([face.box.xyxy for face in blazeface(frame)])
        for face in faces:
            assert iou(boxes, np.array(face.box.xyxy)).max() > 0.8
    assert runs_per_frame[0] > 20
    assert max(runs_per_frame[1:]) <= 1 + 3 + 2  # the whole image, the regions of this frame, a zoom for each face


def test_finds_a_new_small_face_within_one_cycle(video_detector: BlazeFaceVideo, astronaut: NDArray[np.uint8]) -> None:
    patch = small_face(astronaut)
    assert video_detector(collage(patch, 1280, 960, [])) == ()
    for x, y in [(20, 20), (600, 430), (1180, 860)]:
        counts = [len(video_detector(collage(patch, 1280, 960, [(x, y)]))) for _ in range(FRAMES_PER_CYCLE)]
        assert counts == sorted(counts)
        assert counts[-1] == 1, (x, y)
        assert video_detector(collage(patch, 1280, 960, [])) == ()


def test_follows_a_fast_small_face(video_detector: BlazeFaceVideo, astronaut: NDArray[np.uint8]) -> None:
    for number in range(20):
        faces = video_detector(collage(small_face(astronaut), 1280, 960, [(50 + 45 * number, 300)]))
        assert len(faces) == 1, number
        assert faces[0].landmarks["nose"][0] == pytest.approx(50 + 45 * number + 50, abs=6)


def test_box_of_a_resting_large_face_rests(video_detector: BlazeFaceVideo, astronaut: NDArray[np.uint8]) -> None:
    random = np.random.default_rng(0)
    image = collage(astronaut[:480, :480], 640, 480, [(80, 0)]).astype(int)
    sides = []
    for _ in range(20):
        noisy = np.clip(image + random.normal(0, 4, image.shape), 0, 255).astype(np.uint8)
        (face,) = video_detector(noisy)
        sides.append(face.box.width)
    assert np.ptp(sides[1:]) < 0.02 * sides[0]


def test_no_face_stays_after_a_cut(video_detector: BlazeFaceVideo, astronaut: NDArray[np.uint8]) -> None:
    assert len(video_detector(collage(small_face(astronaut), 1280, 960, [(100, 200), (600, 500)]))) == 2
    scene = resized(np.asarray(skimage.data.coffee()), 1280, 960)
    assert [len(video_detector(scene)) for _ in range(5)] == [0] * 5


@pytest.mark.parametrize(("before", "after"), [((1280, 960), (640, 480)), ((640, 480), (1280, 960))])
def test_frames_may_change_their_size(
    before: tuple[int, int], after: tuple[int, int], video_detector: BlazeFaceVideo, astronaut: NDArray[np.uint8]
) -> None:
    for width, height in (before, after, before):
        for _ in range(2):
            frame = collage(small_face(astronaut), width, height, [(width - 120, height - 120)])
            assert len(video_detector(frame)) == 1


def test_finds_no_small_faces_if_they_are_off(astronaut: NDArray[np.uint8]) -> None:
    video_detector = BlazeFace(threads=1, small_faces=False).for_video()
    assert video_detector(collage(small_face(astronaut), 1280, 960, [(100, 200)])) == ()


def test_follows_a_face_in_frames_too_small_for_tiles(
    video_detector: BlazeFaceVideo, astronaut: NDArray[np.uint8]
) -> None:
    for _ in range(3):
        assert_astronaut(video_detector(resized(astronaut, 200, 200)), scale=200 / 512)
