"""Distillation from fixed augmented views (Shen and Xing, "A Fast Knowledge Distillation Framework", ECCV 2022).

Each training face is augmented a fixed number of times from seeds, teachers are asked about each view once, and their
probabilities are kept in a file. The student draws the very same views again, so that it can be trained for hundreds of
epochs without the teachers (Beyer et al., "A good teacher is patient and consistent", CVPR 2022).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor

from mien.config import AugmentConfig
from mien.data.augment import augment
from mien.data.dataset import FaceDataset
from mien.data.folds import folds_of
from mien.errors import ConfigError, DataError
from mien.files import replaced
from mien.models.torch_model import TorchModel
from mien.parsing import parse_json
from mien.preprocess import Preprocessing

FORMAT = "mien-views-1"
BLOCK = 256
"""Faces that are augmented together. A view depends on it, so it must not change."""


def draw(images: NDArray[np.uint8], config: AugmentConfig, seed: int, view: int) -> NDArray[np.uint8]:
    """Augments every face once.

    Args:
        images: (N, H, W) gray faces, values 0..255, in the order of the data set.
        config: Must not mix images.
        seed: Of all views.
        view: Number of the view.

    Returns:
        (N, H, W), values 0..255. It depends on these arguments alone.
    """
    drawn = np.empty_like(images)
    for block, start in enumerate(range(0, len(images), BLOCK)):
        faces = torch.from_numpy(images[start : start + BLOCK])[:, None].float().div_(255)
        random = np.random.SeedSequence((seed, view, block)).generate_state(1, np.uint64)[0] >> np.uint64(1)
        changed, _ = augment(faces, torch.zeros(len(faces), 1), config, torch.Generator().manual_seed(int(random)))
        drawn[start : start + BLOCK] = changed[:, 0].mul_(255).round_().to(torch.uint8).numpy()
    return drawn


def _digest_of(faces: FaceDataset) -> str:
    """Sixteen hexadecimal digits of the faces' pixels and targets."""
    return hashlib.blake2b(faces.images.tobytes() + faces.targets.tobytes(), digest_size=8).hexdigest()


@dataclass(frozen=True)
class TeacherViews:
    """Views of the training faces, and the teachers' probabilities of each.

    Attributes:
        augment: How the views are augmented.
        seed: Of all views.
        probabilities: (N, V, K) float16.
        faces: Digest of the faces' pixels and targets.
        classes: K names.
    """

    augment: AugmentConfig
    seed: int
    probabilities: Tensor
    faces: str
    classes: tuple[str, ...]

    def __len__(self) -> int:
        """The number of views of a face."""
        return self.probabilities.shape[1]

    @property
    def digest(self) -> bytes:
        """Identifies the views and their probabilities."""
        return json.dumps([dataclasses.asdict(self.augment), self.seed]).encode() + self.probabilities.numpy().tobytes()

    def save(self, path: Path) -> None:
        """Writes the file, whole or not at all."""
        state = {
            "augment": dataclasses.asdict(self.augment),
            "seed": self.seed,
            "faces": self.faces,
            "classes": list(self.classes),
        }
        with replaced(path) as part:
            save_file({"probabilities": self.probabilities.contiguous()}, part, {FORMAT: json.dumps(state)})

    @classmethod
    def load(cls, path: Path, faces: FaceDataset) -> TeacherViews:
        """Reads what `save` wrote.

        Args:
            path: The file.
            faces: The training split that it must belong to.

        Raises:
            DataError: The file cannot be read, or it was made from other faces.
        """
        try:
            with safetensors.safe_open(path, "pt") as file:
                state = parse_json((file.metadata() or {})[FORMAT])
                views = cls(
                    AugmentConfig(**state["augment"]),
                    int(state["seed"]),
                    file.get_tensor("probabilities"),
                    str(state["faces"]),
                    tuple(state["classes"]),
                )
        except (safetensors.SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path} cannot be read as views of mien: {error}") from None
        shape = (len(faces), len(faces.classes))
        if views.faces != _digest_of(faces) or (len(views.probabilities), views.probabilities.shape[2]) != shape:
            raise DataError(
                f"{path} must hold views of the {len(faces):,} training faces: make it with tools/ask_teachers.py from "
                "the same data"
            )
        return views

    def of_epoch(
        self, images: NDArray[np.uint8], preprocessing: Preprocessing, epoch: int, temperature: float
    ) -> tuple[Tensor, Tensor]:
        """The view of one epoch. The views take turns.

        Args:
            images: (N, H, W) the faces as they are in the data set.
            preprocessing: The student's.
            epoch: From 0.
            temperature: What the logarithms of the probabilities are divided by before softmax.

        Returns:
            (N, size, size) uint8 images, and (N, K) the teachers' probabilities of these.
        """
        view = epoch % len(self)
        resized = preprocessing.resize(draw(images, self.augment, self.seed, view))
        logarithms = self.probabilities[:, view].float().clamp_min(1e-7).log()
        return torch.from_numpy(resized), (logarithms / temperature).softmax(dim=1)


def ask(
    networks: Sequence[TorchModel],
    faces: FaceDataset,
    config: AugmentConfig,
    seed: int,
    views: int,
    known: TeacherViews | None = None,
    on_view: Callable[[TeacherViews], Any] = lambda _: None,
) -> TeacherViews:
    """Asks teachers about views of the training faces, each about the faces of the part that it was not trained on.

    Args:
        networks: Teachers, each trained with `data.folds` above 0.
        faces: The training split.
        config: How the views are augmented; it must not mix images.
        seed: Of all views.
        views: Views of a face.
        known: What an earlier, interrupted call gave to `on_view`.
        on_view: Called after each view with all views so far.

    Returns:
        The mean of the calibrated probabilities of each face's teachers.

    Raises:
        ConfigError: The augmentation mixes images, a teacher was trained on all faces, or a face has no teacher.
    """
    if config.mixup or config.cutmix:
        raise ConfigError("views are of one face each: set augment.mixup and augment.cutmix to 0")
    rows = [_unseen(network, faces) for network in networks]
    counts = np.bincount(np.concatenate(rows), minlength=len(faces))
    if not counts.all():
        raise ConfigError(
            f"each face needs a teacher that was not trained on it, and {(counts == 0).sum():,} of {len(faces):,} have "
            "none: name a teacher of every data.held_out"
        )
    result = known or TeacherViews(
        config, seed, torch.empty(len(faces), 0, len(faces.classes)).half(), _digest_of(faces), faces.classes
    )
    for view in range(len(result), views):
        images = draw(faces.images, config, seed, view)
        total = np.zeros((len(faces), len(faces.classes)))
        for network, unseen in zip(networks, rows, strict=True):
            total[unseen] += network.calibration.probabilities(network.logits(images[unseen]))
        answers = torch.from_numpy(total / counts[:, None]).half()
        result = dataclasses.replace(result, probabilities=torch.cat([result.probabilities, answers[:, None]], dim=1))
        on_view(result)
    return result


def _unseen(network: TorchModel, faces: FaceDataset) -> NDArray[np.int64]:
    data = network.config.data
    if not data.folds:
        raise ConfigError(f"{network.title} was trained on all faces: a teacher needs data.folds above 0")
    return np.flatnonzero(folds_of(faces, data.folds) == data.held_out)
