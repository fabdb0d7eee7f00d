"""Tests of reading, writing and validating configs."""

from __future__ import annotations

import dataclasses
import time
import typing
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from mien import config as configs
from mien.config import AugmentConfig, Config, DataConfig, LossConfig, NetworkConfig, TrainingConfig
from mien.errors import ConfigError
from mien.parsing import MAX_TOML_BYTES
from mien.validation import TYPE_NAMES

CONFIGS = Path(__file__).parents[1] / "mien" / "configs"
SECTIONS = (DataConfig, NetworkConfig, LossConfig, AugmentConfig, TrainingConfig)


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_round_trip_through_toml_keeps_every_value(tmp_path: Path) -> None:
    config = Config(
        data=DataConfig(path="faces", ferplus="fer2013new.csv", classes=("a", "b"), merge={"c": "b"}),
        loss=LossConfig(label_smoothing=0.1, ferplus=0.5, class_weights="balanced"),
        augment=AugmentConfig(rotation_deg=10.0),
        training=TrainingConfig(epochs=3, schedule="plateau", stop_after=8, compile=True),
    )
    path = write(tmp_path / "run.toml", tomli_w.dumps(configs.to_dict(config)))
    assert configs.load(path) == config


def test_empty_file_gives_the_defaults(tmp_path: Path) -> None:
    assert configs.load(write(tmp_path / "empty.toml", "")) == Config()


@pytest.mark.parametrize("path", sorted(CONFIGS.glob("*.toml")), ids=lambda path: path.stem)
def test_shipped_config_survives_round_trip(path: Path) -> None:
    assert configs.from_dict(configs.to_dict(configs.load(path))) == configs.load(path)


def test_whole_number_in_float_field_becomes_float() -> None:
    rotation = configs.from_dict({"augment": {"rotation_deg": 10}}).augment.rotation_deg
    assert (type(rotation), rotation) == (float, 10.0)


