"""Many trainings from one file."""

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

SHIPPED = sorted((Path(__file__).parents[2] / "configs" / "sweeps").glob("*.toml"))

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
def done_once(tmp_path_factory, rows, write_rows, quiet):
    """The folder of a sweep that was done."""
    folder = tmp_path_factory.mktemp("sweep")
    file = folder / "ideas.toml"
    file.write_text(TEXT.format(path=write_rows(folder / "fer2013.csv", rows)))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        assert sweep.run(sweep.load(file), folder / "runs", folder / "results" / "table.csv", quiet)
    return folder


@pytest.fixture
def table(done_once, file, tmp_path):
    """A table of all that `file` asks for; the trainings behind it are in `runs`."""
    for part in ("runs", "results"):
        shutil.copytree(done_once / part, tmp_path / part)
    copy = tmp_path / "results" / "table.csv"
    copy.write_text(copy.read_text().replace(str(done_once), str(tmp_path)))  # of the command of each row
    return copy


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_shipped_sweeps_can_be_read_and_say_what_they_are(path):
    assert sweep.load(path).trials
    text = path.read_text(encoding="utf-8")
    assert all(f"\n# {word}  " in text for word in ("command", "machine", "time", "result"))


def test_each_variant_with_each_seed(file):
    found = sweep.load(file, ("training.epochs=2",))
    assert [trial.name for trial in found.trials] == ["plain-seed3", "masking-seed3", "plain-seed4", "masking-seed4"]
    assert [trial.config.network.name for trial in found.trials[:2]] == ["resnet18", "resmasking18"]
    assert [trial.config.training.learning_rate for trial in found.trials[:2]] == [0.1, 0.01]
    assert {trial.config.training.epochs for trial in found.trials} == {2}


def test_a_grid_multiplies_the_variants(file):
    file.write_text(
        file.read_text() + '[grid]\n"training.learning_rate" = [0.1, 0.2]\n"training.warmup" = [0.0, 0.3]\n'
    )
    found = sweep.load(file)
    assert len(found.variants) == 8
    assert found.variants[3] == "plain-learning_rate-0.2-warmup-0.3"
    assert (found.trials[3].config.training.learning_rate, found.trials[3].config.training.warmup) == (0.2, 0.3)


