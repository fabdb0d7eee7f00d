"""Sweeps: reading the file, training what is left, sharing the work, and comparing variants."""

import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from rich.console import Console

from mien import predictions as prediction_files
from mien.errors import ConfigError, DataError, TrainingError
from mien.evaluation import tables
from mien.evaluation.results import Result
from mien.experiments import sweep
from mien.models.checkpoint import LAST
from mien.training import run as runs
from mien.training.loop import Trainer

pytestmark = pytest.mark.training

SHIPPED = sorted((Path(__file__).parents[2] / "mien" / "configs" / "sweeps").glob("*.toml"))

TEXT = """
[sweep]
seeds = [3, 4]
splits = ["public", "private"]
[data]
path = "{path}"
[network]
variant = "mini"
size = 16
[loss]
reconstruction = 0
margin = 0
[training]
epochs = 1
batch_size = 14
threads = 1
[variants.plain]
network.name = "resnet18"
[variants.masking]
network.name = "resmasking18"
training.learning_rate = 0.01
"""


@pytest.fixture
def file(tmp_path, fer2013_csv, user_cache):
    path = tmp_path / "ideas.toml"
    path.write_text(TEXT.format(path=fer2013_csv))
    return path


@pytest.fixture(scope="module")
def quiet():
    return Console(quiet=True)


