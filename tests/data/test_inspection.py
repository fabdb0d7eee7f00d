"""Inspection: counts, published counts, repeated faces, pixel statistics and the contact sheet."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from mien.data import FaceDataset, load
from mien.data.fer2013 import PUBLISHED_COUNTS
from mien.data.inspection import FACE_PX, GAP_PX, HEADING_PX, LABEL_PX, contact_sheet, inspect, table
from mien.labels import COLOURS, EXPRESSIONS
from tests.conftest import Row


@pytest.fixture
def dataset(fer2013_csv: Path) -> FaceDataset:
    return load(fer2013_csv, cache=False)


@pytest.fixture(scope="module")
def published() -> FaceDataset:
    """Different faces of 2 x 2 pixels with the published number of each class in each split."""
    counts = np.array(list(PUBLISHED_COUNTS.values()))
    n = int(counts.sum())
    return FaceDataset(
        images=np.arange(n, dtype="<u4").view(np.uint8).reshape(n, 2, 2),
        targets=np.concatenate([np.repeat(np.arange(7), row) for row in counts]),
        splits=np.repeat(np.arange(3), counts.sum(axis=1)).astype(np.int8),
        index=np.arange(n),
    )


def test_small_data_is_not_compared_with_fer2013(dataset: FaceDataset, fer2013_csv: Path) -> None:
    inspection = inspect(dataset)
    assert inspection.published is None
    assert inspection.differences == ()
    assert (inspection.n, inspection.size, inspection.format, inspection.path) == (56, 48, "csv", str(fer2013_csv))
    assert inspection.totals == {"training": 28, "public": 14, "private": 14}
    assert inspection.counts["private"] == dict.fromkeys(EXPRESSIONS, 2)
    assert inspection.ferplus is None


def test_published_counts_match(published: FaceDataset) -> None:
    inspection = inspect(published)
    assert inspection.published is True
    assert inspection.differences == ()
    assert inspection.duplicates.within == {"training": 0, "public": 0, "private": 0}


def test_differences_are_sentences(published: FaceDataset) -> None:
    targets = published.targets.copy()
    targets[0] = 1
    inspection = inspect(replace(published, targets=targets))
    assert inspection.published is False
    assert inspection.differences == (
        "training has 3,994 angry faces; 3,995 are published",
        "training has 437 disgust faces; 436 are published",
    )
    merged = replace(published, splits=np.where(published.splits == 1, 2, published.splits).astype(np.int8))
    assert "there is no public split; 3,589 faces are published" in inspect(merged).differences


def test_data_of_other_size_is_not_compared_with_fer2013(published: FaceDataset) -> None:
    def first(n: int) -> FaceDataset:
        return replace(published, **{k: getattr(published, k)[:n] for k in ("images", "targets", "splits", "index")})

    assert inspect(first(35_000)).published is False
    assert inspect(first(30_000)).published is None


def test_pixel_statistics_use_the_training_split(dataset: FaceDataset, rows: list[Row]) -> None:
    training = np.stack([row.pixels for row in rows if row.usage == "Training"]) / 255
    inspection = inspect(dataset)
    assert inspection.pixel_mean == pytest.approx(training.mean(), abs=1e-9)
    assert inspection.pixel_std == pytest.approx(training.std(), abs=1e-9)
    assert inspect(dataset.split("public")).pixel_mean is None


def test_duplicates_within_and_across_splits(dataset: FaceDataset) -> None:
    """Rows 0..27 are training, 28..41 public, 42..55 private; the class is the row modulo 7."""
    images = dataset.images.copy()
    images[7] = images[14] = images[0]  # three of one class in training: two repeat
    images[35] = images[28]  # one repeats in public
    images[42] = images[1]  # disgust in training, angry in private
    inspection = inspect(replace(dataset, images=images)).duplicates
    assert inspection.within == {"training": 2, "public": 1, "private": 0}
    assert inspection.across == {"training": 1, "public": 0, "private": 1}
    assert inspection.contradicting == 2


def test_ferplus_summary(dataset: FaceDataset) -> None:
    votes = 5 * np.eye(7, dtype=np.float32)[dataset.targets]
    votes[0] = 0  # no vote
    votes[1, (dataset.targets[1] + 1) % 7] = 9  # another class leads
    votes[2, (dataset.targets[2] + 1) % 7] = 5  # a tie counts as agreement
    inspection = inspect(replace(dataset, votes=votes)).ferplus
    assert inspection is not None
    assert (inspection.voted, inspection.unvoted) == (55, 1)
    assert inspection.agreement == pytest.approx(54 / 55)


def test_to_dict_is_json(dataset: FaceDataset) -> None:
    votes = np.eye(7, dtype=np.float32)[dataset.targets]
    inspection = inspect(replace(dataset, votes=votes)).to_dict()
    assert json.loads(json.dumps(inspection)) == inspection
    assert inspection["counts"]["public"]["happy"] == 2
    assert inspection["totals"]["training"] == 28
    assert inspection["classes"] == list(EXPRESSIONS)
    assert inspection["matches_published"] is None
    assert inspection["ferplus"] == {"voted": 56, "unvoted": 0, "agreement": 1.0}
    assert {"path", "form", "n", "size", "differences", "duplicates", "pixel_mean", "pixel_std"} <= inspection.keys()


def printed(dataset: FaceDataset) -> str:
    stream = io.StringIO()
    Console(file=stream, width=120).print(table(inspect(dataset)))
    return stream.getvalue()


def test_table_has_counts_and_sentences(published: FaceDataset) -> None:
    text = printed(replace(published, path="[here]/fer2013.csv", format="csv"))
    for words in ("[here]/fer2013.csv (csv)", "28,709", "7,215", "35,887", "The counts equal those published"):
        assert words in text
    targets = published.targets.copy()
    targets[0] = 1
    assert "training has 3,994 angry faces; 3,995 are published" in printed(replace(published, targets=targets))


def test_contact_sheet_has_a_row_for_each_class_and_split(dataset: FaceDataset) -> None:
    """Each class has its own gray value, so that a face in a wrong row would be found."""
    plain = np.broadcast_to((30 * dataset.targets + dataset.splits)[:, None, None], dataset.images.shape)
    sheet = contact_sheet(replace(dataset, images=plain.astype(np.uint8)), faces_per_class=3)
    assert sheet.mode == "RGB"
    step = FACE_PX + GAP_PX
    pixels = np.asarray(sheet)
    for split in range(3):
        for k in range(7):
            y = split * (HEADING_PX + 7 * step) + HEADING_PX + k * step
            row = pixels[y : y + FACE_PX]
            places = [row[:, LABEL_PX + j * step : LABEL_PX + j * step + FACE_PX] for j in range(3)]
            drawn = [bool((place == 30 * k + split).all()) for place in places]
            blank = [bool((place == 255).all()) for place in places]
            faces = 3 if split == 0 else 2
            assert drawn == [j < faces for j in range(3)]
            assert blank == [j >= faces for j in range(3)]
            colour = "#{:02x}{:02x}{:02x}".format(*row[FACE_PX // 2, 0])
            assert colour == COLOURS[EXPRESSIONS[k]]
            assert (row[:, 2 * GAP_PX : LABEL_PX - GAP_PX] < 100).any(), "the name of the class is written"


def test_contact_sheet_depends_on_seed(dataset: FaceDataset) -> None:
    sheets = [contact_sheet(dataset, faces_per_class=1, seed=seed).tobytes() for seed in (0, 0, 1)]
    assert sheets[0] == sheets[1]
    assert sheets[0] != sheets[2]


def test_contact_sheet_with_missing_classes_and_larger_faces(dataset: FaceDataset) -> None:
    part = dataset.split("public")
    few = replace(part, images=np.zeros((len(part), 100, 100), np.uint8), targets=np.zeros_like(part.targets))
    sheet = contact_sheet(few, faces_per_class=2)
    step = FACE_PX + GAP_PX
    assert sheet.size == (LABEL_PX + 2 * step + GAP_PX, HEADING_PX + 7 * step + GAP_PX)
    assert sheet.getpixel((LABEL_PX + 5, HEADING_PX + 5)) == (0, 0, 0)
    assert sheet.getpixel((LABEL_PX + 5, HEADING_PX + step + 5)) == (255, 255, 255)


def test_real_data_matches_published_counts(real_dataset: FaceDataset) -> None:
    inspection = inspect(real_dataset)
    assert inspection.published is True
    assert inspection.format == "archive"
    assert inspection.pixel_mean == pytest.approx(0.5077, abs=5e-4)
    assert inspection.pixel_std == pytest.approx(0.2551, abs=5e-4)
    assert inspection.ferplus is not None
    assert (inspection.ferplus.voted, inspection.ferplus.unvoted) == (35_709, 178)
    assert inspection.ferplus.agreement == pytest.approx(0.654, abs=0.002)
    assert inspection.duplicates.across["private"] > 300  # FER2013 repeats many of its test faces elsewhere
