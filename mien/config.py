"""A training run as a document: frozen dataclasses to and from TOML. Every field says its meaning and unit."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import sys
import types
import typing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mien.errors import ConfigError, near

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib


@dataclass(frozen=True)
class DataConfig:
    """Which faces to train and choose on."""

    path: str = "fer2013.tar.gz"
    """FER2013 in any form that `mien data inspect` reads, or a folder of class folders."""
    ferplus: str = ""
    """FER+'s fer2013new.csv, needed where loss.ferplus is above 0."""
    teacher: str = ""
    """Predictions of the training split, as `mien evaluate TEACHER --split training -o DIR` or `mien ensemble` writes
    them: a teacher that saw each face once, as it is. This or data.teachers is needed where loss.distillation is above
    0."""
    teachers: tuple[str, ...] = ()
    """Trained networks, each a run folder, a checkpoint, an .onnx file or a shipped model's name: teachers that see
    each image as it is augmented, and say together what it shows (Beyer et al., CVPR 2022, "consistent teaching")."""


@dataclass(frozen=True)
class NetworkConfig:
    """Which network; `mien networks` lists them."""

    name: str = "resnet18_masking_reconstruction"
    """What the first column of `mien networks` calls it."""
    variant: str = "small"
    """What the second one says; empty where that is -."""
    size: int = 0
    """Height and width of its input, pixels; 0 takes the registry's."""
    channels: int = 0
    """Channels of its input, 1 or 3; 0 takes the registry's."""
    weights: str = ""
    """Where training starts: empty is new, imagenet the published weights, else what `mien.training.start` takes: a run
    folder, a checkpoint, an .onnx file of mien, a shipped model's name."""
    mask_activation: str = ""
    """sigmoid or softmax; empty takes the network's own."""
    mask_depth: int = 0
    """Depth of the first U-Net mask; each later one is one less deep, 1 at least. 0 takes the network's own depths."""
    dropout: float = 0.0
    """Share of pooled features dropped before the last layer, 0..1."""


@dataclass(frozen=True)
class LossConfig:
    """The weighted sum: cross-entropy + reconstruction * L_rec + margin * L_margin.

    Distillation takes a share of the cross-entropy.
    """

    label_smoothing: float = 0.0
    """Share of each target spread evenly over the classes, 0..1."""
    class_weights: str = "none"
    """none, or balanced: N / (K * faces of the class), computed from the training split."""
    ferplus: float = 0.0
    """Share of each target taken from FER+'s votes, 0..1; needs data.ferplus."""
    reconstruction: float = 0.1
    """Weight of L_rec (Shen and Li, Eq. 3)."""
    margin: float = 0.1
    """Weight of L_margin (Eq. 4)."""
    margin_reading: str = "labels"
    """labels: cross-entropy of each class against the rest; mask: between masks and the image's saliency."""
    distillation: float = 0.0
    """Share of the cross-entropy that a teacher's predictions take from the targets, 0..1; needs data.teacher or
    data.teachers."""
    temperature: float = 2.0
    """What the network's logits and the teacher's, calibrated, are divided by before softmax, for distillation: above 1
    stresses the lesser classes."""


@dataclass(frozen=True)
class AugmentConfig:
    """Random changes of the training images; each image draws its own."""

    flip: float = 0.5
    """Probability of a left-right flip."""
    rotation_deg: float = 0.0
    """Largest rotation to either side, degrees."""
    scale: float = 0.0
    """Largest change of size, a share s; faces are drawn 1 / (1 + s) to 1 / (1 - s) times as large."""
    shift: float = 0.0
    """Largest shift along each axis, share of the image's side."""
    shear: float = 0.0
    """Largest shift of the upper edge against the lower, share of the image's side."""
    brightness: float = 0.0
    """Largest value added or taken, share of the full range."""
    contrast: float = 0.0
    """Largest change of the distance to the image's mean, share."""
    erase: float = 0.0
    """Probability that a rectangle is replaced by noise."""
    erase_area: float = 0.25
    """Largest area of that rectangle, share of the image."""
    darken: float = 0.0
    """Largest share of the light that is taken away, 0..1."""
    noise: float = 0.0
    """Largest standard deviation of added noise, share of the full range."""
    coarse: float = 0.0
    """Probability that an image is brought to half its size and back."""
    mixup: float = 0.0
    """alpha of the Beta distribution that mixes two images and their targets; 0 is off."""
    cutmix: float = 0.0
    """alpha of the Beta distribution of the share that a rectangle of another image fills; 0 is off."""


