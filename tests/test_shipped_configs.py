"""The configs that come with mien are found by name, from any folder."""

import json
from pathlib import Path

import pytest

from mien.errors import ConfigError
from mien.shipped_configs import FOLDER, find, find_teacher, shipped_configs, shown_path
from tests.cli.conftest import assert_sentence


def test_every_config_has_a_name_of_its_own():
    assert len(shipped_configs()) == len(list(FOLDER.rglob("*.toml")))


@pytest.mark.parametrize("name", ["resmasking", "configs/full/resmasking.toml"])
def test_name_or_path_of_a_clone_finds_the_config(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "resmasking").mkdir()
    assert find(name, "train") == FOLDER / "full" / "resmasking.toml"


def test_own_file_goes_before_a_config_of_the_same_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("small").write_text("[data]")
    assert find("small", "train") == Path("small")


@pytest.mark.parametrize(
    ("name", "command", "sentence"),
    [
        ("smal-labels.toml", "train", "there is no file smal-labels.toml, .*: did you mean small-labels"),
        ("nope.toml", "sweep", "known are ideas, ideas-learning-rate, recipe"),
        ("ideas", "train", "ideas is for mien sweep, not for mien train"),
        ("elsewhere/small.toml", "train", "there is no file elsewhere/small.toml"),
        (".", "train", "is not a file"),
    ],
)
def test_unknown_config_is_an_error_that_lists_what_there_is(name, command, sentence):
    with pytest.raises(ConfigError, match=sentence):
        find(name, command)


def test_sweep_in_mien_is_called_by_its_name():
    assert shown_path(find("ideas")) == "ideas"
    assert shown_path(Path("mine/ideas.toml")) == "mine/ideas.toml"


def test_teacher_comes_with_mien_unless_the_user_has_made_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = "results/predictions/teacher-training.parquet"
    assert find_teacher(name) == FOLDER / "teachers" / "teacher-training.parquet"
    Path(name).parent.mkdir(parents=True)
    Path(name).touch()
    assert find_teacher(name) == Path(name)
    assert find_teacher("mine/teacher-training.parquet") == Path("mine/teacher-training.parquet")


def test_configs_lists_all_and_prints_one(mien):
    code, out, _ = mien("configs")
    assert code == 0
    assert "mien train small-labels" in out
    assert "mien sweep ideas " in out
    rows = json.loads(mien("configs", "--json")[1])
    assert {row["name"]: row["command"] for row in rows} == {
        each.name: each.command for each in shipped_configs().values()
    }
    assert all(len(row["purpose"]) > 15 for row in rows)
    assert mien("configs", "tiny")[1] == (FOLDER / "tiny.toml").read_text()
    code, _, err = mien("configs", "huge")
    assert code == 2
    assert_sentence(err, "no config of mien with that name")


@pytest.mark.training
def test_training_of_a_config_by_name_reads_the_users_data(mien, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = mien("train", "small-labels", "--set", "data.path=faces")
    assert code == 2
    assert_sentence(err, "faces does not exist")
    code, _, err = mien("train", "smal-labels.toml")
    assert code == 2
    assert_sentence(err, "did you mean small-labels")
    code, _, err = mien("sweep", "nope.toml")
    assert code == 2
    assert_sentence(err, "known are ideas")
