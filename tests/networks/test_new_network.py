"""Test of the recipe for a new network: a file in mien/networks and a row of the registry."""

import numpy as np
import pytest

import mien.networks
from mien.calibration import Calibration
from mien.config import Config, NetworkConfig
from mien.data.dataset import FaceDataset
from mien.export.onnx import export
from mien.models.build import build_network, count_multiply_adds
from mien.models.onnx_model import OnnxModel
from mien.models.torch_model import TorchModel
from mien.networks import registry
from mien.networks.registry import NetworkSpec

FILE = """
from torch import nn

from mien.networks.outputs import Outputs


class PooledLinear(nn.Module):
    def __init__(self, *, num_classes, in_channels, dropout, pixels):
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(pixels)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(in_channels * pixels**2, num_classes)

    def forward(self, images):
        return Outputs(self.fc(self.dropout(self.pool(images).flatten(1))))
"""
ROW = NetworkSpec(
    name="pooled_linear",
    variant="4x4",
    source="this test",
    size=48,
    min_size=4,
    in_channels=1,
    parameters=7 * 17,
    multiply_adds=7 * 16,
    builder="pooled_linear:PooledLinear",
    arguments={"pixels": 4},
)


@pytest.fixture
def new_network(tmp_path, monkeypatch):
    (tmp_path / "pooled_linear.py").write_text(FILE)
    monkeypatch.setattr(mien.networks, "__path__", [*mien.networks.__path__, str(tmp_path)])
    monkeypatch.setattr(registry, "NETWORKS", (*registry.NETWORKS, ROW))


@pytest.mark.full_size
def test_new_network_is_built_counted_exported_and_read_back(new_network, tmp_path):
    classes = ("calm", "tense", "tired")
    config = Config(network=NetworkConfig(name="pooled_linear", variant="4x4"))
    network, preprocessing = build_network(config, len(classes))
    assert count_multiply_adds(config, registry.NUM_CLASSES) == ROW.multiply_adds
    trained = TorchModel(network.eval(), preprocessing, classes, config, Calibration(), {})
    images = np.random.default_rng(0).integers(0, 256, (5, 48, 48), dtype=np.uint8)
    zeros = np.zeros(5, np.int64)
    faces = FaceDataset(images, zeros, zeros.astype(np.int8), np.arange(5), classes=classes)
    path = tmp_path / "mine.onnx"
    export(trained, path, faces, {})
    model = OnnxModel(path)
    assert (model.title, model.classes) == ("pooled_linear 4x4", classes)
    assert np.abs(model.logits(images) - trained.logits(images)).max() < 1e-4
    assert TorchModel.from_onnx(path).digest == trained.digest
