"""Loading: detection of the format, and the cache, which is used only while the source is unchanged."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.data import FaceDataset, fer2013, folders, load
from mien.errors import DataError
from tests.conftest import Row, WriteRows


def same(a: FaceDataset, b: FaceDataset) -> bool:
    names = ("images", "targets", "splits", "index")
    arrays = all(np.array_equal(getattr(a, name), getattr(b, name)) for name in names)
    return arrays and (a.path, a.format, a.images.dtype) == (b.path, b.format, b.images.dtype)


def forbid(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("the source was read again")

    monkeypatch.setattr(fer2013, "read", fail)
    monkeypatch.setattr(folders, "read", fail)


def cached(user_cache: Path) -> list[Path]:
    return [path for path in user_cache.rglob("*") if path.is_file()]


@pytest.mark.parametrize("name", ["absent.csv", "absent", "absent/fer2013.tar.gz"])
def test_missing_path_raises(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError, match="does not exist; expected FER2013's archive or CSV"):
        load(tmp_path / name)


@pytest.mark.parametrize("name", ["faces.rar", "faces.txt", "faces", "face.jpg"])
def test_unknown_form_raises(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("?")
    with pytest.raises(DataError, match=rf"{name} is in no known format; expected \.csv"):
        load(tmp_path / name)


def test_csv_ignores_size_and_has_one_cached_copy(fer2013_csv: Path, user_cache: Path) -> None:
    assert {load(fer2013_csv, size=size).size for size in (48, 64)} == {48}
    assert len(cached(user_cache)) == 1


def test_folder_that_holds_the_csv(fer2013_csv: Path, tmp_path: Path, rows: list[Row]) -> None:
    (tmp_path / "README").write_text("about the challenge")
    (tmp_path / "train.csv").write_text("emotion,pixels\n")
    dataset = load(tmp_path, cache=False)
    assert (len(dataset), dataset.format, dataset.path) == (len(rows), "csv", str(fer2013_csv))


def test_tilde_is_the_home_folder(fer2013_csv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(fer2013_csv.parent))
    monkeypatch.setenv("USERPROFILE", str(fer2013_csv.parent))
    assert len(load("~/fer2013.csv", cache=False)) == 56


def test_unreadable_path_raises(fer2013_csv: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path) -> bool:
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "is_dir", refuse)
    with pytest.raises(DataError, match="cannot be read: Permission denied"):
        load(fer2013_csv)


def test_second_load_comes_from_the_cache(fer2013_csv: Path, user_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = load(fer2013_csv)
    assert len(cached(user_cache)) == 1
    forbid(monkeypatch)
    assert same(load(fer2013_csv), first)
    with pytest.raises(AssertionError, match="read again"):
        load(fer2013_csv, cache=False)


def test_cache_false_writes_no_copy(fer2013_csv: Path, user_cache: Path) -> None:
    load(fer2013_csv, cache=False)
    assert not cached(user_cache)


def test_changed_source_is_read_again_and_replaces_the_copy(
    fer2013_csv: Path, user_cache: Path, rows: list[Row], write_rows: WriteRows
) -> None:
    load(fer2013_csv)
    write_rows(fer2013_csv, rows[:-1])
    assert len(load(fer2013_csv)) == 55
    assert len(cached(user_cache)) == 1


def test_source_of_the_same_size_but_newer_is_read_again(fer2013_csv: Path, user_cache: Path) -> None:
    load(fer2013_csv)
    before = fer2013_csv.stat()
    fer2013_csv.write_bytes(fer2013_csv.read_bytes().replace(b"\n6,", b"\n3,"))
    os.utime(fer2013_csv, ns=(before.st_atime_ns, before.st_mtime_ns + 1_000_000_000))
    assert fer2013_csv.stat().st_size == before.st_size
    assert load(fer2013_csv).counts()["training"]["neutral"] == 0


def test_changed_folder_is_read_again(tmp_path: Path, user_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "faces"
    for name in ("happy", "sad"):
        (root / name).mkdir(parents=True)
        Image.new("L", (48, 48), 9).save(root / name / "1.png")
    assert len(load(root)) == 2
    Image.new("L", (48, 48), 9).save(root / "sad" / "2.png")
    assert load(root).targets.tolist() == [3, 4, 4]
    (root / "sad").rename(root / "surprise")  # no file, size or time changes
    assert load(root).targets.tolist() == [3, 5, 5]
    assert load(root, size=32).size == 32
    (root / ".DS_Store").write_text("macOS writes this when a person opens the folder")
    forbid(monkeypatch)
    assert load(root).size == 48
    assert load(root, size=32).size == 32


def test_copy_of_another_format_is_not_used(
    fer2013_csv: Path, user_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load(fer2013_csv)
    monkeypatch.setattr(
        sys.modules["mien.data.load"], "FORMAT", "another"
    )  # `mien.data.load` is the function, not the module
    forbid(monkeypatch)
    with pytest.raises(AssertionError, match="read again"):
        load(fer2013_csv)


@pytest.mark.parametrize("damage", ["empty", "cut", "flipped", "text", "npy", "other names"])
def test_damaged_cache_is_replaced(
    fer2013_csv: Path, user_cache: Path, capsys: pytest.CaptureFixture[str], damage: str
) -> None:
    first = load(fer2013_csv)
    (file,) = cached(user_cache)
    data = bytearray(file.read_bytes())
    if damage == "empty":
        file.write_bytes(b"")
    elif damage == "cut":
        file.write_bytes(data[: len(data) // 2])
    elif damage == "flipped":
        data[len(data) // 2] ^= 1
        file.write_bytes(data)
    elif damage == "text":
        file.write_text("no archive")
    elif damage == "npy":
        with file.open("wb") as stream:
            np.save(stream, np.zeros(3))
    else:
        with file.open("wb") as stream:
            np.savez(stream, images=first.images)
    assert same(load(fer2013_csv), first)
    assert "is damaged, reading" in capsys.readouterr().err
    assert same(load(fer2013_csv), first)
    assert capsys.readouterr().err == ""


def test_unwritable_cache_prints_a_warning(
    fer2013_csv: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    assert len(load(fer2013_csv)) == 56
    assert "cannot be cached" in capsys.readouterr().err


def test_unreadable_cache_is_ignored(
    fer2013_csv: Path, user_cache: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As in a container whose user does not own the home folder."""

    def deny(path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(np, "load", deny)
    assert len(load(fer2013_csv)) == 56
    assert "damaged" not in capsys.readouterr().err


def test_concurrent_loads_share_one_copy(
    fer2013_csv: Path, user_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each writes its own temporary file and renames it, so that no reader sees half a file."""
    with ThreadPoolExecutor(8) as pool:
        datasets = list(pool.map(lambda _: load(fer2013_csv), range(24)))
    assert all(same(dataset, datasets[0]) for dataset in datasets)
    assert len(cached(user_cache)) == 1
    assert capsys.readouterr().err == ""


MEASURE = """
import json, resource, sys, time
start = time.perf_counter()
from mien.data import load
dataset = load(sys.argv[1], ferplus=sys.argv[2])
used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform == "linux" else 1024**2)
print(json.dumps({"n": len(dataset), "s": time.perf_counter() - start, "mb": used}))
"""


@pytest.mark.slow
def test_cached_real_data_loads_quickly_in_little_memory(
    real_dataset: FaceDataset, fer2013_real: Path, ferplus_real: Path, real_cache: Path
) -> None:
    """Measured: 0.4 s and 137 MB on two cores at 2 GHz; the limits allow for a busy machine."""
    pytest.importorskip("resource")
    # An intermediate process: Linux counts the memory of the parent, which has torch, as the child's own peak.
    between = "import subprocess, sys; sys.exit(subprocess.run([sys.executable, *sys.argv[1:]]).returncode)"
    command = [sys.executable, "-c", between, "-c", MEASURE, str(fer2013_real), str(ferplus_real)]
    environment = os.environ | {"XDG_CACHE_HOME": str(real_cache)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    measured = json.loads(done.stdout)
    print(measured)
    assert done.stderr == ""
    assert measured["n"] == len(real_dataset)
    assert measured["s"] < 10
    assert measured["mb"] < 250
