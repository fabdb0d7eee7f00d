"""Accuracy without the faces that were trained on."""

import dataclasses

import numpy as np
import pytest

from mien.data.dataset import FaceDataset
from mien.errors import DataError
from mien.evaluation import unseen
from mien.types import Predictions


@pytest.fixture
def predictions():
    """Right about faces 10 to 15, wrong about 16 to 19."""
    targets = np.zeros(10, np.int64)
    said = np.where(np.arange(10) < 6, 0, 1)
    return Predictions(np.arange(10, 20), np.eye(7, dtype=np.float32)[said], targets)


@pytest.fixture
def dataset():
    """Ten faces of each split, of class 0."""
    splits = np.repeat(np.arange(3, dtype=np.int8), 10)
    return FaceDataset(np.zeros((30, 4, 4), np.uint8), np.zeros(30, np.int64), splits, np.arange(30))


def test_seen_faces_are_left_out(predictions, dataset):
    found = unseen.measure("mine", predictions, dataset, np.array([3, 10, 11, 19]))
    assert (found.n, found.accuracy) == (10, 0.6)
    assert (found.n_unseen, found.accuracy_unseen) == (7, pytest.approx(4 / 7))
    assert 0 <= found.low < found.accuracy_unseen < found.high <= 1


def test_where_all_were_seen_there_is_no_accuracy(predictions, dataset):
    found = unseen.measure("mine", predictions, dataset, predictions.index)
    assert (found.n_unseen, found.accuracy_unseen) == (0, None)
    assert unseen.table([found]).row_count == 1


@pytest.mark.parametrize("rows", [np.arange(10), np.arange(10, 19), np.arange(11, 21)])
def test_predictions_of_other_faces_are_refused(predictions, dataset, rows):
    """Of the training split itself, too: none of its faces is a copy of another split's."""
    others = dataclasses.replace(predictions, index=rows, logits=predictions.logits[: len(rows)], targets=rows * 0)
    with pytest.raises(DataError, match="mine does not hold predictions of PublicTest's or PrivateTest's faces as"):
        unseen.measure("mine", others, dataset, rows)


def test_a_missing_file_is_one_sentence(tmp_path):
    with pytest.raises(DataError, match="there is no file of predictions"):
        unseen.load([tmp_path / "gone.parquet"])
