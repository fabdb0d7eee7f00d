"""A network learns what its teacher says, and no file of other faces is taken for a teacher."""

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
from mien.training.distill import Teachers, taught
from mien.training.log import Log
from mien.training.loop import Trainer
from mien.types import Predictions, softmax

NETWORK = NetworkConfig("resnet18", "mini", size=16)
EPOCHS = 12


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
        network=NETWORK,
        loss=LossConfig(reconstruction=0, margin=0, distillation=1.0),
        training=TrainingConfig(epochs=EPOCHS, batch_size=8, learning_rate=0.01, ema_decay=0.5, threads=1),
    )
    folder = tmp_path / "run"
    folder.mkdir()
    trainer = Trainer(config, faces, folder, Log(folder, EPOCHS, Console(quiet=True)))
    assert trainer.fit(Interrupt())
    assert trainer.log.rows[-1]["train_distillation"] < 0.5 * trainer.log.rows[0]["train_distillation"]
    said = TorchModel.load(folder / "last.safetensors").logits(faces.images).argmax(axis=1)
    assert (said == 1 - faces.targets).mean() > 0.9

    training = faces.split("training")
    other = Predictions(training.index, np.zeros((32, 2), np.float32), training.targets, training.classes)
    prediction_files.save(other, contrary, {})
    with pytest.raises(ConfigError, match="was trained on other faces"):
        Trainer(config, faces, folder, Log(folder, EPOCHS, Console(quiet=True))).resume()


def test_teachers_are_asked_for_each_image_as_it_is_augmented(faces, tmp_path):
    """A network that has learnt light from dark teaches one that sees turned labels and mixed images."""
    first = Config(
        network=NETWORK,
        loss=LossConfig(reconstruction=0, margin=0),
        training=TrainingConfig(epochs=EPOCHS, batch_size=8, learning_rate=0.01, ema_decay=0.5, threads=1),
    )
    trainer = Trainer(first, faces, tmp_path, Log(tmp_path, EPOCHS, Console(quiet=True)))
    assert trainer.fit(Interrupt())
    export(TorchModel.load(tmp_path), tmp_path / "teacher.onnx", faces.split("public"), {})

    turned = replace(faces, targets=np.where(faces.splits == 0, 1 - faces.targets, faces.targets))
    for kind, name in (("run", tmp_path), ("file", tmp_path / "teacher.onnx")):
        config = replace(
            first,
            data=DataConfig(teachers=(str(name),)),
            loss=replace(first.loss, distillation=1.0),
            augment=AugmentConfig(mixup=1.0),
        )
        folder = tmp_path / kind
        folder.mkdir()
        taught_one = Trainer(config, turned, folder, Log(folder, EPOCHS, Console(quiet=True)))
        assert taught_one.fit(Interrupt())
        start, end = taught_one.log.rows[0], taught_one.log.rows[-1]
        assert end["train_distillation"] < 0.5 * start["train_distillation"]
        assert end["public_accuracy"] == 1
        assert end["public_loss"] < 0.3  # a teacher that is sure of nothing teaches 0.7
    untaught = Trainer(first, turned, folder, Log(folder, EPOCHS, Console(quiet=True)))
    assert untaught.batches.digest != taught_one.batches.digest


def test_several_teachers_say_the_mean_of_their_probabilities(faces, tmp_path):
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
    for name, said in zip(names, (one, other), strict=True):
        trained = TorchModel.load(Path(name))
        expected = softmax(trained.calibration.scale_logits(trained.logits(faces.images)))
        np.testing.assert_allclose(said.numpy(), expected, atol=1e-5)
    sharp = Teachers(names, faces.classes, 0.5, cpu)(images)
    torch.testing.assert_close(sharp, (2 * both.log()).softmax(dim=1))


def test_a_shipped_model_can_teach():
    gray = np.random.default_rng(0).integers(0, 256, (3, 48, 48), np.uint8)
    said = Teachers(["tiny"], EXPRESSIONS, 1.0, torch.device("cpu"))(torch.from_numpy(gray)[:, None].float() / 255)
    tiny = OnnxModel("tiny", threads=1)
    np.testing.assert_allclose(said.numpy(), softmax(tiny.calibration.scale_logits(tiny.logits(gray))), atol=1e-5)


def test_teachers_of_other_classes_are_refused(faces, tmp_path):
    config = Config(network=NETWORK, training=TrainingConfig(epochs=1, batch_size=8))
    Trainer(config, faces, tmp_path, Log(tmp_path, 1, Console(quiet=True))).fit(Interrupt())
    with pytest.raises(ConfigError, match=r"knows the classes dark, light, and the data has a, b"):
        Teachers([str(tmp_path)], ("a", "b"), 1.0, torch.device("cpu"))
    with pytest.raises(WeightsError, match="gone"):
        Teachers([str(tmp_path / "gone")], ("a", "b"), 1.0, torch.device("cpu"))


def test_mixup_mixes_the_teacher_as_it_mixes_the_targets(faces):
    training = faces.split("training")
    augment = AugmentConfig(flip=0, mixup=1.0)
    labels = torch.eye(2)[torch.from_numpy(training.targets)]
    batches = Batches(training, Preprocessing(16), 32, LossConfig(), augment, labels, seed=0)
    (batch,) = batches.epoch(0, 0, torch.device("cpu"))
    assert batch.teacher is not None
    torch.testing.assert_close(batch.teacher, batch.distributions)
    assert ((batch.teacher > 0.01).sum(dim=1) == 2).any()
    assert torch.equal(batch.targets, batch.distributions.argmax(dim=1))  # of accuracy: what most of the image is


def test_a_teacher_of_other_faces_is_refused(faces, contrary):
    training = faces.split("training")
    for other in (
        training.take(slice(0, 31)),
        training.take(np.arange(32)[::-1]),
        replace(training, classes=("a", "b")),
    ):
        with pytest.raises(DataError, match=rf"{len(other)} training faces, and {re.escape(str(contrary))} has 32"):
            taught(contrary, other, 1.0)
