"""Training in several processes: the same steps as in one, one writer, and stops and errors that reach all of them."""

import csv
import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from mien.config import AugmentConfig, Config, TrainingConfig
from mien.errors import ConfigError
from mien.models import checkpoint
from mien.models.checkpoint import BEST, LAST
from mien.networks.torchvision_networks import BatchNormCBAM
from mien.preprocess import Preprocessing
from mien.training.batches import Batches
from mien.training.loop import images_per_step
from mien.training.processes import find_launcher, launch
from mien.training.synced_batch_norm import CpuSyncBatchNorm, sync_batch_norms
from tests.training.small_run import made_up_faces

pytestmark = pytest.mark.training

PYTHON = [sys.executable, "-m"]
TORCHRUN = [*PYTHON, "torch.distributed.run"]
TWO = [*TORCHRUN, "--standalone", "--nproc-per-node", "2"]
TIMES = {"train_s", "images_per_s"}
LAUNCHERS = ("TORCHELASTIC_RUN_ID", "SLURM_STEP_NUM_TASKS", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")


@pytest.fixture
def config(tmp_path, fer2013_csv, user_cache) -> Path:
    """A config of three epochs of seven steps with four of 28 faces each."""
    file = tmp_path / "c.toml"
    file.write_text(
        f'[data]\npath = "{fer2013_csv}"\n[network]\nname = "resnet18"\nvariant = "mini"\nsize = 24\n'
        "[augment]\nmixup = 0.2\n[training]\nepochs = 3\nbatch_size = 4\nlearning_rate = 0.0001\nthreads = 1\n"
    )
    return file


def train(config: Path, run: Path, *options: str) -> list[str]:
    """The arguments of Python's -m for a training."""
    return ["mien", "train", str(config), "--run", str(run), *options]


def start(command: list[str], **variables: str) -> subprocess.Popen:
    environment = {name: value for name, value in os.environ.items() if name not in LAUNCHERS}
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment | variables
    )


def output_of(command: list[str], code: int = 0) -> tuple[str, str]:
    process = start(command)
    output, errors = process.communicate(timeout=600)
    assert process.returncode == code, errors
    return output, errors


