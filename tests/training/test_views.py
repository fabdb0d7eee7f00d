"""Views are drawn again from their seeds, and students learn what teachers answered for those views."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console

from mien.config import AugmentConfig, Config, DataConfig, LossConfig, NetworkConfig, TrainingConfig
from mien.data.dataset import FaceDataset
from mien.data.folds import folds_of
from mien.errors import ConfigError, DataError
from mien.interrupt import Interrupt
from mien.models.torch_model import TorchModel
from mien.preprocess import Preprocessing
from mien.training.log import Log
from mien.training.loop import Trainer
from mien.training.views import BLOCK, TeacherViews, ask, draw

pytestmark = pytest.mark.training

EPOCHS = 12
AUGMENT = AugmentConfig(flip=0.5, rotation_deg=10, shift=0.1, noise=0.05, erase=0.5)
CONFIG = Config(
    network=NetworkConfig("resnet18", "mini", size=16),
    loss=LossConfig(reconstruction=0, margin=0),
    training=TrainingConfig(epochs=EPOCHS, batch_size=8, learning_rate=0.01, ema_decay=0.5, threads=1),
)


@pytest.fixture(scope="module")
def faces() -> FaceDataset:
    """Light and dark faces; the class says which."""
    targets = np.arange(40) % 2
    images = np.random.default_rng(0).integers(0, 60, (40, 16, 16), np.uint8) + (120 * targets[:, None, None])
    splits = np.array([0] * 32 + [1] * 8, np.int8)
    return FaceDataset(images.astype(np.uint8), targets, splits, np.arange(40), classes=("dark", "light"))


def train(config: Config, faces: FaceDataset, folder) -> Trainer:
    folder.mkdir()
    trainer = Trainer(config, faces, folder, Log(folder, EPOCHS, Console(quiet=True)))
    assert trainer.fit(Interrupt())
    return trainer


@pytest.fixture(scope="module")
def teachers(faces, tmp_path_factory) -> list[TorchModel]:
    """Two networks, each trained on one half."""
    folder = tmp_path_factory.mktemp("teachers")
    for held_out in (0, 1):
        data = DataConfig(folds=2, held_out=held_out)
        trainer = train(replace(CONFIG, data=data), faces, folder / str(held_out))
        assert len(trainer.batches.images) == (folds_of(faces.split("training"), 2) != held_out).sum()
    return [TorchModel.load(folder / str(held_out)) for held_out in (0, 1)]


def test_draw_depends_on_seed_and_view_only():
    images = np.random.default_rng(0).integers(0, 255, (BLOCK + 20, 16, 16), np.uint8)
    first = draw(images, AUGMENT, 0, 0)
    assert (draw(images, AUGMENT, 0, 0) == first).all()
    assert (draw(images, AUGMENT, 0, 1) != first).any()
    assert (draw(images, AUGMENT, 1, 0) != first).any()
    assert (draw(images[:BLOCK], AUGMENT, 0, 0) == first[:BLOCK]).all()


def test_each_face_is_answered_by_the_teacher_that_did_not_see_it(faces, teachers):
    training = faces.split("training")
    views = ask(teachers, training, AUGMENT, 3, 2)
    images = draw(training.images, AUGMENT, 3, 1)
    expected = np.stack([network.calibration.scale_logits(network.logits(images)) for network in teachers])
    expected = torch.from_numpy(expected[folds_of(training, 2), np.arange(32)]).softmax(dim=1)
    assert views.probabilities.dtype is torch.float16
    assert torch.allclose(views.probabilities[:, 1].float(), expected.float(), atol=1e-3)


def test_ask_continues_after_an_interruption(faces, teachers, tmp_path):
    training = faces.split("training")
    seen = []
    whole = ask(teachers, training, AUGMENT, 0, 3, on_view=seen.append)
    seen[0].save(tmp_path / "views.safetensors")
    known = TeacherViews.load(tmp_path / "views.safetensors", training)
    assert len(known) == 1
    assert torch.equal(ask(teachers, training, AUGMENT, 0, 3, known).probabilities, whole.probabilities)


def test_ask_refuses_teachers_that_saw_a_face(faces, teachers, tmp_path):
    training = faces.split("training")
    with pytest.raises(ConfigError, match="have none: name a teacher of every"):
        ask(teachers[:1], training, AUGMENT, 0, 1)
    with pytest.raises(ConfigError, match="was trained on all faces"):
        ask([replace(teachers[0], config=CONFIG)], training, AUGMENT, 0, 1)
    with pytest.raises(ConfigError, match="of one face each"):
        ask(teachers, training, AugmentConfig(mixup=0.2), 0, 1)


def test_student_learns_the_answers_and_resumes(faces, teachers, tmp_path):
    """The answers are the wrong classes, so that they cannot come from the labels."""
    path = tmp_path / "views.safetensors"
    views = ask(teachers, faces.split("training"), AUGMENT, 0, 3)
    replace(views, probabilities=1 - views.probabilities).save(path)
    config = replace(CONFIG, data=DataConfig(views=str(path)), loss=replace(CONFIG.loss, distillation=1.0))
    trainer = train(config, faces, tmp_path / "student")
    assert trainer.log.rows[-1]["train_distillation"] < 0.5 * trainer.log.rows[0]["train_distillation"]
    predicted = TorchModel.load(tmp_path / "student" / "last.safetensors").logits(faces.images).argmax(axis=1)
    assert (predicted == 1 - faces.targets).mean() > 0.9
    views.save(path)
    with pytest.raises(ConfigError, match="was trained with other faces"):
        Trainer(config, faces, tmp_path / "student", Log(tmp_path / "student", EPOCHS, Console(quiet=True))).resume()


def test_views_of_epochs_take_turns(faces, teachers):
    training = faces.split("training")
    views = ask(teachers, training, AUGMENT, 0, 2)
    preprocessing = Preprocessing(size=24)
    images, probabilities = views.of_epoch(training.images, preprocessing, 3, 1.0)
    again, same = views.of_epoch(training.images, preprocessing, 1, 1.0)
    assert images.shape == (32, 24, 24)
    assert torch.equal(images, again)
    assert torch.equal(probabilities, same)
    assert torch.allclose(probabilities, views.probabilities[:, 1].float(), atol=2e-3)


def test_views_of_other_faces_are_refused(faces, teachers, tmp_path):
    path = tmp_path / "views.safetensors"
    ask(teachers, faces.split("training"), AUGMENT, 0, 1).save(path)
    with pytest.raises(DataError, match="must hold views of the 8 training faces"):
        TeacherViews.load(path, faces.split("public"))
    path.write_bytes(b"no file of views")
    with pytest.raises(DataError, match="cannot be read as views"):
        TeacherViews.load(path, faces.split("training"))


@pytest.mark.parametrize("data", [{"folds": 1}, {"folds": 2, "held_out": 2}, {"held_out": 1}])
def test_folds_out_of_range_are_refused(data):
    with pytest.raises(ConfigError, match=r"data\.folds must be 0 or at least 2"):
        Config(data=DataConfig(**data))


def test_views_need_distillation_and_no_other_teacher():
    with pytest.raises(ConfigError, match=r"loss\.distillation is 0"):
        Config(data=DataConfig(views="views.safetensors"))
    with pytest.raises(ConfigError, match="already holds teachers"):
        Config(data=DataConfig(views="a", teacher="b"), loss=LossConfig(distillation=0.5))
