"""Files appear whole or not at all, and leave nothing beside them."""

from __future__ import annotations

import os
import signal
import stat
from pathlib import Path

import pytest

from mien.files import at_home, replaced, write_text


def test_home_is_found_and_nobodys_is_no_error(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert at_home("~/faces") == tmp_path / "faces"
    assert at_home(Path("~nobody-of-this-name/faces")) == Path("~nobody-of-this-name/faces")
    assert at_home("./faces") == Path("faces")


def test_new_file(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    with replaced(path) as part:
        assert part.parent == tmp_path  # another disk could not be renamed from
        assert part.suffix == ".json"
        part.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]


def test_error_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("old")

    def interrupted() -> None:
        with replaced(path) as part:
            part.write_text("ha")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_reader_of_the_old_file_keeps_it(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("old")
    with path.open() as reader:
        write_text(path, "new")
        assert reader.read() == "old"
    assert path.read_text() == "new"


@pytest.mark.skipif(os.name != "posix", reason="links and pipes are POSIX's")
def test_a_link_stays_one_and_a_pipe_is_refused(tmp_path: Path) -> None:
    (tmp_path / "far").mkdir()
    target, link, pipe = tmp_path / "far" / "target.txt", tmp_path / "link.txt", tmp_path / "pipe.txt"
    target.write_text("old")
    link.symlink_to(target)
    write_text(link, "new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    os.mkfifo(pipe)
    with pytest.raises(OSError, match="it is a pipe or a device"):
        write_text(pipe, "x")
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_folder_is_refused_by_its_own_name(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(IsADirectoryError, match=r"it is a folder, and a file is to be written: '.*folder'"):
        write_text(folder, "x")
    assert list(tmp_path.iterdir()) == [folder]


def test_the_longest_name_that_a_folder_takes(tmp_path: Path) -> None:
    path = tmp_path / ("a" * 251 + ".txt")
    write_text(path, "x")
    assert path.read_text() == "x"


def test_text_is_utf8_everywhere(tmp_path: Path) -> None:
    write_text(tmp_path / "name.txt", "Grüße 🙂")
    assert (tmp_path / "name.txt").read_bytes() == "Grüße 🙂".encode()


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        write_text(tmp_path / "absent" / "name.txt", "x")
    assert caught.value.filename == str(tmp_path / "absent" / "name.txt")


@pytest.mark.skipif(os.name != "posix", reason="modes are POSIX's")
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_mode_is_that_of_any_new_file(tmp_path: Path, umask: int) -> None:
    """Not the 0600 of a temporary file, which would hide a shared model from everybody else."""
    before = os.umask(umask)
    try:
        write_text(tmp_path / "name.txt", "x")
        assert os.umask(umask) == umask  # it was only looked at
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "name.txt").stat().st_mode) == 0o666 & ~umask


@pytest.mark.skipif(os.name != "posix", reason="limits of a process are POSIX's")
def test_a_disk_that_is_full_is_said_of_the_file_that_was_to_be(tmp_path: Path) -> None:
    import resource

    path = tmp_path / "report.json"
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(OSError, match=r"too large: '.*report\.json'"):
            write_text(path, "x" * 2000)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert not list(tmp_path.iterdir())


def test_what_others_say_of_other_files_stays(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"), replaced(tmp_path / "report.json"):
        (tmp_path / "nowhere").read_text()
