"""load_faces: faces with the classes and merges that a model was trained with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mien.errors import DataError, WeightsError
from mien.evaluation.faces import load_faces
from mien.labels import EXPRESSIONS
from mien.models.onnx_model import OnnxModel
from tests.conftest import Mien
from tests.linear_classifier import SIZE, WriteClassifier


@pytest.fixture
def faces(tmp_path: Path) -> Path:
    """A folder with a public picture of each of four classes."""
    for name in ("happy", "sad", "contempt", "3"):
        folder = tmp_path / "faces" / "val" / name
        folder.mkdir(parents=True)
        Image.new("L", (48, 48), 100).save(folder / "1.png")
    return tmp_path / "faces"


def model_with(write_classifier: WriteClassifier, **data: Any) -> OnnxModel:
    """Makes a model of the seven expressions whose config has these fields in [data]."""
    return OnnxModel(write_classifier(np.zeros((SIZE**2, 7), np.float32), config={"data": data}))


def test_merge_and_numbering_come_from_the_config_of_the_model(
    write_classifier: WriteClassifier, faces: Path, user_cache: Path
) -> None:
    model = model_with(write_classifier, merge={"contempt": "disgust"}, numbering="fer2013")
    dataset = load_faces(model, faces)
    assert dataset.classes == EXPRESSIONS
    assert dataset.size == SIZE
    assert dataset.counts()["public"] == dict.fromkeys(EXPRESSIONS, 0) | {"disgust": 1, "happy": 2, "sad": 1}


def test_settings_replace_those_of_the_model(write_classifier: WriteClassifier, faces: Path, user_cache: Path) -> None:
    model = model_with(write_classifier, merge={"contempt": "disgust"})
    settings = {"merge": {"contempt": "angry"}, "numbering": "affectnet"}
    counts = load_faces(model, faces, settings).counts()["public"]
    assert (counts["angry"], counts["disgust"], counts["surprise"]) == (1, 0, 1)
    settings = {"classes": ["happy", "sad"], "numbering": "fer2013"}
    counts = load_faces(model, faces, settings).counts()["public"]
    assert counts == dict.fromkeys(EXPRESSIONS, 0) | {"happy": 2, "sad": 1}


def test_unknown_class_raises_and_numbers_are_not_guessed(
    write_classifier: WriteClassifier, faces: Path, user_cache: Path
) -> None:
    model = model_with(write_classifier)
    with pytest.raises(DataError, match=r"are numbers, .* choose --numbering"):
        load_faces(model, faces)
    with pytest.raises(DataError, match="has the class contempt, which the model does not know"):
        load_faces(model, faces, {"numbering": "fer2013"})


def test_path_of_the_config_is_the_default(write_classifier: WriteClassifier, faces: Path, user_cache: Path) -> None:
    settings = {"merge": {"contempt": "sad"}, "numbering": "raf-db"}
    assert len(load_faces(model_with(write_classifier, path=str(faces), **settings))) == 4
    model = model_with(write_classifier)
    del model.metadata["config"]
    with pytest.raises(WeightsError, match="does not hold the config"):
        load_faces(model)
    assert len(load_faces(model, faces, settings)) == 4


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("training.epochs=3", "--set must name a key of data here, got training"),
        ("data.merge=3", "data.merge must be a table of strings"),
        ("data.clases=[]", "unknown key data.clases: did you mean classes"),
    ],
)
def test_wrong_setting_gives_one_sentence(mien: Mien, faces: Path, option: str, words: str) -> None:
    code, _, errors = mien("data", "inspect", faces, "--set", option)
    assert code == 2
    assert words in errors


def test_evaluate_takes_numbering_and_settings(mien: Mien, faces: Path, by_brightness: Path, user_cache: Path) -> None:
    settings = ("--numbering", "affectnet", "--set", 'data.merge={contempt = "disgust"}')
    code, output, errors = mien("evaluate", by_brightness, "--data", faces, *settings)
    assert code == 0, errors
    assert "n = 4" in output