@dataclass(frozen=True)
class TrainingConfig:
    """How the weights are found."""

    epochs: int = 60
    """Passes over the training faces."""
    batch_size: int = 128
    """Images a step and device."""
    optimizer: str = "sgd"
    """sgd (Nesterov momentum 0.9), adamw, or radam (Liu et al., ICLR 2020), the base project's."""
    learning_rate: float = 0.1
    """The schedule's highest."""
    weight_decay: float = 5e-4
    """Of weights; biases and batch norms have none. adamw and radam take it from the weight, not into the gradient."""
    schedule: str = "one-cycle"
    """one-cycle: up over `warmup`, then down along a cosine. plateau: divided by 10 when PublicTest stands still."""
    warmup: float = 0.15
    """Share of all steps over which one-cycle climbs."""
    plateau_patience: int = 2
    """Epochs without a better PublicTest accuracy that plateau lets pass; with one more the learning rate falls."""
    stop_after: int = 0
    """Epochs without a better PublicTest accuracy before training ends; 0 never ends it early."""
    ema_decay: float = 0.999
    """Of the moving average of weights that is evaluated and exported; 0 keeps the last weights."""
    precision: str = "32-true"
    """32-true, bf16-mixed, or 16-mixed (GPUs only).

    On a CPU, bf16-mixed is twice as fast as 32-true where there are instructions for bfloat16, and as fast elsewhere.
    """
    compile: bool = False
    """Whether torch.compile fuses the network: one to two minutes at the start."""
    seed: int = 0
    """Of new weights, order and augmentation."""
    threads: int = 0
    """CPU threads; 0 takes all cores."""
    devices: int = 1
    """GPUs to train on where there are any."""


