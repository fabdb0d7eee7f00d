"""Tests of building a config's network, and of reading an exported file back into torch."""

import json
import re
from dataclasses import replace

import pytest
import torch

from mien.config import Config, LossConfig, NetworkConfig
from mien.errors import ConfigError, WeightsError
from mien.models import onnx_file
from mien.models.build import build_network
from mien.models.onnx_model import METADATA_KEY, OnnxModel
from mien.models.torch_model import TorchModel
from mien.models.zoo import find_model
from mien.networks import registry


def config_of(spec: registry.NetworkSpec, **network: object) -> Config:
    return Config(network=replace(NetworkConfig(spec.name, spec.variant), **network))


@pytest.mark.parametrize("spec", registry.NETWORKS, ids=lambda spec: spec.title)
def test_image_below_the_minimum_size_names_the_range(spec):
    sentence = f"network.size must be {spec.min_size}..1024 for {spec.title}, got {spec.min_size - 1}"
    with pytest.raises(ConfigError, match=f"^{re.escape(sentence)}$"):
        build_network(config_of(spec, size=spec.min_size - 1), 7)


@pytest.mark.parametrize(
    ("network", "sentence"),
    [
        ({"size": 1025}, "network.size must be 0..1024, got 1025"),
        ({"size": -1}, "network.size must be 0..1024, got -1"),
        ({"channels": 2}, "network.channels must be one of 0, 1, 3, got 2"),
        ({"dropout": 1.0}, "network.dropout must be 0..0.95, got 1"),
    ],
)
def test_network_settings_out_of_range_name_the_range(network, sentence):
    with pytest.raises(ConfigError, match=f"^{re.escape(sentence)}$"):
        config_of(registry.find("resnet18", "mini"), **network)


def test_one_class_raises_config_error():
    with pytest.raises(ConfigError, match="a network needs 2 classes or more, got 1"):
        build_network(config_of(registry.find("resnet18", "mini")), 1)


@pytest.mark.parametrize("spec", registry.NETWORKS, ids=lambda spec: spec.title)
def test_mask_activation_requires_u_net_masks(spec):
    if not spec.has_u_nets:
        with pytest.raises(ConfigError, match=r"network\.mask_activation must be empty for .*, got softmax"):
            build_network(config_of(spec, mask_activation="softmax"), 7)
    elif spec.size < 64:
        network, _ = build_network(config_of(spec, mask_activation="softmax"), 7)
        loss = LossConfig(margin=0.1, margin_reading="mask")
        with pytest.raises(ConfigError, match=r"loss\.margin_reading = mask needs sigmoid masks"):
            build_network(replace(config_of(spec, mask_activation="softmax"), loss=loss), 7)
        assert all(mask.softmax for mask in network.masks)


@pytest.mark.parametrize("spec", registry.NETWORKS, ids=lambda spec: spec.title)
def test_mask_depth_requires_u_net_masks(spec):
    if not spec.has_u_nets:
        with pytest.raises(ConfigError, match=r"network\.mask_depth must be 0 for .*, got 3"):
            build_network(config_of(spec, mask_depth=3), 7)
    elif spec.size < 64:
        network, preprocessing = build_network(config_of(spec, mask_depth=3), 7)
        assert [len(mask.down) for mask in network.masks] == [3, 2, 1, 1]
        images = torch.zeros(2, preprocessing.channels, preprocessing.size, preprocessing.size)
        assert network(images).logits.shape == (2, 7)


def write_tiny_with(folder, **changes):
    """Writes `tiny` with changes to its network's config; without changes, with no config at all."""
    metadata = OnnxModel("tiny").metadata
    config = metadata["config"] | {"network": metadata["config"]["network"] | changes}
    metadata = {key: value for key, value in metadata.items() if key != "config"} | (
        {"config": config} if changes else {}
    )
    path = folder / "tiny.onnx"
    onnx_file.replace_metadata(find_model("tiny"), path, {METADATA_KEY: json.dumps(metadata)})
    return path


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"mask_depth": 1}, r"does not fit .* tiny, which has no masks\.0\.down\.1"),
        ({"mask_depth": 4}, r"does not fit .* tiny: its masks\.0\.\S+ is missing"),
        ({"variant": "small"}, r"does not fit .* tiny: its backbone\.conv1\.weight is missing or has another shape"),
        (
            {"channels": 3},
            r"does not fit .* tiny: its preprocessing has channels = 1, and the network of",
        ),
        ({}, r"does not hold the config that it was trained with"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_from_onnx_names_what_does_not_fit_the_config(tmp_path, changes, sentence):
    with pytest.raises(WeightsError, match=sentence):
        TorchModel.from_onnx(write_tiny_with(tmp_path, **changes))


def test_from_onnx_keeps_the_digest():
    assert TorchModel.from_onnx(find_model("tiny")).digest == OnnxModel("tiny").digest
