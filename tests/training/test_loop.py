"""A run learns, stops when told, and goes on as if it had never stopped."""

import csv
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from filelock import FileLock
from rich.console import Console

from mien.config import AugmentConfig, Config, DataConfig, LossConfig, NetworkConfig, TrainingConfig
from mien.data.dataset import FaceDataset
from mien.errors import ConfigError, DataError, TrainingError, WeightsError
from mien.interrupt import Interrupt, interruptible
from mien.models import checkpoint
from mien.models.checkpoint import BEST, LAST
from mien.models.torch_model import TorchModel
from mien.training import run
from mien.training.log import CSV, Log
from mien.training.loop import Trainer

CONFIG = Config(
    network=NetworkConfig(variant="tiny", size=24, dropout=0.3),
    loss=LossConfig(label_smoothing=0.1),
    augment=AugmentConfig(flip=0.5, rotation_deg=10, shift=0.1, brightness=0.1, contrast=0.1, erase=0.5, mixup=0.2),
    training=TrainingConfig(epochs=3, batch_size=16, learning_rate=0.02, ema_decay=0.9, threads=1),
)


def made_up_faces(n_training: int = 56, n_public: int = 14, seed: int = 0) -> FaceDataset:
    """Faces of noise in which a bright band stands at a height that tells the class."""
    random = np.random.default_rng(seed)
    n = n_training + n_public
    targets = np.arange(n) % 7
    images = random.integers(0, 80, (n, 24, 24), np.uint8)
    for image, target in zip(images, targets, strict=True):
        image[3 * target : 3 * target + 4] += 150
    splits = np.array([0] * n_training + [1] * n_public, np.int8)
    return FaceDataset(images, targets.astype(np.int64), splits, np.arange(n))


def trainer_in(folder, config: Config = CONFIG, dataset: FaceDataset | None = None) -> Trainer:
    folder.mkdir(exist_ok=True)
    log = Log(folder, config.training.epochs, Console(quiet=True))
    return Trainer(config, dataset or made_up_faces(), folder, log)


class StopsAfter(Interrupt):
    """An interruption that comes with the n-th look for one."""

    def __init__(self, looks: int) -> None:
        self.looks = looks

    @property
    def requested(self) -> bool:
        self.looks -= 1
        return self.looks < 0

    @requested.setter
    def requested(self, value: bool) -> None:
        pass


def state_of(folder) -> tuple[dict, dict]:
    tensors, state = checkpoint.load(folder / LAST)
    for row in state["log"]:  # times are never the same twice
        row.pop("train_s"), row.pop("images_per_s")
    state["meters"].pop("seconds")
    return tensors, state


@pytest.mark.parametrize(
    ("optimizer", "schedule"),
    [("sgd", "one-cycle"), ("adamw", "plateau"), ("radam", "one-cycle")],  # neither knows the other
)
def test_stop_and_resume_is_bit_exact(tmp_path, optimizer, schedule):
    config = replace(CONFIG, training=replace(CONFIG.training, schedule=schedule, optimizer=optimizer))
    whole = trainer_in(tmp_path / "whole", config)
    assert whole.fit(Interrupt())

    stops = 0
    for looks in (1, 3, 2, 5, 100):  # in the middle of epochs and at their ends
        part = trainer_in(tmp_path / "parts", config)
        if stops:
            part.resume()
        if part.fit(StopsAfter(looks)):
            break
        stops += 1
    assert stops >= 3

    (tensors, state), (expected_tensors, expected_state) = state_of(tmp_path / "parts"), state_of(tmp_path / "whole")
    assert state == expected_state
    assert tensors.keys() == expected_tensors.keys()
    assert [name for name, tensor in expected_tensors.items() if not torch.equal(tensors[name], tensor)] == []


def test_radam_decays_weights_as_the_base_projects_does(tmp_path):
    """By lr * weight_decay of themselves, whatever the gradient: here there is none."""
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


def test_faces_of_one_class_are_refused(tmp_path):
    faces = made_up_faces()
    with pytest.raises(DataError, match="must hold faces of 2 classes or more, got happy alone"):
        trainer_in(tmp_path, dataset=replace(faces, targets=np.full_like(faces.targets, 3)))


def test_it_learns_and_writes_what_others_read(tmp_path):
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


