"""FER+ (Barsoum et al., ICMI 2016): the votes of ten taggers for each row of FER2013."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.data.dataset import FaceDataset
from mien.errors import DataError
from mien.labels import FERPLUS_COLUMNS, FERPLUS_OTHERS, USAGES


def join(dataset: FaceDataset, path: Path) -> FaceDataset:
    """Joins the votes of `fer2013new.csv` to FER2013 by row.

    By row and not by image name: FER+ numbers its names without the 173 rows that it leaves unnamed.

    Raises:
        DataError: The file is not FER+, or its rows are not those of the data set.
    """
    votes = np.zeros((len(dataset), len(dataset.classes)), np.float32)
    read = votes_of(dataset, path, tuple(FERPLUS_COLUMNS))
    for column, expression in enumerate(FERPLUS_COLUMNS.values()):
        votes[:, dataset.classes.index(expression)] = read[:, column]
    return replace(dataset, votes=votes)


def not_a_face(dataset: FaceDataset, path: Path) -> NDArray[np.bool_]:
    """(N,) whether most of FER+'s taggers found no face in a picture of FER2013.

    Raises:
        DataError: As for `join`.
    """
    votes = votes_of(dataset, path)
    return np.asarray(votes[:, -1] * 2 > votes.sum(axis=1))


def agreement(votes: NDArray[np.float32], targets: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """How FER+'s votes agree with the labels.

    Args:
        votes: (N, K).
        targets: (N,) class ids.

    Returns:
        (N,) whether a face has a vote for one of the classes at least, and (N,) whether its label has the most then,
        alone or with others.
    """
    most = votes.max(axis=1)
    return most > 0, (most > 0) & (votes[np.arange(len(votes)), targets] == most)


def votes_of(
    dataset: FaceDataset, path: Path, columns: tuple[str, ...] = (*FERPLUS_COLUMNS, *FERPLUS_OTHERS)
) -> NDArray[np.int64]:
    """(N, columns) the votes of each row of FER2013.

    Raises:
        DataError: As for `join`.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            rows = list(csv.DictReader(stream))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"the FER+ file {path} cannot be read: {error}; expected fer2013new.csv") from None
    needed = ("Usage", *columns)
    if not rows or not rows[0].keys() >= set(needed):
        raise DataError(f"{path.name} is not FER+'s fer2013new.csv: it must have the columns {', '.join(needed)}")
    if len(rows) != len(dataset):
        raise DataError(
            f"FER+ is joined by row: {path.name} has {len(rows)} rows and the data has {len(dataset)}; "
            "join it to the whole fer2013.csv in its original order"
        )
    usages = list(USAGES)
    votes = np.zeros((len(rows), len(columns)), np.int64)
    for number, (row, split) in enumerate(zip(rows, dataset.splits.tolist(), strict=True)):
        where = f"row {number + 2} of {path.name}"  # the header is row 1
        if row["Usage"] != usages[split]:
            raise DataError(
                f"FER+ is joined by row: {where} is {row['Usage']} and the data's is {usages[split]}; "
                "join it to fer2013.csv in its original order"
            )
        for k, column in enumerate(columns):
            text = row[column] or ""
            if not (text.isascii() and text.isdigit()):
                raise DataError(f"votes must be whole numbers, got {text or 'nothing'} for {column} in {where}")
            votes[number, k] = int(text)
    return votes
