"""Tests of checkpoints: saving, loading and damaged files."""

import json

import pytest
import safetensors.torch
import torch

from mien.errors import WeightsError
from mien.models import checkpoint
from mien.models.torch_model import TorchModel


def test_load_returns_saved_tensors_and_state(tmp_path):
    tensors = {"a.weight": torch.randn(3, 4), "a.count": torch.tensor(7), "b": torch.randn(2, 3, 4).permute(2, 0, 1)}
    state = {"epoch": 3, "loss": 0.1 + 0.2, "best": float("inf"), "rows": [{"x": 1}]}
    checkpoint.save(tmp_path / "c.safetensors", tensors, state)
    loaded, loaded_state = checkpoint.load(tmp_path / "c.safetensors")
    assert loaded_state == state
    assert loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())


def test_strip_prefix_undoes_add_prefix_and_drops_other_keys():
    tensors = {"x.y": torch.zeros(1)}
    prefixed = checkpoint.add_prefix(tensors, "net")
    assert prefixed.keys() == {"net.x.y"}
    assert checkpoint.strip_prefix(prefixed | {"network.z": torch.ones(1)}, "net") == tensors


def test_to_half_precision_leaves_biases_in_single_precision():
    weights = checkpoint.to_half_precision({"weight": torch.zeros(2, 3), "bias": torch.zeros(2)})
    assert (weights["weight"].dtype, weights["bias"].dtype) == (torch.float16, torch.float32)


@pytest.mark.parametrize(
    "error", [OSError("No space left on device"), safetensors.SafetensorError("I/O error: No space left on device")]
)
def test_failed_save_keeps_the_old_checkpoint(tmp_path, monkeypatch, error):
    path = tmp_path / "c.safetensors"
    checkpoint.save(path, {"a": torch.zeros(1)}, {"epoch": 1})

    def fail(*_args, **_kwargs):
        raise error

    monkeypatch.setattr(checkpoint, "save_file", fail)
    with pytest.raises(OSError, match="No space"):
        checkpoint.save(path, {"a": torch.ones(1)}, {"epoch": 2})
    assert checkpoint.load(path)[1] == {"epoch": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["c.safetensors"]


def test_load_names_a_missing_file(tmp_path):
    with pytest.raises(WeightsError, match="there is no checkpoint"):
        checkpoint.load(tmp_path / "none.safetensors")


def test_load_names_a_truncated_file(tmp_path):
    path = tmp_path / "c.safetensors"
    checkpoint.save(path, {"a": torch.zeros(1000)}, {})
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(WeightsError, match="is damaged"):
        checkpoint.load(path)


@pytest.mark.parametrize(("text", "reason"), [('{"epoch":', "is not JSON"), ("3", "is not a JSON object")])
def test_load_names_an_invalid_state(text, reason, tmp_path):
    path = tmp_path / "c.safetensors"
    safetensors.torch.save_file({"a": torch.zeros(1)}, path, {checkpoint.FORMAT: text})
    with pytest.raises(WeightsError, match=f"is damaged: its mien-checkpoint-1 {reason}"):
        checkpoint.load(path)


def test_load_rejects_a_safetensors_file_of_another_program(tmp_path):
    path = tmp_path / "c.safetensors"
    safetensors.torch.save_file({"a": torch.zeros(1)}, path, {"other": json.dumps({})})
    with pytest.raises(WeightsError, match="not a checkpoint of mien"):
        checkpoint.load(path)


def test_torch_model_names_a_checkpoint_without_classes(tmp_path):
    path = tmp_path / "c.safetensors"
    checkpoint.save(path, {"a": torch.zeros(1)}, {"config": {}})
    with pytest.raises(WeightsError, match="is damaged: it has no classes"):
        TorchModel.load(path)


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        ({"epoch": "x"}, "epoch in .* must be a whole number, got 'x'"),
        ({"epoch": -1}, "epoch in .* must be a whole number, got -1"),
        ({"epoch": True}, "epoch in .* must be a whole number, got True"),
        ({"step": 10**400}, "step in .* must be a whole number, got 1000"),
        ({"best_epoch": 1.5}, "best_epoch in .* must be a whole number"),
        ({"best_accuracy": [1]}, "best_accuracy in .* must be a number"),
        ({"classes": {}}, "classes in .* must be a list of one or more distinct class names, got {}"),
        ({"classes": [1, 2]}, "classes in .* must be a list of one or more distinct class names"),
        ({"config": None}, "config in .* must be an object, got None"),
        ({"log": [[1]]}, "log in .* must be a list of objects of numbers"),
        ({"row": {"epoch": None}}, "row in .* must be an object of numbers"),
        ({"meters": 3}, "meters in .* must be an object of numbers, got 3"),
        ({"learning_rates": ["fast"]}, "learning_rates in .* must be a list of numbers"),
        ({"scheduler": []}, "scheduler in .* must be an object"),
        ({"data": ["x" * 999]}, "data in .* must be a text, got ['xxx"),
    ],
)
def test_state_of_another_type_is_named(stored, words, tmp_path):
    path = tmp_path / "damaged.safetensors"
    checkpoint.save(path, {"a": torch.zeros(1)}, stored)
    with pytest.raises(WeightsError) as caught:
        checkpoint.load(path)
    for part in words.split(" .* "):
        assert part in str(caught.value)


def test_state_nested_too_deep_raises(tmp_path):
    path = tmp_path / "damaged.safetensors"
    safetensors.torch.save_file({"a": torch.zeros(1)}, path, {checkpoint.FORMAT: "[" * 100_000})
    with pytest.raises(WeightsError, match="it has more than the 16 levels of nesting allowed"):
        checkpoint.load(path)
