"""Copies are found however they were changed, and different pictures are left alone."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mien.data.audit import LEAST_CORRELATION, audit, near_duplicates, sheet, to_csv
from mien.data.dataset import FaceDataset
from mien.labels import SPLITS

N = 30


def picture(seed: int, size: int = 52) -> NDArray[np.uint8]:
    """A smooth picture, a little larger than a face, so that faces can be cut out at several places."""
    coarse = np.random.default_rng(seed).integers(20, 236, (9, 9), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC))


def jpeg(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=60)
    return np.asarray(Image.open(stream))


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    """Thirty pictures; then copies of the first five, each changed in another way; then two even gray ones."""
    cut = [picture(seed)[2:50, 2:50] for seed in range(N)]
    copies = [
        cut[0],
        cut[1][:, ::-1],
        picture(2)[3:51, 1:49],
        jpeg(cut[3]),
        (cut[4] * 0.6 + 30).astype(np.uint8),
    ]
    return np.stack([*cut, *copies, np.full((48, 48), 90, np.uint8), np.full((48, 48), 91, np.uint8)])


@pytest.fixture(scope="module")
def dataset(images: NDArray[np.uint8]) -> FaceDataset:
    """The pictures are training faces but the last three; copies are of training, public, public, private, training."""
    splits = np.zeros(len(images), np.int8)
    splits[N - 3 : N] = 1
    splits[N : N + 5] = [0, 1, 1, 2, 0]
    targets = np.zeros(len(images), np.int64)
    targets[N + 1] = 3
    return FaceDataset(images, targets, splits, np.arange(len(images)) + 1000)


def test_copies_are_found_and_nothing_else(images: NDArray[np.uint8]) -> None:
    pairs = near_duplicates(images)
    assert pairs.first.tolist() == [0, 1, 2, 3, 4]
    assert pairs.second.tolist() == [N, N + 1, N + 2, N + 3, N + 4]
    assert pairs.mirrored.tolist() == [False, True, False, False, False]
    assert pairs.bits[0] == 0
    assert pairs.correlation.min() >= LEAST_CORRELATION
    assert pairs.correlation.tolist() == pytest.approx([1] * 5, abs=0.02)


def test_equal_pictures_of_one_gray_value_are_copies() -> None:
    """Their pixels have no correlation; FER2013 has twelve that are black."""
    even = np.stack([np.full((48, 48), value, np.uint8) for value in (0, 0, 255, 255)])
    pairs = near_duplicates(even)
    assert list(zip(pairs.first, pairs.second, strict=True)) == [(0, 1), (2, 3)]
    assert pairs.correlation.tolist() == [1, 1]


def test_of_a_picture_alone_there_are_no_copies(images: NDArray[np.uint8]) -> None:
    assert near_duplicates(images[:1]).first.size == 0


def test_what_stands_in_which_split(dataset: FaceDataset) -> None:
    found = audit(dataset)
    assert found.repeated == {
        "training": {"training": 2, "public": 2, "private": 1},
        "public": {"training": 2, "public": 0, "private": 0},
        "private": {"training": 1, "public": 0, "private": 0},
    }
    assert found.in_training().tolist() == [1000 + N + 1, 1000 + N + 2, 1000 + N + 3]
    assert found.contradicting == 1
    assert found.to_dict()["pairs"] == 5
    assert found.votes is None


def test_votes_are_counted_by_split(dataset: FaceDataset) -> None:
    votes = np.zeros((len(dataset), 7), np.float32)
    votes[:, 0], votes[:, 3] = 4, 6  # most say happy, which is the label of one public face
    votes[0] = 0  # nobody voted
    not_faces = np.arange(len(dataset)) == 5
    found = audit(FaceDataset(dataset.images, dataset.targets, dataset.splits, dataset.index, votes), not_faces)
    assert found.votes is not None
    assert {split: vars(each) for split, each in found.votes.items()} == {
        "training": {"voted": 30, "agreed": 0, "not_faces": 1},
        "public": {"voted": 5, "agreed": 1, "not_faces": 0},
        "private": {"voted": 1, "agreed": 0, "not_faces": 0},
    }
    assert found.said is not None
    assert found.said.sum() == len(dataset) - 1
    assert (found.said[0, 3], found.said[3, 3]) == (len(dataset) - 2, 1)


def test_the_list_names_rows_of_the_data(dataset: FaceDataset) -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv(audit(dataset)))))
    assert rows[1] == {
        "row": "1001",
        "split": "training",
        "label": "angry",
        "row_of_copy": str(1001 + N),
        "split_of_copy": "public",
        "label_of_copy": "happy",
        "bits": rows[1]["bits"],
        "correlation": rows[1]["correlation"],
        "mirrored": "true",
    }
    assert [SPLITS.index(row["split_of_copy"]) for row in rows] == [0, 1, 1, 2, 0]


def test_the_sheet_shows_copies_that_are_not_equal(dataset: FaceDataset) -> None:
    drawn = sheet(audit(dataset), columns=2)
    assert drawn.width == 2 * 204 + 6
    assert drawn.height == 2 * 120 + 6  # four pairs: the first is equal to the last pixel
