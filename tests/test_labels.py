"""The seven classes have one order and one name each, and every data set's spelling leads to one of them."""

from __future__ import annotations

import re

import pytest

from mien.labels import (
    COLOURS,
    EXPRESSIONS,
    FERPLUS_COLUMNS,
    FOLDER_NAMES,
    SPLITS,
    USAGES,
    class_colours,
    class_of_folder,
)


def test_order_is_that_of_fer2013() -> None:
    """A change here would turn every trained network's answers into others."""
    assert EXPRESSIONS == ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")


def test_class_colours_gives_known_names_their_assigned_colours() -> None:
    assert class_colours(("sad", "happy")) == {"sad": COLOURS["sad"], "happy": COLOURS["happy"]}


@pytest.mark.parametrize("classes", [("bored", "engaged"), ("happy", *"abcdefghijklmn"), ("caf\udce9", "", "Happy")])
def test_class_colours_gives_every_name_a_colour_of_its_own(classes: tuple[str, ...]) -> None:
    colours = class_colours(classes)
    assert tuple(colours) == classes
    assert len(set(colours.values())) == len(classes)
    assert all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in colours.values())


def test_class_colours_do_not_depend_on_the_other_names_of_the_list() -> None:
    assert class_colours(("bored", "happy"))["bored"] == class_colours(("bored",))["bored"] == "#17becf"


def test_class_colours_repeat_for_more_classes_than_colours() -> None:
    assert len(class_colours([str(k) for k in range(100)])) == 100


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
