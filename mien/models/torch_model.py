"""A trained network in torch, read from a checkpoint or from an exported file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mien import config as configs
from mien.calibration import Calibration
from mien.config import Config
from mien.deprecation import moved_names, warn_deprecated
from mien.errors import WeightsError
from mien.models import checkpoint, onnx_file
from mien.models.build import build_network
from mien.models.checkpoint import BEST
from mien.models.onnx_model import OnnxModel
from mien.networks import registry
from mien.preprocess import Preprocessing


@dataclass(frozen=True)
class TorchModel:
    """A trained network in torch, in evaluation mode, with everything that belongs to its weights.

    Attributes:
        network: (N, C, H, W) -> Outputs, on the CPU when it is read from a file.
        preprocessing: How gray faces become the network's input.
        classes: K class names, in the order of the logits.
        config: The config that the network was trained with.
        calibration: Fitted on PublicTest; the identity for `LAST` checkpoints, which are not calibrated.
        log_row: The row of the training log of the epoch that the weights are from.
        exported_digest: Digest stored in the exported file that the network was read from, otherwise empty. Parts that
            the file lacks are new, so that the weights themselves would have another digest.
    """

    network: nn.Module
    preprocessing: Preprocessing
    classes: tuple[str, ...]
    config: Config
    calibration: Calibration
    log_row: dict[str, Any]
    exported_digest: str = ""

    @classmethod
    def load(cls, path: Path) -> TorchModel:
        """Reads the best weights of a run folder, or a checkpoint file.

        Args:
            path: A run folder, whose `BEST` is read, or a `BEST` or `LAST` file.

        Raises:
            WeightsError: The file is missing or damaged, or does not fit the network that its config describes.
        """
        file = path / BEST if path.is_dir() else path
        if path.is_dir() and not file.exists():
            raise WeightsError(f"{path} holds no {BEST}: train it for at least one epoch")
        tensors, state = checkpoint.load(file)
        weights = checkpoint.strip_prefix(tensors, "averaged.module") or tensors  # LAST also holds the optimizer
        if missing := next((name for name in ("config", "classes") if name not in state), ""):
            raise WeightsError(f"{file} is damaged: it has no {missing}")
        config = configs.from_dict(state["config"])
        network, preprocessing = build_network(config, len(state["classes"]))
        try:
            network.load_state_dict(weights)
        except RuntimeError as error:
            reason = str(error).splitlines()[-1].strip()
            raise WeightsError(f"{file} does not fit {config.network.name}: {reason}") from None
        try:
            calibration = Calibration.from_dict(state["calibration"]) if "calibration" in state else Calibration()
        except ValueError as error:
            raise WeightsError(f"{file} is damaged: {error}") from None
        log_row = state["log"][-1] if state.get("log") else state.get("row", {})
        return cls(network.eval(), preprocessing, tuple(state["classes"]), config, calibration, log_row)

    @classmethod
    def from_onnx(cls, path: Path) -> TorchModel:
        """Reads a network from a file that `mien export` or `mien quantize` wrote.

        The parts that only training uses, such as a decoder, are not in the file and get new weights. See
        `mien.models.onnx_file.read` for folded batch norms and 8-bit weights.

        Raises:
            WeightsError: The file cannot be used, or does not fit the network that its config describes.
            ConfigError: Its config has fields that this version of mien does not know.
        """
        model = OnnxModel(path)
        network, preprocessing = build_network(model.config, len(model.classes))
        if preprocessing.channels != model.preprocessing.channels:
            raise WeightsError(
                f"{path} does not fit {model.title}: its preprocessing has channels = {model.preprocessing.channels}, "
                f"and the network of its config takes {preprocessing.channels}"
            )
        stored = onnx_file.read(path, network)
        expected = {
            name: tensor
            for name, tensor in network.state_dict().items()
            if not registry.is_training_only(name) and tensor.ndim  # scalars are the batch counts of batch norms
        }
        for name, tensor in expected.items():
            if name not in stored or stored[name].shape != tensor.shape:
                raise WeightsError(f"{path} does not fit {model.title}: its {name} is missing or has another shape")
        if unknown := next((name for name in stored if name not in expected), ""):
            raise WeightsError(f"{path} does not fit {model.title}, which has no {unknown}")
        network.load_state_dict(stored, strict=False)
        return cls(
            network.eval(),
            model.preprocessing,
            model.classes,
            model.config,
            model.calibration,
            model.metadata.get("log_row", {}),
            model.digest,
        )

    @classmethod
    def of_exported(cls, path: Path) -> TorchModel:
        """Deprecated: use `from_onnx`."""
        warn_deprecated("TorchModel.of_exported", "TorchModel.from_onnx")
        return cls.from_onnx(path)

    @cached_property
    def digest(self) -> str:
        """Identifies the weights by sixteen hexadecimal digits; 8-bit files add a suffix to those of the original."""
        if self.exported_digest:
            return self.exported_digest
        hashed = hashlib.blake2b(digest_size=8)
        for name, tensor in sorted(self.network.state_dict().items()):
            hashed.update(name.encode() + tensor.contiguous().cpu().numpy().tobytes())
        return hashed.hexdigest()

    @property
    def title(self) -> str:
        """The network's name and variant."""
        return registry.find(self.config.network.name, self.config.network.variant).title

    def logits(self, images: list[NDArray[np.uint8]] | NDArray[np.uint8]) -> NDArray[np.float32]:
        """Gray faces, each (h, w), values 0..255 -> (N, K) class scores before softmax."""
        return compute_logits(self.network, self.preprocessing, images)

    @torch.inference_mode()
    def masks(self, images: list[NDArray[np.uint8]] | NDArray[np.uint8]) -> tuple[NDArray[np.float32], ...]:
        """Gray faces, each (h, w), values 0..255 -> (N, h', w') in [0, 1] for each masked stage.

        Each mask is averaged over its channels. The tuple is empty for a network without masks.
        """
        outputs = self.network(torch.from_numpy(self.preprocessing(images)))
        return tuple(mask.mean(dim=1).numpy() for mask in outputs.masks)


@torch.inference_mode()
def compute_logits(
    network: nn.Module,
    preprocessing: Preprocessing,
    images: list[NDArray[np.uint8]] | NDArray[np.uint8],
) -> NDArray[np.float32]:
    """Computes the logits of gray faces, in batches.

    Args:
        network: (N, C, H, W) -> Outputs, in evaluation mode, on any device.
        preprocessing: How gray faces become its input.
        images: N gray faces, each (h, w), values 0..255.

    Returns:
        (N, K), in the order of the faces.
    """
    device = next(network.parameters()).device
    batches: list[Tensor] = []
    batch_size = preprocessing.batch_size
    for start in range(0, max(1, len(images)), batch_size):  # an empty batch runs too, so that K is known
        batch = torch.from_numpy(preprocessing(images[start : start + batch_size])).to(device)
        batches.append(network(batch).logits.float().cpu())
    return np.asarray(torch.cat(batches).numpy(), np.float32)


if not TYPE_CHECKING:
    __getattr__ = moved_names(
        __name__,
        {
            "LAST": "mien.models.checkpoint.LAST",
            "build": "mien.models.build.build_network",
            "logits_of": "mien.models.torch_model.compute_logits",
            "multiply_adds": "mien.models.build.count_multiply_adds",
            "preprocessing_of": "mien.models.build.preprocessing_for",
            "rounded": "mien.models.checkpoint.to_half_precision",
        },
    )
