"""The configuration of a training run: validated dataclasses, read from and written to TOML."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator
from pydantic.dataclasses import dataclass

from mien.errors import ConfigError, shortened, shortened_path
from mien.parsing import MAX_TOML_BYTES, parse_toml
from mien.validation import STRICT, Section

MAX_SIZE = 1024
"""Largest height and width of a network's input, pixels."""
MAX_EPOCHS = 100_000
"""Largest number of epochs; longer than any real training."""
_MAX_FLOAT = 1e30
"""Upper bound of numbers that only single precision limits."""
_MAX_INT = 2**31 - 1


@dataclass(frozen=True, config=STRICT)
class DataConfig(Section):
    """The labelled faces, and the teachers that predict them."""

    path: str = "fer2013.tar.gz"
    """FER2013 in any format that `mien data inspect` reads, or a folder of class folders."""
    ferplus: str = ""
    """Path of FER+'s fer2013new.csv; required if loss.ferplus is above 0."""
    teacher: str = ""
    """Path of a teacher's predictions of the training split, written by `mien evaluate TEACHER --split training -o DIR`
    or `mien ensemble`. The teacher saw each face once, without augmentation. This field or data.teachers is required if
    loss.distillation is above 0."""
    teachers: tuple[str, ...] = Field(default=(), strict=False)
    """Trained networks: run folders, checkpoints, .onnx files or names of shipped models. Each teacher predicts every
    image after augmentation, and their probabilities are averaged (Beyer et al., CVPR 2022, "consistent teaching")."""
    views: str = ""
    """Path of fixed augmented views of the training faces with teachers' probabilities, written by
    tools/ask_teachers.py. They replace [augment] and a teacher."""
    folds: int = Field(default=0, ge=0, le=100)
    """Number of parts that the training faces are divided into, at least 2; 0 trains on all faces."""
    held_out: int = Field(default=0, ge=0, le=99)
    """The part that is left out of training, 0 to data.folds - 1."""
    hold_out: float = Field(default=0.0, ge=0, le=0.5)
    """Fraction of the training faces of each class that is taken for choosing the best epoch, if the data has only
    training and test faces; 0 takes none. The draw is the same in every run."""
    classes: tuple[str, ...] = Field(default=(), strict=False)
    """Class names in the order of the network's outputs; faces of other classes are left out. Empty takes the classes
    of the data in their own order. If the data numbers its classes, the first name is that of number 0."""
    merge: dict[str, str] = Field(default_factory=dict)
    """Class of the data -> class that it counts as, such as {contempt = "disgust"}."""
    numbering: Literal["", "fer2013", "affectnet", "raf-db"] = ""
    """Data set whose class numbers the data uses, if it numbers its classes; see `mien.labels.NUMBERINGS`."""
    labels: Literal["", "ferplus"] = ""
    """Empty takes the data's own labels; ferplus takes the expression with the most FER+ votes, one of eight, and
    requires data.ferplus."""


@dataclass(frozen=True, config=STRICT)
class NetworkConfig(Section):
    """The network; `mien networks` lists all of them."""

    name: str = "resnet18_masking_reconstruction"
    """Name, from the first column of `mien networks`."""
    variant: str = "small"
    """Variant, from the second column; empty if the column shows -."""
    size: int = Field(default=0, ge=0, le=MAX_SIZE)
    """Height and width of the input, pixels; 0 is the network's default."""
    channels: Literal[0, 1, 3] = 0
    """Channels of the input; 0 is the network's default."""
    weights: str = ""
    """Initial weights: empty for new, random ones, imagenet for published ones, or a run folder, a checkpoint, an .onnx
    file of mien or the name of a shipped model. See `mien.training.start`."""
    mask_activation: Literal["", "sigmoid", "softmax"] = ""
    """Activation of the masks; empty is the network's default."""
    mask_depth: int = Field(default=0, ge=0, le=4)
    """Depth of the first stage's U-Net mask; each later mask is one level shallower, down to 1. 0 is the network's
    default."""
    dropout: float = Field(default=0.0, ge=0, le=0.95)
    """Probability that a pooled feature is dropped before the last layer."""