def wait_for_rows(run: Path, rows: int, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 300
    while time.monotonic() < deadline and process.poll() is None:
        if (run / "log.csv").exists() and len((run / "log.csv").read_text().splitlines()) > rows:
            return
        time.sleep(0.02)
    pytest.fail(f"no row {rows} in {run}: {process.communicate()}")


def log_of(run: Path) -> list[dict[str, float]]:
    with (run / "log.csv").open() as stream:
        return [{name: float(row[name]) for name in row if name not in TIMES} for row in csv.DictReader(stream)]


def assert_same_training(run: Path, other: Path, tolerance: float) -> None:
    """Compares the logs of two runs, and the weights and the state of the optimizer, whose values are larger."""
    for row, expected in zip(log_of(run), log_of(other), strict=True):
        assert row == pytest.approx(expected, abs=max(tolerance, 1e-12))
    tensors, expected_tensors = checkpoint.load(run / LAST)[0], checkpoint.load(other / LAST)[0]
    assert tensors.keys() == expected_tensors.keys()
    for name, tensor in tensors.items():
        torch.testing.assert_close(tensor, expected_tensors[name], atol=10 * tolerance, rtol=10 * tolerance, msg=name)


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


# One step


@pytest.mark.slow
@pytest.mark.parametrize(
    ("precision", "learning_rate", "tolerance"),
    # At higher rates, a change of all weights by 1e-7 changes the losses of one process by more than 1e-4 as well.
    [("float32", 0.0001, 1e-4), ("float64", 0.02, 1e-10)],
)
def test_two_processes_of_64_images_give_the_losses_of_one_of_128(precision, learning_rate, tolerance):
    options = [precision, str(learning_rate)]
    alone = json.loads(output_of([*PYTHON, "tests.training.steps", "128", *options])[0])
    two = json.loads(output_of([*TWO, "-m", "tests.training.steps", "64", *options])[0])
    assert len(set(alone["losses"])) == 20
    assert alone["batch norms"] > 0
    assert two["losses"] == pytest.approx(alone["losses"], abs=tolerance)
    assert two["weights"] == pytest.approx(alone["weights"], abs=1e-3)


@pytest.mark.parametrize("world_size", [2, 4])
def test_shares_of_all_processes_are_the_batches_of_one(world_size):
    dataset = made_up_faces(64).split("training")
    augment = AugmentConfig(
        flip=0.5, rotation_deg=9, shift=0.1, contrast=0.2, erase=0.5, noise=0.1, coarse=0.3, darken=0.2, mixup=0.2
    )
    for augmentation in (augment, replace(augment, mixup=0.0), replace(augment, mixup=0.0, cutmix=1.0)):

        def batches(rank: int, size: int, augmentation: AugmentConfig = augmentation) -> list:
            config = Config(augment=augmentation, training=TrainingConfig(batch_size=16 // size))
            shares = Batches(dataset, Preprocessing(24), config, None, rank, size)
            return list(shares.epoch(3, 1, torch.device("cpu")))

        alone = batches(0, 1)
        shares = [batches(rank, world_size) for rank in range(world_size)]
        assert len(alone) == 3
        for step, batch in enumerate(alone):
            for field in ("images", "distributions", "targets"):
                joined = torch.cat([getattr(share[step], field) for share in shares])
                torch.testing.assert_close(joined, getattr(batch, field), atol=1e-6, rtol=0)


def test_synced_batch_norm_of_one_process_equals_the_batch_norm_of_torch(monkeypatch):
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda tensor: None)
    monkeypatch.setattr(torch.distributed, "get_world_size", lambda: 1)
    torch.manual_seed(0)
    for own, shape in (
        (nn.BatchNorm2d(6), (5, 6, 4, 3)),
        (nn.BatchNorm1d(6), (5, 6)),
        (BatchNormCBAM(32), (5, 32, 4, 4)),
    ):
        synced = type(own)(shape[1])
        synced.load_state_dict(own.state_dict())
        sync_batch_norms(synced, torch.device("cpu"))
        assert isinstance(synced, CpuSyncBatchNorm)
        images = torch.randn(shape) * 3 + 1
        for module in (own, synced):
            module(images).square().sum().backward()
        for name, parameter in own.named_parameters():
            torch.testing.assert_close(synced.get_parameter(name).grad, parameter.grad, atol=2e-4, rtol=1e-4)
        for name, buffer in own.named_buffers():
            torch.testing.assert_close(synced.get_buffer(name), buffer)
        torch.testing.assert_close(synced.eval()(images), own.eval()(images))


# Launchers


@pytest.fixture
def no_launcher(monkeypatch):
    for name in (*LAUNCHERS, "RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_RANK"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)


def test_srun_gives_the_processes_their_places(no_launcher, monkeypatch):
    variables = {
        "SLURM_STEP_NUM_TASKS": "16",
        "SLURM_STEP_NUM_NODES": "2",
        "SLURM_STEP_NODELIST": "gpu[07,12]",
        "SLURM_PROCID": "9",
        "SLURM_LOCALID": "1",
        "SLURM_NODEID": "1",
        "SLURM_JOB_ID": "1234567",
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    launcher = find_launcher()
    assert (launcher.name, launcher.nodes, launcher.per_node) == ("srun", 2, 8)
    expected = {"RANK": "9", "LOCAL_RANK": "1", "GROUP_RANK": "1", "WORLD_SIZE": "16", "MASTER_ADDR": "gpu07"}
    assert {name: os.environ[name] for name in expected} == expected
    assert os.environ["MASTER_PORT"] == str(15000 + 4567)


def test_batch_script_without_srun_is_one_process(no_launcher, monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS", "8")
    monkeypatch.setenv("SLURM_PROCID", "0")
    assert find_launcher() is None


def test_machines_with_different_numbers_of_processes_raise(no_launcher, monkeypatch):
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "3", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("GROUP_WORLD_SIZE", "2")
    with pytest.raises(ConfigError, match="torchrun must start the same number of processes on each machine, got 3"):
        find_launcher()


def test_more_devices_than_cores_or_gpus_raise(no_launcher, monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    monkeypatch.setattr("mien.training.processes.usable_cores", lambda: 4)
    with pytest.raises(ConfigError, match=r"devices must be at most the number of CPU cores of this machine, 4, got 5"):
        launch(TrainingConfig(devices=5))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ConfigError, match=r"devices must be at most the number of GPUs of this machine, 2, got 5"):
        launch(TrainingConfig(devices=5))
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=r"torchrun must start at most one process per GPU, got 4 on a machine"):
        launch(TrainingConfig())


def test_sweep_under_torchrun_ends_with_one_sentence(no_launcher, monkeypatch, mien, tmp_path, config):
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2"}.items():
        monkeypatch.setenv(name, value)
    plan = tmp_path / "sweep.toml"
    plan.write_text(f'[sweep]\nseeds = [0]\nsplits = ["public"]\n{config.read_text()}[variants.plain]\n')
    code, _, errors = mien("sweep", plan, "--runs", tmp_path / "runs", "--results", tmp_path / "results.csv")
    assert code == 2
    assert errors == "mien: a sweep trains in one process at a time: start it without torchrun\n"
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
def test_srun_s_variables_connect_two_processes(tmp_path, config):
    run, port = tmp_path / "run", str(free_port())
    tasks = [
        start(
            [*PYTHON, *train(config, run, "--set", "training.epochs=1")],
            SLURM_STEP_NUM_TASKS="2",
            SLURM_STEP_NUM_NODES="1",
            SLURM_STEP_NODELIST="localhost",
            SLURM_PROCID=str(number),
            SLURM_LOCALID=str(number),
            SLURM_NODEID="0",
            SLURM_JOB_ID="7",
            MASTER_PORT=port,
        )
        for number in range(2)
    ]
    outputs = [task.communicate(timeout=600) for task in tasks]
    assert [task.returncode for task in tasks] == [0, 0], outputs
    assert outputs[0][0].count("done: ") == 1
    assert outputs[1][0] == ""
    assert images_per_step(checkpoint.load(run / LAST)[1]) == 8


# Runs


@pytest.mark.slow
def test_run_of_two_processes_equals_that_of_one_and_is_written_once(tmp_path, config):
    two, alone = tmp_path / "two", tmp_path / "alone"
    output, _ = output_of([*TWO, "-m", "--", *train(config, two)])
    assert output.count("epoch 1/3") == 1
    assert output.count("done: ") == 1
    output_of([*PYTHON, *train(config, alone, "--set", "training.batch_size=8")])
    assert_same_training(two, alone, 2e-4)
    assert {path.name for path in two.iterdir() if not path.name.startswith("events")} == {
        "config.toml",
        "log.csv",
        LAST,
        BEST,
    }
    assert len([path for path in two.iterdir() if path.name.startswith("events")]) == 1


@pytest.mark.slow
def test_interrupted_run_resumes_exactly_with_two_processes_and_goes_on_with_one(tmp_path, config):
    whole, run = tmp_path / "whole", tmp_path / "run"
    devices = ("--set", "training.devices=2")  # mien itself starts the second process
    output_of([*PYTHON, *train(config, whole, *devices)])

    process = start([*PYTHON, *train(config, run, *devices)])
    wait_for_rows(run, 1, process)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 130, errors
    assert output.count("resume with: mien train") == 1
    assert "Traceback" not in errors
    state = checkpoint.load(run / LAST)[1]
    assert 1 <= state["epoch"] < 3 or state["step"] > 0
    saved = {path.name: path.read_bytes() for path in run.iterdir()}

    output_of([*PYTHON, *train(config, run, *devices, "--resume")])
    assert_same_training(run, whole, 0)

    for name, content in saved.items():
        (run / name).write_bytes(content)
    output_of([*PYTHON, *train(config, run, "--resume")])
    assert_same_training(run, whole, 2e-4)
    assert images_per_step(checkpoint.load(run / LAST)[1]) == 8


@pytest.mark.slow
def test_signal_to_torchrun_stops_all_processes_and_saves(tmp_path, config):
    run = tmp_path / "run"
    process = start([*TWO, "-m", "--", *train(config, run, "--set", "training.epochs=500")])
    wait_for_rows(run, 1, process)
    process.send_signal(signal.SIGTERM)
    output, _ = process.communicate(timeout=300)
    assert output.count("stopped; resume with: mien train") == 1
    assert 1 <= checkpoint.load(run / LAST)[1]["epoch"] < 500


@pytest.mark.slow
def test_two_machines_train_together(tmp_path, config):
    """Two agents of torchrun on one machine, each with two processes, as on two machines of two GPUs."""
    runs, alone, port = [tmp_path / "one", tmp_path / "other"], tmp_path / "alone", free_port()
    agent = ["--nnodes", "2", "--nproc-per-node", "2", "--rdzv-backend", "c10d"]
    agent += ["--rdzv-endpoint", f"127.0.0.1:{port}", "--local-addr", "127.0.0.1", "-m", "--"]
    options = ["--set", "training.batch_size=2"]
    agents = [start([*TORCHRUN, *agent, *train(config, run, *options)]) for run in runs]
    outputs = [each.communicate(timeout=600) for each in agents]
    assert [each.returncode for each in agents] == [0, 0], outputs
    assert sum(output.count("done: ") for output, _ in outputs) == 1
    [run] = [run for run in runs if run.exists()]  # only the machine of process 0 needs the folder of the run
    output_of([*PYTHON, *train(config, alone, "--set", "training.batch_size=8")])
    assert_same_training(run, alone, 2e-4)


@pytest.mark.slow
def test_errors_are_one_sentence_whatever_the_number_of_processes(tmp_path, config):
    run = tmp_path / "run"
    output_of([*PYTHON, *train(config, run, "--set", "training.epochs=1")])
    for options, sentence in (
        ((), f"{run} already holds a run: continue it with --resume"),
        (("--resume", "--set", "training.learning_rate=0.5"), "training.learning_rate is 0.5 and was 0.0001"),
        (("--resume", "--set", "data.path=nowhere.csv"), "nowhere.csv does not exist"),
    ):
        _, errors = output_of([*PYTHON, *train(config, run, "--set", "training.devices=2", *options)], code=2)
        assert errors.count("mien: ") == 1
        assert sentence in errors
        assert "Traceback" not in errors


@pytest.mark.slow
def test_second_training_of_two_processes_into_a_run_in_use_ends_with_one_sentence(tmp_path, config):
    run = tmp_path / "run"
    first = start([*PYTHON, *train(config, run, "--set", "training.epochs=500")])
    try:
        wait_for_rows(run, 1, first)
        again = train(config, run, "--set", "training.epochs=500", "--set", "training.devices=2", "--resume")
        _, errors = output_of([*PYTHON, *again], code=2)
        assert first.poll() is None
    finally:
        first.kill()
        first.communicate()
    assert errors.count(f"mien: another process is training into {run}") == 1
    assert "Traceback" not in errors


def test_evaluation_predicts_each_face_once():
    rows = np.arange(11)
    shares = [rows[rank::4] for rank in range(4)]
    assert sorted(np.concatenate(shares).tolist()) == rows.tolist()
