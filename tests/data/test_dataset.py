"""FaceDataset: subsets keep all arrays aligned, and arrays that do not fit raise an error."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from mien.data import FaceDataset
from mien.errors import DataError


@pytest.fixture
def dataset() -> FaceDataset:
    return FaceDataset(
        images=np.arange(6, dtype=np.uint8).repeat(4).reshape(6, 2, 2),
        targets=np.array([0, 1, 2, 3, 3, 6]),
        splits=np.array([0, 0, 1, 0, 1, 1], np.int8),
        index=np.arange(10, 16),
        votes=np.eye(7, dtype=np.float32)[[0, 1, 2, 3, 3, 6]],
        path="made",
        format="csv",
    )


def test_split_selects_rows_of_all_arrays(dataset: FaceDataset) -> None:
    part = dataset.split("public")
    assert part.images[:, 0, 0].tolist() == [2, 4, 5]
    assert part.targets.tolist() == [2, 3, 6]
    assert part.index.tolist() == [12, 14, 15]
    assert part.votes is not None
    assert part.votes.argmax(axis=1).tolist() == [2, 3, 6]
    assert (len(part), part.size, part.path, part.format) == (3, 2, "made", "csv")


def test_split_of_consecutive_rows_is_a_view(dataset: FaceDataset) -> None:
    """FER2013's training faces are 66 MB: a copy would stay in memory for the whole training."""
    together = replace(dataset, splits=np.array([0, 0, 0, 1, 1, 2], np.int8))
    assert together.split("training").images.base is not None
    assert np.shares_memory(together.split("public").images, dataset.images)
    assert together.split("public").index.tolist() == [13, 14]


def test_missing_split_error_names_present_splits(dataset: FaceDataset) -> None:
    with pytest.raises(DataError, match="no private split, it has only training, public; add one"):
        dataset.split("private")


def test_counts_by_split_and_class(dataset: FaceDataset) -> None:
    counts = dataset.counts()
    assert list(counts) == ["training", "public"]
    assert [name for name, n in counts["training"].items() if n] == ["angry", "disgust", "happy"]
    assert counts["public"]["neutral"] == 1


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"targets": np.zeros(5, np.int64)}, "same length"),
        ({"splits": np.zeros(7, np.int8)}, "same length"),
        ({"index": np.arange(5)}, "same length"),
        ({"votes": np.zeros((6, 6), np.float32)}, r"votes must be \(6, 7\), got \(6, 6\)"),
        ({"targets": np.array([0, 1, 2, 3, 3, 7])}, r"targets must be 0\.\.6, got 0\.\.7"),
        ({"targets": np.array([0, 1, 2, 3, 3, -1])}, r"got -1\.\.3"),
    ],
)
def test_mismatched_arrays_raise(dataset: FaceDataset, change: dict[str, np.ndarray], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        replace(dataset, **change)