@dataclass(frozen=True)
class Config:
    """All of a training run."""

    data: DataConfig = field(default_factory=DataConfig)
    network: NetworkConfig = field(default_factory=NetworkConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    training: TrainingConfig = field(default_factory=TrainingConfig)

    def __post_init__(self) -> None:
        """Refuses values out of range and pairs that cannot be.

        Raises:
            ConfigError: Which field, what was expected and what came.
        """
        for section, name, low, high in _RANGES:
            value = getattr(getattr(self, section), name)
            if not low <= value <= high:  # nor is a value that is no number
                came = f"{value:g}" if isinstance(value, float) else str(value)
                raise ConfigError(f"{section}.{name} must be {low:g}..{high:g}, got {came}")
        for section, name, allowed in _CHOICES:
            value = getattr(getattr(self, section), name)
            if value not in allowed:
                choices = ", ".join("empty" if choice == "" else str(choice) for choice in allowed)
                raise ConfigError(f"{section}.{name} must be one of {choices}, got {'empty' if value == '' else value}")
        if self.loss.ferplus > 0 and not self.data.ferplus:
            raise ConfigError(
                "loss.ferplus is above 0 but data.ferplus is empty: name FER+'s fer2013new.csv there, or set it to 0"
            )
        if self.loss.distillation > 0 and not (self.data.teacher or self.data.teachers):
            raise ConfigError(
                "loss.distillation is above 0 but data.teacher is empty: name predictions of the training split there, "
                "or trained networks in data.teachers, or set it to 0"
            )
        if (self.data.teacher or self.data.teachers) and not self.loss.distillation:
            raise ConfigError(
                "data names a teacher but loss.distillation is 0, so that nothing would be learnt of it: set its share "
                "there, or leave data.teacher and data.teachers empty"
            )
        if self.data.teacher and self.data.teachers:
            raise ConfigError("data.teacher and data.teachers both name who teaches: leave one of them out")
        if self.loss.ferplus + self.loss.label_smoothing >= 1:
            raise ConfigError("loss.ferplus and loss.label_smoothing must leave a share to the labels: sum below 1")
        if self.augment.mixup and self.augment.cutmix:
            raise ConfigError("augment.mixup and augment.cutmix both mix images: set one of them to 0")
        if self.training.stop_after and self.training.schedule == "one-cycle":
            raise ConfigError(
                "training.stop_after ends a one-cycle schedule before its small steps: set it to 0 or use plateau"
            )


MOST_SIZE = 1024
"""Largest height and width of a network's input, pixels."""
MOST_EPOCHS = 100_000
"""Of a training; as good as endless."""
_FILES = (("data", "path"), ("data", "ferplus"), ("data", "teacher"), ("data", "teachers"), ("network", "weights"))
_DATA_SUFFIXES = (".csv", ".gz", ".tgz", ".tar", ".zip", ".parquet")
_ENDLESS = 1e30
"""Where nothing but the arithmetic of single precision sets a limit."""
_RANGES: tuple[tuple[str, str, float, float], ...] = (
    ("network", "size", 0, MOST_SIZE),
    ("network", "mask_depth", 0, 4),
    ("network", "dropout", 0, 0.95),
    ("loss", "label_smoothing", 0, 0.9),
    ("loss", "ferplus", 0, 1),
    ("loss", "reconstruction", 0, _ENDLESS),
    ("loss", "margin", 0, _ENDLESS),
    ("loss", "distillation", 0, 1),
    ("loss", "temperature", 0.1, 100),
    ("augment", "flip", 0, 1),
    ("augment", "rotation_deg", 0, 180),
    ("augment", "scale", 0, 0.9),
    ("augment", "shift", 0, 1),
    ("augment", "shear", 0, 1),
    ("augment", "brightness", 0, 1),
    ("augment", "contrast", 0, 1),
    ("augment", "erase", 0, 1),
    ("augment", "erase_area", 0.02, 1),
    ("augment", "darken", 0, 1),
    ("augment", "noise", 0, 1),
    ("augment", "coarse", 0, 1),
    ("augment", "mixup", 0, _ENDLESS),
    ("augment", "cutmix", 0, _ENDLESS),
    ("training", "epochs", 1, MOST_EPOCHS),
    ("training", "batch_size", 2, 100_000),
    ("training", "learning_rate", 1e-12, _ENDLESS),
    ("training", "weight_decay", 0, _ENDLESS),
    ("training", "warmup", 0, 0.95),
    ("training", "plateau_patience", 0, _ENDLESS),
    ("training", "stop_after", 0, _ENDLESS),
    ("training", "ema_decay", 0, 0.999999),
    ("training", "seed", 0, 2**31 - 1),
    ("training", "threads", 0, 1024),
    ("training", "devices", 1, 1024),
)
_CHOICES: tuple[tuple[str, str, tuple[object, ...]], ...] = (
    ("network", "channels", (0, 1, 3)),
    ("network", "mask_activation", ("", "sigmoid", "softmax")),
    ("loss", "class_weights", ("none", "balanced")),
    ("loss", "margin_reading", ("labels", "mask")),
    ("training", "optimizer", ("sgd", "adamw", "radam")),
    ("training", "schedule", ("one-cycle", "plateau")),
    ("training", "precision", ("32-true", "bf16-mixed", "16-mixed")),
)


def load(path: str | Path, overrides: tuple[str, ...] = ()) -> Config:
    """Reads a TOML file.

    Args:
        path: The file.
        overrides: `section.key=value` pairs that replace what the file says; the value is written as in TOML, and
            a text may stand without quotes.

    Raises:
        ConfigError: The file cannot be read, a key is unknown, or a value is of the wrong type or out of range.
    """
    return from_dict(overridden(read_table(path), overrides, path))


def read_table(path: str | Path) -> dict[str, Any]:
    """The nested tables of a TOML file.

    Raises:
        ConfigError: The file cannot be read or is not TOML.
    """
    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"the config {path} cannot be read: {error}") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is not TOML: {error}") from None


