"""Values and paths in messages are cut to 80 characters."""

import pytest

from mien.errors import near, shortened, shortened_path


@pytest.mark.parametrize("text", ["", "photo.jpg", "x" * 80])
def test_value_of_up_to_80_characters_stays_whole(text):
    assert shortened(text) == shortened_path(text) == text


def test_long_value_keeps_its_beginning():
    assert shortened("a" + "x" * 100) == "a" + "x" * 79 + "..."


def test_long_path_keeps_the_name_of_its_file():
    assert shortened_path("/folder" * 20 + "/faces.csv").endswith("/folder/faces.csv")
    assert len(shortened_path("/folder" * 20)) == 83


@pytest.mark.parametrize(
    ("name", "similar"), [("smal", "small"), ("hapy", "happy"), ("anger", "angry"), ("suprised", "surprised")]
)
def test_similar_name_is_suggested(name, similar):
    assert near(name, ["small", "tiny", "happy", "angry", "disgusted", "surprised"]) == f"did you mean {similar}?"


def test_name_that_shares_some_letters_is_not_suggested():
    assert near("excited", ["disgusted", "happy"]) == "known are disgusted, happy"
