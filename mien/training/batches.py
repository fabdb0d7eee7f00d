"""Training batches that can be drawn again: each depends on the seed, the epoch and the step alone."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mien.config import AugmentConfig, LossConfig
from mien.data.augment import augment
from mien.data.dataset import FaceDataset
from mien.preprocess import Preprocessing
from mien.training.distill import Teachers
from mien.training.losses import target_distribution


def seed_for(*numbers: int) -> int:
    """A seed that depends on these numbers alone, and on all of them but zeros at their end."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def generator_for(*numbers: int) -> torch.Generator:
    """A generator whose stream depends on these numbers alone: no state to save, none to lose."""
    return torch.Generator().manual_seed(seed_for(*numbers))


def digest_of(faces: FaceDataset, *others: bytes) -> str:
    """Sixteen hexadecimal digits that say which faces these are, with which labels, and what else belongs to them."""
    digest = hashlib.blake2b(faces.images.tobytes() + faces.targets.tobytes(), digest_size=8)
    for other in others:
        digest.update(other)
    return digest.hexdigest()


class Batch(NamedTuple):
    """What one step learns from.

    Attributes:
        images: (N, C, H, W), augmented, values in [0, 1].
        distributions: (N, K) targets of the cross-entropy.
        targets: (N,) class ids.
        teacher: (N, K) a teacher's probabilities; None where there is none.
    """

    images: Tensor
    distributions: Tensor
    targets: Tensor
    teacher: Tensor | None = None


class Batches:
    """The training split as augmented batches.

    Args:
        dataset: The faces; all of them are used.
        preprocessing: The network's own.
        batch_size: Images a batch. What is left at an epoch's end is left out of that epoch.
        loss: How targets are made.
        augment: How images are changed.
        teacher: (faces, K) a teacher's probabilities of each face, or those who are asked for each image; None where
            there is none.
        seed: Of shuffling and augmentation.
        rank: This process among `world_size`, which share each step's images.
    """

    def __init__(
        self,
        dataset: FaceDataset,
        preprocessing: Preprocessing,
        batch_size: int,
        loss: LossConfig,
        augment: AugmentConfig,
        teacher: Tensor | Teachers | None,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.images = torch.from_numpy(preprocessing.resize(dataset.images))
        self.targets = torch.from_numpy(dataset.targets)
        votes = None if dataset.votes is None else torch.from_numpy(dataset.votes)
        self.distributions = target_distribution(
            self.targets, len(dataset.classes), loss.label_smoothing, votes, loss.ferplus
        )
        self.teacher = teacher if isinstance(teacher, Tensor) else None
        self.teachers = teacher if isinstance(teacher, Teachers) else None
        self.digest = digest_of(
            dataset,
            self.distributions.numpy().tobytes() if loss.ferplus else b"",
            self.teacher.numpy().tobytes() if self.teacher is not None else b"",
            self.teachers.digest.encode() if self.teachers else b"",
        )
        self.channels = preprocessing.channels
        self.batch_size = batch_size
        self.augment = augment
        self.seed = seed
        self.rank = rank
        self.world_size = world_size

    def __len__(self) -> int:
        """Steps an epoch."""
        return len(self.images) // (self.batch_size * self.world_size)

    def epoch(self, epoch: int, first_step: int, device: torch.device) -> Iterator[Batch]:
        """Batches of one epoch from a step on."""
        order = torch.randperm(len(self.images), generator=generator_for(self.seed, epoch))
        shares = order[: len(self) * self.batch_size * self.world_size].view(len(self), self.world_size, -1)
        for step in range(first_step, len(self)):
            rows = shares[step, self.rank]
            generator = generator_for(self.seed, epoch, step, self.rank)
            images = self.images[rows].to(device)[:, None].float().div_(255)
            # Side by side, so that mixup mixes the teacher's as it mixes the targets.
            both = [part[rows] for part in (self.distributions, self.teacher) if part is not None]
            images, mixed = augment(images, torch.cat(both, dim=1).to(device), self.augment, generator)
            distributions, *teacher = torch.split(mixed, self.distributions.shape[1], dim=1)
            if self.teachers:
                teacher = [self.teachers(images)]
            images = images.expand(-1, self.channels, -1, -1)
            mixes = self.augment.mixup or self.augment.cutmix
            targets = distributions.argmax(dim=1) if mixes else self.targets[rows].to(device)
            yield Batch(images, distributions, targets, *teacher)