def test_trains_evaluates_and_compares(file, table):
    asked = sweep.load(file)
    rows = tables.load(table, Result)
    assert len(rows) == 8
    assert {row.config for row in rows} == {"ideas:plain", "ideas:masking"}
    for trial in asked.trials:
        kept = prediction_files.load(sweep.predictions_of(table, asked, trial, "private"))
        (row,) = [row for row in rows if row.key[:3] == (asked.label(trial), trial.config.training.seed, "private")]
        assert row.accuracy == pytest.approx((kept.logits.argmax(1) == kept.targets).mean(), abs=5e-5)
    page = sweep.comparison(asked, table, "private")
    _, _, plain, masking = ([cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines())
    assert (plain[0], masking[0]) == ("plain", "masking")
    assert plain[2] == masking[2] == "2"
    mean = np.mean([row.accuracy for row in rows if row.config == "ideas:plain" and row.split == "private"])
    assert plain[3].startswith(f"{mean * 100:.2f} ± ")
    assert plain[5] == "-"
    assert masking[5][0] in "+-"
    assert "p = " in masking[5]
    page = sweep.comparison(asked, table, "private", "masking")
    _, _, plain, masking = ([cell.strip() for cell in line.split("|")[1:-1]] for line in page.splitlines())
    assert masking[5] == "-"
    assert "p = " in plain[5]
    with pytest.raises(ConfigError, match=r"ideas\.toml has no variant maskin: did you mean masking"):
        sweep.comparison(asked, table, "private", "maskin")


def test_what_is_done_is_not_done_again(file, table, quiet, tmp_path, monkeypatch):
    asked = sweep.load(file)
    first = table.read_text()
    removed = asked.trials[2]
    table.write_text("\n".join(line for line in first.splitlines() if "plain,4," not in line) + "\n")
    shutil.rmtree(tmp_path / "runs" / removed.name)
    trained = []
    real = runs.train
    monkeypatch.setattr(
        runs, "train", lambda config, folder, *rest: trained.append(folder.name) or real(config, folder, *rest)
    )
    assert sweep.run(asked, tmp_path / "runs", table, quiet)
    assert trained == [removed.name]
    assert sorted(table.read_text().splitlines()) == sorted(first.splitlines())  # to the last digit


def test_rows_of_other_settings_are_not_taken_for_done(file, quiet, tmp_path, monkeypatch):
    table = tmp_path / "table.csv"
    assert sweep.run(sweep.load(file, ("training.warmup=0.5",)), tmp_path / "runs", table, quiet)
    assert "mien sweep" in tables.load(table, Result)[0].command
    assert "--set training.warmup=0.5" in tables.load(table, Result)[0].command
    with pytest.raises(ConfigError, match=r"row of ideas:plain, seed 3, that was trained with other settings"):
        sweep.run(sweep.load(file), tmp_path / "other", table, quiet)
    monkeypatch.setattr(runs, "train", lambda *_: pytest.fail("the hours of training come after"))
    file.write_text(
        file.read_text().replace("[variants.plain]", '[variants.new]\nnetwork.name = "resnet18"\n[variants.plain]')
    )
    with pytest.raises(ConfigError, match=r"row of ideas:plain, seed 3, that was trained with other settings"):
        sweep.run(sweep.load(file), tmp_path / "other", table, quiet)
    assert not (tmp_path / "other").exists()


def test_two_tables_keep_their_predictions_apart(file, table, quiet, tmp_path):
    asked = sweep.load(file)
    before = sweep.comparison(asked, table, "private")
    others = sweep.load(file, ("training.learning_rate=0.3",))
    assert sweep.run(others, tmp_path / "other", table.with_name("second.csv"), quiet)
    assert sweep.comparison(asked, table, "private") == before
    place = sweep.predictions_of(table, asked, asked.trials[0], "private")
    wrong = prediction_files.load(place)
    wrong.logits[0, wrong.targets[0]] += 99 * (1 if wrong.logits[0].argmax() != wrong.targets[0] else -1)
    prediction_files.save(wrong, place, {})
    with pytest.raises(DataError, match="another training has written there"):
        sweep.comparison(asked, table, "private")


def test_other_faces_get_no_row_beside_these(file, table, quiet, tmp_path, fer2013_csv, monkeypatch):
    before = table.read_text()
    fer2013_csv.write_text("".join(fer2013_csv.read_text().splitlines(keepends=True)[:-1]))
    other = file.rename(tmp_path / "other.toml")
    monkeypatch.setattr(runs, "train", lambda *_: pytest.fail("the hours of training come before"))
    with pytest.raises(DataError, match=r"has rows of 14 faces of the split private, and these are 13, so others"):
        sweep.run(sweep.load(other), tmp_path / "runs", table, quiet)
    assert table.read_text() == before


def test_one_that_is_told_to_stop_begins_no_other_trial(file, quiet, tmp_path, monkeypatch):
    """Told in a trial's last epoch, too; what was trained is evaluated when the sweep goes on."""
    table = tmp_path / "table.csv"
    asked = sweep.load(file)
    saved = Trainer.save

    def told(self):
        saved(self)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.01)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "save", told)
        assert not sweep.run(asked, tmp_path / "runs", table, quiet)
    assert [path.name for path in (tmp_path / "runs").iterdir() if path.is_dir()] == ["plain-seed3"]
    begun = (tmp_path / "runs" / "plain-seed3" / LAST).stat().st_mtime_ns
    assert sweep.run(asked, tmp_path / "runs", table, quiet)
    assert (tmp_path / "runs" / "plain-seed3" / LAST).stat().st_mtime_ns == begun
    assert len(tables.load(table, Result)) == 8


def test_a_trial_that_diverges_does_not_stop_the_others(file, quiet, tmp_path):
    file.write_text(file.read_text().replace("learning_rate = 0.01", "learning_rate = 1e30"))
    with pytest.raises(
        TrainingError,
        match=r"^no row for masking-seed3, masking-seed4: .* not finite .*; all others are done, or being",
    ):
        sweep.run(sweep.load(file), tmp_path / "runs", tmp_path / "table.csv", quiet)
    assert {row.config for row in tables.load(tmp_path / "table.csv", Result)} == {"ideas:plain"}


