"""`mien video` with several videos and folders: a table and a report of each, also after a bad one."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.conftest import Mien
from tests.video import samples
from tests.video.command import read_csv


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A video of five frames with a face."""
    return samples.write(tmp_path_factory.mktemp("short") / "short.mp4", samples.WALK[:5])


@pytest.mark.parametrize("option", ["--threads=1", "--workers=2"])
def test_each_video_gets_a_table_and_a_report_also_after_a_bad_one(
    mien: Mien, short: Path, tmp_path: Path, option: str
) -> None:
    films = tmp_path / "films"
    (films / "more").mkdir(parents=True)
    shutil.copy(short, films / "a.mp4")
    shutil.copy(short, films / "more" / "a.mp4")
    (films / "bad.mp4").write_bytes(b"not a video")
    (films / "notes.txt").write_bytes(b"not a video")
    code, out, err = mien("video", films, short, "-o", tmp_path / "out", option, "--model", "tiny")
    assert code == 2
    assert err.startswith("mien: ")
    assert err.count("\n") == 1
    assert "bad.mp4 cannot be read as a video" in err
    names = {f"{stem}{suffix}" for stem in ("a", "a-2", "short") for suffix in (".csv", ".html", ".png")}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names
    for stem in ("a", "a-2", "short"):
        assert f"written: {tmp_path / 'out' / stem}.csv\n" in out
        assert len(read_csv(tmp_path / "out" / f"{stem}.csv")) == 5
        assert "<h2>Face 1</h2>" in (tmp_path / "out" / f"{stem}.html").read_text(encoding="utf-8")


def test_one_video_into_a_folder(mien: Mien, short: Path, tmp_path: Path) -> None:
    (tmp_path / "out.d").mkdir()
    code, _, err = mien("video", short, "-o", tmp_path / "out.d", "--threads", 1, "--model", "tiny")
    assert (code, err) == (0, "")
    assert {path.name for path in (tmp_path / "out.d").iterdir()} == {"short.csv", "short.html", "short.png"}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ([], "2 videos need -o DIR"),
        (["-o", "copy.mp4"], "2 videos need -o DIR"),
        (["--csv", "a.csv"], "2 videos need -o DIR"),
        (["-o", "out", "--csv", "a.csv"], "leave out the other outputs"),
    ],
)
def test_outputs_that_cannot_hold_several_videos_are_an_error(
    mien: Mien, short: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], sentence: str
) -> None:
    monkeypatch.chdir(tmp_path)
    code, out, err = mien("video", short, short, *options)
    assert (code, out) == (2, "")
    assert sentence in err
    assert not list(tmp_path.iterdir())


def test_folder_without_a_video_is_an_error(mien: Mien, tmp_path: Path) -> None:
    code, _, err = mien("video", tmp_path, "-o", tmp_path / "out")
    assert code == 2
    assert "there is no video in the folder" in err


def test_videos_in_two_processes_give_the_same_tables_as_one_after_the_other(
    mien: Mien, short: Path, tmp_path: Path
) -> None:
    shutil.copy(short, tmp_path / "other.mp4")
    for workers in (1, 2):
        words = (short, tmp_path / "other.mp4", "-o", tmp_path / f"out-{workers}", "--threads", 1, "--model", "tiny")
        code, _, err = mien("video", *words, "--workers", workers)
        assert (code, err) == (0, "")
    for name in ("short.csv", "other.csv"):
        assert (tmp_path / "out-1" / name).read_bytes() == (tmp_path / "out-2" / name).read_bytes()
