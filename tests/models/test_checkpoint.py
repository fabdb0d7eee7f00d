import json

import pytest
import safetensors.torch
import torch

from mien.errors import WeightsError
from mien.models import checkpoint
from mien.models.torch_model import TorchModel


def test_tensors_and_state_come_back_as_they_were(tmp_path):
    tensors = {"a.weight": torch.randn(3, 4), "a.count": torch.tensor(7), "b": torch.randn(2, 3, 4).permute(2, 0, 1)}
    state = {"epoch": 3, "loss": 0.1 + 0.2, "best": float("inf"), "rows": [{"x": 1}]}
    checkpoint.save(tmp_path / "c.safetensors", tensors, state)
    loaded, same = checkpoint.load(tmp_path / "c.safetensors")
    assert same == state
    assert loaded.keys() == tensors.keys()
    assert all(torch.equal(loaded[name], tensor) for name, tensor in tensors.items())


def test_prefixes_are_put_on_and_taken_off():
    tensors = {"x.y": torch.zeros(1)}
    assert checkpoint.part(checkpoint.with_prefix("net", tensors) | {"network.z": torch.ones(1)}, "net") == tensors


@pytest.mark.parametrize(
    "error", [OSError("No space left on device"), safetensors.SafetensorError("I/O error: No space left on device")]
)
def test_a_failed_write_leaves_the_old_checkpoint(tmp_path, monkeypatch, error):
    path = tmp_path / "c.safetensors"
    checkpoint.save(path, {"a": torch.zeros(1)}, {"epoch": 1})

    def full(*_args, **_kwargs):
        raise error

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(OSError, match="No space"):
        checkpoint.save(path, {"a": torch.ones(1)}, {"epoch": 2})
    assert checkpoint.load(path)[1] == {"epoch": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["c.safetensors"]


def test_damaged_missing_and_foreign_files_are_told_apart(tmp_path):
    with pytest.raises(WeightsError, match="there is no checkpoint"):
        checkpoint.load(tmp_path / "none.safetensors")
    path = tmp_path / "c.safetensors"
    checkpoint.save(path, {"a": torch.zeros(1000)}, {})
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(WeightsError, match="is damaged"):
        checkpoint.load(path)
    for text in ('{"epoch":', "3"):
        safetensors.torch.save_file({"a": torch.zeros(1)}, path, {checkpoint.FORMAT: text})
        with pytest.raises(WeightsError, match="is damaged: its mien-checkpoint-1 is no"):
            checkpoint.load(path)
    checkpoint.save(path, {"a": torch.zeros(1)}, {"config": {}})
    with pytest.raises(WeightsError, match="is damaged: it has no classes"):
        TorchModel.load(path)
    safetensors.torch.save_file({"a": torch.zeros(1)}, path, {"other": json.dumps({})})
    with pytest.raises(WeightsError, match="not a checkpoint of mien"):
        checkpoint.load(path)
