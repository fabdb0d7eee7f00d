"""Learning from teachers: predictions of the training faces, made once, or networks that see each augmented image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mien import predictions as prediction_files
from mien.data.dataset import FaceDataset
from mien.errors import ConfigError, DataError
from mien.files import at_home
from mien.models.open_model import open_model
from mien.models.torch_model import TorchModel
from mien.types import mean_logits, softmax


def taught(file: Path, faces: FaceDataset, temperature: float) -> Tensor:
    """What a teacher says of each face.

    The teacher saw the faces as they are, once, while the network sees them augmented: its answer for a face holds for
    all its augmentations.

    Args:
        file: Predictions of exactly these faces; an ensemble's are a stronger teacher than one network's.
        faces: The training split.
        temperature: What its logits are divided by before softmax.

    Returns:
        (N, K) probabilities, each row sums to 1.

    Raises:
        DataError: The file cannot be read, or it is of other faces, other labels or other classes.
    """
    predictions = prediction_files.load(at_home(file))
    if not prediction_files.same_faces(predictions, faces):
        raise DataError(
            f"a teacher's predictions must be of the {len(faces):,} training faces, and {file} has "
            f"{len(predictions.index):,} that are not the same, or other classes: make it with mien evaluate TEACHER "
            "--split training -o DIR on the same data"
        )
    return torch.from_numpy(softmax(predictions.logits / np.float32(temperature))).float()


class Teachers:
    """Trained networks that see each image as the one that learns sees it, and say together what it shows.

    Beyer et al., "Knowledge distillation: A good teacher is patient and consistent", CVPR 2022: the images may be
    changed and mixed as much as one likes, for what they show is asked each time.

    Args:
        models: Run folders, checkpoints, .onnx files or shipped models' names; the latter two run on the CPU, where
            those in 8 bits are the fastest.
        classes: Those of the data.
        temperature: What their logits, calibrated, are divided by before softmax.
        device: Where networks of torch run.

    Raises:
        WeightsError: There is no such network, or it is damaged.
        ConfigError: One knows other classes.
    """

    def __init__(
        self, models: Sequence[str], classes: tuple[str, ...], temperature: float, device: torch.device
    ) -> None:
        self.temperature = temperature
        self._models = [open_model(name, torch.get_num_threads()) for name in models]
        for name, model in zip(models, self._models, strict=True):
            if model.classes != classes:
                raise ConfigError(
                    f"{name} in data.teachers knows the classes {', '.join(model.classes)}, and the data has "
                    f"{', '.join(classes)}"
                )
            if isinstance(model, TorchModel):
                model.network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def digest(self) -> str:
        """Says which weights they have."""
        return " ".join(model.digest for model in self._models)

    def __call__(self, images: Tensor) -> Tensor:
        """What they say of augmented images.

        Args:
            images: (N, C, H, W), values in [0, 1].

        Returns:
            (N, K) the mean of their probabilities, at the temperature; each row sums to 1.
        """
        faces = (images[:, 0] * 255).round().to(torch.uint8).cpu().numpy()
        said = [softmax(model.calibration.scale_logits(model.logits(faces))) for model in self._models]
        return torch.from_numpy(softmax(mean_logits(said) / np.float32(self.temperature))).float().to(images.device)
