"""From the labels of a data set to its classes: their names, order and subset, and which of them are merged."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.data.dataset import FaceDataset
from mien.errors import DataError, near, shortened
from mien.labels import EIGHT_EXPRESSIONS, EXPRESSIONS, NUMBERINGS, RESERVED_NAMES, known_expression

MISSPELT = 0.85
"""Least similarity (difflib's ratio) at which an unknown label counts as a misspelt known one: suprise, not hungry."""


@dataclass(frozen=True)
class LabelOptions:
    """How labels become classes; the fields of the same names in a config's [data] table.

    Attributes:
        classes: Class names in the order of their ids; faces of other classes are left out. Empty takes the classes of
            the data. If the data numbers its classes and `numbering` is empty, the first name is that of number 0.
        merge: Class of the data -> class that it counts as.
        numbering: A key of `mien.labels.NUMBERINGS`, for data that numbers its classes.
        labels: Empty takes the data's own labels; "ferplus" takes the expression with the most FER+ votes.
        expected: Classes of the model that the faces are for. The data may lack some of them; faces of any other class
            are an error, unless `classes` leaves them out.
    """

    classes: tuple[str, ...] = ()
    merge: Mapping[str, str] = field(default_factory=dict)
    numbering: str = ""
    labels: str = ""
    expected: tuple[str, ...] = ()

    @classmethod
    def from_settings(cls, settings: Mapping[str, Any], expected: tuple[str, ...] = ()) -> LabelOptions:
        """Makes options from some fields of a config's [data] table; other keys are ignored."""
        return cls(
            classes=tuple(settings.get("classes", ())),
            merge=settings.get("merge", {}),
            numbering=settings.get("numbering", ""),
            labels=settings.get("labels", ""),
            expected=expected,
        )


def encode_labels(labels: Sequence[str], first: Iterable[str] = ()) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """Numbers the different labels of a data set, regardless of case.

    Args:
        labels: The label of each face.
        first: Labels that come first, in this order, whether or not a face has them. The others follow sorted.

    Returns:
        (N,) indices, and the labels that they index, each in the spelling that comes first.
    """
    spellings: dict[str, str] = {}
    for label in (*first, *sorted(set(labels), key=lambda label: (label.casefold(), label))):
        spellings.setdefault(label.casefold(), label)
    number = {folded: k for k, folded in enumerate(spellings)}
    return np.array([number[label.casefold()] for label in labels], np.int64), tuple(spellings.values())


def apply_options(dataset: FaceDataset, options: LabelOptions) -> FaceDataset:
    """Turns a data set whose classes are its labels into one with the classes that the options ask for.

    If all labels name one of the eight known expressions, in any spelling, the classes are FER2013's seven in its
    order, and contempt after them if a face shows it. Otherwise they are the labels themselves.

    Raises:
        DataError: A number has no known class, the options name a class that the data does not have, the data has a
            class that the model does not know, or no face is left.
    """
    names = _class_names(dataset, options)
    merged = [options.merge.get(name, name) for name in names]
    with_faces = {merged[k] for k in np.unique(dataset.targets)}
    _check_options(dataset, options, names, merged, with_faces)
    classes = options.expected or options.classes or _default_classes(merged, with_faces, options.merge)
    if reserved := RESERVED_NAMES.intersection(classes):
        raise DataError(
            f"the class {min(reserved)} of {dataset.path} has the name of a column of mien's tables: rename it, or "
            "give it another name with data.merge"
        )
    if raw := {f"raw_{name}" for name in classes}.intersection(classes):
        raise DataError(
            f"the class {shortened(min(raw))} of {dataset.path} has the name of the column that mien video writes for "
            f"the class {shortened(min(raw).removeprefix('raw_'))}: rename one, or give it another name with data.merge"
        )
    kept = options.classes or classes
    ids = np.array([classes.index(name) if name in kept else -1 for name in merged], np.int64)
    votes = dataset.votes
    if votes is not None:
        votes = np.zeros((len(dataset), len(classes)), np.float32)
        for k, column in enumerate(ids.tolist()):
            if column >= 0:
                votes[:, column] += dataset.votes[:, k]  # type: ignore[index]
    rows = np.flatnonzero(ids[dataset.targets] >= 0)
    if not rows.size:
        raise DataError(
            f"{dataset.path} has no face of the classes {shortened(', '.join(kept))}; it has "
            f"{shortened(', '.join(sorted(with_faces)))}: correct data.classes or choose other data"
        )
    notes = (*dataset.notes, *_notes(dataset, options, names, [name in kept for name in merged]))
    subset = dataset if len(rows) == len(dataset) else replace(dataset, votes=None).take(rows)
    return replace(
        subset,
        targets=ids[subset.targets],
        votes=None if votes is None else votes[rows],
        classes=classes,
        notes=notes,
    )


def _class_names(dataset: FaceDataset, options: LabelOptions) -> list[str]:
    """Returns the class that each label of the data set names, before any merge."""
    labels = [_without_number(dataset, options, k) for k in range(len(dataset.classes))]
    asked_for = {name.casefold(): name for name in (*options.expected, *options.classes, *options.merge)}
    expressions = [known_expression(label) for label in labels]
    all_known = all(expressions)
    names = []
    for label, expression in zip(labels, expressions, strict=True):
        if label.casefold() in asked_for:
            names.append(asked_for[label.casefold()])
        elif expression and (all_known or expression in asked_for):
            names.append(expression)
        else:
            if any(expressions) and not (options.classes or options.expected):
                _check_spelling(label, dataset.path)
            names.append(label)
    return names


def _check_spelling(label: str, path: str) -> None:
    close = difflib.get_close_matches(label.lower(), EIGHT_EXPRESSIONS, 1, MISSPELT)
    if close and not known_expression(label):
        raise DataError(
            f"the class {shortened(label)} of {path} looks like a misspelt {close[0]}: correct it, or list all classes "
            "in data.classes"
        )


def _without_number(dataset: FaceDataset, options: LabelOptions, k: int) -> str:
    """Returns a label, or the name that its number stands for."""
    label = dataset.classes[k]
    asked_for = (*options.expected, *options.classes, *options.merge)
    if not is_number(label) or any(map(is_number, asked_for)):  # options that name numbers take them as names
        return label
    number, numbering = int(label), _numbering(options)
    if number in numbering:
        return numbering[number]
    row = dataset.index[int((dataset.targets == k).argmax())]
    where = dataset.path if dataset.format == "folders" else f"row {row} of {dataset.path}"
    if numbering:
        source = f"the numbering {options.numbering}" if options.numbering else "data.classes"
        raise DataError(f"class number {number} in {where} is not in {source}: {shortened(_numbering_text(numbering))}")
    choices = "; ".join(f"{name} ({_numbering_text(numbering)})" for name, numbering in NUMBERINGS.items())
    raise DataError(
        f"the classes of {dataset.path} are numbers, and numbers mean different classes in different data sets: choose "
        f"--numbering (data.numbering in a config) from {choices}, or list the names from 0 on in data.classes"
    )


def is_number(label: str) -> bool:
    """Returns whether a label is a class number rather than a name."""
    return label.isascii() and label.isdecimal() and len(label) < 10


def _numbering(options: LabelOptions) -> Mapping[int, str]:
    """Returns class number -> class; empty if the options do not say."""
    return NUMBERINGS[options.numbering] if options.numbering else dict(enumerate(options.classes))


def _numbering_text(numbering: Mapping[int, str]) -> str:
    """Returns a numbering in words: 0 angry, 1 disgust, ..."""
    return ", ".join(f"{number} {name}" for number, name in numbering.items())


def _check_options(
    dataset: FaceDataset, options: LabelOptions, names: list[str], merged: list[str], with_faces: set[str]
) -> None:
    """Checks that the options and the data fit each other.

    Args:
        dataset: The data set with its labels as classes.
        options: How they become classes.
        names: Name of each label.
        merged: Name of each label after merging.
        with_faces: Those of `merged` that a face has.
    """
    if options.expected:
        unknown = with_faces - set(options.expected)
        if unknown and not options.classes:
            raise DataError(
                f"{dataset.path} has the class {shortened(min(unknown))}, which the model does not know; it knows "
                f"{shortened(', '.join(options.expected))}: merge that class with data.merge, or leave it out with "
                "data.classes"
            )
        if missing := set(options.classes) - set(options.expected):
            raise DataError(
                f"data.classes names {shortened(min(missing))}, which the model does not know: "
                f"{near(min(missing), options.expected)}"
            )
        return
    if options.numbering and not any(map(is_number, dataset.classes)):
        raise DataError(
            f"data.numbering is {options.numbering}, but {dataset.path} does not number its classes: leave it out"
        )
    known = set(EXPRESSIONS) if all(known_expression(name) for name in names) else set()
    for key, chosen, present in (
        ("data.merge", tuple(options.merge), known.union(names)),
        ("data.classes", options.classes, known.union(merged)),
    ):
        if absent := [name for name in chosen if name not in present]:
            raise DataError(
                f"{key} names {shortened(absent[0])}, which {dataset.path} does not have: {near(absent[0], present)}"
            )


def _default_classes(merged: list[str], with_faces: set[str], merge: Mapping[str, str]) -> tuple[str, ...]:
    classes: Iterable[str] = dict.fromkeys(merged)
    if set(merged) <= set(EIGHT_EXPRESSIONS):
        classes = (name for name in EIGHT_EXPRESSIONS if name not in merge)
    # The other seven may lack faces. FER+ has votes for contempt even where no label is contempt.
    return tuple(name for name in classes if name != "contempt" or name in with_faces)


def _notes(dataset: FaceDataset, options: LabelOptions, names: list[str], kept: list[bool]) -> list[str]:
    """Returns sentences about numbers, merged classes and left-out classes.

    Args:
        dataset: The data set with its labels as classes.
        options: How they become classes.
        names: Name of each label.
        kept: Whether faces with that label are kept.
    """
    notes = []
    if any(is_number(label) and label != name for label, name in zip(dataset.classes, names, strict=True)):
        source = options.numbering or "data.classes"
        notes.append(f"Class numbers are read as {source}: {_numbering_text(_numbering(options))}.")
    counts = np.bincount(dataset.targets, minlength=len(names)).tolist()
    merged = [
        f"{name} as {options.merge[name]} ({n:,} faces)"
        for name, n in zip(names, counts, strict=True)
        if name in options.merge
    ]
    if merged:
        notes.append(f"Merged: {', '.join(merged)}.")
    left_out = [f"{name} ({n:,} faces)" for name, n, keep in zip(names, counts, kept, strict=True) if n and not keep]
    if left_out:
        notes.append(f"Left out: {', '.join(left_out)}.")
    return notes