@pytest.fixture(scope="module")
def finished_sweep(tmp_path_factory, rows, write_rows, quiet):
    """The folder of a finished sweep."""
    folder = tmp_path_factory.mktemp("sweep")
    file = folder / "ideas.toml"
    file.write_text(TEXT.format(path=write_rows(folder / "fer2013.csv", rows)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        assert sweep.run(sweep.load(file), folder / "runs", folder / "results" / "table.csv", quiet)
    return folder


@pytest.fixture
def table(finished_sweep, file, tmp_path):
    """The table of results of the finished sweep of `file`; its runs are in `runs`."""
    for folder in ("runs", "results"):
        shutil.copytree(finished_sweep / folder, tmp_path / folder)
    copy = tmp_path / "results" / "table.csv"
    copy.write_text(copy.read_text().replace(str(finished_sweep), str(tmp_path)))  # in the command of each row
    return copy


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_sweeps_load_and_have_a_header(path):
    assert sweep.load(path).trials
    text = path.read_text(encoding="utf-8")
    assert all(f"\n# {word}  " in text for word in ("command", "machine", "time", "result"))


def test_load_makes_a_trial_of_each_variant_with_each_seed(file):
    loaded = sweep.load(file, ("training.epochs=2",))
    assert [trial.name for trial in loaded.trials] == ["plain-seed3", "masking-seed3", "plain-seed4", "masking-seed4"]
    assert [trial.config.network.name for trial in loaded.trials[:2]] == ["resnet18", "resmasking18"]
    assert [trial.config.training.learning_rate for trial in loaded.trials[:2]] == [0.1, 0.01]
    assert {trial.config.training.epochs for trial in loaded.trials} == {2}


def test_load_combines_each_variant_with_each_grid_point(file):
    file.write_text(
        file.read_text() + '[grid]\n"training.learning_rate" = [0.1, 0.2]\n"training.warmup" = [0.0, 0.3]\n'
    )
    loaded = sweep.load(file)
    assert len(loaded.variants) == 8
    assert loaded.variants[3] == "plain-learning_rate-0.2-warmup-0.3"
    assert (loaded.trials[3].config.training.learning_rate, loaded.trials[3].config.training.warmup) == (0.2, 0.3)


def test_run_adds_rows_and_predictions_that_comparison_reads(file, table):
    loaded = sweep.load(file)
    rows = tables.load(table, Result)
    assert len(rows) == 8
    assert {row.config for row in rows} == {"ideas:plain", "ideas:masking"}
    for trial in loaded.trials:
        predictions = prediction_files.load(sweep.predictions_file(table, loaded, trial, "private"))
        (row,) = [row for row in rows if row.key[:3] == (loaded.label(trial), trial.config.training.seed, "private")]
        assert row.accuracy == pytest.approx(predictions.correct.mean(), abs=5e-5)
    page = sweep.comparison(loaded, table, "private")
    _, _, plain, masking = ([cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines())
    assert (plain[0], masking[0]) == ("plain", "masking")
    assert plain[2] == masking[2] == "2"
    mean = np.mean([row.accuracy for row in rows if row.config == "ideas:plain" and row.split == "private"])
    assert plain[3].startswith(f"{mean * 100:.2f} ± ")
    assert plain[5] == "-"
    assert masking[5][0] in "+-"
    assert "p = " in masking[5]
    page = sweep.comparison(loaded, table, "private", "masking")
    _, _, plain, masking = ([cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines())
    assert masking[5] == "-"
    assert "p = " in plain[5]
    with pytest.raises(ConfigError, match=r"ideas\.toml has no variant maskin: did you mean masking"):
        sweep.comparison(loaded, table, "private", "maskin")


def test_run_trains_only_trials_without_rows(file, table, quiet, tmp_path, monkeypatch):
    loaded = sweep.load(file)
    first = table.read_text()
    removed = loaded.trials[2]
    table.write_text("\n".join(line for line in first.splitlines() if "plain,4," not in line) + "\n")
    shutil.rmtree(tmp_path / "runs" / removed.name)
    trained = []
    real = runs.train
    monkeypatch.setattr(
        runs, "train", lambda config, folder, *rest: trained.append(folder.name) or real(config, folder, *rest)
    )
    assert sweep.run(loaded, tmp_path / "runs", table, quiet)
    assert trained == [removed.name]
    assert sorted(table.read_text().splitlines()) == sorted(first.splitlines())  # to the last digit


def test_rows_trained_with_other_settings_raise(file, quiet, tmp_path, monkeypatch):
    table = tmp_path / "table.csv"
    assert sweep.run(sweep.load(file, ("training.warmup=0.5",)), tmp_path / "runs", table, quiet)
    assert "mien sweep" in tables.load(table, Result)[0].command
    assert "--set training.warmup=0.5" in tables.load(table, Result)[0].command
    with pytest.raises(ConfigError, match=r"row of ideas:plain, seed 3, that was trained with other settings"):
        sweep.run(sweep.load(file), tmp_path / "other", table, quiet)
    monkeypatch.setattr(runs, "train", lambda *_: pytest.fail("it trained before the check"))
    file.write_text(
        file.read_text().replace("[variants.plain]", '[variants.new]\nnetwork.name = "resnet18"\n[variants.plain]')
    )
    with pytest.raises(ConfigError, match=r"row of ideas:plain, seed 3, that was trained with other settings"):
        sweep.run(sweep.load(file), tmp_path / "other", table, quiet)
    assert not (tmp_path / "other").exists()


def test_each_table_has_its_own_predictions(file, table, quiet, tmp_path):
    loaded = sweep.load(file)
    before = sweep.comparison(loaded, table, "private")
    changed = sweep.load(file, ("training.learning_rate=0.3",))
    assert sweep.run(changed, tmp_path / "other", table.with_name("second.csv"), quiet)
    assert sweep.comparison(loaded, table, "private") == before
    path = sweep.predictions_file(table, loaded, loaded.trials[0], "private")
    wrong = prediction_files.load(path)
    wrong.logits[0, wrong.targets[0]] += 99 * (1 if wrong.logits[0].argmax() != wrong.targets[0] else -1)
    prediction_files.save(wrong, path, {})
    with pytest.raises(DataError, match=r"has an accuracy of .*, so they are from different trainings"):
        sweep.comparison(loaded, table, "private")


def test_run_on_data_with_fewer_faces_raises_before_training(file, table, quiet, tmp_path, fer2013_csv, monkeypatch):
    before = table.read_text()
    fer2013_csv.write_text("".join(fer2013_csv.read_text().splitlines(keepends=True)[:-1]))
    other = file.rename(tmp_path / "other.toml")
    monkeypatch.setattr(runs, "train", lambda *_: pytest.fail("it trained before the check"))
    with pytest.raises(DataError, match=r"has a row for 14 faces of the split private, and this data has 13"):
        sweep.run(sweep.load(other), tmp_path / "runs", table, quiet)
    assert table.read_text() == before


def test_interrupted_sweep_starts_no_other_trial_and_resumes(file, quiet, tmp_path, monkeypatch):
    """The signal comes in the last epoch; the trained network is evaluated when the sweep is run again."""
    table = tmp_path / "table.csv"
    loaded = sweep.load(file)
    save = Trainer.save

    def save_and_interrupt(self):
        save(self)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "save", save_and_interrupt)
        assert not sweep.run(loaded, tmp_path / "runs", table, quiet)
    assert [path.name for path in (tmp_path / "runs").iterdir() if path.is_dir()] == ["plain-seed3"]
    modified = (tmp_path / "runs" / "plain-seed3" / LAST).stat().st_mtime_ns
    assert sweep.run(loaded, tmp_path / "runs", table, quiet)
    assert (tmp_path / "runs" / "plain-seed3" / LAST).stat().st_mtime_ns == modified
    assert len(tables.load(table, Result)) == 8


def test_run_finishes_the_other_trials_when_one_diverges(file, quiet, tmp_path):
    file.write_text(file.read_text().replace("learning_rate = 0.01", "learning_rate = 1e30"))
    with pytest.raises(
        TrainingError,
        match=r"^training failed for masking-seed3, masking-seed4: .* not finite: .*; all others are finished, or",
    ):
        sweep.run(sweep.load(file), tmp_path / "runs", tmp_path / "table.csv", quiet)
    assert {row.config for row in tables.load(tmp_path / "table.csv", Result)} == {"ideas:plain"}


@pytest.mark.parametrize(
    "change", ['data.teacher = "nosuch.parquet"\nloss.distillation = 0.5', 'network.weights = "runs/nosuch"']
)
def test_run_finishes_the_other_trials_when_one_cannot_start(file, quiet, tmp_path, change):
    file.write_text(file.read_text().replace("[variants.plain]\n", f"[variants.plain]\n{change}\n"))
    with pytest.raises(
        TrainingError, match=r"^training failed for plain-seed3, plain-seed4: .*nosuch.*; all others are"
    ):
        sweep.run(sweep.load(file), tmp_path / "runs", tmp_path / "table.csv", quiet)
    assert {row.config for row in tables.load(tmp_path / "table.csv", Result)} == {"ideas:masking"}


def test_run_skips_trials_that_another_process_trains(file, tmp_path, monkeypatch):
    loaded, output = sweep.load(file), StringIO()
    console = Console(file=output, width=200)
    monkeypatch.setattr(runs, "train", lambda *_: pytest.fail("another process trains it"))
    (tmp_path / "runs").mkdir()
    with ExitStack() as others:
        for trial in loaded.trials:
            others.enter_context(FileLock(tmp_path / "runs" / f"{trial.name}.lock"))
        assert sweep.run(loaded, tmp_path / "runs", tmp_path / "table.csv", console)
    assert output.getvalue().splitlines() == [
        f"{trial.name} is being trained by another process" for trial in loaded.trials
    ]


def test_two_processes_train_each_trial_once(file, quiet, tmp_path):
    """The processes have no time limit: how long a training takes depends on what else the machine does."""
    table, runs_folder = tmp_path / "table.csv", tmp_path / "runs"
    file.write_text(file.read_text().replace("[3, 4]", "[3]").replace('"public", "private"', '"public"'))
    arguments = ["sweep", str(file), "--results", str(table), "--runs", str(runs_folder)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "mien", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for _ in range(2)
    ]
    outputs = [process.communicate()[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    trials = sweep.load(file).trials
    assert len(tables.load(table, Result)) == len(trials) == 2
    for trial in trials:
        assert sum(f" {trial.name}\n" in output for output in outputs) == 1


def test_interrupted_training_ends_the_sweep_without_a_row(file, quiet, tmp_path, monkeypatch):
    monkeypatch.setattr(runs, "train", lambda *_: False)
    assert not sweep.run(sweep.load(file), tmp_path / "runs", tmp_path / "table.csv", quiet)
    assert not (tmp_path / "table.csv").exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "[variants.plain]\n",
            "[variants.plain]\ntraining.epoch = 3\n",
            r"\[variants\.plain\].*unknown key training\.epoch",
        ),
        ('"resmasking18"', '"resmasking19"', r"\[variants\.masking\].*unknown network resmasking19: did you mean"),
        (
            '"resmasking18"',
            '"resnet18"\nnetwork.mask_depth = 2',
            r"\[variants\.masking\].*network\.mask_depth must be 0",
        ),
        ("epochs = 1\n", "epochs = 1\nseed = 5\n", r"\[variants\.plain\].*list the seeds in sweep\.seeds"),
        ("epochs = 1\n", "epochs = 1\ndevices = 2\n", r"\[variants\.plain\].*a sweep trains on one device"),
        ("seeds = [3, 4]", "seeds = [-1]", "seeds must be a list of integers of 0 or more"),
        ('network.name = "resnet18"\n', "training = 5\n", r"\[variants\.plain\].*training must be a table"),
        ("seeds = [3, 4]", "seeds = 3", "seeds must be a list of integers"),
        ('["public", "private"]', '["test"]', "splits must be a list of training, public, private"),
        ("seeds = [3, 4]", "seed = [3]", "unknown key sweep.seed"),
        (
            'splits = ["public", "private"]',
            'splits = [["public"]]',
            "splits must be a list of training, public, private",
        ),
        ("[variants.plain]", "[grid]\nx = 3\n[variants.plain]", r'\[grid\] must hold "section'),
        ("[variants.plain]\n", "[variants]\nodd = 3\n[variants.plain]\n", "variants.odd must be a table"),
        (
            "[variants.plain]",
            '[variants."../up"]',
            r"is also the name of its folder, .* got '\.\./up' in ",
        ),
        ("[variants.plain]", "[variants.'C:\\up']", "it must not be empty, begin with a dot or contain"),
        ("[variants.plain]", '[variants."/up"]', "it must not be empty, begin with a dot or contain"),
        ("[variants.plain]", '[variants.""]', "it must not be empty"),
        (
            "[variants.plain]",
            '[grid]\n"network.weights" = ["", "runs/best.safetensors"]\n[variants.plain]',
            "got 'plain-weights-runs/best.safetensors' in .* make such values of .* variants of their own",
        ),
    ],
)
def test_load_of_an_invalid_file_raises(file, old, new, message):
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(ConfigError, match=message):
        sweep.load(file)


def test_load_without_variants_or_with_a_grid_without_lists_raises(file):
    text = file.read_text()
    file.write_text(text.split("[variants.plain]")[0])
    with pytest.raises(ConfigError, match=r"must have one \[variants\.NAME\] table or more, got none"):
        sweep.load(file)
    file.write_text(text + '[grid]\n"training.epochs" = 3\n')
    with pytest.raises(ConfigError, match=r'\[grid\] must hold "section\.key" = \[values\]'):
        sweep.load(file)
