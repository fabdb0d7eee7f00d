"""Archives that are damaged or hostile: one sentence, without a hang and without gigabytes of memory."""

from __future__ import annotations

import gzip
import io
import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from mien.data import load
from mien.data.archive import MAX_EMPTY_ROWS, MAX_RATIO, MIN_UNPACKED_BYTES, read_lines
from mien.errors import DataError

HEADER = b"emotion,pixels,Usage\n"


def tar(*members: tuple[str, bytes, bytes]) -> bytes:
    """Makes a .tar.gz of members: name, type, and content or link target."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, kind, content in members:
            entry = tarfile.TarInfo(name)
            entry.type = kind
            if kind == tarfile.REGTYPE:
                entry.size = len(content)
            else:
                entry.linkname = content.decode()
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def packed_zip(name: str, content: Iterable[bytes], mode: int = 0) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        entry = zipfile.ZipInfo(name)
        entry.external_attr, entry.compress_type = mode << 16, zipfile.ZIP_DEFLATED
        with archive.open(entry, "w") as stream:
            for block in content:
                stream.write(block)
    return packed.getvalue()


def error_of(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    with pytest.raises(DataError) as caught:
        load(path, cache=False)
    assert path.name in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("kind", "target"),
    [
        (tarfile.SYMTYPE, b"fer2013.csv"),
        (tarfile.SYMTYPE, b"/etc/passwd"),
        (tarfile.SYMTYPE, b"nowhere.csv"),
        (tarfile.LNKTYPE, b"/etc/passwd"),
        (tarfile.CHRTYPE, b""),
        (tarfile.BLKTYPE, b""),
        (tarfile.FIFOTYPE, b""),
        (tarfile.DIRTYPE, b""),
    ],
    ids=["link to itself", "link", "broken link", "hard link", "device", "disk", "pipe", "folder"],
)
def test_tar_member_that_is_not_a_file(tmp_path: Path, kind: bytes, target: bytes) -> None:
    sentence = error_of(tmp_path / "fer2013.tar.gz", tar(("fer2013.csv", kind, target)))
    assert "fer2013.csv in fer2013.tar.gz is a link, a folder or a device; expected a file" in sentence


def test_tar_with_a_link_before_the_file_reads_the_file(tmp_path: Path, fer2013_csv: Path) -> None:
    path = tmp_path / "links.tar.gz"
    members = (("fer2013.csv", tarfile.SYMTYPE, b"x"), ("data/fer2013.csv", tarfile.REGTYPE, fer2013_csv.read_bytes()))
    path.write_bytes(tar(*members))
    assert len(load(path, cache=False)) == len(load(fer2013_csv, cache=False))


@pytest.mark.parametrize(
    ("name", "mode"), [("fer2013.csv", 0o120777), ("fer2013.csv/", 0o40755)], ids=["link", "folder"]
)
def test_zip_member_that_is_not_a_file(tmp_path: Path, name: str, mode: int) -> None:
    sentence = error_of(tmp_path / "fer2013.zip", packed_zip(name, [b"/etc/passwd"[: 99 * ("/" not in name)]], mode))
    assert "in fer2013.zip is a link, a folder or a device; expected a file" in sentence


def blocks(start: bytes, block: bytes) -> Iterable[bytes]:
    """Yields 16 MiB more than an archive may unpack to."""
    yield start
    for _ in range((MIN_UNPACKED_BYTES + (16 << 20)) // len(block)):
        yield block


BOMBS: dict[str, Callable[[], bytes]] = {
    "empty rows.zip": lambda: packed_zip("fer2013.csv", blocks(HEADER, b"\n" * (1 << 20))),
    "endless row.zip": lambda: packed_zip("fer2013.csv", blocks(HEADER + b"0,", b"1 " * (1 << 19))),
    "endless row.csv.gz": lambda: gzip.compress(b"".join(blocks(HEADER + b"0,", b"1 " * (1 << 19)))),
    "zeros.csv.gz": lambda: gzip.compress(b"".join(blocks(HEADER, bytes(1 << 20)))),
    "endless cell.csv.gz": lambda: gzip.compress(b"".join(blocks(HEADER + b'0,"', b"1 " * 1000 + b"\n"))),
    "large member.tar.gz": lambda: tar(("a.txt", tarfile.REGTYPE, b"".join(blocks(b"", bytes(1 << 20))))),
}
"""Files of up to 100 KB that unpack to 80 MiB or more."""


@pytest.mark.parametrize("name", BOMBS)
def test_bomb_is_refused_without_unpacking_it(tmp_path: Path, name: str) -> None:
    sentence = error_of(tmp_path / name, BOMBS[name]())
    expected = {
        "empty rows.zip": f"more than the {MAX_EMPTY_ROWS:,} empty rows allowed",
        "endless cell.csv.gz": "field larger than field limit",
        "large member.tar.gz": f"unpacks to more than {MIN_UNPACKED_BYTES:,} bytes, {MAX_RATIO} times its size",
    }
    assert expected.get(name, "row 2 of") in sentence


def test_rows_beyond_the_ratio_are_refused(tmp_path: Path) -> None:
    """All rows are valid, so that only the ratio stops them."""
    row = b"0," + b" ".join([b"0"] * 2304) + b",Training\n"
    sentence = error_of(tmp_path / "rows.zip", packed_zip("fer2013.csv", blocks(HEADER, row * 100)))
    assert f"rows.zip unpacks to more than {MIN_UNPACKED_BYTES:,} bytes" in sentence


def test_tar_with_an_extended_header_of_megabytes(tmp_path: Path) -> None:
    """tarfile would read it into memory, whatever its size."""
    header = tarfile.TarInfo("pax")
    header.type, header.size = tarfile.XHDTYPE, 1 << 31
    data = gzip.compress(header.tobuf() + bytes(2048))
    assert "a header has 2,147,483,648 bytes and 1,048,576 are allowed" in error_of(tmp_path / "fer2013.tar.gz", data)


def test_tar_with_too_many_members(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.data.archive.MAX_MEMBERS", 1000)
    data = gzip.compress(tarfile.TarInfo("a").tobuf() * 1001)
    assert "holds more than 1,000 files" in error_of(tmp_path / "fer2013.tar.gz", data)


@pytest.mark.parametrize("name", ["fer2013.csv", "fer2013.zip", "fer2013.tar.gz", "faces.parquet"])
def test_pipe_is_refused_instead_of_waited_for(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    command = [sys.executable, "-m", "mien", "data", "inspect", str(tmp_path / name)]
    process = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert process.returncode == 2
    assert "is a pipe" in process.stderr


def test_longest_allowed_line_is_read() -> None:
    assert list(read_lines(io.BytesIO(b"\xef\xbb\xbf" + b"1" * (1 << 17)), "a.csv")) == ["1" * (1 << 17)]
    with pytest.raises(DataError, match=r"row 1 of a\.csv has more than the 131,072 characters allowed"):
        list(read_lines(io.BytesIO(b"1" * ((1 << 17) + 1)), "a.csv"))
