"""The training loop: learning, stopping, and resuming exactly where it stopped."""

import csv
from dataclasses import replace

import numpy as np
import pytest
import torch

from mien.config import AugmentConfig, Config, DataConfig, LossConfig, TrainingConfig
from mien.errors import ConfigError, DataError, TrainingError, WeightsError
from mien.interrupt import Interrupt
from mien.models import checkpoint
from mien.models.checkpoint import BEST, LAST
from mien.models.torch_model import TorchModel
from mien.preprocess import Preprocessing
from mien.training.batches import Batches
from mien.training.log import CSV
from mien.training.loop import Trainer
from tests.training.small_run import CONFIG, StopAfter, made_up_faces, trainer_in

pytestmark = pytest.mark.training


def state_of(folder) -> tuple[dict, dict]:
    """The content of LAST without durations, which differ between runs."""
    tensors, state = checkpoint.load(folder / LAST)
    for row in state["log"]:
        row.pop("train_s"), row.pop("images_per_s")
    state["meters"].pop("seconds")
    return tensors, state


def assert_same_state(folder, expected) -> None:
    (tensors, state), (expected_tensors, expected_state) = state_of(folder), state_of(expected)
    assert state == expected_state
    assert tensors.keys() == expected_tensors.keys()
    assert [name for name, tensor in expected_tensors.items() if not torch.equal(tensors[name], tensor)] == []


@pytest.mark.parametrize(
    ("optimizer", "schedule"),
    [("sgd", "one-cycle"), ("adamw", "plateau"), ("radam", "one-cycle")],  # optimizer and schedule are independent
)
def test_stop_and_resume_is_bit_exact(tmp_path, optimizer, schedule):
    config = replace(CONFIG, training=replace(CONFIG.training, schedule=schedule, optimizer=optimizer))
    assert trainer_in(tmp_path / "whole", config).fit(Interrupt())

    stops = 0
    for checks in (1, 3, 2, 5, 100):  # in the middle of epochs and at their ends
        part = trainer_in(tmp_path / "parts", config)
        if stops:
            part.resume()
        if part.fit(StopAfter(checks)):
            break
        stops += 1
    assert stops >= 3
    assert_same_state(tmp_path / "parts", tmp_path / "whole")


@pytest.mark.parametrize("interrupted_save", [1, 2])
def test_run_killed_between_last_and_best_resumes_and_writes_best(tmp_path, monkeypatch, interrupted_save):
    training = TrainingConfig(epochs=3, batch_size=8, learning_rate=0.02, ema_decay=0.5, threads=1)
    network = replace(CONFIG.network, dropout=0)
    config = replace(CONFIG, network=network, augment=AugmentConfig(), training=training)  # improves in every epoch
    assert trainer_in(tmp_path / "whole", config).fit(Interrupt())

    trainer, saves = trainer_in(tmp_path / "killed", config), []

    def kill(predictions):
        saves.append(predictions)
        if len(saves) == interrupted_save:
            raise KeyboardInterrupt
        Trainer._save_best(trainer, predictions)

    monkeypatch.setattr(trainer, "_save_best", kill)
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(Interrupt())
    assert (tmp_path / "killed" / LAST).exists()
    assert (tmp_path / "killed" / BEST).exists() == (interrupted_save > 1)

    resumed = trainer_in(tmp_path / "killed", config)
    resumed.resume()
    assert TorchModel.load(tmp_path / "killed").log_row["epoch"] == resumed.best_epoch
    assert resumed.fit(Interrupt())
    assert_same_state(tmp_path / "killed", tmp_path / "whole")
    best, expected = (checkpoint.load(tmp_path / name / BEST)[0] for name in ("killed", "whole"))
    assert all(torch.equal(tensor, expected[name]) for name, tensor in best.items())


def test_radam_decays_weights_independently_of_the_gradient(tmp_path):
    training = replace(CONFIG.training, optimizer="radam", learning_rate=0.1, weight_decay=0.5, schedule="plateau")
    trainer = trainer_in(tmp_path, replace(CONFIG, training=training))
    weight, bias = trainer.network.fc.weight, trainer.network.fc.bias
    torch.nn.init.ones_(bias)
    before = weight.detach().clone()
    for parameter in (weight, bias):
        parameter.grad = torch.zeros_like(parameter)
    trainer.optimizer.step()
    torch.testing.assert_close(weight, before * (1 - 0.1 * 0.5))
    assert (bias == 1).all()


