"""The configs, sweeps and teachers' predictions that come with mien, by name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from mien.errors import ConfigError, near, shortened, shortened_path
from mien.files import expand_user

FOLDER = Path(__file__).parent / "configs"
"""Configs of single trainings; `full/` has one per network of the paper, and `sweeps/` configs of many trainings."""
TEACHERS = FOLDER / "teachers"
"""Predictions of FER2013's training split, with which some configs distil."""
Command = Literal["train", "sweep"]


@dataclass(frozen=True)
class ShippedConfig:
    """A config that comes with mien.

    Attributes:
        name: What `mien train` or `mien sweep` knows it by.
        command: The command that takes it.
        path: Its file.
    """

    name: str
    command: Command
    path: Path

    @property
    def purpose(self) -> str:
        """The first sentence of its first comment."""
        header = re.match(r"(?:#.*\n)+", self.text)
        words = " ".join(line.lstrip("# ") for line in (header[0] if header else "").splitlines())
        return re.split(r"(?<=[^.])[.:;] ", words, maxsplit=1)[0]

    @property
    def text(self) -> str:
        """The content of its file."""
        return self.path.read_text(encoding="utf-8")


def shipped_configs() -> dict[str, ShippedConfig]:
    """Returns all configs that come with mien, by name: those of single trainings first."""
    configs = [
        ShippedConfig(path.stem, "sweep" if path.parent.name == "sweeps" else "train", path)
        for path in sorted(FOLDER.rglob("*.toml"), key=lambda path: (len(path.parts), path))
    ]
    return {config.name: config for config in configs}


def find(name: str | Path, command: Command | None = None) -> Path:
    """Returns the file of a config: the one at a path, or else the one that comes with mien under a name.

    Args:
        name: A path, or a name such as "small"; also the path that it has in a clone, such as configs/small.toml.
        command: The command that needs it; None takes those of both.

    Raises:
        ConfigError: There is none.
    """
    path = expand_user(name)
    if path.is_file():
        return path
    shipped = shipped_configs()
    config = shipped.get(path.stem)
    if config and (path == Path(config.name) or Path("configs").joinpath(config.path.relative_to(FOLDER)) == path):
        if command in (None, config.command):
            return config.path
        raise ConfigError(f"{config.name} is for mien {config.command}, not for mien {command}")
    if path.exists():
        raise ConfigError(f"{shortened_path(path)} is not a file: give a config as TOML, or a name of mien configs")
    names = [each.name for each in shipped.values() if command in (None, each.command)]
    raise ConfigError(
        f"there is no file {shortened(name)}, and no config of mien with that name: {near(path.stem, names)}"
    )


def shown_path(path: Path) -> str:
    """Returns what a command line calls a config: its name if it comes with mien, else its path."""
    return path.stem if path.is_relative_to(FOLDER) else path.as_posix()


def find_teacher(path: str | Path) -> Path:
    """Returns a teacher's predictions: the file at a path, or else one that comes with mien.

    Args:
        path: A path; results/predictions/NAME names a file that comes with mien, wherever it is installed.
    """
    file = expand_user(path)
    shipped = TEACHERS / file.name
    return shipped if not file.exists() and file.parent == Path("results/predictions") and shipped.is_file() else file
