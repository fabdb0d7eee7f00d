"""What FER+'s votes say of FER2013's labels is learnt from the training split alone, and can teach."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from mien.data import FaceDataset
from mien.errors import DataError
from mien.labels import EXPRESSIONS, FERPLUS_COLUMNS, FERPLUS_OTHERS, SPLITS, USAGES
from mien.training.distill import taught
from mien.training.taggers import taggers

NEXT = {label: EXPRESSIONS[(k + 1) % 7] for k, label in enumerate(EXPRESSIONS)}


@pytest.fixture
def faces(rows) -> FaceDataset:
    splits = [SPLITS.index(USAGES[row.usage]) for row in rows]
    images = np.stack([row.pixels for row in rows])
    targets = np.array([row.emotion for row in rows])
    return FaceDataset(images, targets, np.array(splits, np.int8), np.arange(len(rows)))


@pytest.fixture
def votes(faces, tmp_path):
    """Taggers whose words are each another class's: eight say the next class's name, two know none."""
    path, usages = tmp_path / "fer2013new.csv", list(USAGES)
    columns = (*FERPLUS_COLUMNS, *FERPLUS_OTHERS)
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, ("Usage", *columns))
        writer.writeheader()
        for target, split in zip(faces.targets, faces.splits, strict=True):
            said = {column: 8 * (NEXT[EXPRESSIONS[target]] == name) for column, name in FERPLUS_COLUMNS.items()}
            writer.writerow({"Usage": usages[split], **dict.fromkeys(columns, 0), **said, "unknown": 2})
    return path


def test_what_taggers_call_a_class_is_learnt(faces, votes):
    for split, count in (("training", 28), ("public", 14), ("private", 14)):
        said = taggers(faces, votes, split)
        assert len(said.index) == count
        assert np.array_equal(said.index, faces.split(split).index)
        assert said.correct.all()  # though most votes are never the label
        assert (said.probabilities.max(axis=1) > 0.9).all()


def test_labels_of_other_splits_teach_nothing(faces, votes):
    turned = np.where(faces.splits == SPLITS.index("training"), faces.targets, (faces.targets + 3) % 7)
    other = taggers(replace(faces, targets=turned), votes, "private")
    assert np.array_equal(other.logits, taggers(faces, votes, "private").logits)
    assert not other.correct.any()


def test_without_a_training_split_nothing_can_be_learnt(faces, votes):
    private = faces.split("private")
    lines = votes.read_text().splitlines(keepends=True)
    votes.write_text(lines[0] + "".join(line for line in lines if line.startswith("PrivateTest")))
    with pytest.raises(DataError, match="has no training split, it has private"):
        taggers(private, votes, "private")


def test_votes_become_a_teacher(mien, fer2013_csv, faces, votes, tmp_path, user_cache):
    code, out, _ = mien("data", "votes", fer2013_csv, "--ferplus", votes, "-o", tmp_path / "votes.parquet")
    assert code == 0
    assert "n = 28" in out
    teacher = taught(tmp_path / "votes.parquet", faces.split("training"), 1.0)
    assert np.array_equal(teacher.argmax(dim=1).numpy(), faces.split("training").targets)

    code, _, err = mien("data", "votes", fer2013_csv, "--ferplus", fer2013_csv, "-o", tmp_path / "no.parquet")
    assert code == 2
    assert "is not FER+'s fer2013new.csv" in err
    assert not (tmp_path / "no.parquet").exists()


def test_real_votes_say_more_than_most_votes(real_dataset, ferplus_real):
    """scikit-learn 1.9's LogisticRegression(C=1) on the votes and log(votes + 0.5) has 0.6721 and 0.8904 nats."""
    said = taggers(real_dataset, ferplus_real, "public")
    public = real_dataset.split("public")
    assert said.correct.mean() == pytest.approx(0.672, abs=0.005)
    nll = -np.log(said.probabilities[np.arange(len(public)), public.targets]).mean()
    assert nll == pytest.approx(0.890, abs=0.005)
    assert said.correct.mean() > (public.votes.argmax(axis=1) == public.targets).mean() + 0.03