def overridden(table: dict[str, Any], overrides: tuple[str, ...], path: str | Path) -> dict[str, Any]:
    """A copy of nested tables in which `section.key=value` pairs have replaced what stood there; see `load`.

    Raises:
        ConfigError: A pair is none, or its section is no table.
    """
    table = dict(table)
    for pair in overrides:
        key, separator, text = pair.partition("=")
        section, _, name = key.partition(".")
        if not (separator and name):
            raise ConfigError(f"--set takes section.key=value, such as training.epochs=10, got {pair}")
        values = table.get(section, {})
        if not isinstance(values, dict):
            raise ConfigError(f"{section} must be a table in {path}, got {values!r}")
        table[section] = values | {name: _value(text)}
    return table


def _value(text: str) -> object:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text


def from_dict(table: dict[str, Any]) -> Config:
    """A config from nested tables, as TOML and JSON give them.

    Raises:
        ConfigError: A key is unknown, or a value is of the wrong type or out of range.
    """
    return typing.cast(Config, _build(Config, table, ""))


def to_dict(config: Config) -> dict[str, Any]:
    """Nested tables with every field, for TOML and JSON."""
    return dataclasses.asdict(config)


def without_folders(config: Config) -> dict[str, Any]:
    """As `to_dict`, with files' names alone: what is given to others says nothing of the machine it comes from."""
    tables = to_dict(config)
    for section, key in _FILES:
        named = tables[section][key]
        tables[section][key] = Path(named).name if isinstance(named, str) else tuple(Path(each).name for each in named)
    return tables


def digest(config: Config, paths: bool = False) -> str:
    """Eight hexadecimal digits that differ where two configs do.

    Of what is not a field's default, so that a field that a later version adds changes nothing.

    Args:
        config: The config.
        paths: Whether folders, weights and teachers count by their paths; by their names alone where not, which is all
            that an exported file knows. Data in one file counts by its name either way: FER2013 may lie anywhere.
    """
    tables, defaults = to_dict(config) if paths else without_folders(config), to_dict(Config())
    for key in ("path", "ferplus"):
        if Path(tables["data"][key]).suffix.lower() in _DATA_SUFFIXES:
            tables["data"][key] = Path(tables["data"][key]).name
    changed = {
        section: {key: value for key, value in table.items() if value != defaults[section][key]}
        for section, table in tables.items()
    }
    return hashlib.sha256(json.dumps(changed, sort_keys=True).encode()).hexdigest()[:8]


def _build(cls: type, table: object, place: str) -> object:
    if not isinstance(table, dict):
        raise ConfigError(f"{place} must be a table, got {table!r}")
    hints = typing.get_type_hints(cls)
    values = {}
    for key, value in table.items():
        where = f"{place}.{key}" if place else key
        if key not in hints:
            raise ConfigError(f"unknown key {where}: {near(key, hints)}")
        values[key] = _checked(hints[key], value, where)
    return cls(**values)


def _checked(hint: Any, value: object, where: str) -> object:
    if dataclasses.is_dataclass(hint):
        return _build(typing.cast(type, hint), value, where)
    if hint is float and type(value) is int:
        return float(value)
    if hint == tuple[str, ...] and isinstance(value, list | tuple) and all(type(each) is str for each in value):
        return tuple(value)
    if type(value) is not hint:
        raise ConfigError(f"{where} must be {_WORDS[hint]}, got {value!r}")
    return value


_WORDS: types.MappingProxyType[Any, str] = types.MappingProxyType(
    {int: "a whole number", float: "a number", str: "a text", bool: "true or false", tuple[str, ...]: "a list of texts"}
)
