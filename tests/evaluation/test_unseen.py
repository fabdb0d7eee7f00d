"""Accuracy on faces without a copy in the training split."""

import dataclasses

import numpy as np
import pytest

from mien import predictions as prediction_files
from mien.data.dataset import FaceDataset
from mien.errors import DataError
from mien.evaluation import unseen
from mien.types import Predictions


@pytest.fixture
def predictions():
    """Correct for faces 10 to 15, wrong for 16 to 19."""
    targets = np.zeros(10, np.int64)
    predicted = np.where(np.arange(10) < 6, 0, 1)
    return Predictions(np.arange(10, 20), np.eye(7, dtype=np.float32)[predicted], targets)


@pytest.fixture
def dataset():
    """Ten faces of each split, of class 0."""
    splits = np.repeat(np.arange(3, dtype=np.int8), 10)
    return FaceDataset(np.zeros((30, 4, 4), np.uint8), np.zeros(30, np.int64), splits, np.arange(30))


def test_measure_leaves_out_faces_in_training(predictions):
    result = unseen.measure("mine", predictions, np.array([3, 10, 11, 19]))
    assert (result.n, result.accuracy) == (10, 0.6)
    assert (result.n_unseen, result.accuracy_unseen) == (7, pytest.approx(4 / 7))
    assert 0 <= result.low < result.accuracy_unseen < result.high <= 1


def test_measure_without_unseen_faces_has_no_accuracy(predictions):
    result = unseen.measure("mine", predictions, predictions.index)
    assert (result.n_unseen, result.accuracy_unseen) == (0, None)
    assert unseen.table([result]).row_count == 1


@pytest.mark.parametrize("rows", [np.arange(10), np.arange(10, 19), np.arange(11, 21)])
def test_load_rejects_predictions_of_other_faces(predictions, dataset, rows, tmp_path):
    """The training split is rejected, too: copies are counted against it."""
    others = dataclasses.replace(predictions, index=rows, logits=predictions.logits[: len(rows)], targets=rows * 0)
    prediction_files.save(others, tmp_path / "mine", {})
    with pytest.raises(DataError, match="mine must hold predictions of all PublicTest or all PrivateTest faces of"):
        unseen.load([tmp_path / "mine"], dataset)


def test_load_accepts_predictions_of_either_split(predictions, dataset, tmp_path):
    """The data may lack the other split."""
    prediction_files.save(predictions, tmp_path / "mine", {})
    for faces in (dataset, dataset.take(slice(0, 20))):
        (result,) = unseen.load([tmp_path / "mine"], faces).values()
        assert np.array_equal(result.index, predictions.index)
    private = dataclasses.replace(predictions, index=np.arange(20, 30))
    prediction_files.save(private, tmp_path / "mine", {})
    assert unseen.load([tmp_path / "mine"], dataset.take(slice(20, 30)))


def test_load_of_a_missing_file_raises(tmp_path, dataset):
    with pytest.raises(DataError, match="there is no file of predictions"):
        unseen.load([tmp_path / "gone.parquet"], dataset)
