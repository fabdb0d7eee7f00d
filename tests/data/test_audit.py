"""Audit: finds copies with small changes, and no others."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mien.data.audit import MIN_CORRELATION, audit, near_duplicates, sheet, to_csv
from mien.data.dataset import FaceDataset
from mien.labels import SPLITS

N = 30


def smooth_image(seed: int, size: int = 52) -> NDArray[np.uint8]:
    """Makes a smooth image, a little larger than a face, so that faces can be cropped at several positions."""
    coarse = np.random.default_rng(seed).integers(20, 236, (9, 9), dtype=np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC))


def jpeg(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "JPEG", quality=60)
    return np.asarray(Image.open(stream))


@pytest.fixture(scope="module")
def images() -> NDArray[np.uint8]:
    """Thirty images; then copies of the first five, each changed in another way; then two of one gray value each."""
    faces = [smooth_image(seed)[2:50, 2:50] for seed in range(N)]
    copies = [
        faces[0],
        faces[1][:, ::-1],
        smooth_image(2)[3:51, 1:49],
        jpeg(faces[3]),
        (faces[4] * 0.6 + 30).astype(np.uint8),
    ]
    return np.stack([*faces, *copies, np.full((48, 48), 90, np.uint8), np.full((48, 48), 91, np.uint8)])


@pytest.fixture(scope="module")
def dataset(images: NDArray[np.uint8]) -> FaceDataset:
    """All images but the last three are training faces; the copies are training, public, public, private, training."""
    splits = np.zeros(len(images), np.int8)
    splits[N - 3 : N] = 1
    splits[N : N + 5] = [0, 1, 1, 2, 0]
    targets = np.zeros(len(images), np.int64)
    targets[N + 1] = 3
    return FaceDataset(images, targets, splits, np.arange(len(images)) + 1000)


def test_near_duplicates_finds_copies_and_nothing_else(images: NDArray[np.uint8]) -> None:
    pairs = near_duplicates(images)
    assert pairs.first.tolist() == [0, 1, 2, 3, 4]
    assert pairs.second.tolist() == [N, N + 1, N + 2, N + 3, N + 4]
    assert pairs.mirrored.tolist() == [False, True, False, False, False]
    assert pairs.bits[0] == 0
    assert pairs.correlation.min() >= MIN_CORRELATION
    assert pairs.correlation.tolist() == pytest.approx([1] * 5, abs=0.02)


def test_near_duplicates_of_equal_images_of_one_gray_value() -> None:
    """Their pixels have no correlation; FER2013 has twelve black images."""
    plain = np.stack([np.full((48, 48), value, np.uint8) for value in (0, 0, 255, 255)])
    pairs = near_duplicates(plain)
    assert list(zip(pairs.first, pairs.second, strict=True)) == [(0, 1), (2, 3)]
    assert pairs.correlation.tolist() == [1, 1]


def test_near_duplicates_of_one_image_is_empty(images: NDArray[np.uint8]) -> None:
    assert near_duplicates(images[:1]).first.size == 0


def test_audit_counts_copies_by_split(dataset: FaceDataset) -> None:
    result = audit(dataset)
    assert result.repeated == {
        "training": {"training": 2, "public": 2, "private": 1},
        "public": {"training": 2, "public": 0, "private": 0},
        "private": {"training": 1, "public": 0, "private": 0},
    }
    assert result.in_training().tolist() == [1000 + N + 1, 1000 + N + 2, 1000 + N + 3]
    assert result.contradicting == 1
    assert result.to_dict()["pairs"] == 5
    assert result.votes is None


def test_audit_counts_votes_by_split(dataset: FaceDataset) -> None:
    votes = np.zeros((len(dataset), 7), np.float32)
    votes[:, 0], votes[:, 3] = 4, 6  # happy has the most votes; one public face has that label
    votes[0] = 0  # no votes
    not_faces = np.arange(len(dataset)) == 5
    result = audit(FaceDataset(dataset.images, dataset.targets, dataset.splits, dataset.index, votes), not_faces)
    assert result.votes is not None
    assert {split: vars(each) for split, each in result.votes.items()} == {
        "training": {"voted": 30, "agreed": 0, "not_faces": 1},
        "public": {"voted": 5, "agreed": 1, "not_faces": 0},
        "private": {"voted": 1, "agreed": 0, "not_faces": 0},
    }
    assert result.confusion is not None
    assert result.confusion.sum() == len(dataset) - 1
    assert (result.confusion[0, 3], result.confusion[3, 3]) == (len(dataset) - 2, 1)


def test_csv_names_rows_of_the_data(dataset: FaceDataset) -> None:
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


def test_sheet_leaves_out_exact_copies(dataset: FaceDataset) -> None:
    drawn = sheet(audit(dataset), columns=2)
    assert drawn.width == 2 * 204 + 6
    assert drawn.height == 2 * 120 + 6  # four pairs: the first is an exact copy
