"""Augmented training batches, determined by the seed, the epoch and the step alone, so that a run can be resumed.

Several processes divide the images of each step among them. Which images these are, and how each is augmented, does not
depend on the number of processes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mien.config import Config
from mien.data.augment import augment
from mien.data.dataset import FaceDataset
from mien.preprocess import Preprocessing
from mien.training.distill import Teachers
from mien.training.losses import target_distribution
from mien.training.views import TeacherViews


def seed_for(*numbers: int) -> int:
    """Returns a seed that depends on these numbers only; zeros at their end have no effect."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def generator_for(*numbers: int) -> torch.Generator:
    """Returns a generator whose stream depends on these numbers only, so that no state needs saving."""
    return torch.Generator().manual_seed(seed_for(*numbers))


def digest_of(faces: FaceDataset, *others: bytes) -> str:
    """Returns sixteen hexadecimal digits that identify faces, their labels and other data."""
    digest = hashlib.blake2b(faces.images.tobytes() + faces.targets.tobytes(), digest_size=8)
    for other in others:
        digest.update(other)
    return digest.hexdigest()


class Batch(NamedTuple):
    """The images and targets of one step.

    Attributes:
        images: (N, C, H, W), augmented, values in [0, 1].
        distributions: (N, K) targets of the cross-entropy.
        targets: (N,) class ids.
        teacher: (N, K) probabilities of the teacher, or None.
    """

    images: Tensor
    distributions: Tensor
    targets: Tensor
    teacher: Tensor | None = None


class Batches:
    """The training split in augmented batches.

    Args:
        dataset: The training split.
        preprocessing: The network's preprocessing.
        config: Targets, augmentation and seed; and the batch size, the images of each step in one process.
        teacher: (faces, K) probabilities of each face, or teachers that predict each augmented image, or views of the
            faces that replace augmentation, or None.
        rank: Index of this process.
        world_size: Number of processes, which share the images of each step.
    """

    def __init__(
        self,
        dataset: FaceDataset,
        preprocessing: Preprocessing,
        config: Config,
        teacher: Tensor | Teachers | TeacherViews | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        loss = config.loss
        self.faces = dataset.images
        self.preprocessing = preprocessing
        self.temperature = loss.temperature
        self.images = torch.from_numpy(preprocessing.resize(dataset.images))
        self.targets = torch.from_numpy(dataset.targets)
        votes = None if dataset.votes is None else torch.from_numpy(dataset.votes)
        self.distributions = target_distribution(
            self.targets, len(dataset.classes), loss.label_smoothing, votes, loss.ferplus
        )
        self.teacher = teacher if isinstance(teacher, Tensor) else None
        self.teachers = teacher if isinstance(teacher, Teachers) else None
        self.views = teacher if isinstance(teacher, TeacherViews) else None
        self.digest = digest_of(
            dataset,
            self.distributions.numpy().tobytes() if loss.ferplus else b"",
            self.teacher.numpy().tobytes() if self.teacher is not None else b"",
            self.teachers.digest.encode() if self.teachers else b"",
            self.views.digest if self.views else b"",
        )
        self.channels = preprocessing.channels
        self.images_per_step = config.training.batch_size * world_size
        self.augment = config.augment
        self.seed = config.training.seed
        self.share = slice(rank * config.training.batch_size, (rank + 1) * config.training.batch_size)

    def __len__(self) -> int:
        """Returns the number of steps per epoch; faces that do not fill a last batch are left out of the epoch."""
        return len(self.images) // self.images_per_step

    def epoch(self, epoch: int, first_step: int, device: torch.device) -> Iterator[Batch]:
        """Yields this process's share of the batches of an epoch.

        Args:
            epoch: Index of the epoch, from 0.
            first_step: Index of the first batch to yield.
            device: Device of the batches.
        """
        order = torch.randperm(len(self.images), generator=generator_for(self.seed, epoch))
        steps = order[: len(self) * self.images_per_step].view(len(self), -1)
        faces, probabilities = self.images, self.teacher
        if self.views:
            faces, probabilities = self.views.of_epoch(self.faces, self.preprocessing, epoch, self.temperature)
        for step in range(first_step, len(self)):
            rows = steps[step]
            images = faces[rows].to(device)[:, None].float().div_(255)
            # Mixup and cutmix treat the teacher's probabilities as further columns of the targets.
            columns = [values[rows] for values in (self.distributions, probabilities) if values is not None]
            mixed = torch.cat(columns, dim=1).to(device)
            if self.views:
                images, mixed = images[self.share], mixed[self.share]
            else:
                generator = generator_for(self.seed, epoch, step)
                images, mixed = augment(images, mixed, self.augment, generator, self.share)
            distributions, *teacher = torch.split(mixed, self.distributions.shape[1], dim=1)
            if self.teachers:
                teacher = [self.teachers(images)]
            images = images.expand(-1, self.channels, -1, -1)
            is_mixed = (self.augment.mixup or self.augment.cutmix) and not self.views
            targets = distributions.argmax(dim=1) if is_mixed else self.targets[rows[self.share]].to(device)
            yield Batch(images, distributions, targets, *teacher)
