"""A network learns what its teacher says, and no file of other faces is taken for a teacher."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console

from mien import predictions as prediction_files
from mien.config import AugmentConfig, Config, DataConfig, LossConfig, NetworkConfig, TrainingConfig
from mien.data.dataset import FaceDataset
from mien.errors import ConfigError, DataError
from mien.interrupt import Interrupt
from mien.preprocess import Preprocessing
from mien.training.batches import Batches
from mien.training.distill import taught
from mien.training.log import Log
from mien.training.loop import Trainer
from mien.training.trained import TrainedNetwork
from mien.types import Predictions, softmax


@pytest.fixture
def faces() -> FaceDataset:
    """Faces that are all light or all dark, which is the class."""
    targets = np.arange(40) % 2
    images = np.random.default_rng(0).integers(0, 60, (40, 16, 16), np.uint8) + (120 * targets[:, None, None])
    splits = np.array([0] * 32 + [1] * 8, np.int8)
    return FaceDataset(images.astype(np.uint8), targets, splits, np.arange(40) + 5, classes=("dark", "light"))


@pytest.fixture
def contrary(faces, tmp_path):
    """A teacher that is sure of the wrong class."""
    training = faces.split("training")
    logits = 4 * np.eye(2, dtype=np.float32)[1 - training.targets]
    path = tmp_path / "teacher.parquet"
    prediction_files.save(Predictions(training.index, logits, training.targets, training.classes), path, {})
    return path


def test_a_teacher_is_read_at_its_temperature(faces, contrary):
    training = faces.split("training")
    expected = softmax(4 * np.eye(2)[1 - training.targets] / 2)
    np.testing.assert_allclose(taught(contrary, training, 2.0).numpy(), expected, rtol=1e-6)


def test_a_network_with_no_share_of_labels_says_what_its_teacher_says(faces, contrary, tmp_path):
    config = Config(
        data=DataConfig(teacher=str(contrary)),
        network=NetworkConfig(size=16),
        loss=LossConfig(reconstruction=0, margin=0, distillation=1.0),
        training=TrainingConfig(epochs=20, batch_size=8, learning_rate=0.01, ema_decay=0.5, threads=1),
    )
    folder = tmp_path / "run"
    folder.mkdir()
    trainer = Trainer(config, faces, folder, Log(folder, 20, Console(quiet=True)))
    assert trainer.fit(Interrupt())
    assert trainer.log.rows[-1]["train_distillation"] < 0.5 * trainer.log.rows[0]["train_distillation"]
    said = TrainedNetwork.load(folder / "last.safetensors").logits(faces.images).argmax(axis=1)
    assert (said == 1 - faces.targets).mean() > 0.9

    training = faces.split("training")
    other = Predictions(training.index, np.zeros((32, 2), np.float32), training.targets, training.classes)
    prediction_files.save(other, contrary, {})
    with pytest.raises(ConfigError, match="was trained on other faces"):
        Trainer(config, faces, folder, Log(folder, 20, Console(quiet=True))).resume()


def test_mixup_mixes_the_teacher_as_it_mixes_the_targets(faces):
    training = faces.split("training")
    augment = AugmentConfig(flip=0, mixup=1.0)
    labels = torch.eye(2)[torch.from_numpy(training.targets)]
    batches = Batches(training, Preprocessing(16), 32, LossConfig(), augment, labels, seed=0)
    (batch,) = batches.epoch(0, 0, torch.device("cpu"))
    assert batch.teacher is not None
    torch.testing.assert_close(batch.teacher, batch.distributions)
    assert ((batch.teacher > 0.01).sum(dim=1) == 2).any()


def test_a_teacher_of_other_faces_is_refused(faces, contrary):
    training = faces.split("training")
    for other in (
        training.take(slice(0, 31)),
        training.take(np.arange(32)[::-1]),
        replace(training, classes=("a", "b")),
    ):
        with pytest.raises(DataError, match=rf"{len(other)} training faces, and {re.escape(str(contrary))} has 32"):
            taught(contrary, other, 1.0)


def test_a_share_without_a_teacher_is_refused():
    with pytest.raises(ConfigError, match=r"loss\.distillation is above 0 but data\.teacher is empty"):
        Config(loss=LossConfig(distillation=0.5))
