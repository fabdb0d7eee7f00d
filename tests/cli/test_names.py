"""File and class names that are hostile or not Unicode: what terminals, pipes and files get."""

from __future__ import annotations

import csv
import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import onnx
import pytest
from PIL import Image

from tests.cli.conftest import ASTRONAUT
from tests.waiting import LONG_S

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(os.name == "nt", reason="Windows does not allow such names"),
]

NAMES = {
    b"caf\xe9.jpg": "caf\\xe9.jpg",
    "caf\u00e9 \u65e5\u672c.jpg".encode(): "caf\u00e9 \u65e5\u672c.jpg",
    b"\x1b[31mred\x1b]0;owned\x07.jpg": "\x1b[31mred\x1b]0;owned\x07.jpg",
    "\u202egpj.exe\x9b31m.jpg".encode(): "\u202egpj.exe\x9b31m.jpg",
    b"a\nb.jpg": "a\nb.jpg",
    b"a\rb.jpg": "a\rb.jpg",
    b'a,b"c.jpg': 'a,b"c.jpg',
    b"[bold]x.jpg": "[bold]x.jpg",
    b"=1+1.jpg": "=1+1.jpg",
    b"+1.jpg": "+1.jpg",
    b"@SUM(1).jpg": "@SUM(1).jpg",
    b"'quoted'.jpg": "'quoted'.jpg",
    b"\ttab.jpg": "\ttab.jpg",
}
"""Name of a file -> the same name in CSV and Parquet, which have to be Unicode."""


def small_photograph() -> bytes:
    """A JPEG of the astronaut's head."""
    jpeg = io.BytesIO()
    with Image.open(ASTRONAUT) as photograph:
        photograph.crop((120, 0, 330, 210)).save(jpeg, "JPEG", quality=90)
    return jpeg.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of photographs with these names, and a damaged one."""
    folder = tmp_path_factory.mktemp("names")
    for name in NAMES:
        (folder / os.fsdecode(name)).write_bytes(small_photograph())
    return folder


def recognize(folder: Path, *arguments: object, encoding: str = "utf-8:strict") -> subprocess.CompletedProcess[bytes]:
    """Runs `mien recognize` in a folder of pictures with an encoding of its pipes."""
    command = [sys.executable, "-m", "mien", "recognize", *map(os.fsdecode, NAMES), *map(str, arguments)]
    environment = {"PYTHONIOENCODING": encoding, "PYTHONUTF8": "0", "PYTHONPATH": str(ASTRONAUT.parents[1])}
    return subprocess.run(
        [*command, "--model", "tiny", "--threads", "1"],
        cwd=folder,
        capture_output=True,
        env={key: value for key, value in os.environ.items() if key != "COLUMNS"} | environment,
        check=False,
        timeout=LONG_S,
    )


@pytest.mark.parametrize("encoding", ["ascii:strict", "latin-1", "utf-16", "utf-8:strict"])
def test_piped_json_is_utf8_with_the_exact_names(folder: Path, encoding: str) -> None:
    done = recognize(folder, "--json", encoding=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    paths = [picture["path"] for picture in json.loads(done.stdout.decode("utf-8"))]
    assert [os.fsencode(path) for path in paths] == list(NAMES)


@pytest.mark.parametrize("encoding", ["ascii:strict", "latin-1", "utf-16"])
def test_piped_csv_is_utf8_with_the_names_after_one_apostrophe(folder: Path, encoding: str) -> None:
    done = recognize(folder, "--csv", encoding=encoding)
    assert (done.returncode, done.stderr) == (0, b"")
    cells = [row["path"] for row in csv.DictReader(io.StringIO(done.stdout.decode("utf-8"), newline=""))]
    assert [cell.removeprefix("'") for cell in cells] == list(NAMES.values())
    assert not [cell for cell in cells if cell[0] in "=+-@\t\r"]


def test_files_hold_the_names_too(folder: Path, tmp_path: Path) -> None:
    for ending in (".csv", ".json", ".jsonl", ".parquet"):
        done = recognize(folder, "-o", tmp_path / f"faces{ending}", encoding="ascii:strict")
        assert done.returncode == 0, done.stderr
    assert (tmp_path / "faces.csv").read_bytes() == recognize(folder, "--csv").stdout
    assert (tmp_path / "faces.json").read_bytes() == recognize(folder, "--json").stdout
    lines = (tmp_path / "faces.jsonl").read_bytes().decode("utf-8").splitlines()
    assert [os.fsencode(json.loads(line)["path"]) for line in lines] == list(NAMES)
    import pyarrow.parquet

    assert pyarrow.parquet.read_table(tmp_path / "faces.parquet")["path"].to_pylist() == list(NAMES.values())


def test_piped_table_keeps_names_whole_and_in_one_line(folder: Path) -> None:
    long = folder / ("x" * 200 + ".jpg")
    long.write_bytes(small_photograph())
    done = recognize(folder, long)
    table = done.stdout.decode("utf-8")
    assert str(long) in table
    assert "a\\nb.jpg" in table
    assert "[bold]x.jpg" in table
    assert len([line for line in table.splitlines() if "happy" in line]) == len(NAMES) + 1


def on_terminal(folder: Path, *arguments: object) -> bytes:
    """Runs `mien` in a folder -> what the terminal gets."""
    process, terminal = pty.fork()
    if process == 0:
        os.chdir(folder)
        os.environ["PYTHONPATH"] = str(ASTRONAUT.parents[1])
        os.execv(sys.executable, [sys.executable, "-m", "mien", *map(str, arguments)])
    received = b""
    try:
        while block := os.read(terminal, 4096):
            received += block
    except OSError:  # the process has ended
        pass
    os.waitpid(process, 0)
    return received


ATTACKS = (b"\x1b]0;owned", b"\x1b[31mred", b"\x1b[31mbad", b"\x1b[31mclass", "\u202e".encode(), b"\xc2\x9b")


@pytest.mark.parametrize("options", [(), ("--json",), ("--csv",), ("-o", "../annotated"), ("-o", "../all.parquet")])
def test_names_do_not_reach_the_terminal_raw(folder: Path, options: tuple) -> None:
    (folder / "\x1b[31mbad\x1b]0;owned\x07.png").write_bytes(b"no picture")
    received = on_terminal(folder, "recognize", ".", *options, "--model", "tiny", "--threads", 1)
    assert [attack for attack in ATTACKS if attack in received] == []
    assert b"31mbad" in received or "../all.parquet" in options


def test_class_names_do_not_reach_the_terminal_raw(folder: Path, tmp_path: Path) -> None:
    from mien.models.zoo import find_model

    model = onnx.load(find_model("tiny"))
    stored = json.loads(next(each.value for each in model.metadata_props if each.key == "mien"))
    stored["classes"] = [f"\x1b[31mclass\x1b]0;owned\x07{name}" for name in stored["classes"]]
    onnx.helper.set_model_props(model, {"mien": json.dumps(stored)})
    onnx.save(model, tmp_path / "evil.onnx")
    for options in ((), ("--json",), ("--csv",)):
        received = on_terminal(tmp_path, "recognize", ASTRONAUT, *options, "--model", "evil.onnx", "--threads", 1)
        assert b"31mclass" in received
        assert [attack for attack in ATTACKS if attack in received] == []
