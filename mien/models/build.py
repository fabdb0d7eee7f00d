"""Builds the network that a config describes."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mien import config as configs
from mien.config import Config
from mien.errors import ConfigError
from mien.networks import registry
from mien.networks.masking import UNetMask
from mien.preprocess import Preprocessing


def preprocessing_for(config: Config) -> Preprocessing:
    """Returns how faces become the input of a config's network.

    Raises:
        ConfigError: There is no such network, or it does not accept images of that size.
    """
    spec = registry.find(config.network.name, config.network.variant)
    size = config.network.size or spec.size
    if size < spec.min_size:
        raise ConfigError(f"network.size must be {spec.min_size}..{configs.MAX_SIZE} for {spec.title}, got {size}")
    return Preprocessing(size=size, channels=config.network.channels or spec.in_channels)


def build_network(config: Config, num_classes: int) -> tuple[nn.Module, Preprocessing]:
    """Builds the network of a config, with new weights from torch's global random state, and its preprocessing.

    Raises:
        ConfigError: There is no such network, or it does not support these images, classes or masks.
    """
    spec = registry.find(config.network.name, config.network.variant)
    preprocessing = preprocessing_for(config)
    arguments: dict[str, Any] = {"dropout": config.network.dropout}
    for name, default in (("mask_activation", "empty"), ("mask_depth", "0")):
        if value := getattr(config.network, name):
            if not spec.has_u_nets:
                raise ConfigError(
                    f"network.{name} must be {default} for {spec.title}, which has no U-Net masks, got {value}"
                )
            arguments[name] = value
    network = registry.create(spec, num_classes, preprocessing.channels, **arguments)
    fits_masks = config.loss.margin and config.loss.margin_reading == "mask"
    if fits_masks and any(isinstance(module, UNetMask) and module.softmax for module in network.modules()):
        raise ConfigError(
            f"loss.margin_reading = mask needs sigmoid masks, since the mean of a softmax mask over its channels is "
            f"constant: set network.mask_activation to sigmoid for {spec.title}, or loss.margin_reading to labels"
        )
    return network, preprocessing


def count_multiply_adds(config: Config, num_classes: int) -> int:
    """Counts the multiply-adds of one face on the meta device, since a config may change masks and image size.

    Raises:
        ConfigError: See `build_network`.
    """
    with torch.device("meta"), torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network, preprocessing = build_network(config, num_classes)
        network.eval()(torch.zeros(1, preprocessing.channels, preprocessing.size, preprocessing.size))
    return int(counter.get_total_flops() // 2)