def test_training_split_of_one_class_raises(tmp_path):
    faces = made_up_faces()
    with pytest.raises(DataError, match="must have faces of at least 2 classes, got only happy"):
        trainer_in(tmp_path, dataset=replace(faces, targets=np.full_like(faces.targets, 3)))


def test_batch_larger_than_the_training_split_raises(tmp_path):
    config = replace(CONFIG, training=replace(CONFIG.training, batch_size=57))
    with pytest.raises(ConfigError, match=r"training\.batch_size must be at most the 56 faces .*, got 57"):
        trainer_in(tmp_path, config)


def test_fit_learns_and_writes_log_and_checkpoints(tmp_path):
    augment = AugmentConfig(flip=0.5)
    training = TrainingConfig(epochs=15, batch_size=14, learning_rate=0.05, ema_decay=0.5, threads=1)
    config = replace(CONFIG, augment=augment, training=training, network=replace(CONFIG.network, dropout=0))
    trainer = trainer_in(tmp_path / "run", config)
    assert trainer.fit(Interrupt())
    with (tmp_path / "run" / CSV).open() as stream:
        rows = list(csv.DictReader(stream))
    assert [int(row["epoch"]) for row in rows] == list(range(1, 16))
    assert float(rows[-1]["train_loss"]) < 0.6 * float(rows[0]["train_loss"])
    assert max(float(row["public_accuracy"]) for row in rows) > 0.9
    trained = TorchModel.load(tmp_path / "run")
    public = made_up_faces().split("public")
    accuracy = (trained.logits(public.images).argmax(axis=1) == public.targets).mean()
    assert accuracy == pytest.approx(trainer.best_accuracy)
    assert list((tmp_path / "run").glob("events.out.tfevents*"))


def test_last_and_best_hold_the_averaged_weights(tmp_path):
    trainer = trainer_in(tmp_path / "run")
    trainer.fit(Interrupt())
    last = TorchModel.load(tmp_path / "run" / LAST)
    expected = trainer.averaged.module.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in last.network.state_dict().items())
    assert TorchModel.load(tmp_path / "run" / BEST).log_row["epoch"] == trainer.best_epoch


def test_plateau_run_resumes_with_more_epochs_like_a_longer_run(tmp_path):
    training = replace(CONFIG.training, schedule="plateau", epochs=2)
    assert trainer_in(tmp_path / "run", replace(CONFIG, training=training)).fit(Interrupt())
    longer = replace(CONFIG, training=replace(training, epochs=3))
    resumed = trainer_in(tmp_path / "run", longer)
    resumed.resume()
    assert resumed.fit(Interrupt())
    whole = trainer_in(tmp_path / "whole", longer)
    assert whole.fit(Interrupt())
    weights = whole.network.state_dict()
    assert all(torch.equal(tensor, weights[name]) for name, tensor in resumed.network.state_dict().items())
    assert [row["epoch"] for row in resumed.log.rows] == [1, 2, 3]


@pytest.mark.parametrize(("schedule", "epochs"), [("one-cycle", 4), ("plateau", 1)])
def test_resume_with_more_epochs_of_one_cycle_or_with_fewer_raises(tmp_path, schedule, epochs):
    config = replace(CONFIG, training=replace(CONFIG.training, schedule=schedule))
    trainer_in(tmp_path / "run", config).fit(StopAfter(1))
    other = replace(config, training=replace(config.training, epochs=epochs))
    with pytest.raises(ConfigError, match=rf"training\.epochs is {epochs} and was 3"):
        trainer_in(tmp_path / "run", other).resume()


def test_resume_with_another_config_raises(tmp_path):
    trainer_in(tmp_path / "run").fit(StopAfter(1))
    other = replace(CONFIG, training=replace(CONFIG.training, learning_rate=0.5))
    with pytest.raises(ConfigError, match=r"training\.learning_rate is 0\.5 and was 0\.02"):
        trainer_in(tmp_path / "run", other).resume()


def test_resume_with_other_classes_raises(tmp_path):
    trainer_in(tmp_path).fit(StopAfter(1))
    renamed = replace(made_up_faces(), classes=tuple("abcdefg"))
    with pytest.raises(ConfigError, match=r"was trained with the classes angry, .*, and the data now has a, b"):
        trainer_in(tmp_path, dataset=renamed).resume()


def test_plateau_lowers_the_learning_rate_and_stops_early(tmp_path):
    faces = made_up_faces()
    wrong_public = replace(faces, targets=np.where(faces.splits == 1, (faces.targets + 1) % 7, faces.targets))
    training = replace(CONFIG.training, schedule="plateau", epochs=50, stop_after=2, plateau_patience=0)
    trainer = trainer_in(tmp_path / "run", replace(CONFIG, training=training), wrong_public)
    assert trainer.fit(Interrupt())
    assert trainer.epoch < 50
    assert trainer.optimizer.param_groups[0]["lr"] < training.learning_rate


