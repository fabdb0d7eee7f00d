"""FER+ votes: joined by row and class name, as labels, and an error if the rows cannot be FER2013's."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mien.data import FaceDataset, LabelOptions, load
from mien.data.ferplus import not_a_face, read_votes
from mien.errors import DataError
from mien.labels import EIGHT_EXPRESSIONS, EXPRESSIONS
from tests.conftest import Row

COLUMNS = (
    "Usage", "Image name", "neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt",
    "unknown", "NF",
)  # fmt: skip
VOTES_OF_CLASS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")


@pytest.fixture
def table(rows: list[Row]) -> list[dict[str, str]]:
    """Seven votes for a row's own class, two for contempt and one for NF; the third row has only the latter two."""
    made = []
    for i, row in enumerate(rows):
        votes = dict.fromkeys(COLUMNS[2:], "0") | {"contempt": "2", "NF": "1"}
        if i != 2:
            votes[VOTES_OF_CLASS[row.emotion]] = "7"
        made.append({"Usage": row.usage, "Image name": f"fer{i:07}.png"} | votes)
    return made


@pytest.fixture
def write(tmp_path: Path) -> Callable[[list[dict[str, str]]], Path]:
    def write(table: list[dict[str, str]]) -> Path:
        path = tmp_path / "fer2013new.csv"
        with path.open("w", newline="") as stream:
            writer = csv.DictWriter(stream, table[0])
            writer.writeheader()
            writer.writerows(table)
        return path

    return write


Write = Callable[[list[dict[str, str]]], Path]
Table = list[dict[str, str]]


@pytest.mark.parametrize("rows_changed", ["one less", "one more"])
def test_file_with_other_number_of_rows(fer2013_csv: Path, table: Table, write: Write, rows_changed: str) -> None:
    changed = table[:-1] if rows_changed == "one less" else [*table, table[-1]]
    with pytest.raises(DataError, match=rf"fer2013new\.csv has {len(changed)} rows and the data has 56"):
        load(fer2013_csv, ferplus=write(changed), cache=False)


def test_votes_for_contempt_need_the_class(fer2013_csv: Path, table: Table, write: Write) -> None:
    options = LabelOptions(classes=EIGHT_EXPRESSIONS)
    dataset = load(fer2013_csv, ferplus=write(table), cache=False, options=options)
    assert dataset.classes == EIGHT_EXPRESSIONS
    assert dataset.votes is not None
    assert set(dataset.votes[:, 7].tolist()) == {2}
    assert dataset.counts()["training"]["contempt"] == 0


def test_merged_class_gets_the_votes_of_both(fer2013_csv: Path, table: Table, write: Write) -> None:
    dataset = load(fer2013_csv, write(table), cache=False, options=LabelOptions(merge={"contempt": "disgust"}))
    assert dataset.classes == EXPRESSIONS
    assert dataset.votes is not None
    assert dataset.votes[2].tolist() == [0, 2, 0, 0, 0, 0, 0]
    assert dataset.votes[1].tolist() == [0, 9, 0, 0, 0, 0, 0]


def test_labels_are_the_expression_with_most_votes(fer2013_csv: Path, table: Table, write: Write) -> None:
    table[0] |= {"fear": "8"}
    table[1] |= {"NF": "7"}  # as many as for the expression
    table[3] |= {"sadness": "7"}  # two expressions tie
    dataset = load(fer2013_csv, ferplus=write(table), cache=False, options=LabelOptions(labels="ferplus"))
    assert dataset.index.tolist() == [0, 2, *range(4, 56)]
    assert dataset.classes == EIGHT_EXPRESSIONS
    assert [dataset.classes[k] for k in dataset.targets[:3]] == ["fear", "contempt", "sad"]
    assert dataset.notes == ("Labels are the expression with the most FER+ votes; 2 faces without one are left out.",)


def test_labels_from_ferplus_need_its_file(fer2013_csv: Path) -> None:
    with pytest.raises(DataError, match=r"labels from FER\+ need FER\+'s fer2013new\.csv"):
        load(fer2013_csv, cache=False, options=LabelOptions(labels="ferplus"))