def test_overrides_replace_values_of_the_file(tmp_path: Path) -> None:
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
    ("pair", "message"),
    [
        ("training.epochs", "--set expects section.key=value, such as training.epochs=10, got training.epochs"),
        ("epochs=3", "--set expects section.key=value"),
        ("training.epochs=many", "training.epochs must be a whole number, got 'many'"),
        ("training.epoch=3", "unknown key training.epoch: did you mean epochs"),
        ("trainin.epochs=3", "unknown key trainin: did you mean training"),
    ],
)
def test_wrong_override_raises(tmp_path: Path, pair: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configs.load(write(tmp_path / "run.toml", ""), (pair,))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"data": {"classes": ["happy", "happy"]}}, "data.classes must be different names, got happy, happy"),
        ({"data": {"merge": {"fear": 3}}}, "data.merge must be a table of strings, got 3"),
        ({"data": {"merge": {"a": "b", "b": "c"}}}, "data.merge must name final classes, but b is merged itself"),
        ({"data": {"numbering": "ck"}}, "data.numbering must be one of empty, fer2013, affectnet, raf-db, got ck"),
        ({"data": {"labels": "ferplus"}}, "data.labels is ferplus but data.ferplus is empty"),
        ({"los": {}}, "unknown key los: did you mean loss"),
        ({"loss": {"margins": 1}}, "unknown key loss.margins: did you mean margin"),
        ({"loss": {"zzz": 1}}, "unknown key loss.zzz: known are class_weights, "),
        ({"loss": 3}, "loss must be a table, got 3"),
        (3, "a config must be a table, got 3"),
        ({"training": {"epochs": 2.5}}, "training.epochs must be a whole number, got 2.5"),
        ({"training": {"epochs": True}}, "training.epochs must be a whole number, got True"),
        ({"training": {"epochs": "2"}}, "training.epochs must be a whole number, got '2'"),
        ({"training": {"compile": 1}}, "training.compile must be true or false, got 1"),
        ({"training": {"learning_rate": "fast"}}, "training.learning_rate must be a number, got 'fast'"),
        ({"training": {"learning_rate": True}}, "training.learning_rate must be a number, got True"),
        ({"data": {"path": 3}}, "data.path must be a string, got 3"),
        ({"training": {"epochs": 0}}, "training.epochs must be 1..100000, got 0"),
        ({"training": {"seed": 10**400}}, f"training.seed must be 0..2147483647, got 1{'0' * 79}..."),
        ({"training": {"learning_rate": 10**400}}, "training.learning_rate must be a number, got 1000"),
        (
            {"training": {"epochs": 10**5000}},
            "training.epochs must be 1..100000, got a number with thousands of digits",
        ),
        ({"training": {"learning_rate": 10**5000}}, "must be a number, got a number with thousands of digits"),
        ({"network": {"channels": 10**5000}}, "must be one of 0, 1, 3, got a number with thousands of digits"),
        ({"training": {"learning_rate": 1e300}}, "training.learning_rate must be 1e-12..1e+30, got 1e+300"),
        ({"training": {"weight_decay": float("inf")}}, "training.weight_decay must be 0..1e+30, got inf"),
        ({"training": {"weight_decay": float("nan")}}, "training.weight_decay must be 0..1e+30, got nan"),
        ({"training": {"batch_size": 1}}, "training.batch_size must be 2..100000, got 1"),
        ({"training": {"learning_rate": 0.0}}, "training.learning_rate must be"),
        ({"training": {"seed": -1}}, "training.seed must be 0.."),
        ({"augment": {"flip": 1.5}}, "augment.flip must be 0..1, got 1.5"),
        ({"augment": {"erase_area": 0.01}}, "augment.erase_area must be 0.02..1, got 0.01"),
        ({"training": {"optimizer": "adam"}}, "training.optimizer must be one of sgd, adamw, radam, got adam"),
        ({"training": {"optimizer": "x" * 999}}, f"must be one of sgd, adamw, radam, got {'x' * 80}..."),
        ({"network": {"mask_activation": "relu"}}, "must be one of empty, sigmoid, softmax, got relu"),
        ({"network": {"channels": 2}}, "network.channels must be one of 0, 1, 3, got 2"),
        ({"training": {"precision": ""}}, "training.precision must be one of 32-true, bf16-mixed, 16-mixed, got empty"),
    ],
)
def test_wrong_value_raises(table: Any, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configs.from_dict(table)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"loss": {"ferplus": 0.5}}, "loss.ferplus is above 0 but data.ferplus is empty"),
        ({"data": {"ferplus": "a.csv"}, "loss": {"ferplus": 0.9, "label_smoothing": 0.1}}, "must sum to less than 1"),
        ({"loss": {"distillation": 0.5}}, "loss.distillation is above 0 but there is no teacher"),
        ({"data": {"teacher": "a.parquet"}}, "there is a teacher but loss.distillation is 0"),
        ({"data": {"teachers": ["small"]}}, "there is a teacher but loss.distillation is 0"),
        (
            {"data": {"teacher": "a.parquet", "teachers": ["b"]}, "loss": {"distillation": 0.5}},
            "data.teacher and data.teachers exclude each other",
        ),
        ({"augment": {"mixup": 1, "cutmix": 1}}, "augment.mixup and augment.cutmix exclude each other"),
        ({"training": {"stop_after": 5}}, "training.stop_after would end a one-cycle schedule before"),
    ],
)
def test_contradicting_values_raise(table: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        configs.from_dict(table)
    assert message in str(caught.value)


def test_values_at_the_edge_of_a_contradiction_are_accepted() -> None:
    Config(data=DataConfig(ferplus="fer2013new.csv"), loss=LossConfig(ferplus=0.8, label_smoothing=0.1))
    Config(training=TrainingConfig(stop_after=5, schedule="plateau"))


def test_sections_validate_in_python_too() -> None:
    with pytest.raises(ConfigError, match=r"training\.epochs must be 1\.\.100000, got 0"):
        TrainingConfig(epochs=0)
    with pytest.raises(ConfigError, match=r"training\.seed must be 0\.\."):
        dataclasses.replace(TrainingConfig(), seed=-1)
    with pytest.raises(ConfigError, match=r"network\.name must be a string, got 3"):
        NetworkConfig(3)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"unknown key training\.epoch: did you mean epochs"):
        TrainingConfig(epoch=3)  # type: ignore[call-arg]


def test_every_number_has_two_bounds_and_every_type_has_a_name() -> None:
    for section in SECTIONS:
        for name, field in section.__pydantic_fields__.items():
            if field.annotation in (int, float):
                assert [type(limit).__name__ for limit in field.metadata] == ["Ge", "Le"], name
            if typing.get_origin(field.annotation) is not typing.Literal:
                assert field.annotation in TYPE_NAMES, name


