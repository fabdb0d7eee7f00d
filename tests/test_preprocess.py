"""Tests of preprocessing: resizing, normalising and cropping faces."""

from __future__ import annotations

import json

import numpy as np
import pytest
from numpy.typing import NDArray

from mien.preprocess import MAX_SIDE_PX, Preprocessing, crop
from mien.types import Box


@pytest.fixture
def faces() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (3, 48, 48), dtype=np.uint8)


def test_resize_keeps_faces_of_the_right_size_unchanged(faces: NDArray[np.uint8]) -> None:
    """The values of FER2013 must reach the network unfiltered."""
    assert np.array_equal(Preprocessing(size=48).resize(faces), faces)
    assert np.array_equal(Preprocessing(size=48).resize(list(faces)), faces)


def test_resize_of_faces_of_different_sizes(faces: NDArray[np.uint8]) -> None:
    mixed = [faces[0], np.full((100, 100), 77, np.uint8), np.full((20, 30), 5, np.uint8)]
    resized = Preprocessing(size=48).resize(mixed)
    assert resized.shape == (3, 48, 48)
    assert np.array_equal(resized[0], faces[0])
    assert np.all(resized[1] == 77)
    assert np.all(resized[2] == 5)
    assert Preprocessing(size=40).resize(faces).shape == (3, 40, 40)


@pytest.mark.parametrize(("size", "n"), [(48, 256), (96, 256), (224, 48), (1024, 2), (4000, 1)])
def test_batch_size_falls_with_the_size_of_the_faces(size: int, n: int) -> None:
    assert Preprocessing(size=size).batch_size == n


def test_resize_does_not_alias() -> None:
    """Lines of one pixel width become gray; picking every tenth pixel would give black or white."""
    lines = np.zeros((480, 480), np.uint8)
    lines[:, ::2] = 255
    small = Preprocessing(size=48).resize([lines])[0]
    assert np.abs(small.astype(float) - 127.5).max() < 12


def test_resize_keeps_the_orientation() -> None:
    face = np.zeros((96, 96), np.uint8)
    face[:48, :48] = 255
    small = Preprocessing(size=48).resize([face])[0]
    assert small[:23, :23].min() > 250
    assert small[25:].max() < 5
    assert small[:, 25:].max() < 5


def test_call_normalises_and_adds_a_channel(faces: NDArray[np.uint8]) -> None:
    images = Preprocessing(mean=0.25, std=0.5)(faces)
    assert images.shape == (3, 1, 48, 48)
    assert images.dtype == np.float32
    assert np.allclose(images[:, 0], (faces / 255 - 0.25) / 0.5, atol=1e-6)


def test_three_channels_repeat_the_gray_face(faces: NDArray[np.uint8]) -> None:
    images = Preprocessing(channels=3)(faces)
    assert images.shape == (3, 3, 48, 48)
    for channel in range(3):
        assert np.array_equal(images[:, channel], Preprocessing(channels=1)(faces)[:, 0])


def test_normalise_gives_the_same_values_for_arrays_and_tensors(faces: NDArray[np.uint8]) -> None:
    torch = pytest.importorskip("torch")
    preprocessing = Preprocessing()
    values = faces.astype(np.float32) / np.float32(255)
    tensor = preprocessing.normalise(torch.from_numpy(values))
    assert tensor.dtype == torch.float32
    assert np.allclose(tensor.numpy(), preprocessing.normalise(values), rtol=0, atol=1e-6)
    assert abs(float(tensor.mean()) + (0.5077 - values.mean()) / 0.2551) < 1e-4


def test_from_dict_reads_to_dict() -> None:
    preprocessing = Preprocessing(size=224, channels=3, mean=0.5, std=0.25)
    assert Preprocessing.from_dict(json.loads(json.dumps(preprocessing.to_dict()))) == preprocessing


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"crop": 1}, "must give a number for each of size, channels, mean, std, got"),
        ({"size": "48"}, "must give a number for each"),
        ({"mean": None}, "must give a number for each"),
        ({"size": 48.5}, "a whole size above 0"),
        ({"size": 0}, "a whole size above 0"),
        ({"channels": 2}, "1 or 3 channels"),
        ({"std": 0}, "std above 0"),
        ({"std": float("nan")}, "std above 0"),
    ],
    ids=str,
)
def test_from_dict_names_an_invalid_field(changes: dict[str, object], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Preprocessing.from_dict(Preprocessing().to_dict() | changes)


@pytest.mark.parametrize("stored", [{}, {"size": 48}, [48, 1, 0.5, 0.25], None], ids=str)
def test_from_dict_requires_every_field(stored: object) -> None:
    """A default could differ from the value that the network was trained with."""
    with pytest.raises(ValueError, match="must give a number for each of size, channels, mean, std, got"):
        Preprocessing.from_dict(stored)


@pytest.fixture
def numbered() -> NDArray[np.uint8]:
    """(10, 20): the value of each pixel is row * 20 + column."""
    return np.arange(200, dtype=np.uint8).reshape(10, 20)


def test_crop_inside_the_image(numbered: NDArray[np.uint8]) -> None:
    assert np.array_equal(crop(numbered, Box(4, 2, 8, 6)), numbered[2:6, 4:8])


def test_crop_is_a_square_around_the_centre_of_the_box(numbered: NDArray[np.uint8]) -> None:
    assert np.array_equal(crop(numbered, Box(4, 4, 12, 6)), numbered[1:9, 4:12])


def test_crop_repeats_the_edge_outside_the_image(numbered: NDArray[np.uint8]) -> None:
    face = crop(numbered, Box(-2, -3, 3, 2))
    assert face.shape == (5, 5)
    assert np.array_equal(face[3:, 2:], numbered[:2, :3])
    assert np.all(face[:4, :3] == numbered[0, 0])
    face = crop(numbered, Box(17, 7, 22, 12))
    assert np.array_equal(face[:3, :3], numbered[7:, 17:])
    assert np.all(face[2:, 2:] == numbered[9, 19])


@pytest.mark.parametrize("shape", [(1, 30_000), (30_000, 1), (9_000, 6_000)])
def test_crop_of_a_huge_face_is_reduced(shape: tuple[int, int]) -> None:
    """A PNG of 30,000 x 1 pixels has a hundred bytes, and its square would take a gigabyte."""
    gray = np.full(shape, 7, np.uint8)
    gray[-(shape[0] // 2) :, -(shape[1] // 2) :] = 200
    face = crop(gray, Box(0, 0, shape[1], shape[0]))
    assert face.shape[0] == face.shape[1]
    assert MAX_SIDE_PX / 2 < len(face) <= MAX_SIDE_PX
    assert face[-1, -1] == 200
    assert abs(float((face == 200).mean()) - (0.25 if 1 not in shape else 0.5)) < 0.1


def test_crop_of_a_box_outside_and_of_less_than_a_pixel(numbered: NDArray[np.uint8]) -> None:
    assert np.all(crop(numbered, Box(100, 100, 104, 104)) == numbered[9, 19])
    assert crop(numbered, Box(5.1, 5.1, 5.2, 5.2)).shape == (1, 1)