@dataclass(frozen=True, config=STRICT)
class LossConfig(Section):
    """Weights of the loss: cross-entropy + reconstruction * L_rec + margin * L_margin.

    Distillation replaces a fraction of the cross-entropy.
    """

    label_smoothing: float = Field(default=0.0, ge=0, le=0.9)
    """Fraction of each target that is spread evenly over the classes."""
    class_weights: Literal["none", "balanced"] = "none"
    """none, or balanced: N / (K * number of faces of the class), computed from the training split."""
    ferplus: float = Field(default=0.0, ge=0, le=1)
    """Fraction of each target that comes from FER+'s votes; requires data.ferplus."""
    reconstruction: float = Field(default=0.1, ge=0, le=_MAX_FLOAT)
    """Weight of L_rec (Shen and Li, Eq. 3)."""
    margin: float = Field(default=0.1, ge=0, le=_MAX_FLOAT)
    """Weight of L_margin (Eq. 4)."""
    margin_reading: Literal["labels", "mask"] = "labels"
    """Interpretation of Eq. 4: labels compares each class with the rest, mask compares the masks with the image's
    saliency."""
    distillation: float = Field(default=0.0, ge=0, le=1)
    """Fraction of the cross-entropy that the distillation loss replaces; requires data.teacher or data.teachers."""
    temperature: float = Field(default=2.0, ge=0.1, le=100)
    """Divides the logits of network and teacher before softmax in the distillation loss. Values above 1 give the less
    probable classes more influence."""


@dataclass(frozen=True, config=STRICT)
class AugmentConfig(Section):
    """Random changes of the training images, drawn independently for each image."""

    flip: float = Field(default=0.5, ge=0, le=1)
    """Probability of a left-right flip."""
    rotation_deg: float = Field(default=0.0, ge=0, le=180)
    """Largest rotation in either direction, degrees."""
    scale: float = Field(default=0.0, ge=0, le=0.9)
    """Largest change of size s: faces are scaled by a factor of 1 / (1 + s) to 1 / (1 - s)."""
    shift: float = Field(default=0.0, ge=0, le=1)
    """Largest shift along each axis, as a fraction of the image's side."""
    shear: float = Field(default=0.0, ge=0, le=1)
    """Largest horizontal offset between the upper and the lower edge, as a fraction of the image's side."""
    brightness: float = Field(default=0.0, ge=0, le=1)
    """Largest offset of the gray values, as a fraction of the full range."""
    contrast: float = Field(default=0.0, ge=0, le=1)
    """Largest relative change of the differences from the image's mean."""
    erase: float = Field(default=0.0, ge=0, le=1)
    """Probability that noise replaces a random rectangle."""
    erase_area: float = Field(default=0.25, ge=0.02, le=1)
    """Largest area of that rectangle, as a fraction of the image."""
    darken: float = Field(default=0.0, ge=0, le=1)
    """Largest fraction by which all gray values are reduced."""
    noise: float = Field(default=0.0, ge=0, le=1)
    """Largest standard deviation of the added noise, as a fraction of the full range."""
    coarse: float = Field(default=0.0, ge=0, le=1)
    """Probability that an image is scaled down to half its size and back."""
    mixup: float = Field(default=0.0, ge=0, le=_MAX_FLOAT)
    """alpha of the Beta distribution of the mixing ratio of two images and their targets; 0 disables mixup."""
    cutmix: float = Field(default=0.0, ge=0, le=_MAX_FLOAT)
    """alpha of the Beta distribution of the area that a rectangle of another image covers; 0 disables cutmix."""


