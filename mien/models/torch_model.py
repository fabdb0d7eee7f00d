"""From a config to a network, and from a checkpoint to a trained one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from mien import config as configs
from mien.calibration import Calibration
from mien.config import Config
from mien.errors import ConfigError, WeightsError
from mien.models import checkpoint, onnx_file
from mien.models.onnx_model import OnnxModel
from mien.networks import registry
from mien.networks.masking import Mask
from mien.preprocess import Preprocessing

LAST = "last.safetensors"
"""The whole state of a run, to go on from."""
BEST = "best.safetensors"
"""The averaged weights of the epoch with the best PublicTest accuracy, `rounded`: to evaluate and export."""


def preprocessing_of(config: Config) -> Preprocessing:
    """How faces become the input of a config's network.

    Raises:
        ConfigError: There is no such network, or it cannot be had with such images.
    """
    spec = registry.find(config.network.name, config.network.variant)
    size = config.network.size or spec.size
    if size < spec.min_size:
        raise ConfigError(f"network.size must be {spec.min_size}..{configs.MAX_SIZE} for {spec.title}, got {size}")
    return Preprocessing(size=size, channels=config.network.channels or spec.in_channels)


def build(config: Config, num_classes: int) -> tuple[nn.Module, Preprocessing]:
    """The network of a config, with new weights from torch's global random state, and its preprocessing.

    Raises:
        ConfigError: There is no such network, or it cannot be had with such images, classes or masks.
    """
    spec = registry.find(config.network.name, config.network.variant)
    preprocessing = preprocessing_of(config)
    parts: dict[str, Any] = {"dropout": config.network.dropout}
    for name, nothing in (("mask_activation", "empty"), ("mask_depth", "0")):
        if value := getattr(config.network, name):
            if not spec.has_u_nets:
                raise ConfigError(
                    f"network.{name} must be {nothing} for {spec.title}, which has no masks that it could be of, "
                    f"got {value}"
                )
            parts[name] = value
    network = registry.create(spec, num_classes, preprocessing.channels, **parts)
    fits_masks = config.loss.margin and config.loss.margin_reading == "mask"
    if fits_masks and any(isinstance(part, Mask) and part.softmax for part in network.modules()):
        raise ConfigError(
            "loss.margin_reading = mask fits the masks' mean over channels to the image's saliency, and a softmax's is "
            f"always the same: set network.mask_activation to sigmoid for {spec.title}, or the reading to labels"
        )
    return network, preprocessing


def multiply_adds(config: Config, num_classes: int) -> int:
    """Of one face: counted, since a config may change its network's masks and size, but nothing is computed.

    Raises:
        ConfigError: As `build`.
    """
    with torch.device("meta"), torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network, preprocessing = build(config, num_classes)
        network.eval()(torch.zeros(1, preprocessing.channels, preprocessing.size, preprocessing.size))
    return int(counter.get_total_flops() // 2)


def rounded(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """Weights of convolutions and linear layers in half precision, all else as it is.

    Rounded once, where they are kept, they are the same numbers in torch and in an exported file of half the size.
    """
    return {name: tensor.half() if tensor.ndim > 1 else tensor for name, tensor in weights.items()}


@dataclass(frozen=True)
class TorchModel:
    """A network in evaluation mode, on the CPU when it is read, with all that belongs to its weights.

    Attributes:
        network: (N, C, H, W) -> Outputs.
        preprocessing: What its images go through.
        classes: K class names.
        config: What it was trained with.
        calibration: Found on PublicTest; none in LAST, whose weights are not chosen.
        row: The log's row of the epoch that the weights are from.
        exported: Digest of the exported file that it was read from, whose new parts would change its own.
    """

    network: nn.Module
    preprocessing: Preprocessing
    classes: tuple[str, ...]
    config: Config
    calibration: Calibration
    row: dict[str, Any]
    exported: str = ""

    @classmethod
    def load(cls, path: Path) -> TorchModel:
        """Reads a run folder's BEST, or a checkpoint file of either kind.

        Raises:
            WeightsError: There is none, it is damaged, or it does not fit the network that its config names.
        """
        file = path / BEST if path.is_dir() else path
        if path.is_dir() and not file.exists():
            raise WeightsError(f"{path} holds no {BEST}: train it for at least one epoch")
        tensors, state = checkpoint.load(file)
        weights = checkpoint.part(tensors, "averaged.module") or tensors  # LAST holds more than the weights
        if missing := next((name for name in ("config", "classes") if name not in state), ""):
            raise WeightsError(f"{file} is damaged: it has no {missing}")
        config = configs.from_dict(state["config"])
        network, preprocessing = build(config, len(state["classes"]))
        try:
            network.load_state_dict(weights)
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise WeightsError(f"{file} does not fit {config.network.name}: {reason}") from None
        try:
            calibration = Calibration.from_dict(state["calibration"]) if "calibration" in state else Calibration()
        except ValueError as error:
            raise WeightsError(f"{file} is damaged: {error}") from None
        row = state["log"][-1] if state.get("log") else state.get("row", {})
        return cls(network.eval(), preprocessing, tuple(state["classes"]), config, calibration, row)

    @classmethod
    def of_exported(cls, path: Path) -> TorchModel:
        """Reads the network of a file that `mien export` or `mien quantize` wrote.

        Parts that serve training alone, such as a decoder, are new; see `mien.models.onnx_file.read` for the rest.

        Raises:
            WeightsError: It cannot be used, or does not fit the network that its config names.
            ConfigError: Its config has fields that this version of mien does not know.
        """
        classifier = OnnxModel(path)
        network, preprocessing = build(classifier.config, len(classifier.classes))
        if preprocessing.channels != classifier.preprocessing.channels:
            raise WeightsError(
                f"{path} does not fit {classifier.title}: its images have other channels than its config"
            )
        given = onnx_file.read(path, network)
        wanted = {
            name: tensor
            for name, tensor in network.state_dict().items()
            if not registry.used_in_training_only(name) and tensor.ndim  # all but batch norms' counts of batches
        }
        if misfit := next(
            (name for name in wanted if name not in given or given[name].shape != wanted[name].shape), ""
        ):
            raise WeightsError(f"{path} does not fit {classifier.title}: its {misfit} is missing or of another size")
        if extra := next((name for name in given if name not in wanted), ""):
            raise WeightsError(f"{path} does not fit {classifier.title}, which has no {extra}")
        network.load_state_dict(given, strict=False)
        row = classifier.metadata.get("log_row", {})
        return cls(
            network.eval(),
            classifier.preprocessing,
            classifier.classes,
            classifier.config,
            classifier.calibration,
            row,
            classifier.digest,
        )

    @cached_property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that say which weights these are; more where they are of a file in 8 bits."""
        if self.exported:
            return self.exported
        hashed = hashlib.blake2b(digest_size=8)
        for name, tensor in sorted(self.network.state_dict().items()):
            hashed.update(name.encode() + tensor.contiguous().cpu().numpy().tobytes())
        return hashed.hexdigest()

    @property
    def title(self) -> str:
        """The network's name and variant."""
        return registry.find(self.config.network.name, self.config.network.variant).title

    def logits(self, images: list[NDArray[np.uint8]] | NDArray[np.uint8]) -> NDArray[np.float32]:
        """Gray faces, each (h, w), values 0..255 -> (N, K)."""
        return logits_of(self.network, self.preprocessing, images)

    @torch.inference_mode()
    def masks(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
        """Gray faces (N, h, w) -> for each masked stage (N, h', w'), the mask's mean over channels, in [0, 1]."""
        outputs = self.network(torch.from_numpy(self.preprocessing(images)))
        return tuple(mask.mean(dim=1).numpy() for mask in outputs.masks)


@torch.inference_mode()
def logits_of(
    network: nn.Module,
    preprocessing: Preprocessing,
    images: list[NDArray[np.uint8]] | NDArray[np.uint8],
) -> NDArray[np.float32]:
    """Logits of gray faces, each (h, w), values 0..255, in order; the network is in evaluation mode -> (N, K)."""
    device = next(network.parameters()).device
    parts: list[Tensor] = []
    n = preprocessing.at_once
    for start in range(0, max(1, len(images)), n):  # no faces go through, too, and give (0, K)
        batch = torch.from_numpy(preprocessing(images[start : start + n])).to(device)
        parts.append(network(batch).logits.float().cpu())
    return np.asarray(torch.cat(parts).numpy(), np.float32)
