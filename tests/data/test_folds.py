"""Folds are of equal size, the same each time, and keep equal faces together."""

import numpy as np
import pytest

from mien.data.dataset import FaceDataset
from mien.data.folds import folds_of, without_fold


@pytest.fixture
def faces() -> FaceDataset:
    images = np.random.default_rng(0).integers(0, 255, (100, 8, 8), np.uint8)
    images[90:] = images[:10]
    return FaceDataset(images, np.arange(100) % 7, np.zeros(100, np.int8), np.arange(100))


def test_folds_have_nearly_equal_sizes_and_repeat(faces):
    folds = folds_of(faces.take(slice(0, 90)), 3)
    assert np.bincount(folds).tolist() == [30, 30, 30]
    assert (folds == folds_of(faces.take(slice(0, 90)), 3)).all()


def test_equal_faces_are_in_the_same_fold(faces):
    folds = folds_of(faces, 2)
    assert (folds[90:] == folds[:10]).all()
    assert set(folds[:10]) == {0, 1}


def test_without_fold_leaves_out_one_part(faces):
    folds = folds_of(faces, 2)
    assert without_fold(faces, 2, 1).index.tolist() == np.flatnonzero(folds == 0).tolist()
    assert without_fold(faces, 0, 0) is faces