@dataclass(frozen=True, config=STRICT)
class TrainingConfig(Section):
    """Optimizer, schedule, precision and hardware."""

    epochs: int = Field(default=60, ge=1, le=MAX_EPOCHS)
    """Passes over the training split."""
    batch_size: int = Field(default=128, ge=2, le=100_000)
    """Images per step in each process."""
    optimizer: Literal["sgd", "adamw", "radam"] = "sgd"
    """sgd (Nesterov momentum 0.9), adamw, or radam (Liu et al., ICLR 2020), which the base project uses."""
    learning_rate: float = Field(default=0.1, ge=1e-12, le=_MAX_FLOAT)
    """Highest learning rate of the schedule."""
    weight_decay: float = Field(default=5e-4, ge=0, le=_MAX_FLOAT)
    """Weight decay; biases and batch norms have none. It is decoupled from the gradient in adamw and radam."""
    schedule: Literal["one-cycle", "plateau"] = "one-cycle"
    """one-cycle: rises during the warm-up, then falls, both along a cosine. plateau: divided by 10 whenever the
    PublicTest accuracy stops improving."""
    warmup: float = Field(default=0.15, ge=0, le=0.95)
    """Fraction of all steps that the warm-up of one-cycle takes."""
    plateau_patience: int = Field(default=2, ge=0, le=_MAX_INT)
    """Epochs without a better PublicTest accuracy that plateau tolerates; the next one lowers the learning rate."""
    stop_after: int = Field(default=0, ge=0, le=_MAX_INT)
    """Epochs without a better PublicTest accuracy after which training stops; 0 disables early stopping."""
    ema_decay: float = Field(default=0.999, ge=0, le=0.999999)
    """Decay of the moving average of the weights, which is evaluated and exported; 0 uses the last weights."""
    precision: Literal["32-true", "bf16-mixed", "16-mixed"] = "32-true"
    """32-true, bf16-mixed, or 16-mixed (GPUs only).

    On a CPU with bfloat16 instructions, bf16-mixed is twice as fast as 32-true; on other CPUs it is equally fast.
    """
    compile: bool = False
    """Whether to use torch.compile, which takes one to two minutes at the start."""
    seed: int = Field(default=0, ge=0, le=_MAX_INT)
    """Seed of the initial weights, the order of the faces and the augmentation."""
    threads: int = Field(default=0, ge=0, le=1024)
    """CPU threads; 0 uses all cores."""
    devices: int = Field(default=1, ge=1, le=1024)
    """Processes that train together on this machine, each on its own GPU, or all on the CPU where there is no GPU.

    torchrun and srun set their number themselves.
    """


@dataclass(frozen=True, config=STRICT)
class Config(Section):
    """All settings of a training run."""

    data: DataConfig = dataclasses.field(default_factory=DataConfig)
    network: NetworkConfig = dataclasses.field(default_factory=NetworkConfig)
    loss: LossConfig = dataclasses.field(default_factory=LossConfig)
    augment: AugmentConfig = dataclasses.field(default_factory=AugmentConfig)
    training: TrainingConfig = dataclasses.field(default_factory=TrainingConfig)

    @model_validator(mode="after")
    def _check_combinations(self) -> Config:
        data, loss, training = self.data, self.loss, self.training
        if loss.ferplus > 0 and not data.ferplus:
            raise ConfigError(
                "loss.ferplus is above 0 but data.ferplus is empty: set data.ferplus to the path of FER+'s "
                "fer2013new.csv, or loss.ferplus to 0"
            )
        if data.labels == "ferplus" and not data.ferplus:
            raise ConfigError("data.labels is ferplus but data.ferplus is empty: set it to the path of fer2013new.csv")
        if len(set(data.classes)) < len(data.classes) or "" in data.classes:
            raise ConfigError(f"data.classes must be different names, got {shortened(', '.join(data.classes))}")
        if chained := [name for name in data.merge.values() if name in data.merge]:
            raise ConfigError(
                f"data.merge must name final classes, but {shortened(chained[0])} is merged itself: name the class "
                "that it counts as"
            )
        if loss.ferplus + loss.label_smoothing >= 1:
            raise ConfigError("loss.ferplus and loss.label_smoothing must sum to less than 1, so that the labels count")
        if data.folds == 1 or data.held_out >= max(data.folds, 1):
            raise ConfigError(
                f"data.folds must be 0 or at least 2 and data.held_out below it, got {data.folds} and {data.held_out}"
            )
        if data.views and (data.teacher or data.teachers):
            raise ConfigError(
                "data.views already holds teachers' probabilities: leave data.teacher and data.teachers empty"
            )
        if loss.distillation > 0 and not (data.teacher or data.teachers or data.views):
            raise ConfigError(
                "loss.distillation is above 0 but there is no teacher: set data.teacher to predictions of the training "
                "split, or data.teachers to trained networks, or loss.distillation to 0"
            )
        if (data.teacher or data.teachers or data.views) and not loss.distillation:
            raise ConfigError(
                "there is a teacher but loss.distillation is 0, so the teacher would have no effect: set "
                "loss.distillation above 0, or leave data.teacher and data.teachers empty"
            )
        if data.teacher and data.teachers:
            raise ConfigError("data.teacher and data.teachers exclude each other: leave one of them empty")
        if self.augment.mixup and self.augment.cutmix:
            raise ConfigError("augment.mixup and augment.cutmix exclude each other: set one of them to 0")
        if training.stop_after and training.schedule == "one-cycle":
            raise ConfigError(
                "training.stop_after would end a one-cycle schedule before its learning rate is small: set "
                "training.stop_after to 0 or training.schedule to plateau"
            )
        return self


