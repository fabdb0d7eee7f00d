"""FER+ votes: joined by row and by class name, and refused where the rows cannot be the same."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mien.data import FaceDataset, load
from mien.data.ferplus import not_a_face
from mien.errors import DataError
from mien.labels import EXPRESSIONS
from tests.conftest import Row

COLUMNS = (
    "Usage", "Image name", "neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt",
    "unknown", "NF",
)  # fmt: skip
VOTES_OF_CLASS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")


@pytest.fixture
def table(rows: list[Row]) -> list[dict[str, str]]:
    """Seven votes for a row's own class, two for contempt and one for `NF`; the third row has none of a class."""
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


def test_join_by_row_and_class(fer2013_csv: Path, table: Table, write: Write) -> None:
    dataset = load(fer2013_csv, ferplus=write(table), cache=False)
    votes = dataset.votes
    assert votes is not None
    assert votes.shape == (56, 7)
    assert np.flatnonzero(votes.sum(axis=1) == 0).tolist() == [2]
    joined = np.arange(56) != 2
    assert np.array_equal(votes[joined], 7 * np.eye(7)[dataset.targets[joined]])


def test_another_number_of_rows(fer2013_csv: Path, table: Table, write: Write) -> None:
    with pytest.raises(DataError, match=r"fer2013new\.csv has 55 rows and the data has 56"):
        load(fer2013_csv, ferplus=write(table[:-1]), cache=False)


def test_another_order_of_usage(fer2013_csv: Path, table: Table, write: Write) -> None:
    table[3], table[40] = table[40], table[3]
    with pytest.raises(DataError, match=r"row 5 of fer2013new\.csv is PublicTest and the data's is Training"):
        load(fer2013_csv, ferplus=write(table), cache=False)


@pytest.mark.parametrize("vote", ["x", "", "-1", "2.5", "²"])
def test_wrong_vote(fer2013_csv: Path, table: Table, write: Write, vote: str) -> None:
    table[9]["sadness"] = vote
    words = rf"votes must be whole numbers, got {vote or 'nothing'} for sadness in row 11 of fer2013new\.csv"
    with pytest.raises(DataError, match=words):
        load(fer2013_csv, ferplus=write(table), cache=False)


def test_another_file_as_votes(fer2013_csv: Path, tmp_path: Path) -> None:
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


def test_forms_that_lost_the_order(tmp_path: Path, table: Table, write: Write) -> None:
    with pytest.raises(DataError, match="has lost FER2013's order"):
        load(tmp_path, ferplus=write(table), cache=False)


def test_real_votes(real_dataset: FaceDataset) -> None:
    """178 faces have no vote for any of the classes; the first row of the file is known."""
    votes = real_dataset.votes
    assert votes is not None
    assert int((votes.sum(axis=1) == 0).sum()) == 178
    first = dict(zip(EXPRESSIONS, votes[0].tolist(), strict=True))
    assert first == {"angry": 3, "disgust": 2, "fear": 0, "happy": 0, "sad": 1, "surprise": 0, "neutral": 4}
    agreement = (votes.argmax(axis=1) == real_dataset.targets).mean()
    assert 0.6 < agreement < 0.7  # rows joined out of step would agree by chance, below 0.25


def test_no_face_is_what_most_taggers_say(fer2013_csv: Path, table: Table, write: Write) -> None:
    table[5] |= {"NF": "12"}  # of 21 votes
    table[6] |= {"NF": "9"}  # half of 18 is not most
    dataset = load(fer2013_csv, cache=False)
    assert np.flatnonzero(not_a_face(dataset, write(table))).tolist() == [5]