def test_another_config_is_not_resumed(tmp_path):
    trainer_in(tmp_path / "run").fit(StopsAfter(1))
    other = replace(CONFIG, training=replace(CONFIG.training, learning_rate=0.5))
    with pytest.raises(ConfigError, match=r"training\.learning_rate is 0\.5 and was 0\.02"):
        trainer_in(tmp_path / "run", other).resume()


def test_plateau_ends_early_when_nothing_improves(tmp_path):
    faces = made_up_faces()
    hopeless = replace(faces, targets=np.where(faces.splits == 1, (faces.targets + 1) % 7, faces.targets))
    training = replace(CONFIG.training, schedule="plateau", epochs=50, stop_after=2, plateau_patience=0)
    trainer = trainer_in(tmp_path / "run", replace(CONFIG, training=training), hopeless)
    assert trainer.fit(Interrupt())
    assert trainer.epoch < 50
    assert trainer.optimizer.param_groups[0]["lr"] < training.learning_rate


def test_batches_of_an_epoch_hold_every_face_once_and_two_processes_share_them():
    from mien.preprocess import Preprocessing
    from mien.training.batches import Batches

    dataset = made_up_faces(64).split("training")
    still = AugmentConfig(flip=0)

    def seen(rank: int, world_size: int, epoch: int) -> list[int]:
        batches = Batches(dataset, Preprocessing(24), 8, LossConfig(), still, None, 0, rank, world_size)
        faces = {image.tobytes(): row for row, image in enumerate(dataset.images)}
        return [
            faces[(image[0] * 255).round().byte().numpy().tobytes()]
            for batch in batches.epoch(epoch, 0, torch.device("cpu"))
            for image in batch.images
        ]

    assert sorted(seen(0, 1, 0)) == list(range(64))
    assert seen(0, 1, 0) != seen(0, 1, 1)
    assert sorted(seen(0, 2, 5) + seen(1, 2, 5)) == list(range(64))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_first_signal_is_noted_and_handlers_are_put_back(number):
    before = signal.getsignal(number)
    with interruptible() as interrupt:
        os.kill(os.getpid(), number)
        time.sleep(0.01)
        assert interrupt.requested
    assert signal.getsignal(number) is before


