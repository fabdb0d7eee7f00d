"""A network that cannot be had is refused with what can be; and what an exported file holds."""

import json
import re
from dataclasses import replace

import pytest
import torch

from mien.config import Config, LossConfig, NetworkConfig
from mien.errors import ConfigError, WeightsError
from mien.models import onnx_file
from mien.models.onnx_model import METADATA, OnnxModel, find
from mien.models.torch_model import TorchModel, build
from mien.networks import registry


def config_of(spec: registry.NetworkSpec, **network: object) -> Config:
    return Config(network=replace(NetworkConfig(spec.name, spec.variant), **network))


@pytest.mark.parametrize("spec", registry.NETWORKS, ids=lambda spec: spec.title)
def test_too_small_images_are_told_the_range(spec):
    sentence = f"network.size must be {spec.min_size}..1024 for {spec.title}, got {spec.min_size - 1}"
    with pytest.raises(ConfigError, match=f"^{re.escape(sentence)}$"):
        build(config_of(spec, size=spec.min_size - 1), 7)


@pytest.mark.parametrize(
    ("network", "sentence"),
    [
        ({"size": 1025}, "network.size must be 0..1024, got 1025"),
        ({"size": -1}, "network.size must be 0..1024, got -1"),
        ({"channels": 2}, "network.channels must be one of 0, 1, 3, got 2"),
        ({"dropout": 1.0}, "network.dropout must be 0..0.95, got 1"),
    ],
)
def test_values_that_no_network_has(network, sentence):
    with pytest.raises(ConfigError, match=f"^{re.escape(sentence)}$"):
        config_of(registry.find("resnet18", "mini"), **network)


def test_one_class_is_none_to_tell_apart():
    with pytest.raises(ConfigError, match="tells 2 classes or more apart, got 1"):
        build(config_of(registry.find("resnet18", "mini")), 1)


@pytest.mark.parametrize("spec", registry.NETWORKS, ids=lambda spec: spec.title)
def test_an_activation_needs_masks_that_have_one(spec):
    if not spec.has_u_nets:
        with pytest.raises(ConfigError, match=r"network\.mask_activation must be empty for .*, got softmax"):
            build(config_of(spec, mask_activation="softmax"), 7)
    elif spec.size < 64:
        network, _ = build(config_of(spec, mask_activation="softmax"), 7)
        fitted = replace(config_of(spec, mask_activation="softmax"), loss=LossConfig(margin=0.1, margin_reading="mask"))
        with pytest.raises(ConfigError, match="a softmax's is always the same: set"):
            build(fitted, 7)
        assert all(mask.softmax for mask in network.masks)


@pytest.mark.parametrize("spec", registry.NETWORKS, ids=lambda spec: spec.title)
def test_a_depth_needs_masks_that_have_one(spec):
    if not spec.has_u_nets:
        with pytest.raises(ConfigError, match=r"network\.mask_depth must be 0 for .*, got 3"):
            build(config_of(spec, mask_depth=3), 7)
    elif spec.size < 64:
        network, preprocessing = build(config_of(spec, mask_depth=3), 7)
        assert [len(mask.down) for mask in network.masks] == [3, 2, 1, 1]
        images = torch.zeros(2, preprocessing.channels, preprocessing.size, preprocessing.size)
        assert network(images).logits.shape == (2, 7)


def restamped(folder, **changes):
    """The file of `tiny` with other metadata."""
    metadata = OnnxModel("tiny").metadata
    config = metadata["config"] | {"network": metadata["config"]["network"] | changes}
    metadata = {key: value for key, value in metadata.items() if key != "config"} | (
        {"config": config} if changes else {}
    )
    path = folder / "tiny.onnx"
    onnx_file.restamp(find("tiny"), path, {METADATA: json.dumps(metadata)})
    return path


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"mask_depth": 1}, r"does not fit .* tiny, which has no masks\.0\.down\.1"),
        ({"mask_depth": 4}, r"does not fit .* tiny: its masks\.0\.\S+ is missing"),
        ({"variant": "small"}, r"does not fit .* tiny: its backbone\.conv1\.weight is missing or of another size"),
        ({"channels": 3}, r"does not fit .* tiny: its images have other channels"),
        ({}, r"does not say what it was trained with"),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "",
)
def test_a_file_that_is_not_what_its_config_says_is_refused(tmp_path, changes, sentence):
    with pytest.raises(WeightsError, match=sentence):
        TorchModel.of_exported(restamped(tmp_path, **changes))


def test_a_file_keeps_its_digest():
    assert TorchModel.of_exported(find("tiny")).digest == OnnxModel("tiny").digest
