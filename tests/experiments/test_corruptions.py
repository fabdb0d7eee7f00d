"""Each corruption has its effect, grows with its strength, and repeats from its seed."""

import numpy as np
import pytest
import skimage.data
from PIL import Image

from mien.errors import ConfigError
from mien.experiments.corruptions import CORRUPTIONS, corrupt

N, SIDE = 12, 48


@pytest.fixture(scope="module")
def faces():
    """Gray crops of the astronaut's face at several positions."""
    gray = np.asarray(Image.fromarray(skimage.data.astronaut()).convert("L"))
    return np.stack([np.asarray(Image.fromarray(gray[y : y + 144, 160:304]).resize((SIDE, SIDE))) for y in range(N)])


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_stronger_corruption_changes_the_face_more(faces, name):
    distances = []
    for strength in range(1, 6):
        changed = corrupt(faces, name, strength)
        assert (changed.shape, changed.dtype) == (faces.shape, np.uint8)
        distances.append(np.abs(changed.astype(int) - faces).mean())
    assert distances[0] > 0.2
    assert distances == sorted(distances)


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_corrupt_is_reproducible_and_does_not_change_its_input(faces, name):
    before = faces.copy()
    assert np.array_equal(corrupt(faces, name, 3), corrupt(faces, name, 3))
    assert np.array_equal(faces, before)
    if name in ("noise", "low light", "occlusion", "rotation", "shift"):
        assert not np.array_equal(corrupt(faces, name, 3, seed=1), corrupt(faces, name, 3))


def test_noise_has_the_given_deviation():
    gray = np.full((4, 64, 64), 128, np.uint8)
    assert np.std(corrupt(gray, "noise", 3) / 255) == pytest.approx(0.12, rel=0.05)


def test_low_light_has_the_mean_and_variance_of_its_photons():
    white = np.full((4, 64, 64), 200, np.uint8)
    dark = corrupt(white, "low light", 2)
    assert dark.mean() == pytest.approx(50, rel=0.02)
    assert dark.var() == pytest.approx(50, rel=0.1)


def test_occlusion_covers_one_square_of_its_size(faces):
    changed = corrupt(faces, "occlusion", 4)
    for face, covered in zip(faces, changed, strict=True):
        rows, columns = np.nonzero(face != covered)
        assert np.ptp(rows) < 24
        assert np.ptp(columns) < 24
        assert (covered == 128).sum() >= 24 * 24


def test_shift_moves_by_its_length():
    dot = np.zeros((N, SIDE, SIDE), np.uint8)
    dot[:, 24, 24] = 255
    for face in corrupt(dot, "shift", 3):
        (y,), (x,) = np.nonzero(face)
        assert np.hypot(y - 24, x - 24) == pytest.approx(0.15 * SIDE, abs=0.8)


def test_rotation_turns_about_the_centre_without_black_corners():
    faces = np.full((N, SIDE, SIDE), 200, np.uint8)
    faces[:, :, 24:] = 100
    turned = corrupt(faces, "rotation", 5)
    assert turned.min() >= 100
    assert set(np.unique(turned[:, 0, 24])) != {100}  # the border has moved to one side or the other


def test_resolution_removes_finer_detail():
    chess = ((np.arange(SIDE)[:, None] + np.arange(SIDE)) % 2 * 255).astype(np.uint8)[None]
    assert np.ptp(corrupt(chess, "resolution", 2)) <= 1


def test_unknown_corruption_or_strength_raises(faces):
    with pytest.raises(ConfigError, match="unknown corruption blurr: did you mean blur"):
        corrupt(faces, "blurr", 1)
    for strength in (0, 6):
        with pytest.raises(ConfigError, match=rf"strength of a corruption must be 1\.\.5, got {strength}"):
            corrupt(faces, "blur", strength)
