"""Knowledge distillation: teachers as stored predictions, or as networks that predict each augmented image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mien import predictions as prediction_files
from mien.data.dataset import FaceDataset
from mien.errors import ConfigError, DataError
from mien.files import expand_user
from mien.models.open_model import open_model
from mien.models.torch_model import TorchModel
from mien.types import mean_logits, softmax


def teacher_probabilities(file: Path, faces: FaceDataset, temperature: float) -> Tensor:
    """Reads a teacher's predictions of the training split.

    The teacher saw each face once, without augmentation. Its probabilities are used for every augmentation of the face.

    Args:
        file: Predictions of exactly these faces. An ensemble is a better teacher than a single network.
        faces: The training split.
        temperature: Divides the teacher's logits before softmax.

    Returns:
        (N, K) probabilities, each row sums to 1.

    Raises:
        DataError: The file cannot be read, or its faces, labels or classes differ.
    """
    predictions = prediction_files.load(expand_user(file))
    if not prediction_files.same_faces(predictions, faces):
        raise DataError(
            f"a teacher's predictions must be of the same {len(faces):,} training faces, labels and classes as the "
            f"data, but the {len(predictions.index):,} in {file} are not: make them with mien evaluate TEACHER --split "
            "training -o DIR on the same data"
        )
    return torch.from_numpy(softmax(predictions.logits / np.float32(temperature))).float()


class Teachers:
    """Trained networks that predict each image after augmentation and average their probabilities.

    Beyer et al., "Knowledge distillation: A good teacher is patient and consistent", CVPR 2022. Any augmentation is
    allowed, since the teachers see the same images as the student.

    Args:
        models: Run folders, checkpoints, .onnx files or names of shipped models. The latter two run on the CPU, where
            8-bit models are the fastest.
        classes: Class names of the data.
        temperature: Divides the calibrated logits before softmax.
        device: Device of the torch networks.

    Raises:
        WeightsError: A model does not exist or is damaged.
        ConfigError: A model has other classes.
    """

    def __init__(
        self, models: Sequence[str], classes: tuple[str, ...], temperature: float, device: torch.device
    ) -> None:
        self.temperature = temperature
        self._models = [open_model(name, torch.get_num_threads()) for name in models]
        for name, model in zip(models, self._models, strict=True):
            if model.classes != classes:
                raise ConfigError(
                    f"the teachers must have the classes of the data, {', '.join(classes)}, but {name} in "
                    f"data.teachers has {', '.join(model.classes)}"
                )
            if isinstance(model, TorchModel):
                model.network.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]

    @property
    def digest(self) -> str:
        """Identifies the weights of all teachers."""
        return " ".join(model.digest for model in self._models)

    def __call__(self, images: Tensor) -> Tensor:
        """Predicts augmented images.

        Args:
            images: (N, C, H, W), values in [0, 1].

        Returns:
            (N, K) mean probabilities at the temperature, each row sums to 1.
        """
        faces = (images[:, 0] * 255).round().to(torch.uint8).cpu().numpy()
        predicted = [softmax(model.calibration.scale_logits(model.logits(faces))) for model in self._models]
        mean = softmax(mean_logits(predicted) / np.float32(self.temperature))
        return torch.from_numpy(mean).float().to(images.device)