def test_unreadable_file_raises(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"the config .*absent\.toml cannot be read"):
        configs.load(tmp_path / "absent.toml")
    with pytest.raises(ConfigError, match=r"run\.toml cannot be read as TOML: .*line 2"):
        configs.load(write(tmp_path / "run.toml", "[training]\nepochs =\nseed = 1\n"))
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"binary\.toml cannot be read as TOML: 'utf-8' codec can't decode"):
        configs.load(tmp_path / "binary.toml")


@pytest.mark.parametrize("value", ["[" * 5000, "9" * 5000], ids=["nested brackets", "digits"])
def test_toml_that_exhausts_the_parser_raises(tmp_path: Path, value: str) -> None:
    with pytest.raises(ConfigError, match=r"run\.toml cannot be read as TOML"):
        configs.load(write(tmp_path / "run.toml", f"a = {value}"))
    with pytest.raises(ConfigError, match=r"training\.epochs must be a whole number, got"):
        configs.load(write(tmp_path / "run.toml", ""), (f"training.epochs={value}",))


DEEP = {
    "brackets": "a = " + "[" * 17 + "]" * 17,
    "tables": "a = " + "{b = " * 17 + "1" + "}" * 17,
    "dotted key": ".".join(["a"] * 50_000) + " = 1",
    "dotted key with spaces and quotes": " . ".join(['"a"', "'b.c'"] * 20_000) + " = 1",
    "dotted header": f"[{'.'.join(['a'] * 50_000)}]",
}


@pytest.mark.parametrize("text", DEEP.values(), ids=DEEP)
def test_config_nested_too_deep_raises_at_once(tmp_path: Path, text: str) -> None:
    """A dotted key of 100 KB took 7 GB: the time and memory of the parser grow with the square of its dots."""
    start = time.process_time()
    with pytest.raises(
        ConfigError, match=r"run\.toml cannot be read as TOML: it has more than the 16 levels of nesting"
    ):
        configs.load(write(tmp_path / "run.toml", text))
    assert time.process_time() - start < 1
    with pytest.raises(ConfigError, match=r"data\.path must be a string, got|--set expects|unknown key"):
        configs.load(write(tmp_path / "run.toml", ""), ("data.path=[]", text))


def test_brackets_and_dots_in_strings_and_comments_are_not_nesting(tmp_path: Path) -> None:
    noise = "[" * 100 + "." * 100
    text = f'[data] # {noise}\npath = "\\"{noise}"\nferplus = \'{noise}\'\n[network]\nweights = """\n"{noise}\n"""\n'
    config = configs.load(write(tmp_path / "run.toml", text))
    assert (config.data.path, config.data.ferplus, config.network.weights) == (f'"{noise}', noise, f'"{noise}\n')


def test_config_above_the_largest_size_raises(tmp_path: Path) -> None:
    for path in (write(tmp_path / "run.toml", "#" * (MAX_TOML_BYTES + 1)), Path("/dev/zero")):
        with pytest.raises(ConfigError, match="cannot be read as TOML: it has more than the 1,048,576 bytes allowed"):
            configs.load(path)
    assert configs.load(write(tmp_path / "run.toml", "#" * MAX_TOML_BYTES)) == Config()


def test_teachers_are_a_list_of_strings(tmp_path: Path) -> None:
    path = tmp_path / "distilled.toml"
    path.write_text('[data]\nteachers = ["runs/a", "b.onnx"]\n[loss]\ndistillation = 0.5\n')
    config = configs.load(path)
    assert config.data.teachers == ("runs/a", "b.onnx")
    assert configs.from_dict(configs.to_dict(config)) == config
    assert configs.without_folders(config)["data"]["teachers"] == ("a", "b.onnx")
    assert configs.load(path, ('data.teachers=["c"]',)).data.teachers == ("c",)
    for wrong in ("3", '"a"', "[1]"):
        with pytest.raises(ConfigError, match=r"data\.teachers must be a list of strings, got"):
            configs.load(path, (f"data.teachers={wrong}",))


def test_digest_ignores_defaults_and_the_folder_of_a_data_file() -> None:
    """Tables of results identify settings by their digest, so it must never change."""
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
def test_digest_with_paths_distinguishes_equal_names_in_different_folders(
    section: str, key: str, values: tuple[Any, ...]
) -> None:
    distilled: dict[str, Any] = {"loss": {"distillation": 0.5}} if key.startswith("teacher") else {}
    each = [configs.from_dict({section: {key: value}} | distilled) for value in values]
    assert len({configs.digest(config, paths=True) for config in each}) == len(values)
    assert configs.digest(each[0]) == configs.digest(each[1])
