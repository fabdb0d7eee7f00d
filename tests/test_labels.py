"""Known expressions: their order, colours and synonyms, and the numbers and names that data sets give them."""

from __future__ import annotations

import re

import pytest

from mien.labels import (
    COLOURS,
    EIGHT_EXPRESSIONS,
    EXPRESSIONS,
    FERPLUS_COLUMNS,
    FERPLUS_OTHERS,
    NUMBERINGS,
    SPLITS,
    SYNONYMS,
    USAGES,
    class_colours,
    known_expression,
)


def test_expressions_have_fer2013s_order() -> None:
    """Another order would change the predictions of every trained network."""
    assert EXPRESSIONS == ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


def test_known_expressions_have_distinct_colours() -> None:
    assert tuple(COLOURS) == EIGHT_EXPRESSIONS
    assert len(set(COLOURS.values())) == len(EIGHT_EXPRESSIONS)


def test_class_colours_of_known_names_are_assigned_ones() -> None:
    assert class_colours(("sad", "happy")) == {"sad": COLOURS["sad"], "happy": COLOURS["happy"]}


@pytest.mark.parametrize("classes", [("bored", "engaged"), ("happy", *"abcdefghijklmn"), ("caf\udce9", "", "Happy")])
def test_class_colours_of_unknown_names_are_distinct(classes: tuple[str, ...]) -> None:
    colours = class_colours(classes)
    assert tuple(colours) == classes
    assert len(set(colours.values())) == len(classes)
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in colours.values())


def test_class_colour_does_not_depend_on_other_names() -> None:
    assert class_colours(("bored", "happy"))["bored"] == class_colours(("bored",))["bored"] == "#17becf"


def test_class_colours_repeat_for_more_classes_than_colours() -> None:
    assert len(class_colours([str(k) for k in range(100)])) == 100


def test_each_split_has_one_usage() -> None:
    assert tuple(USAGES.values()) == SPLITS == ("training", "public", "private")


def test_ferplus_columns_name_each_of_eight_expressions_once() -> None:
    assert sorted(FERPLUS_COLUMNS.values()) == sorted(EIGHT_EXPRESSIONS)
    assert FERPLUS_OTHERS == ("unknown", "NF")


@pytest.mark.parametrize(
    ("label", "expression"),
    [
        ("Anger", "angry"),
        ("HAPPINESS", "happy"),
        ("fearful", "fear"),
        ("surprised", "surprise"),
        ("contempt", "contempt"),
        ("bored", None),
        ("0", None),
        ("", None),
    ],
)
def test_known_expression(label: str, expression: str | None) -> None:
    assert known_expression(label) == expression


def test_synonyms_are_lower_case_and_cover_all_expressions() -> None:
    assert all(name == name.lower() for name in SYNONYMS)
    assert set(SYNONYMS.values()) == set(EIGHT_EXPRESSIONS)


@pytest.mark.parametrize(
    ("name", "numbers", "first", "last"),
    [
        ("fer2013", range(7), "angry", "neutral"),
        ("affectnet", range(8), "neutral", "contempt"),
        ("raf-db", range(1, 8), "surprise", "neutral"),
    ],
)
def test_numberings(name: str, numbers: range, first: str, last: str) -> None:
    numbering = NUMBERINGS[name]
    assert list(numbering) == list(numbers)
    assert (numbering[numbers[0]], numbering[numbers[-1]]) == (first, last)
    assert set(EXPRESSIONS) <= set(numbering.values()) <= set(EIGHT_EXPRESSIONS)
