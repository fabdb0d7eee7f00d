"""Fixtures for several rooms: a made-up FER2013, the real one, the user's cache, the command line."""

from __future__ import annotations

import csv
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple, NoReturn

import numpy as np
import pytest
from numpy.typing import NDArray

from mien import cli
from mien.data import FaceDataset, load
from tests.linear_classifier import by_brightness, masked, maskless, write_classifier  # noqa: F401 - fixtures

MARKER_OF_FIXTURE = {"trained_run": "training", "exported_run": "training", "chromium": "browser"}
"""Fixture -> marker of every test that uses it."""
MARKER_OF_FOLDER = {"page": "browser", "video": "film"}
"""Folder of tests -> marker of all its tests."""
# A test run in the background of a shell ignores Ctrl-C, and so would the commands that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

FACES_A_CLASS = {"Training": 4, "PublicTest": 2, "PrivateTest": 2}


class Row(NamedTuple):
    """One row of fer2013.csv; pixels are (48, 48), values 0..255."""

    emotion: int
    pixels: NDArray[np.uint8]
    usage: str


WriteRows = Callable[..., Path]
Mien = Callable[..., tuple[int, str, str]]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Marks tests by their fixtures and folders; modules that train by themselves have the marker in their text."""
    for item in items:
        parameters = item.callspec.params.values() if hasattr(item, "callspec") else ()  # some are names of fixtures
        names = (*getattr(item, "fixturenames", ()), *(value for value in parameters if isinstance(value, str)))
        markers = {MARKER_OF_FIXTURE.get(name) for name in names}
        markers.add(MARKER_OF_FOLDER.get(item.path.parent.name))
        for name in sorted(filter(None, markers)):
            item.add_marker(name)


@pytest.fixture(scope="session")
def rows() -> list[Row]:
    """A made-up FER2013 of 56 random faces: every class in every Usage, in the original order."""
    random = np.random.default_rng(7)
    return [
        Row(emotion, random.integers(0, 256, (48, 48), dtype=np.uint8), usage)
        for usage, faces in FACES_A_CLASS.items()
        for _ in range(faces)
        for emotion in range(7)
    ]


@pytest.fixture(scope="session")
def write_rows() -> WriteRows:
    """Writes rows in the format of fer2013.csv, with the columns in any order."""

    def write(path: Path, rows: Iterable[Row], columns: tuple[str, ...] = ("emotion", "pixels", "Usage")) -> Path:
        with path.open("w", encoding="utf-8", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(columns)
            for row in rows:
                values = {"emotion": row.emotion, "pixels": " ".join(map(str, row.pixels.ravel())), "usage": row.usage}
                writer.writerow([values[column.strip().lower()] for column in columns])
        return path

    return write


@pytest.fixture
def fer2013_csv(tmp_path: Path, rows: list[Row], write_rows: WriteRows) -> Path:
    """The made-up rows as fer2013.csv."""
    return write_rows(tmp_path / "fer2013.csv", rows)


@pytest.fixture
def user_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's cache folder, moved into the test's temporary folder."""
    folder = tmp_path / "user-cache"
    monkeypatch.setenv("XDG_CACHE_HOME", str(folder))
    return folder / "mien"


@pytest.fixture
def mien(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Mien:
    """Runs the command line in this process -> exit code, standard output, standard error."""

    def call(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["mien", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", "100")
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        return code, *capsys.readouterr()

    return call


@pytest.fixture(scope="session")
def trained_run(tmp_path_factory: pytest.TempPathFactory, rows: list[Row], write_rows: WriteRows) -> Path:
    """The run folder of the small network, trained for two epochs on the made-up rows."""
    from rich.console import Console

    from mien.config import Config, DataConfig, TrainingConfig
    from mien.training import run

    folder = tmp_path_factory.mktemp("runs") / "tried"
    source = write_rows(folder.parent / "fer2013.csv", rows)
    training = TrainingConfig(epochs=2, batch_size=14, learning_rate=0.01, ema_decay=0.5, threads=1)
    config = Config(data=DataConfig(path=str(source)), training=training)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder.parent / "cache"))
        assert run.train(config, folder, False, Console(quiet=True))
    return folder


@pytest.fixture(scope="session")
def exported_run(trained_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The network of `trained_run`, exported to an .onnx file."""
    from mien.export import onnx as export
    from mien.models.torch_model import TorchModel

    path = tmp_path_factory.mktemp("exported") / "tried.onnx"
    trained = TorchModel.load(trained_run)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(trained_run.parent / "cache"))
        public = load(trained.config.data.path).split("public")
    metrics = {"public-single": {"n": 14, "accuracy": 0.5, "ece": 0.1}}
    assert export.export(trained, path, public, metrics) <= export.TOLERANCE
    return path


def skip(sentence: str) -> NoReturn:
    if os.environ.get("CI"):  # CI provides the data: a skip would hide that it is missing
        pytest.fail(sentence)
    pytest.skip(sentence)


def real_file(variable: str, what: str) -> Path:
    """Returns the path in an environment variable, of a file or folder outside the project."""
    path = os.environ.get(variable)
    if not path or not Path(path).exists():
        skip(f"{what} is needed: name it in the environment variable {variable}, now {path or 'not set'}")
    return Path(path)


@pytest.fixture(scope="session")
def fer2013_real() -> Path:
    """Path of the real FER2013."""
    return real_file("MIEN_FER2013", "the real FER2013")


@pytest.fixture(scope="session")
def photographs() -> Path:
    """A folder of photographs whose licences do not allow copies in the repository."""
    return real_file("MIEN_PHOTOGRAPHS", "a folder of photographs")


@pytest.fixture(scope="session")
def chromium() -> str:
    """Path of the system's Chromium, which Playwright drives."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if not path:
        skip("Chromium is needed for the page's tests: install it, on Debian with apt-get install chromium")
    return path


@pytest.fixture(scope="session")
def ferplus_real(fer2013_real: Path) -> Path:
    """Path of the real FER+ votes, beside FER2013."""
    path = fer2013_real.parent / "fer2013new.csv"
    if not path.exists():
        skip(f"FER+'s votes are needed and {path} does not exist; put FER+'s fer2013new.csv beside FER2013")
    return path


@pytest.fixture(scope="session")
def real_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder shared by the tests that load the real FER2013."""
    return tmp_path_factory.mktemp("real-cache")


@pytest.fixture(scope="session")
def real_dataset(fer2013_real: Path, ferplus_real: Path, real_cache: Path) -> FaceDataset:
    """The real FER2013 with FER+'s votes, read once per session."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(real_cache))
        return load(fer2013_real, ferplus=ferplus_real)
