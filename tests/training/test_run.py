"""Runs in folders: what is checked and locked, signals, and two processes at once."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from filelock import FileLock
from rich.console import Console

from mien.config import DataConfig
from mien.errors import ConfigError, TrainingError
from mien.interrupt import interruptible
from mien.models import checkpoint
from mien.models.checkpoint import BEST, LAST
from mien.training import run
from mien.training.loop import Trainer
from tests.training.small_run import CONFIG, StopAfter

pytestmark = pytest.mark.training

QUIET = Console(quiet=True)


@pytest.fixture
def config(fer2013_csv, user_cache):
    """A config of one epoch on the made-up FER2013."""
    return replace(CONFIG, data=DataConfig(path=str(fer2013_csv)), training=replace(CONFIG.training, epochs=1))


def start_training(tmp_path, fer2013_csv, *options: str) -> subprocess.Popen:
    """Starts `mien train` in another process; its 200 epochs end with a signal only."""
    config = tmp_path / "c.toml"
    config.write_text(
        f'[data]\npath = "{fer2013_csv}"\n[network]\nsize = 24\n[training]\nepochs = 200\nbatch_size = 4\nthreads = 1\n'
    )
    command = [sys.executable, "-m", "mien", "train", str(config), "--run", str(tmp_path / "run"), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def wait_for(path: Path, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 120
    while not path.exists() and time.monotonic() < deadline and process.poll() is None:
        time.sleep(0.1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_sets_requested_and_handlers_are_restored(number):
    before = signal.getsignal(number)
    with interruptible() as interrupt:
        os.kill(os.getpid(), number)
        time.sleep(0.01)
        assert interrupt.requested
    assert signal.getsignal(number) is before


@pytest.mark.slow
def test_signal_stops_training_with_exit_code_130(tmp_path, fer2013_csv):
    process = start_training(tmp_path, fer2013_csv)
    wait_for(tmp_path / "run" / LAST, process)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130, errors
    assert "resume with: mien train" in output
    assert "Traceback" not in errors
    epoch = checkpoint.load(tmp_path / "run" / LAST)[1]["epoch"]
    assert epoch < 200


@pytest.mark.slow
def test_second_process_in_the_same_folder_ends_with_one_sentence(tmp_path, fer2013_csv):
    first = start_training(tmp_path, fer2013_csv)
    try:
        wait_for(tmp_path / "run" / LAST, first)
        second = start_training(tmp_path, fer2013_csv, "--resume")
        _, errors = second.communicate(timeout=120)
        assert first.poll() is None  # it still trains
    finally:
        first.kill()
        first.communicate()
    assert second.returncode == 2
    assert f"mien: another process is training into {tmp_path / 'run'}: wait until it ends" in errors
    third = start_training(tmp_path, fer2013_csv, "--resume", "--set", "training.epochs=1")
    _, errors = third.communicate(timeout=120)
    assert "training.epochs is 1 and was 200" in errors  # the lock of the killed process is gone


def test_locked_folder_raises(tmp_path, config):
    with FileLock(tmp_path / "run.lock"), pytest.raises(ConfigError, match=r"another process is training into .*run:"):
        run.train(config, tmp_path / "run", False, QUIET)
    assert run.train(config, tmp_path / "run", False, QUIET)


def test_lock_is_held_during_training(tmp_path, config, monkeypatch):
    def fit(*_):
        code = f"from filelock import FileLock; FileLock({str(tmp_path / 'run.lock')!r}).acquire(blocking=False)"
        other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert "Timeout" in other.stderr
        return True

    monkeypatch.setattr(Trainer, "fit", fit)
    assert run.train(config, tmp_path / "run", False, QUIET)


def test_run_that_another_process_finished_during_the_setup_is_not_overwritten(tmp_path, config, monkeypatch):
    setup = Trainer.__init__

    def slow_setup(trainer, *arguments):
        setup(trainer, *arguments)
        (tmp_path / "run").mkdir()
        (tmp_path / "run" / LAST).write_bytes(b"of the other process")

    monkeypatch.setattr(Trainer, "__init__", slow_setup)
    with pytest.raises(ConfigError, match="already holds a run"):
        run.train(config, tmp_path / "run", False, QUIET)
    assert (tmp_path / "run" / LAST).read_bytes() == b"of the other process"


def test_start_removes_temporary_files_of_a_killed_run(tmp_path, config):
    folder = tmp_path / "run"
    folder.mkdir()
    temporary = folder / f".mien-{'0a' * 16}.safetensors"
    temporary.touch()
    (folder / ".mien-notes").touch()
    assert run.train(config, folder, False, QUIET)
    assert not temporary.exists()
    assert (folder / ".mien-notes").exists()  # no name that mien gives


def test_best_without_last_is_not_overwritten(tmp_path, config):
    folder = tmp_path / "run"
    assert run.train(config, folder, False, QUIET)
    (folder / LAST).unlink()
    best = (folder / BEST).read_bytes()
    for resume in (False, True):
        with pytest.raises(
            ConfigError, match=r"holds the best\.safetensors of a run but no last\.safetensors to resume"
        ):
            run.train(config, folder, resume, QUIET)
    assert (folder / BEST).read_bytes() == best


def test_interrupted_run_resumes(tmp_path, config, monkeypatch):
    fit = Trainer.fit
    monkeypatch.setattr(Trainer, "fit", lambda trainer, _: fit(trainer, StopAfter(1)))
    assert not run.train(config, tmp_path / "run", False, QUIET)
    monkeypatch.setattr(Trainer, "fit", fit)
    assert run.train(config, tmp_path / "run", True, QUIET)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory"),
        MemoryError(),
    ],
)
def test_out_of_memory_raises_one_sentence(tmp_path, config, monkeypatch, error):
    def fit(*_):
        raise error

    monkeypatch.setattr(Trainer, "fit", fit)
    with pytest.raises(TrainingError, match=r"lower training\.batch_size, now 16, or network\.size, now 24"):
        run.train(config, tmp_path / "run", False, QUIET)


def test_other_errors_of_torch_keep_their_traceback(tmp_path, config, monkeypatch):
    def fit(*_):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    monkeypatch.setattr(Trainer, "fit", fit)
    with pytest.raises(RuntimeError, match="cannot be multiplied"):
        run.train(config, tmp_path / "run", False, QUIET)


def test_all_paths_of_a_folder_have_the_same_lock(tmp_path, monkeypatch):
    (tmp_path / "real" / "run").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real" / "run")
    monkeypatch.chdir(tmp_path / "real" / "run")
    paths = {run.run_lock(folder).lock_file for folder in (tmp_path / "link", Path(), tmp_path / "real" / "." / "run")}
    assert paths == {str(tmp_path / "real" / "run.lock")}


def test_root_of_a_file_system_has_no_lock():
    with pytest.raises(ConfigError, match=r"must not be the root of a file system, got /: choose one with --run"):
        run.run_lock(Path("/"))
