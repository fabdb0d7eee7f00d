"""Classes of a data set: from its labels, from numbers, and as the options order, select and merge them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mien.data import FaceDataset, LabelOptions, load
from mien.data.classes import encode_labels
from mien.errors import DataError
from mien.labels import EIGHT_EXPRESSIONS, EXPRESSIONS

AFFECTNET = ("neutral", "happy", "sad", "surprise", "fear", "disgust", "anger", "contempt")


def folders(root: Path, *names: str) -> Path:
    """Saves one training picture in each class folder."""
    for name in names:
        (root / "train" / name).mkdir(parents=True)
        Image.new("L", (48, 48), 100).save(root / "train" / name / "1.png")
    return root


def read(root: Path, **options: Any) -> FaceDataset:
    return load(root, cache=False, options=LabelOptions(**options))


def labels_of(dataset: FaceDataset) -> list[str]:
    return [dataset.classes[target] for target in dataset.targets]


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        (("bored", "engaged"), ("bored", "engaged")),
        (("Engaged", "bored"), ("bored", "Engaged")),
        (("happy", "bored", "sadness"), ("bored", "happy", "sadness")),
        (("happy", "sad"), EXPRESSIONS),
        (("Anger", "HAPPINESS"), EXPRESSIONS),
        (AFFECTNET, EIGHT_EXPRESSIONS),
        (("contempt",), EIGHT_EXPRESSIONS),
        (("hungry", "sad"), ("hungry", "sad")),
    ],
)
def test_folder_names_give_the_classes(tmp_path: Path, names: tuple[str, ...], classes: tuple[str, ...]) -> None:
    dataset = read(folders(tmp_path, *names))
    assert dataset.classes == classes
    assert len(set(dataset.targets.tolist())) == len(names)


def test_folder_names_of_different_case_are_one_class(tmp_path: Path) -> None:
    folders(tmp_path, "Bored", "engaged")
    (tmp_path / "test" / "bored").mkdir(parents=True)
    Image.new("L", (48, 48)).save(tmp_path / "test" / "bored" / "1.png")
    assert read(tmp_path).counts() == {
        "training": {"Bored": 1, "engaged": 1},
        "private": {"Bored": 1, "engaged": 0},
    }


def test_misspelt_expression_raises_unless_it_is_named(tmp_path: Path) -> None:
    folders(tmp_path, "happy", "suprise")
    with pytest.raises(DataError, match=r"the class suprise of .* looks like a misspelt surprise: correct it"):
        read(tmp_path)
    assert read(tmp_path, classes=("happy", "suprise")).classes == ("happy", "suprise")
    assert labels_of(read(tmp_path, classes=("happy",))) == ["happy"]


def test_classes_give_order_and_subset(tmp_path: Path) -> None:
    dataset = read(folders(tmp_path, *EXPRESSIONS), classes=("sad", "happy"))
    assert dataset.classes == ("sad", "happy")
    assert labels_of(dataset) == ["happy", "sad"]
    assert dataset.index.tolist() == [3, 5]
    assert "Left out: angry (1 faces), disgust (1 faces)" in dataset.notes[0]


def test_merge_into_another_class_and_into_a_new_one(tmp_path: Path) -> None:
    folders(tmp_path, *AFFECTNET)
    merged = read(tmp_path, merge={"contempt": "disgust"})
    assert merged.classes == EXPRESSIONS
    assert merged.counts()["training"]["disgust"] == 2
    assert merged.notes == ("Merged: contempt as disgust (1 faces).",)
    valence = dict.fromkeys(("angry", "disgust", "fear", "sad", "contempt"), "negative") | {"happy": "positive"}
    dataset = read(tmp_path, merge=valence, classes=("negative", "neutral", "positive"))
    assert dataset.counts()["training"] == {"negative": 5, "neutral": 1, "positive": 1}


def test_merge_of_a_default_class_removes_it(tmp_path: Path) -> None:
    dataset = read(folders(tmp_path, "happy", "sad"), merge={"fear": "surprise"})
    assert dataset.classes == ("angry", "disgust", "happy", "sad", "surprise", "neutral")


def test_merge_and_classes_accept_synonyms_as_the_data_spells_them(tmp_path: Path) -> None:
    dataset = read(folders(tmp_path, "anger", "happiness"), classes=("happiness", "anger"))
    assert labels_of(dataset) == ["anger", "happiness"]
    assert dataset.targets.tolist() == [1, 0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"classes": ("bored", "engagd")}, "data.classes names engagd, which .* does not have: did you mean engaged"),
        ({"merge": {"tired": "bored"}}, "data.merge names tired, which .* does not have: did you mean bored"),
        ({"numbering": "raf-db"}, "data.numbering is raf-db, but .* does not number its classes: leave it out"),
    ],
)
def test_options_that_do_not_fit_the_data(tmp_path: Path, options: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        read(folders(tmp_path, "bored", "engaged"), **options)


@pytest.mark.parametrize(
    ("numbering", "names"),
    [
        ("fer2013", ("disgust", "neutral", "bored")),
        ("affectnet", ("happy", "angry", "bored")),
        ("raf-db", ("surprise", "angry", "bored")),
    ],
)
def test_numbered_folders_with_a_numbering(tmp_path: Path, numbering: str, names: tuple[str, ...]) -> None:
    dataset = read(folders(tmp_path, "1", "6", "bored"), numbering=numbering)
    assert labels_of(dataset) == list(names)
    assert dataset.notes[0].startswith(f"Class numbers are read as {numbering}: ")


def test_numbered_folders_without_a_numbering_raise(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"choose --numbering .*affectnet \(0 neutral, 1 happy.*data\.classes"):
        read(folders(tmp_path, "0", "1"))


def test_number_outside_the_numbering_raises(tmp_path: Path) -> None:
    folders(tmp_path, "1", "9")
    for options, source in (
        ({"numbering": "raf-db"}, "the numbering raf-db"),
        ({"classes": ("a", "b")}, "data.classes"),
    ):
        with pytest.raises(DataError, match=f"class number 9 in .* is not in {source}: "):
            read(tmp_path, **options)


def test_numbered_folders_take_names_from_classes(tmp_path: Path) -> None:
    dataset = read(folders(tmp_path, "0", "1", "2"), classes=("bored", "engaged", "asleep"))
    assert labels_of(dataset) == ["bored", "engaged", "asleep"]
    assert read(tmp_path, classes=("1", "0")).classes == ("1", "0")


def test_expected_classes_may_lack_faces(tmp_path: Path) -> None:
    folders(tmp_path, "engaged", "BORED")
    dataset = read(tmp_path, expected=("engaged", "bored", "asleep"), merge={"tired": "bored"})
    assert dataset.classes == ("engaged", "bored", "asleep")
    assert labels_of(dataset) == ["bored", "engaged"]


def test_classes_that_a_model_does_not_know_raise_unless_left_out(tmp_path: Path) -> None:
    folders(tmp_path, *AFFECTNET)
    with pytest.raises(DataError, match=r"has the class contempt, which the model does not know; it knows angry"):
        read(tmp_path, expected=EXPRESSIONS)
    assert len(read(tmp_path, expected=EXPRESSIONS, classes=EXPRESSIONS)) == 7
    assert read(tmp_path, expected=EXPRESSIONS, merge={"contempt": "disgust"}).counts()["training"]["disgust"] == 2
    with pytest.raises(DataError, match=r"data.classes names contempt, which the model does not know"):
        read(tmp_path, expected=EXPRESSIONS, classes=("contempt",))
    some = read(tmp_path, expected=EXPRESSIONS, classes=("happy",))
    assert (some.classes, labels_of(some)) == (EXPRESSIONS, ["happy"])


def test_class_with_the_name_of_a_column_raises_unless_renamed(tmp_path: Path) -> None:
    folders(tmp_path, "certain", "uncertain")
    with pytest.raises(DataError, match=r"the class uncertain of .* has the name of a column of mien's tables"):
        read(tmp_path)
    assert read(tmp_path, merge={"uncertain": "unsure"}).classes == ("certain", "unsure")


def test_class_with_the_name_of_another_class_s_column_raises_unless_renamed(tmp_path: Path) -> None:
    folders(tmp_path, "bored", "raw_bored")
    with pytest.raises(DataError, match=r"raw_bored of .* the column that mien video writes for the class bored"):
        read(tmp_path)
    assert read(tmp_path, merge={"raw_bored": "tired"}).classes == ("bored", "tired")


def test_no_face_left_raises(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no face of the classes fear; it has happy, sad"):
        read(folders(tmp_path, "happy", "sad"), classes=("fear",))


def test_cached_copy_serves_all_options(tmp_path: Path, user_cache: Path) -> None:
    root = folders(tmp_path / "faces", "engaged", "bored", "caf\udce9")
    assert load(root).classes == ("bored", "caf\udce9", "engaged")
    options = LabelOptions(classes=("engaged", "bored"))
    assert labels_of(load(root, options=options)) == ["bored", "engaged"]
    assert labels_of(load(root)) == ["bored", "caf\udce9", "engaged"]
    assert len([path for path in user_cache.rglob("*") if path.is_file()]) == 1


def test_encode_labels_ignores_case_and_sorts() -> None:
    targets, classes = encode_labels(["b", "A", "a", "B"])
    assert (targets.tolist(), classes) == ([1, 0, 0, 1], ("A", "B"))
    targets, classes = encode_labels(["x", "b"], first=["b", "c"])
    assert (targets.tolist(), classes) == ([2, 0], ("b", "c", "x"))
    assert targets.dtype == np.int64
