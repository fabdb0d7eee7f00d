"""Distillation: the student follows its teacher, and predictions of other faces are rejected."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

from mien import predictions as prediction_files
from mien.config import AugmentConfig, Config, DataConfig, LossConfig, NetworkConfig, TrainingConfig
from mien.data.dataset import FaceDataset
from mien.errors import ConfigError, DataError, WeightsError
from mien.export.onnx import export
from mien.interrupt import Interrupt
from mien.labels import EXPRESSIONS
from mien.models.onnx_model import OnnxModel
from mien.models.torch_model import TorchModel
from mien.preprocess import Preprocessing
from mien.training.batches import Batches
from mien.training.distill import Teachers, teacher_probabilities
from mien.training.log import Log
from mien.training.loop import Trainer
from mien.types import Predictions, softmax

pytestmark = pytest.mark.training

NETWORK = NetworkConfig("resnet18", "mini", size=16)
EPOCHS = 12


@pytest.fixture
def faces() -> FaceDataset:
    """Images that are either dark or light, which is the class."""
    targets = np.arange(40) % 2
    images = np.random.default_rng(0).integers(0, 60, (40, 16, 16), np.uint8) + (120 * targets[:, None, None])
    splits = np.array([0] * 32 + [1] * 8, np.int8)
    return FaceDataset(images.astype(np.uint8), targets, splits, np.arange(40) + 5, classes=("dark", "light"))


@pytest.fixture
def wrong_teacher(faces, tmp_path):
    """Predictions that are confident of the wrong class."""
    training = faces.split("training")
    logits = 4 * np.eye(2, dtype=np.float32)[1 - training.targets]
    path = tmp_path / "teacher.parquet"
    prediction_files.save(Predictions(training.index, logits, training.targets, training.classes), path, {})
    return path


def test_teacher_probabilities_apply_the_temperature(faces, wrong_teacher):
    training = faces.split("training")
    expected = softmax(4 * np.eye(2)[1 - training.targets] / 2)
    np.testing.assert_allclose(teacher_probabilities(wrong_teacher, training, 2.0).numpy(), expected, rtol=1e-6)


def test_student_without_labels_follows_its_teacher(faces, wrong_teacher, tmp_path):
    config = Config(
        data=DataConfig(teacher=str(wrong_teacher)),
        network=NETWORK,
        loss=LossConfig(reconstruction=0, margin=0, distillation=1.0),
        training=TrainingConfig(epochs=EPOCHS, batch_size=8, learning_rate=0.01, ema_decay=0.5, threads=1),
    )
    folder = tmp_path / "run"
    folder.mkdir()
    trainer = Trainer(config, faces, folder, Log(folder, EPOCHS, Console(quiet=True)))
    assert trainer.fit(Interrupt())
    assert trainer.log.rows[-1]["train_distillation"] < 0.5 * trainer.log.rows[0]["train_distillation"]
    predicted = TorchModel.load(folder / "last.safetensors").logits(faces.images).argmax(axis=1)
    assert (predicted == 1 - faces.targets).mean() > 0.9

    # A run with another teacher is not resumed.
    training = faces.split("training")
    other = Predictions(training.index, np.zeros((32, 2), np.float32), training.targets, training.classes)
    prediction_files.save(other, wrong_teacher, {})
    with pytest.raises(ConfigError, match="other faces or another teacher"):
        Trainer(config, faces, folder, Log(folder, EPOCHS, Console(quiet=True))).resume()


def test_student_with_wrong_labels_and_mixed_images_follows_its_teachers(faces, tmp_path):
    config = Config(
        network=NETWORK,
        loss=LossConfig(reconstruction=0, margin=0),
        training=TrainingConfig(epochs=EPOCHS, batch_size=8, learning_rate=0.01, ema_decay=0.5, threads=1),
    )
    trainer = Trainer(config, faces, tmp_path, Log(tmp_path, EPOCHS, Console(quiet=True)))
    assert trainer.fit(Interrupt())
    export(TorchModel.load(tmp_path), tmp_path / "teacher.onnx", faces.split("public"), {})

    wrong = replace(faces, targets=np.where(faces.splits == 0, 1 - faces.targets, faces.targets))
    for kind, name in (("run", tmp_path), ("file", tmp_path / "teacher.onnx")):
        distilled = replace(
            config,
            data=DataConfig(teachers=(str(name),)),
            loss=replace(config.loss, distillation=1.0),
            augment=AugmentConfig(mixup=1.0),
        )
        folder = tmp_path / kind
        folder.mkdir()
        student = Trainer(distilled, wrong, folder, Log(folder, EPOCHS, Console(quiet=True)))
        assert student.fit(Interrupt())
        start, end = student.log.rows[0], student.log.rows[-1]
        assert end["train_distillation"] < 0.5 * start["train_distillation"]
        assert end["public_accuracy"] == 1
        assert end["public_loss"] < 0.3  # an undecided teacher would give 0.7
    without_teacher = Trainer(config, wrong, folder, Log(folder, EPOCHS, Console(quiet=True)))
    assert without_teacher.batches.digest != student.batches.digest


def test_teachers_average_their_probabilities(faces, tmp_path):
    names = []
    for seed in (0, 1):
        training = TrainingConfig(epochs=1, batch_size=8, learning_rate=0.01, seed=seed, threads=1)
        config = Config(network=NETWORK, training=training)
        folder = tmp_path / f"run{seed}"
        folder.mkdir()
        Trainer(config, faces, folder, Log(folder, 1, Console(quiet=True))).fit(Interrupt())
        names.append(str(folder))
    cpu, images = torch.device("cpu"), torch.from_numpy(faces.images)[:, None].float() / 255
    one, other, both = (Teachers(which, faces.classes, 1.0, cpu)(images) for which in (names[:1], names[1:], names))
    assert not torch.allclose(one, other, atol=1e-3)
    torch.testing.assert_close(both, (one + other) / 2)
    for name, predicted in zip(names, (one, other), strict=True):
        trained = TorchModel.load(Path(name))
        expected = softmax(trained.calibration.scale_logits(trained.logits(faces.images)))
        np.testing.assert_allclose(predicted.numpy(), expected, atol=1e-5)
    sharp = Teachers(names, faces.classes, 0.5, cpu)(images)
    torch.testing.assert_close(sharp, (2 * both.log()).softmax(dim=1))


def test_shipped_model_is_a_teacher():
    gray = np.random.default_rng(0).integers(0, 256, (3, 48, 48), np.uint8)
    images = torch.from_numpy(gray)[:, None].float() / 255
    predicted = Teachers(["tiny"], EXPRESSIONS, 1.0, torch.device("cpu"))(images)
    tiny = OnnxModel("tiny", threads=1)
    expected = softmax(tiny.calibration.scale_logits(tiny.logits(gray)))
    np.testing.assert_allclose(predicted.numpy(), expected, atol=1e-5)


def test_teacher_with_other_classes_raises(faces, tmp_path):
    config = Config(network=NETWORK, training=TrainingConfig(epochs=1, batch_size=8))
    Trainer(config, faces, tmp_path, Log(tmp_path, 1, Console(quiet=True))).fit(Interrupt())
    with pytest.raises(ConfigError, match=r"must have the classes of the data, a, b, but .* has dark, light"):
        Teachers([str(tmp_path)], ("a", "b"), 1.0, torch.device("cpu"))
    with pytest.raises(WeightsError, match="gone"):
        Teachers([str(tmp_path / "gone")], ("a", "b"), 1.0, torch.device("cpu"))


def test_mixup_mixes_teacher_and_targets_in_the_same_way(faces):
    training = faces.split("training")
    augment = AugmentConfig(flip=0, mixup=1.0)
    labels = torch.eye(2)[torch.from_numpy(training.targets)]
    config = Config(augment=augment, training=TrainingConfig(batch_size=32))
    batches = Batches(training, Preprocessing(16), config, labels)
    (batch,) = batches.epoch(0, 0, torch.device("cpu"))
    assert batch.teacher is not None
    torch.testing.assert_close(batch.teacher, batch.distributions)
    assert ((batch.teacher > 0.01).sum(dim=1) == 2).any()
    assert torch.equal(batch.targets, batch.distributions.argmax(dim=1))  # the class of the larger part


def test_predictions_of_other_faces_raise(faces, wrong_teacher):
    training = faces.split("training")
    for other in (
        training.take(slice(0, 31)),
        training.take(np.arange(32)[::-1]),
        replace(training, classes=("a", "b")),
    ):
        with pytest.raises(
            DataError, match=rf"{len(other)} training faces, .*, but the 32 in {re.escape(str(wrong_teacher))} are not"
        ):
            teacher_probabilities(wrong_teacher, other, 1.0)
