"""Fixtures of the video tests: a sample video and everything that `mien video` writes for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.video import samples
from tests.video.command import run


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("video")


@pytest.fixture(scope="session")
def video(folder: Path) -> Path:
    """One second with a moving face, an uneven frame rate and a tone."""
    times_s = [0.04 * i + (0.02 if i % 2 else 0) for i in range(25)]
    return samples.write(folder / "video.mp4", samples.WALK, times_s, sound="aac")


@pytest.fixture(scope="session")
def outputs_folder(folder: Path, video: Path) -> Path:
    """The folder after `mien video` has written every output except a report."""
    names = {"-o": "copy.mp4", "--csv": "faces.csv", "--jsonl": "faces.jsonl", "--parquet": "faces.parquet"}
    done = run(video, *(part for option, name in names.items() for part in (option, folder / name)))
    assert done.returncode == 0, done.stderr
    assert "happy" in done.stdout
    assert all(f"written: {folder / name}" in done.stdout for name in names.values())
    return folder
