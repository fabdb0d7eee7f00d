from __future__ import annotations

import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray

from mien.detection.face_check import SIZE, VIEWS, FaceCheck, face_probability, views

ASTRONAUT_SQUARE = np.array([[172.0, 70.0, 278.0, 176.0]])
UPRIGHT = np.zeros(1)


@pytest.fixture(scope="module")
def check() -> FaceCheck:
    return FaceCheck(threads=1)


def test_face_is_probable_and_its_parts_and_background_are_not(check: FaceCheck, astronaut: NDArray[np.uint8]) -> None:
    squares = np.array([[172, 70, 278, 176], [300, 300, 400, 400], [20, 20, 90, 90]], np.float64)
    face, suit, flag = check(astronaut, squares, np.zeros(3)).probabilities
    assert face > 0.9
    assert max(suit, flag) < 0.1


@pytest.mark.parametrize("picture", ["cat", "rocket", "coffee"])
def test_animals_and_objects_are_no_faces(picture: str, check: FaceCheck) -> None:
    image_rgb = np.asarray(getattr(skimage.data, picture)())
    squares = np.array([[x, y, x + 90, y + 90] for x in (60, 160, 260) for y in (40, 110, 180)], np.float64)
    assert check(image_rgb, squares, np.zeros(len(squares))).probabilities.max() < 0.5


@pytest.mark.parametrize("quarter_turns", [0, 1, 2, 3])
def test_tilt_of_turned_image_is_that_of_the_upright_view(
    quarter_turns: int, check: FaceCheck, astronaut: NDArray[np.uint8]
) -> None:
    side = len(astronaut)
    x0, y0, x1, y1 = ASTRONAUT_SQUARE[0]
    for _ in range(quarter_turns):  # np.rot90 turns counterclockwise
        x0, y0, x1, y1 = y0, side - x1, y1, side - x0
    turned = np.ascontiguousarray(np.rot90(astronaut, quarter_turns))
    upright = check(astronaut, ASTRONAUT_SQUARE, UPRIGHT)
    # The face was turned counterclockwise, so turning it clockwise makes it upright again.
    angle_deg = np.array([-90.0 * quarter_turns])
    again = check(turned, np.array([[x0, y0, x1, y1]]), angle_deg)
    assert again.probabilities == pytest.approx(upright.probabilities, abs=0.02)
    difference = again.tilts_deg - angle_deg - upright.tilts_deg
    assert (difference + 180) % 360 - 180 == pytest.approx(0, abs=3)


def test_views_show_each_width_and_black_outside(astronaut: NDArray[np.uint8]) -> None:
    squares = np.array([[-50.0, -50.0, 50.0, 50.0]])
    result = views(astronaut, squares, UPRIGHT)
    assert result.shape == (len(VIEWS), 3, SIZE, SIZE)
    assert (result[:, :, : SIZE // 2 - 1] == 0).all()
    assert (result[:, :, SIZE // 2 + 1 :].max(axis=(1, 2, 3)) > 100).all()


def test_only_a_doubtful_candidate_takes_more_than_one_view(
    check: FaceCheck, astronaut: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers: list[int] = []
    look = check.look
    monkeypatch.setattr(check, "look", lambda *args: numbers.append(len(args[1]) * len(args[3])) or look(*args))
    squares = np.concatenate([ASTRONAUT_SQUARE, [[20, 20, 90, 90]]])
    quick = check(astronaut, squares, np.zeros(2))
    assert numbers == [2]
    monkeypatch.setattr("mien.detection.face_check.DOUBTFUL", (0.0, 0.9999))
    numbers.clear()
    thorough = check(astronaut, squares, np.zeros(2))
    assert numbers[1:] == [2 * (len(VIEWS) - 1)]
    assert thorough.probabilities == pytest.approx(quick.probabilities, abs=0.05)
    assert thorough.tilts_deg[0] == pytest.approx(quick.tilts_deg[0], abs=8)


def test_no_candidates_give_no_result(check: FaceCheck, astronaut: NDArray[np.uint8]) -> None:
    probabilities, tilts_deg = check(astronaut, np.zeros((0, 4)), np.zeros(0))
    assert probabilities.shape == tilts_deg.shape == (0,)


def test_probability_grows_with_the_score_and_falls_with_the_size() -> None:
    small, large, best = face_probability(np.array([0.4, 0.4, 0.9]), np.array([12.0, 60.0, 60.0]))
    assert large < small
    assert large < best
    assert large >= 0
    assert best <= 1
    assert np.array_equal(
        face_probability(np.array([0.4]), np.array([60.0])), face_probability(np.array([0.4]), np.array([600.0]))
    )
