"""Configurations: there and back through TOML, and a sentence for everything that cannot be run."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from mien import config as configs
from mien.config import AugmentConfig, Config, DataConfig, LossConfig, TrainingConfig
from mien.errors import ConfigError

CONFIGS = Path(__file__).parents[1] / "configs"


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_round_trip_through_toml(tmp_path: Path) -> None:
    config = Config(
        data=DataConfig(path="faces", ferplus="fer2013new.csv"),
        loss=LossConfig(label_smoothing=0.1, ferplus=0.5, class_weights="balanced"),
        augment=AugmentConfig(rotation_deg=10.0),
        training=TrainingConfig(epochs=3, schedule="plateau", stop_after=8, compile=True),
    )
    path = write(tmp_path / "run.toml", tomli_w.dumps(configs.to_dict(config)))
    assert configs.load(path) == config


def test_empty_file_is_the_default(tmp_path: Path) -> None:
    assert configs.load(write(tmp_path / "empty.toml", "")) == Config()


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_configs_can_be_read(path: Path) -> None:
    assert configs.from_dict(configs.to_dict(configs.load(path))) == configs.load(path)


def test_whole_numbers_serve_as_fractions() -> None:
    rotation = configs.from_dict({"augment": {"rotation_deg": 10}}).augment.rotation_deg
    assert (type(rotation), rotation) == (float, 10.0)


def test_overrides_replace_what_the_file_says(tmp_path: Path) -> None:
    path = write(tmp_path / "run.toml", "[training]\nepochs = 5\nseed = 3\n")
    pairs = ("training.epochs=7", "training.learning_rate=1e-3", "training.compile=true")
    texts = ("data.path=C:/my faces.csv", 'training.optimizer="adamw"', "training.schedule=plateau", "data.ferplus=")
    config = configs.load(path, pairs + texts)
    assert (config.training.epochs, config.training.seed) == (7, 3)
    assert config.training.learning_rate == 1e-3
    assert config.training.compile is True
    assert (config.training.optimizer, config.training.schedule) == ("adamw", "plateau")
    assert (config.data.path, config.data.ferplus) == ("C:/my faces.csv", "")


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ("training.epochs", "--set takes section.key=value, such as training.epochs=10, got training.epochs"),
        ("epochs=3", "--set takes section.key=value"),
        ("training.epochs=many", "training.epochs must be a whole number, got 'many'"),
        ("training.epoch=3", "unknown key training.epoch: did you mean epochs"),
        ("trainin.epochs=3", "unknown key trainin: did you mean training"),
    ],
)
def test_wrong_overrides(tmp_path: Path, pair: str, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configs.load(write(tmp_path / "run.toml", ""), (pair,))
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        ({"los": {}}, "unknown key los: did you mean loss"),
        ({"loss": {"margins": 1}}, "unknown key loss.margins: did you mean margin"),
        ({"loss": {"zzz": 1}}, "unknown key loss.zzz: known are class_weights, "),
        ({"loss": 3}, "loss must be a table, got 3"),
        ({"training": {"epochs": 2.5}}, "training.epochs must be a whole number, got 2.5"),
        ({"training": {"epochs": True}}, "training.epochs must be a whole number, got True"),
        ({"training": {"epochs": "2"}}, "training.epochs must be a whole number, got '2'"),
        ({"training": {"compile": 1}}, "training.compile must be true or false, got 1"),
        ({"training": {"learning_rate": "fast"}}, "training.learning_rate must be a number, got 'fast'"),
        ({"training": {"learning_rate": True}}, "training.learning_rate must be a number, got True"),
        ({"data": {"path": 3}}, "data.path must be a text, got 3"),
        ({"training": {"epochs": 0}}, "training.epochs must be 1..100000, got 0"),
        ({"training": {"seed": 10**400}}, "training.seed must be 0..2.14748e+09, got 1000"),
        ({"training": {"learning_rate": 1e300}}, "training.learning_rate must be 1e-12..1e+30, got 1e+300"),
        ({"training": {"weight_decay": float("inf")}}, "training.weight_decay must be 0..1e+30, got inf"),
        ({"training": {"weight_decay": float("nan")}}, "training.weight_decay must be 0..1e+30, got nan"),
        ({"data": {"teacher": "a.parquet"}}, "data names a teacher but loss.distillation is 0"),
        ({"data": {"teachers": ["small"]}}, "data names a teacher but loss.distillation is 0"),
        ({"training": {"batch_size": 1}}, "training.batch_size must be 2..100000, got 1"),
        ({"training": {"learning_rate": 0.0}}, "training.learning_rate must be"),
        ({"training": {"learning_rate": float("nan")}}, "got nan"),
        ({"training": {"seed": -1}}, "training.seed must be 0.."),
        ({"augment": {"flip": 1.5}}, "augment.flip must be 0..1, got 1.5"),
        ({"augment": {"erase_area": 0.01}}, "augment.erase_area must be 0.02..1, got 0.01"),
        ({"training": {"optimizer": "adam"}}, "training.optimizer must be one of sgd, adamw, radam, got adam"),
        ({"network": {"mask_activation": "relu"}}, "must be one of empty, sigmoid, softmax, got relu"),
        ({"training": {"precision": ""}}, "got empty"),
    ],
)
def test_values_that_cannot_be(table: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configs.from_dict(table)
    assert words in str(caught.value)


def test_pairs_that_cannot_be() -> None:
    with pytest.raises(ConfigError, match=r"data\.ferplus is empty"):
        Config(loss=LossConfig(ferplus=0.5))
    votes = DataConfig(ferplus="fer2013new.csv")
    with pytest.raises(ConfigError, match="must leave a share to the labels"):
        Config(data=votes, loss=LossConfig(ferplus=0.9, label_smoothing=0.1))
    Config(data=votes, loss=LossConfig(ferplus=0.8, label_smoothing=0.1))
    with pytest.raises(ConfigError, match="ends a one-cycle schedule before its small steps"):
        Config(training=TrainingConfig(stop_after=5, schedule="one-cycle"))
    Config(training=TrainingConfig(stop_after=5, schedule="plateau"))


def test_every_number_has_a_range_or_a_list_of_choices() -> None:
    bounded = {(section, name) for section, name, *_ in (*configs._RANGES, *configs._CHOICES)}
    for section, fields in configs.to_dict(Config()).items():
        for name, value in fields.items():
            if type(value) in (int, float):
                assert (section, name) in bounded


def test_files_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"the config .*absent\.toml cannot be read"):
        configs.load(tmp_path / "absent.toml")
    with pytest.raises(ConfigError, match=r"run\.toml is not TOML: .*line 2"):
        configs.load(write(tmp_path / "run.toml", "[training]\nepochs =\nseed = 1\n"))
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match="cannot be read"):
        configs.load(tmp_path / "binary.toml")


def test_teachers_are_a_list_of_texts(tmp_path: Path) -> None:
    path = tmp_path / "taught.toml"
    path.write_text('[data]\nteachers = ["runs/a", "b.onnx"]\n[loss]\ndistillation = 0.5\n')
    config = configs.load(path)
    assert config.data.teachers == ("runs/a", "b.onnx")
    assert configs.from_dict(configs.to_dict(config)) == config
    assert configs.without_folders(config)["data"]["teachers"] == ("a", "b.onnx")
    assert configs.load(path, ('data.teachers=["c"]',)).data.teachers == ("c",)
    for wrong in ("3", '"a"', "[1]"):
        with pytest.raises(ConfigError, match=r"data\.teachers must be a list of texts, got"):
            configs.load(path, (f"data.teachers={wrong}",))


def test_a_field_that_is_not_used_changes_no_digest() -> None:
    """Rows of results name their settings by it: they must stay what they were."""
    assert configs.digest(Config()) == "9ae21bbe"
    assert configs.digest(Config(training=TrainingConfig(seed=1))) != configs.digest(Config())
    elsewhere = dataclasses.replace(Config(), data=DataConfig(path="/elsewhere/fer2013.tar.gz"))
    assert configs.digest(elsewhere) == configs.digest(Config())


@pytest.mark.parametrize(
    ("section", "key", "values"),
    [
        ("network", "weights", ("runs/a/best.safetensors", "runs/b/best.safetensors", "small", "runs/small")),
        ("data", "teacher", ("a/predictions.parquet", "b/predictions.parquet")),
        ("data", "teachers", (("runs/a",), ("old/a",))),
        ("data", "path", ("a/faces", "b/faces")),
    ],
)
def test_what_is_of_one_name_and_not_the_same_has_digests_of_its_own(
    section: str, key: str, values: tuple[Any, ...]
) -> None:
    """Else a sweep would take one's rows for the other's."""
    taught: dict[str, Any] = {"loss": {"distillation": 0.5}} if key.startswith("teacher") else {}
    each = [configs.from_dict({section: {key: value}} | taught) for value in values]
    assert len({configs.digest(config, paths=True) for config in each}) == len(values)
    assert configs.digest(each[0]) == configs.digest(each[1])  # an exported file knows the names alone