@pytest.mark.parametrize(
    "change", ['data.teacher = "nosuch.parquet"\nloss.distillation = 0.5', 'network.weights = "runs/nosuch"']
)
def test_nor_does_one_that_cannot_be_trained(file, quiet, tmp_path, change):
    file.write_text(file.read_text().replace("[variants.plain]\n", f"[variants.plain]\n{change}\n"))
    with pytest.raises(TrainingError, match=r"^no row for plain-seed3, plain-seed4: .*nosuch.*; all others are"):
        sweep.run(sweep.load(file), tmp_path / "runs", tmp_path / "table.csv", quiet)
    assert {row.config for row in tables.load(tmp_path / "table.csv", Result)} == {"ideas:masking"}


def test_what_another_process_trains_is_said(file, tmp_path, monkeypatch):
    asked, said = sweep.load(file), StringIO()
    console = Console(file=said, width=200)
    monkeypatch.setattr(runs, "train", lambda *_: pytest.fail("others are at it"))
    (tmp_path / "runs").mkdir()
    with ExitStack() as others:
        for trial in asked.trials:
            others.enter_context(FileLock(tmp_path / "runs" / f"{trial.name}.lock"))
        assert sweep.run(asked, tmp_path / "runs", tmp_path / "table.csv", console)
    assert said.getvalue().splitlines() == [
        f"{trial.name} is being trained by another process" for trial in asked.trials
    ]


def test_processes_share_a_sweep(file, quiet, tmp_path):
    """Two at once: each trial is trained by one of them, and no row is lost."""
    table, runs_folder = tmp_path / "table.csv", tmp_path / "runs"
    arguments = ["sweep", str(file), "--results", str(table), "--runs", str(runs_folder)]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "mien", *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=300)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert len(tables.load(table, Result)) == 8
    for trial in sweep.load(file).trials:
        assert sum(f" {trial.name}\n" in output for output in outputs) == 1


def test_an_interruption_ends_the_sweep_and_leaves_no_row(file, quiet, tmp_path, monkeypatch):
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
        ("epochs = 1\n", "epochs = 1\nseed = 5\n", r"\[variants\.plain\].*name the seeds in sweep\.seeds"),
        ("epochs = 1\n", "epochs = 1\ndevices = 2\n", r"\[variants\.plain\].*a sweep trains on one device"),
        ("seeds = [3, 4]", "seeds = [-1]", "seeds must be a list of whole numbers from 0"),
        ('network.name = "resnet18"\n', "training = 5\n", r"\[variants\.plain\].*training must be a table"),
        ("seeds = [3, 4]", "seeds = 3", "seeds must be a list of whole numbers"),
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
            r"name is that of its folder too, and '\.\./up' in .* cannot be one",
        ),
        ("[variants.plain]", "[variants.'C:\\up']", "cannot be one: it must not begin with a dot or hold"),
        ("[variants.plain]", '[variants."/up"]', "cannot be one: it must not begin with a dot or hold"),
        ("[variants.plain]", '[variants.""]', "cannot be one"),
        (
            "[variants.plain]",
            '[grid]\n"network.weights" = ["", "runs/best.safetensors"]\n[variants.plain]',
            "'plain-weights-runs/best.safetensors' in .* cannot be one.* are to be variants of their own",
        ),
    ],
)
def test_bad_files_are_one_sentence(file, old, new, message):
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))
    with pytest.raises(ConfigError, match=message):
        sweep.load(file)


def test_a_file_without_variants_and_a_grid_of_no_lists(file):
    text = file.read_text()
    file.write_text(text.split("[variants.plain]")[0])
    with pytest.raises(ConfigError, match=r"has no \[variants\.NAME\] table"):
        sweep.load(file)
    file.write_text(text + '[grid]\n"training.epochs" = 3\n')
    with pytest.raises(ConfigError, match=r'\[grid\] must hold "section\.key" = \[values\]'):
        sweep.load(file)
