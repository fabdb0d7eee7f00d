"""Tests of OnnxModel: it reads everything from its file, and rejects an invalid file in one sentence."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from mien.detection.blazeface import MODEL as BLAZEFACE
from mien.errors import WeightsError
from mien.labels import EXPRESSIONS
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
def model(path: Path) -> OnnxModel:
    return OnnxModel(path, threads=1)


@pytest.fixture
def faces() -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (10, SIZE, SIZE), dtype=np.uint8)


def test_attributes_come_from_the_metadata(model: OnnxModel) -> None:
    assert model.classes == EXPRESSIONS
    assert model.preprocessing == Preprocessing(**STORED)
    assert model.title == "stub"
    assert model.metadata["licence"] == "MIT"


@pytest.mark.parametrize("batch_size", [1, 3, 10, 256])
def test_logits_keep_the_order_of_the_faces(
    batch_size: int,
    model: OnnxModel,
    faces: NDArray[np.uint8],
    weights: NDArray[np.float64],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(Preprocessing, "batch_size", batch_size)
    logits = model.logits(faces)
    assert logits.dtype == np.float32
    expected = (faces.reshape(10, -1) / 255 - STORED["mean"]) / STORED["std"] @ weights
    assert np.abs(logits - expected).max() < 1e-4


def test_faces_of_different_sizes_are_resized(model: OnnxModel, faces: NDArray[np.uint8]) -> None:
    large = faces[1].repeat(5, axis=0).repeat(5, axis=1)
    mixed = model.logits([faces[0], large, np.full((3, 2), 70, np.uint8)])
    resized = model.preprocessing.resize([large])[0]
    assert np.allclose(mixed, model.logits([faces[0], resized, np.full((SIZE, SIZE), 70, np.uint8)]), atol=1e-5)


@pytest.mark.parametrize("faces", [[], np.empty((0, SIZE, SIZE), np.uint8)], ids=["list", "array"])
def test_zero_faces_give_zero_rows(faces: NDArray[np.uint8], model: OnnxModel) -> None:
    logits = model.logits(faces)
    assert (logits.shape, logits.dtype) == ((0, 7), np.float32)


def test_model_with_three_channels_and_two_classes(write_classifier: WriteClassifier, faces: NDArray[np.uint8]) -> None:
    weights = np.random.default_rng(2).normal(size=(3 * SIZE**2, 2))
    path = write_classifier(weights, preprocessing=STORED | {"channels": 3}, classes=["calm", "not calm"])
    model = OnnxModel(path, threads=1)
    assert model.classes == ("calm", "not calm")
    values = (faces.reshape(10, -1) / 255 - STORED["mean"]) / STORED["std"]
    assert np.abs(model.logits(faces) - np.tile(values, 3) @ weights).max() < 1e-4


def error_message(path: Path) -> str:
    """The message of the error that opening the file raises, checked to be one line that names the file."""
    with pytest.raises(WeightsError) as caught:
        OnnxModel(path, threads=1)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"stored": ""}, "has no mien metadata: use a file written by mien export"),
        ({"stored": "{format: 1}"}, "metadata of .* must be a JSON object"),
        ({"stored": "[1]"}, "metadata of .* must be a JSON object"),
        ({"stored": "{}"}, "lacks classes, format, network, preprocessing"),
        (
            {"stored": '{"format": 2}'},
            "has metadata of format 2, and this version of mien reads up to 1: update mien",
        ),
        ({"format": "new"}, "has metadata of format new, and this version of mien reads up to 1"),
        ({"classes": ["happy", "sad"]}, "must take .* and give logits ['batch', 2] .* 'logits': ['batch', 7]"),
        ({"classes": "abcdefg"}, "must be a list of one or more distinct class names, got 'abcdefg'"),
        ({"classes": list(range(7))}, "must be a list of one or more distinct class names"),
        ({"classes": []}, "must be a list of one or more distinct class names, got []"),
        ({"classes": ["happy"] * 7}, "must be a list of one or more distinct class names"),
        (
            {"preprocessing": STORED | {"crop": 1}},
            "has invalid metadata (preprocessing must give a number for each of",
        ),
        ({"preprocessing": {"size": 8}}, "for each of size, channels, mean, std, got {'size': 8}"),
        ({"preprocessing": STORED | {"mean": "0.5"}}, "has invalid metadata (preprocessing must give a number"),
        ({"preprocessing": None}, "has invalid metadata (preprocessing must give a number"),
        ({"preprocessing": STORED | {"std": 0}}, "has invalid metadata (preprocessing needs .* std above 0, got"),
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
def test_invalid_metadata_or_shapes_are_named(
    changes: dict[str, object], words: str, write_classifier: WriteClassifier, weights: NDArray[np.float64]
) -> None:
    message = error_message(write_classifier(weights, **changes))
    for part in words.split(" .* "):
        assert part in message


def test_newer_format_with_other_keys_asks_for_an_update(
    write_classifier: WriteClassifier, weights: NDArray[np.float64]
) -> None:
    newer = json.dumps({"format": 2, "labels": []})
    assert "update mien" in error_message(write_classifier(weights, stored=newer))


def test_onnx_file_of_another_program() -> None:
    assert "has no mien metadata" in error_message(BLAZEFACE)


def test_damaged_and_missing_files_are_named(path: Path, tmp_path: Path) -> None:
    cut = tmp_path / "cut.onnx"
    cut.write_bytes(path.read_bytes()[:-200])
    assert "is damaged or is not an ONNX model" in error_message(cut)
    assert "there is no model file" in error_message(tmp_path / "missing.onnx")
