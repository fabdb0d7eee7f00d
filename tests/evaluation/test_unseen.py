"""Accuracy without the faces that were trained on."""

import numpy as np
import pytest

from mien.errors import DataError
from mien.evaluation import unseen
from mien.types import Predictions


@pytest.fixture
def predictions():
    """Right about faces 10 to 15, wrong about 16 to 19."""
    targets = np.zeros(10, np.int64)
    said = np.where(np.arange(10) < 6, 0, 1)
    return Predictions(np.arange(10, 20), np.eye(7, dtype=np.float32)[said], targets)


def test_seen_faces_are_left_out(predictions):
    found = unseen.measure("mine", predictions, np.array([3, 10, 11, 19]))
    assert (found.n, found.accuracy) == (10, 0.6)
    assert (found.n_unseen, found.accuracy_unseen) == (7, pytest.approx(4 / 7))
    assert 0 <= found.low < found.accuracy_unseen < found.high <= 1


def test_where_all_were_seen_there_is_no_accuracy(predictions):
    found = unseen.measure("mine", predictions, predictions.index)
    assert (found.n_unseen, found.accuracy_unseen) == (0, None)
    assert unseen.table([found]).row_count == 1


def test_a_missing_file_is_one_sentence(tmp_path):
    with pytest.raises(DataError, match="there is no file of predictions"):
        unseen.load([tmp_path / "gone.parquet"])
