"""FER+ (Barsoum et al., ICMI 2016): ten taggers' votes for each row of FER2013."""

from __future__ import annotations

import csv
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.data.archive import read_lines
from mien.data.dataset import FaceDataset
from mien.errors import DataError, error_text, shortened
from mien.labels import EIGHT_EXPRESSIONS, EXPRESSIONS, FERPLUS_COLUMNS, FERPLUS_OTHERS, USAGES

COLUMNS = (*FERPLUS_COLUMNS, *FERPLUS_OTHERS)
"""Vote columns of `fer2013new.csv`, in the order of `read_votes`: eight expressions, unknown, and NF for no face."""


def join(dataset: FaceDataset, path: Path, labels: bool = False) -> FaceDataset:
    """Joins the votes of `fer2013new.csv` to FER2013, row by row.

    Image names cannot be used: FER+ skips the 173 rows that it leaves unnamed when it numbers them.

    Args:
        dataset: All of FER2013 in its own order.
        path: FER+'s `fer2013new.csv`.
        labels: Whether the expression with the most votes becomes the label. Faces are then left out if two
            expressions tie, or if unknown or NF has at least as many votes.

    Returns:
        The data set with the eight expressions as its classes and votes (N, 8).

    Raises:
        DataError: The file is not FER+, or its rows are not those of the data set.
    """
    if dataset.classes != EXPRESSIONS:
        raise DataError(f"FER+ has votes for FER2013's expressions, and {dataset.path} has other classes: leave it out")
    votes = read_votes(dataset, path)
    columns = list(FERPLUS_COLUMNS.values())
    ordered = votes[:, [columns.index(name) for name in EIGHT_EXPRESSIONS]]
    joined = replace(dataset, votes=ordered.astype(np.float32), classes=EIGHT_EXPRESSIONS)
    if not labels:
        return joined
    most = votes.max(axis=1)
    labelled = ((votes == most[:, None]).sum(axis=1) == 1) & (ordered.max(axis=1) == most)
    left_out = int((~labelled).sum())
    note = f"Labels are the expression with the most FER+ votes; {left_out:,} faces without one are left out."
    relabelled = replace(joined, targets=ordered.argmax(axis=1), notes=(*dataset.notes, note))
    return relabelled.take(np.flatnonzero(labelled))


def not_a_face(dataset: FaceDataset, path: Path) -> NDArray[np.bool_]:
    """Returns for each row of FER2013 whether most FER+ taggers saw no face in it (N,).

    Raises:
        DataError: The file is not FER+, or its rows are not those of the data set.
    """
    votes = read_votes(dataset, path)
    return np.asarray(votes[:, COLUMNS.index("NF")] * 2 > votes.sum(axis=1))


def agreement(votes: NDArray[np.float32], targets: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Compares FER+'s votes with the labels.

    Args:
        votes: (N, K).
        targets: (N,) class ids.

    Returns:
        (N,) whether a face has a vote for at least one class, and (N,) whether its label then has the most votes, alone
        or in a tie.
    """
    most = votes.max(axis=1)
    return most > 0, (most > 0) & (votes[np.arange(len(votes)), targets] == most)


def read_votes(dataset: FaceDataset, path: Path) -> NDArray[np.int64]:
    """Reads the votes for each face of a data set, which may be a part of FER2013 -> (N, 10), columns as in COLUMNS.

    Raises:
        DataError: The file is not FER+, or its rows are not those of the data set.
    """
    needed, source_rows = ("Usage", *COLUMNS), int(dataset.index.max()) + 1
    try:
        with path.open("rb") as stream:
            reader = csv.DictReader(read_lines(stream, path.name))
            rows = list(islice(reader, source_rows))
            count = len(rows) + sum(1 for _ in reader)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"the FER+ file {path} cannot be read: {error_text(error)}; expected fer2013new.csv") from None
    if not rows or not rows[0].keys() >= set(needed):
        raise DataError(f"{path.name} is not FER+'s fer2013new.csv: it must have the columns {', '.join(needed)}")
    if count < source_rows or (len(dataset) == source_rows and count > source_rows):
        raise DataError(
            f"FER+ is joined row by row: {path.name} has {count} rows and the data has {source_rows}; "
            "join it to the whole fer2013.csv in its original order"
        )
    usages = list(USAGES)
    votes = np.zeros((len(dataset), len(COLUMNS)), np.int64)
    for face, (number, split) in enumerate(zip(dataset.index.tolist(), dataset.splits.tolist(), strict=True)):
        row = rows[number]
        where = f"row {number + 2} of {path.name}"  # the header is row 1
        if row["Usage"] != usages[split]:
            raise DataError(
                f"FER+ is joined row by row: {where} is {shortened(row['Usage'])} and the data's is {usages[split]}; "
                "join it to fer2013.csv in its original order"
            )
        for k, column in enumerate(COLUMNS):
            text = row[column] or ""
            if not (text.isascii() and text.isdigit() and len(text) < 10):
                raise DataError(
                    f"votes must be whole numbers, got {shortened(text) or 'nothing'} for {column} in {where}"
                )
            votes[face, k] = int(text)
    return votes