@pytest.mark.slow
def test_a_signal_leaves_a_run_that_can_be_resumed(tmp_path, fer2013_csv):
    """The whole program: a signal in the middle of training, one sentence, exit 130."""
    config = tmp_path / "c.toml"
    config.write_text(
        f'[data]\npath = "{fer2013_csv}"\n[network]\nsize = 24\n[training]\nepochs = 200\nbatch_size = 4\nthreads = 1\n'
    )
    command = [sys.executable, "-m", "mien", "train", str(config), "--run", str(tmp_path / "run")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not (tmp_path / "run" / LAST).exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "go on with: mien train" in output
    assert "Traceback" not in errors
    epoch = checkpoint.load(tmp_path / "run" / LAST)[1]["epoch"]
    assert epoch < 200


def test_a_loss_that_is_not_finite_ends_the_run_and_keeps_no_weights(tmp_path):
    config = replace(CONFIG, training=replace(CONFIG.training, learning_rate=1e30))
    with pytest.raises(TrainingError, match=r"not finite in epoch 1: lower training\.learning_rate, now 1e\+30"):
        trainer_in(tmp_path, config).fit(Interrupt())
    assert not (tmp_path / BEST).exists()


def test_a_run_goes_on_with_its_own_faces_only(tmp_path):
    trainer_in(tmp_path).fit(StopsAfter(4))
    with pytest.raises(ConfigError, match="was trained on other faces"):
        trainer_in(tmp_path, dataset=made_up_faces(seed=1)).resume()
    faces = made_up_faces()
    other_public = replace(faces, targets=np.where(faces.splits == 1, (faces.targets + 1) % 7, faces.targets))
    with pytest.raises(ConfigError, match="was trained on other faces"):  # the best epoch was chosen on them
        trainer_in(tmp_path, dataset=other_public).resume()
    trainer_in(tmp_path).resume()


def test_a_run_goes_on_with_its_own_votes_only(tmp_path):
    config = replace(CONFIG, data=DataConfig(ferplus="fer2013new.csv"), loss=LossConfig(ferplus=0.5))
    votes = np.eye(7, dtype=np.float32)[made_up_faces().targets]
    trainer_in(tmp_path, config, replace(made_up_faces(), votes=votes)).fit(StopsAfter(2))
    with pytest.raises(ConfigError, match="was trained on other faces"):
        trainer_in(tmp_path, config, replace(made_up_faces(), votes=np.roll(votes, 1, axis=1))).resume()
    trainer_in(tmp_path, config, replace(made_up_faces(), votes=votes)).resume()


def test_two_processes_do_not_train_into_one_folder(tmp_path, fer2013_csv, user_cache):
    config = replace(CONFIG, data=DataConfig(path=str(fer2013_csv)))
    with FileLock(tmp_path / "run.lock"), pytest.raises(ConfigError, match=r"another process is training into .*run:"):
        run.train(config, tmp_path / "run", False, Console(quiet=True))
    assert run.train(config, tmp_path / "run", False, Console(quiet=True))


def test_a_climb_of_one_step_is_no_division_by_zero(tmp_path):
    training = replace(CONFIG.training, epochs=3, batch_size=56, warmup=0.25)
    assert trainer_in(tmp_path, replace(CONFIG, training=training)).fit(Interrupt())


def test_a_run_without_its_last_checkpoint_is_not_trained_over(tmp_path, fer2013_csv, user_cache):
    config = replace(CONFIG, data=DataConfig(path=str(fer2013_csv)), training=replace(CONFIG.training, epochs=1))
    folder, quiet = tmp_path / "run", Console(quiet=True)
    assert run.train(config, folder, False, quiet)
    (folder / LAST).unlink()
    best = (folder / BEST).read_bytes()
    for resume in (False, True):
        with pytest.raises(
            ConfigError, match=r"holds the best\.safetensors of a run and no last\.safetensors to go on"
        ):
            run.train(config, folder, resume, quiet)
    assert (folder / BEST).read_bytes() == best


def test_a_run_goes_on_wherever_its_faces_lie(tmp_path):
    trainer_in(tmp_path).fit(StopsAfter(4))
    moved = trainer_in(tmp_path, replace(CONFIG, data=DataConfig(path="elsewhere/fer2013.csv")))
    moved.resume()
    assert moved.step == 4 % len(moved.batches)


@pytest.mark.parametrize("damage", ["best in its place", "a tensor is missing", "no scheduler"])
def test_a_last_checkpoint_that_cannot_be_gone_on_with_is_one_sentence(tmp_path, damage):
    trainer_in(tmp_path).fit(Interrupt())
    tensors, state = checkpoint.load(tmp_path / LAST)
    if damage == "best in its place":
        (tmp_path / LAST).write_bytes((tmp_path / BEST).read_bytes())
    elif damage == "a tensor is missing":
        tensors.pop(next(name for name in tensors if name.startswith("network.")))
        checkpoint.save(tmp_path / LAST, tensors, state)
    else:
        state.pop("scheduler")
        checkpoint.save(tmp_path / LAST, tensors, state)
    with pytest.raises(
        WeightsError, match=r"last\.safetensors is damaged, or no run's last checkpoint \(.*bring its copy"
    ):
        trainer_in(tmp_path).resume()


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_too_small_a_memory_is_one_sentence(tmp_path, fer2013_csv, user_cache, monkeypatch, error):
    def full(*_):
        raise error

    monkeypatch.setattr(Trainer, "fit", full)
    config = replace(CONFIG, data=DataConfig(path=str(fer2013_csv)))
    with pytest.raises(TrainingError, match=r"lower training\.batch_size, now 16, or network\.size, now 24"):
        run.train(config, tmp_path / "run", False, Console(quiet=True))


def test_other_errors_of_torch_are_not_taken_for_that(tmp_path, fer2013_csv, user_cache, monkeypatch):
    def wrong(*_):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(Trainer, "fit", wrong)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        run.train(replace(CONFIG, data=DataConfig(path=str(fer2013_csv))), tmp_path / "run", False, Console(quiet=True))


def test_a_folder_has_one_lock_whatever_leads_to_it(tmp_path, monkeypatch):
    (tmp_path / "real" / "run").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real" / "run")
    monkeypatch.chdir(tmp_path / "real" / "run")
    places = {run.lock_of(folder).lock_file for folder in (tmp_path / "link", Path(), tmp_path / "real" / "." / "run")}
    assert places == {str(tmp_path / "real" / "run.lock")}
    with pytest.raises(ConfigError, match=r"a run cannot be in / itself: name a folder below it with --run"):
        run.lock_of(Path("/"))