def test_batches_of_an_epoch_hold_every_face_once_in_total_over_all_processes():
    dataset = made_up_faces(64).split("training")
    config = Config(augment=AugmentConfig(flip=0), training=TrainingConfig(batch_size=8))

    def rows(rank: int, world_size: int, epoch: int) -> list[int]:
        batches = Batches(dataset, Preprocessing(24), config, None, rank, world_size)
        row_of = {image.tobytes(): row for row, image in enumerate(dataset.images)}
        return [
            row_of[(image[0] * 255).round().byte().numpy().tobytes()]
            for batch in batches.epoch(epoch, 0, torch.device("cpu"))
            for image in batch.images
        ]

    assert sorted(rows(0, 1, 0)) == list(range(64))
    assert rows(0, 1, 0) != rows(0, 1, 1)
    assert sorted(rows(0, 2, 5) + rows(1, 2, 5)) == list(range(64))


def test_divergence_raises_and_keeps_no_weights(tmp_path):
    config = replace(CONFIG, training=replace(CONFIG.training, learning_rate=1e30))
    with pytest.raises(TrainingError, match=r"diverged in epoch 1, .*: lower training\.learning_rate, now 1e\+30"):
        trainer_in(tmp_path, config).fit(Interrupt())
    assert not (tmp_path / BEST).exists()


def test_resume_with_other_faces_raises(tmp_path):
    trainer_in(tmp_path).fit(StopAfter(4))
    with pytest.raises(ConfigError, match="was trained with other faces"):
        trainer_in(tmp_path, dataset=made_up_faces(seed=1)).resume()
    faces = made_up_faces()
    other_public = replace(faces, targets=np.where(faces.splits == 1, (faces.targets + 1) % 7, faces.targets))
    with pytest.raises(ConfigError, match="was trained with other faces"):  # the best epoch depends on them
        trainer_in(tmp_path, dataset=other_public).resume()
    trainer_in(tmp_path).resume()


def test_resume_with_other_votes_raises(tmp_path):
    config = replace(CONFIG, data=DataConfig(ferplus="fer2013new.csv"), loss=LossConfig(ferplus=0.5))
    votes = np.eye(7, dtype=np.float32)[made_up_faces().targets]
    trainer_in(tmp_path, config, replace(made_up_faces(), votes=votes)).fit(StopAfter(2))
    with pytest.raises(ConfigError, match="was trained with other faces"):
        trainer_in(tmp_path, config, replace(made_up_faces(), votes=np.roll(votes, 1, axis=1))).resume()
    trainer_in(tmp_path, config, replace(made_up_faces(), votes=votes)).resume()


def test_warmup_of_one_step_trains(tmp_path):
    """torch's OneCycleLR would divide by zero."""
    training = replace(CONFIG.training, epochs=3, batch_size=56, warmup=0.25)
    assert trainer_in(tmp_path, replace(CONFIG, training=training)).fit(Interrupt())


def test_resume_ignores_where_the_data_is_stored(tmp_path):
    trainer_in(tmp_path).fit(StopAfter(4))
    moved = trainer_in(tmp_path, replace(CONFIG, data=DataConfig(path="elsewhere/fer2013.csv")))
    moved.resume()
    assert moved.step == 4 % len(moved.batches)


@pytest.mark.parametrize("damage", ["best instead of last", "missing tensor", "missing scheduler", "meters are a list"])
def test_resume_from_a_damaged_checkpoint_raises(tmp_path, damage):
    trainer_in(tmp_path).fit(Interrupt())
    tensors, state = checkpoint.load(tmp_path / LAST)
    if damage == "best instead of last":
        (tmp_path / LAST).write_bytes((tmp_path / BEST).read_bytes())
    elif damage == "missing tensor":
        tensors.pop(next(name for name in tensors if name.startswith("network.")))
        checkpoint.save(tmp_path / LAST, tensors, state)
    elif damage == "missing scheduler":
        state.pop("scheduler")
        checkpoint.save(tmp_path / LAST, tensors, state)
    else:
        checkpoint.save(tmp_path / LAST, tensors, state | {"meters": [1]})
    with pytest.raises(
        WeightsError,
        match=r"last\.safetensors (is damaged or not the last checkpoint of a run \(|must be an object).*restore it",
    ):
        trainer_in(tmp_path).resume()
