"""Files: written whole or not at all, without leftovers; paths with ~; printable text."""

from __future__ import annotations

import json
import os
import shutil
import signal
import stat
from pathlib import Path

import pytest

from mien.files import escape_controls, expand_user, json_text, printable, replaced, write_text


def test_expand_user_expands_tilde_and_keeps_unknown_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert expand_user("~/faces") == tmp_path / "faces"
    assert expand_user(Path("~nobody-of-this-name/faces")) == Path("~nobody-of-this-name/faces")
    assert expand_user("./faces") == Path("faces")


def test_replaced_makes_a_new_file(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    with replaced(path) as part:
        assert part.parent == tmp_path  # a rename needs the same disk
        assert part.suffix == ".json"
        part.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(tmp_path.iterdir()) == [path]


def test_error_keeps_the_old_file_without_leftovers(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("old")

    def write_half() -> None:
        with replaced(path) as part:
            part.write_text("ha")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_open_reader_keeps_the_old_content(tmp_path: Path) -> None:
    path = tmp_path / "report.json"
    path.write_text("old")
    with path.open() as reader:
        write_text(path, "new")
        assert reader.read() == "old"
    assert path.read_text() == "new"


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX links and pipes")
def test_link_is_followed_and_pipe_raises(tmp_path: Path) -> None:
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


def test_folder_raises_and_is_named(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    with pytest.raises(IsADirectoryError, match=r"it is a folder; a file is expected: '.*folder'"):
        write_text(folder, "x")
    assert list(tmp_path.iterdir()) == [folder]


def test_longest_file_name_works(tmp_path: Path) -> None:
    path = tmp_path / ("a" * 251 + ".txt")
    write_text(path, "x")
    assert path.read_text() == "x"


def test_write_text_uses_utf8(tmp_path: Path) -> None:
    write_text(tmp_path / "name.txt", "Grüße 🙂")
    assert (tmp_path / "name.txt").read_bytes() == "Grüße 🙂".encode()


def test_missing_folder_error_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        write_text(tmp_path / "absent" / "name.txt", "x")
    assert caught.value.filename == str(tmp_path / "absent" / "name.txt")


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX modes")
@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_file_mode_follows_umask(tmp_path: Path, umask: int) -> None:
    """The mode 0600 of a temporary file would hide a shared model from other users."""
    before = os.umask(umask)
    try:
        write_text(tmp_path / "name.txt", "x")
        assert os.umask(umask) == umask  # unchanged
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "name.txt").stat().st_mode) == 0o666 & ~umask


@pytest.mark.skipif(os.name != "posix", reason="needs POSIX limits")
def test_full_disk_error_names_the_requested_file(tmp_path: Path) -> None:
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


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full, as Linux has it")
def test_full_disk_while_copying_names_the_requested_file(tmp_path: Path) -> None:
    """The system names the source of a copy first."""
    (tmp_path / "source").write_text("x")

    def copy_to_full_disk(part: Path) -> None:
        part.unlink()
        part.symlink_to("/dev/full")
        shutil.copyfile(tmp_path / "source", part)

    with (
        pytest.raises(OSError, match=r"No space left on device: '.*report\.json'"),
        replaced(tmp_path / "report.json") as part,
    ):
        copy_to_full_disk(part)
    assert [path.name for path in tmp_path.iterdir()] == ["source"]


def test_error_about_another_file_is_kept(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nowhere"), replaced(tmp_path / "report.json"):
        (tmp_path / "nowhere").read_text()


HOSTILE = "a\x1b[31m\x07\r\n\t\x7f\x9b\u202e\u2066\u200f\u2028b \u00e9\U0001f600 \\ \udce9\ud800"


def test_escaped_text_cannot_control_a_terminal() -> None:
    escaped = r"a\x1b[31m\x07\r\n\t\x7f\x9b\u202e\u2066\u200f\u2028b " + "\u00e9\U0001f600 \\ " + r"\xe9\ud800"
    assert escape_controls(HOSTILE) == escaped
    assert escape_controls(HOSTILE, keep="\n\t") == escaped.replace(r"\n", "\n").replace(r"\t", "\t")


def test_json_text_is_exact_without_control_characters() -> None:
    text = json_text({HOSTILE: [HOSTILE]})
    assert json.loads(text.encode("utf-8").decode("utf-8")) == {HOSTILE: [HOSTILE]}
    assert "\u00e9\U0001f600" in text
    assert escape_controls(text) == text


def test_printable_text_is_valid_unicode() -> None:
    assert printable("caf\udce9\ud83d").encode("utf-8") == rb"caf\xe9\ud83d"