def test_votes_of_a_part_are_those_of_its_rows(fer2013_csv: Path, table: Table, write: Write) -> None:
    dataset = load(fer2013_csv, cache=False)
    part = dataset.take(np.array([40, 3]))
    assert np.array_equal(read_votes(part, write(table)), read_votes(dataset, write(table))[[40, 3]])


def test_real_labels_from_votes(
    fer2013_real: Path, ferplus_real: Path, real_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(real_cache))
    dataset = load(fer2013_real, ferplus_real, options=LabelOptions(labels="ferplus"))
    assert dataset.classes == EIGHT_EXPRESSIONS
    assert len(dataset) == 33_712
    assert [row["contempt"] for row in dataset.counts().values()] == [162, 24, 26]


def test_votes_are_joined_by_row_and_class(fer2013_csv: Path, table: Table, write: Write) -> None:
    dataset = load(fer2013_csv, ferplus=write(table), cache=False)
    votes = dataset.votes
    assert votes is not None
    assert votes.shape == (56, 7)
    assert np.flatnonzero(votes.sum(axis=1) == 0).tolist() == [2]
    joined = np.arange(56) != 2
    assert np.array_equal(votes[joined], 7 * np.eye(7)[dataset.targets[joined]])


def test_file_with_other_order_of_usage(fer2013_csv: Path, table: Table, write: Write) -> None:
    table[3], table[40] = table[40], table[3]
    with pytest.raises(DataError, match=r"row 5 of fer2013new\.csv is PublicTest and the data's is Training"):
        load(fer2013_csv, ferplus=write(table), cache=False)


@pytest.mark.parametrize("vote", ["x", "", "-1", "2.5", "²"])
def test_vote_that_is_not_a_whole_number(fer2013_csv: Path, table: Table, write: Write, vote: str) -> None:
    table[9]["sadness"] = vote
    words = rf"votes must be whole numbers, got {vote or 'nothing'} for sadness in row 11 of fer2013new\.csv"
    with pytest.raises(DataError, match=words):
        load(fer2013_csv, ferplus=write(table), cache=False)


def test_file_that_is_not_ferplus(fer2013_csv: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"is not FER\+'s fer2013new\.csv: it must have the columns Usage, neutral"):
        load(fer2013_csv, ferplus=fer2013_csv, cache=False)
    (tmp_path / "empty.csv").touch()
    with pytest.raises(DataError, match=r"empty\.csv is not FER\+'s"):
        load(fer2013_csv, ferplus=tmp_path / "empty.csv", cache=False)
    with pytest.raises(DataError, match="cannot be read"):
        load(fer2013_csv, ferplus=tmp_path / "absent.csv", cache=False)
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(DataError, match="cannot be read"):
        load(fer2013_csv, ferplus=tmp_path / "binary.csv", cache=False)


def test_folders_cannot_be_joined(tmp_path: Path, table: Table, write: Write) -> None:
    with pytest.raises(DataError, match="has lost FER2013's order"):
        load(tmp_path, ferplus=write(table), cache=False)


def test_real_votes_of_seven_classes(real_dataset: FaceDataset) -> None:
    """178 faces have no vote for any of the seven classes; the first row of the file is known."""
    votes = real_dataset.votes
    assert votes is not None
    assert int((votes.sum(axis=1) == 0).sum()) == 178
    first = dict(zip(EXPRESSIONS, votes[0].tolist(), strict=True))
    assert first == {"angry": 3, "disgust": 2, "fear": 0, "happy": 0, "sad": 1, "surprise": 0, "neutral": 4}
    agreement = (votes.argmax(axis=1) == real_dataset.targets).mean()
    assert 0.6 < agreement < 0.7  # rows joined with an offset would agree by chance, below 0.25


def test_not_a_face_needs_more_than_half_of_the_votes(fer2013_csv: Path, table: Table, write: Write) -> None:
    table[5] |= {"NF": "12"}  # of 21 votes
    table[6] |= {"NF": "9"}  # exactly half of 18
    dataset = load(fer2013_csv, cache=False)
    assert np.flatnonzero(not_a_face(dataset, write(table))).tolist() == [5]