def load(path: str | Path, overrides: tuple[str, ...] = ()) -> Config:
    """Reads a TOML file.

    Args:
        path: The file.
        overrides: `section.key=value` pairs that replace values of the file. Values are written as in TOML; a string
            needs no quotes.

    Raises:
        ConfigError: The file cannot be read, a key is unknown, or a value has the wrong type or is out of range.
    """
    return from_dict(overridden(read_table(path), overrides, path))


def read_table(path: str | Path) -> dict[str, Any]:
    """Reads the nested tables of a TOML file.

    Raises:
        ConfigError: The file cannot be read or is not TOML.
    """
    try:
        with Path(path).open("rb") as file:
            document = file.read(MAX_TOML_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: the path has a null character
        raise ConfigError(f"the config {shortened_path(path)} cannot be read: {error}") from None
    try:
        return parse_toml(document)
    except ValueError as error:  # also numbers with too many digits
        raise ConfigError(f"{shortened_path(path)} cannot be read as TOML: {shortened(error)}") from None


def overridden(table: dict[str, Any], overrides: tuple[str, ...], path: str | Path) -> dict[str, Any]:
    """Returns a copy of nested tables with the values of `section.key=value` pairs; see `load`.

    Raises:
        ConfigError: A pair is not SECTION.KEY=VALUE, or its section is not a table.
    """
    table = dict(table)
    for pair in overrides:
        key, separator, text = pair.partition("=")
        section, _, name = key.partition(".")
        if not (separator and name):
            raise ConfigError(f"--set expects section.key=value, such as training.epochs=10, got {shortened(pair)}")
        values = table.get(section, {})
        if not isinstance(values, dict):
            raise ConfigError(f"{section} must be a table in {path}, got {shortened(repr(values))}")
        table[section] = values | {name: _parsed(text)}
    return table


def _parsed(text: str) -> object:
    try:
        return parse_toml(f"value = {text}".encode())["value"]
    except ValueError:
        return text


def from_dict(table: dict[str, Any]) -> Config:
    """Makes a config from nested tables, as TOML and JSON store them.

    Raises:
        ConfigError: A key is unknown, or a value has the wrong type or is out of range.
    """
    if not isinstance(table, dict):
        raise ConfigError(f"a config must be a table, got {shortened(repr(table))}")
    return Config(**table)


def to_dict(config: Config) -> dict[str, Any]:
    """Returns every field in nested tables, for TOML and JSON."""
    return dataclasses.asdict(config)


_PATHS = (
    *(("data", "path"), ("data", "ferplus"), ("data", "teacher"), ("data", "teachers"), ("data", "views")),
    ("network", "weights"),
)
"""The fields that hold paths."""
_DATA_SUFFIXES = (".csv", ".gz", ".tgz", ".tar", ".zip", ".parquet")


def without_folders(config: Config) -> dict[str, Any]:
    """Returns the same as `to_dict` with paths reduced to file names, so that shared files reveal no folders."""
    tables = to_dict(config)
    for section, key in _PATHS:
        value = tables[section][key]
        tables[section][key] = Path(value).name if isinstance(value, str) else tuple(Path(path).name for path in value)
    return tables


def digest(config: Config, paths: bool = False) -> str:
    """Returns eight hexadecimal digits that identify the settings.

    Fields with their default value do not count, so that a field added in a later version changes no digest.

    Args:
        config: The config.
        paths: Whether the folders of data, weights and teachers count. An exported file stores file names only, so its
            digest is known without folders only. The folder of a single data file never counts.
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
