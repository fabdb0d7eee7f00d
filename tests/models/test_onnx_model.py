"""A model file tells all that is needed to use it, and one that does not is refused in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mien.detection.blazeface import MODEL as BLAZEFACE
from mien.errors import WeightsError
from mien.labels import EXPRESSIONS
from mien.models import onnx_model as module
from mien.models.onnx_model import OnnxModel
from mien.preprocess import Preprocessing
from tests.linear_classifier import SIZE, WriteClassifier

STORED = {"size": SIZE, "channels": 1, "mean": 0.4, "std": 0.3}


@pytest.fixture(scope="module")
def weights() -> NDArray[np.float64]:
    return np.random.default_rng(0).normal(size=(SIZE**2, 7))


@pytest.fixture(scope="module")
def path(write_classifier: WriteClassifier, weights: NDArray[np.float64]) -> Path:
    return write_classifier(weights, preprocessing=STORED)


@pytest.fixture(scope="module")
def classifier(path: Path) -> OnnxModel:
    return OnnxModel(path, threads=1)


@pytest.fixture
def faces() -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (10, SIZE, SIZE), dtype=np.uint8)


def test_what_the_file_says_of_itself(classifier: OnnxModel) -> None:
    assert classifier.classes == EXPRESSIONS
    assert classifier.preprocessing == Preprocessing(**STORED)
    assert classifier.title == "stub"
    assert classifier.metadata["licence"] == "MIT"


@pytest.mark.parametrize("at_once", [1, 3, 10, 256])
def test_logits_in_the_order_of_the_faces(
    at_once: int,
    classifier: OnnxModel,
    faces: NDArray[np.uint8],
    weights: NDArray[np.float64],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Preprocessing, "at_once", at_once)
    logits = classifier.logits(faces)
    assert logits.dtype == np.float32
    wanted = (faces.reshape(10, -1) / 255 - STORED["mean"]) / STORED["std"] @ weights
    assert np.abs(logits - wanted).max() < 1e-4


def test_faces_of_many_sizes(classifier: OnnxModel, faces: NDArray[np.uint8]) -> None:
    large = faces[1].repeat(5, axis=0).repeat(5, axis=1)
    mixed = classifier.logits([faces[0], large, np.full((3, 2), 70, np.uint8)])
    shown = classifier.preprocessing.resize([large])[0]
    assert np.allclose(mixed, classifier.logits([faces[0], shown, np.full((SIZE, SIZE), 70, np.uint8)]), atol=1e-5)


@pytest.mark.parametrize("faces", [[], np.empty((0, SIZE, SIZE), np.uint8)], ids=["list", "array"])
def test_no_faces_have_no_logits(faces: NDArray[np.uint8], classifier: OnnxModel) -> None:
    logits = classifier.logits(faces)
    assert (logits.shape, logits.dtype) == ((0, 7), np.float32)


def test_three_channels_and_other_classes(write_classifier: WriteClassifier, faces: NDArray[np.uint8]) -> None:
    weights = np.random.default_rng(2).normal(size=(3 * SIZE**2, 2))
    path = write_classifier(weights, preprocessing=STORED | {"channels": 3}, classes=["calm", "not calm"])
    classifier = OnnxModel(path, threads=1)
    assert classifier.classes == ("calm", "not calm")
    values = (faces.reshape(10, -1) / 255 - STORED["mean"]) / STORED["std"]
    assert np.abs(classifier.logits(faces) - np.tile(values, 3) @ weights).max() < 1e-4


def one_sentence(path: Path) -> str:
    with pytest.raises(WeightsError) as caught:
        OnnxModel(path, threads=1)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stored": ""}, "has no mien metadata: use a file that mien export wrote"),
        ({"stored": "{format: 1}"}, "has mien metadata that is not a JSON object"),
        ({"stored": "[1]"}, "has mien metadata that is not a JSON object"),
        ({"stored": "{}"}, "has mien metadata without classes, format, network, preprocessing"),
        ({"stored": '{"format": 2}'}, "has metadata format 2 and this mien reads up to 1: update mien"),
        ({"format": "new"}, "has metadata format new and this mien reads up to 1"),
        ({"classes": ["happy", "sad"]}, "must take .* and give logits ['batch', 2], .* 'logits': ['batch', 7]"),
        ({"classes": "abcdefg"}, "must name its classes, each once, in its metadata, got abcdefg"),
        ({"classes": list(range(7))}, "must name its classes"),
        ({"classes": ["happy"] * 7}, "must name its classes, each once"),
        ({"preprocessing": STORED | {"crop": 1}}, "cannot be used: preprocessing must give a number for each of size"),
        ({"preprocessing": {"size": 8}}, "for each of size, channels, mean, std, got {'size': 8}"),
        ({"preprocessing": STORED | {"mean": "0.5"}}, "cannot be used: preprocessing must give a number"),
        ({"preprocessing": None}, "cannot be used: preprocessing must give a number"),
        ({"preprocessing": STORED | {"std": 0}}, "cannot be used: a face needs .* std above 0, got"),
        (
            {"calibration": {"temperature": 2}},
            "calibration must give a number for each of temperature, temperature_unsure, uncertain_below",
        ),
        ({"preprocessing": STORED | {"size": 48}}, "must take images ['batch', 1, 48, 48]"),
        ({"preprocessing": STORED | {"channels": 3}}, "must take images ['batch', 3, 8, 8]"),
        ({"batch": 1}, "must take images ['batch', 1, 8, 8] .* got {'images': [1, 1, 8, 8]}"),
        ({"names": ("input", "logits")}, "must take images .* got {'input': "),
        ({"names": ("images", "output")}, "give logits .* and {'output': "),
    ],
    ids=str,
)
def test_files_that_mien_export_did_not_write(
    changes: dict[str, object], words: str, write_classifier: WriteClassifier, weights: NDArray[np.float64]
) -> None:
    said = one_sentence(write_classifier(weights, **changes))
    for part in words.split(" .* "):
        assert part in said


def test_a_newer_format_may_have_other_keys(write_classifier: WriteClassifier, weights: NDArray[np.float64]) -> None:
    newer = json.dumps({"format": 2, "labels": []})
    assert "update mien" in one_sentence(write_classifier(weights, stored=newer))


def test_a_network_of_another_kind() -> None:
    assert "has no mien metadata" in one_sentence(BLAZEFACE)


def test_damaged_and_missing_files(path: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(path.read_bytes()[:-200])
    assert "no ONNX model that can be run, or it is damaged" in one_sentence(cut)
    assert "there is none at" in one_sentence(tmp_path / "missing.onnx")


def test_models_by_name(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "shipped", lambda: {"small": path, "large": path.parent / "large.onnx"})
    assert OnnxModel("small", threads=1).title == "stub"
    with pytest.raises(WeightsError, match=r"unknown model smal: did you mean small\?; or give the path of an"):
        OnnxModel("smal")
    with pytest.raises(WeightsError, match="unknown model best: known are large, small; or give"):
        OnnxModel("best")
