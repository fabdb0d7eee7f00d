"""The seven classes have one order and one name each, and every data set's spelling leads to one of them."""

from __future__ import annotations

import pytest

from mien.labels import COLOURS, EXPRESSIONS, FERPLUS_COLUMNS, FOLDER_NAMES, SPLITS, USAGES, class_of_folder


def test_order_is_that_of_fer2013() -> None:
    """A change here would turn every trained network's answers into others."""
    assert EXPRESSIONS == ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


def test_every_class_has_a_colour_of_its_own() -> None:
    assert tuple(COLOURS) == EXPRESSIONS
    assert len(set(COLOURS.values())) == len(EXPRESSIONS)


def test_every_split_has_one_usage() -> None:
    assert tuple(USAGES.values()) == SPLITS == ("training", "public", "private")


def test_ferplus_covers_the_classes_once() -> None:
    assert sorted(FERPLUS_COLUMNS.values()) == sorted(EXPRESSIONS)
    assert not {"contempt", "unknown", "NF"} & FERPLUS_COLUMNS.keys()


@pytest.mark.parametrize(
    ("folder", "expression"),
    [
        ("happy", "happy"),
        ("HAPPY", "happy"),
        ("Happiness", "happy"),
        ("anger", "angry"),
        ("surprised", "surprise"),
        ("0", "angry"),
        ("6", "neutral"),
        ("7", None),
        ("00", None),
        ("contempt", None),
        ("", None),
    ],
)
def test_class_of_folder(folder: str, expression: str | None) -> None:
    assert class_of_folder(folder) == expression


def test_folder_names_are_lower_case_and_lead_to_classes() -> None:
    assert all(name == name.lower() for name in FOLDER_NAMES)
    assert set(FOLDER_NAMES.values()) == set(EXPRESSIONS)
