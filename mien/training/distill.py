"""Learning from a teacher: its predictions of the training faces, made once and read from their file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mien import predictions as prediction_files
from mien.data.dataset import FaceDataset
from mien.errors import DataError
from mien.types import softmax


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
    predictions = prediction_files.load(file)
    if not prediction_files.same_faces(predictions, faces):
        raise DataError(
            f"a teacher's predictions must be of the {len(faces):,} training faces, and {file} has "
            f"{len(predictions.index):,} that are not the same, or other classes: make it with mien evaluate TEACHER "
            "--split training -o DIR on the same data"
        )
    return torch.from_numpy(softmax(predictions.logits / np.float32(temperature))).float()
