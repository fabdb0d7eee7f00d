"""Data without a split for choosing: Kaggle's train.csv, and a fraction of the training faces that is held out."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.data import load
from mien.data.dataset import FaceDataset
from mien.data.hold_out import hold_out
from mien.errors import DataError

pytestmark = pytest.mark.usefixtures("user_cache")


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """train/ with 40 bored, 20 engaged and 1 tired picture, and test/ with one of each."""
    root = tmp_path / "faces"
    random = np.random.default_rng(0)
    for split, counts in (
        ("train", {"bored": 40, "engaged": 20, "tired": 1}),
        ("test", {"bored": 1, "engaged": 1, "tired": 1}),
    ):
        for name, count in counts.items():
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = random.integers(0, 256, (48, 48), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{i}.png")
    return root


def test_held_out_faces_are_a_fraction_of_each_class(folders: Path) -> None:
    dataset = load(folders, hold_out=0.1)
    assert dataset.counts() == {
        "training": {"bored": 36, "engaged": 18, "tired": 1},
        "public": {"bored": 4, "engaged": 2, "tired": 0},
        "private": {"bored": 1, "engaged": 1, "tired": 1},
    }
    assert dataset.notes[-1] == "held out 6 training faces for choosing, 10% of each class (data.hold_out)"


def test_draw_is_random_and_the_same_in_every_run(folders: Path) -> None:
    first, second = (load(folders, hold_out=0.2, cache=cache) for cache in (True, False))
    assert np.array_equal(first.splits, second.splits)
    rows = np.flatnonzero(first.splits == 1)
    assert len(rows) == 12
    assert np.diff(rows).max() > 1  # not the first ones
    assert not np.array_equal(load(folders, hold_out=0.3).splits == 1, first.splits == 1)


def test_without_hold_out_the_message_names_it(folders: Path) -> None:
    with pytest.raises(DataError, match=r"the data has no public split, .*; add one, or set data\.hold_out"):
        load(folders).split("public")


def test_data_with_a_split_for_choosing_is_an_error(fer2013_csv: Path) -> None:
    with pytest.raises(DataError, match=r"the data has a public split for choosing: set data\.hold_out to 0"):
        load(fer2013_csv, hold_out=0.1)


def test_classes_of_single_faces_are_an_error() -> None:
    one_of_each = FaceDataset(
        np.zeros((2, 4, 4), np.uint8), np.arange(2), np.zeros(2, np.int8), np.arange(2), classes=("a", "b")
    )
    with pytest.raises(DataError, match="needs two or more training faces of a class"):
        hold_out(one_of_each, 0.5)


@pytest.mark.parametrize("columns", [("emotion", "pixels"), ("pixels", "emotion")])
def test_csv_without_usage_is_training_faces(tmp_path: Path, rows, write_rows, columns: tuple[str, ...]) -> None:
    source = write_rows(tmp_path / "train.csv", rows, columns)
    for _ in range(2):  # the second time from the cache
        dataset = load(source)
        assert list(dataset.counts()) == ["training"]
        assert dataset.notes == ("train.csv has training faces alone; data.hold_out takes some of them for choosing",)
    assert np.array_equal(dataset.images, [row.pixels for row in rows])
    assert sum(load(source, hold_out=0.25).counts()["public"].values()) == 14
