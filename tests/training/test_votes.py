"""Prediction of FER2013's labels from FER+'s votes, fitted to the training split only."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from mien.data import FaceDataset
from mien.errors import DataError
from mien.labels import EXPRESSIONS, FERPLUS_COLUMNS, FERPLUS_OTHERS, SPLITS, USAGES
from mien.training.distill import teacher_probabilities
from mien.training.votes import predict_from_votes

NEXT = {label: EXPRESSIONS[(k + 1) % 7] for k, label in enumerate(EXPRESSIONS)}


@pytest.fixture
def faces(rows) -> FaceDataset:
    splits = [SPLITS.index(USAGES[row.usage]) for row in rows]
    images = np.stack([row.pixels for row in rows])
    targets = np.array([row.emotion for row in rows])
    return FaceDataset(images, targets, np.array(splits, np.int8), np.arange(len(rows)))


@pytest.fixture
def votes(faces, tmp_path):
    """A FER+ file in which each face has 8 votes for the class after its label and 2 for unknown."""
    path, usages = tmp_path / "fer2013new.csv", list(USAGES)
    columns = (*FERPLUS_COLUMNS, *FERPLUS_OTHERS)
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ("Usage", *columns))
        writer.writeheader()
        for target, split in zip(faces.targets, faces.splits, strict=True):
            counts = {column: 8 * (NEXT[EXPRESSIONS[target]] == name) for column, name in FERPLUS_COLUMNS.items()}
            writer.writerow({"Usage": usages[split], **dict.fromkeys(columns, 0), **counts, "unknown": 2})
    return path


def test_votes_for_other_names_predict_the_labels(faces, votes):
    for split, count in (("training", 28), ("public", 14), ("private", 14)):
        predictions = predict_from_votes(faces, votes, split)
        assert len(predictions.index) == count
        assert np.array_equal(predictions.index, faces.split(split).index)
        assert predictions.correct.all()  # although most votes never name the label
        assert (predictions.probabilities.max(axis=1) > 0.9).all()


def test_labels_of_other_splits_have_no_effect(faces, votes):
    shifted = np.where(faces.splits == SPLITS.index("training"), faces.targets, (faces.targets + 3) % 7)
    other = predict_from_votes(replace(faces, targets=shifted), votes, "private")
    assert np.array_equal(other.logits, predict_from_votes(faces, votes, "private").logits)
    assert not other.correct.any()


def test_data_without_training_split_raises(faces, votes):
    private = faces.split("private")
    with pytest.raises(DataError, match="has no training split, it has only private"):
        predict_from_votes(private, votes, "private")


def test_data_votes_writes_predictions_for_a_teacher(mien, fer2013_csv, faces, votes, tmp_path, user_cache):
    code, out, _ = mien("data", "votes", fer2013_csv, "--ferplus", votes, "-o", tmp_path / "votes.parquet")
    assert code == 0
    assert "n = 28" in out
    teacher = teacher_probabilities(tmp_path / "votes.parquet", faces.split("training"), 1.0)
    assert np.array_equal(teacher.argmax(dim=1).numpy(), faces.split("training").targets)


def test_data_votes_rejects_a_file_that_is_not_ferplus(mien, fer2013_csv, tmp_path, user_cache):
    code, _, err = mien("data", "votes", fer2013_csv, "--ferplus", fer2013_csv, "-o", tmp_path / "no.parquet")
    assert code == 2
    assert "is not FER+'s fer2013new.csv" in err
    assert not (tmp_path / "no.parquet").exists()


def test_real_votes_beat_the_most_frequent_vote(real_dataset, ferplus_real):
    """scikit-learn 1.9's LogisticRegression(C=1) on the votes and log(votes + 0.5): 67.21 %, 0.8904 nats."""
    predictions = predict_from_votes(real_dataset, ferplus_real, "public")
    public = real_dataset.split("public")
    assert predictions.correct.mean() == pytest.approx(0.672, abs=0.005)
    nll = -np.log(predictions.probabilities[np.arange(len(public)), public.targets]).mean()
    assert nll == pytest.approx(0.890, abs=0.005)
    assert predictions.correct.mean() > (public.votes.argmax(axis=1) == public.targets).mean() + 0.03
