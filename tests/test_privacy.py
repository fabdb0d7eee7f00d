"""What recognition leaves behind: no file that was not asked for, no connection, and no content in the log."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.hosting import serve_process
from tests.video import samples
from tests.waiting import LONG_S

ASTRONAUT = Path(__file__).parents[1] / "examples" / "astronaut.jpg"

WATCH = '''
"""Appends what this process and those it starts write and connect to, one event a line, to the file WATCH_LOG."""
import os, sys
_log = os.open(os.environ["WATCH_LOG"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
def _watch(event, values):
    path, _, flags = (*values, None, None)[:3] if event == "open" else (0, 0, 0)
    if not isinstance(path, int) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):  # a number is a pipe that is open
        os.write(_log, f"write {path}\\n".encode())
    elif event == "socket.connect":
        os.write(_log, f"connect to {values[1]}\\n".encode())
    elif event == "socket.getaddrinfo" and values[0] not in (None, "127.0.0.1"):
        os.write(_log, f"look up {values[0]}\\n".encode())
sys.addaudithook(_watch)
'''


@dataclass
class Watched:
    """A user whose home, cache and temporary folders are empty, and whose processes are watched."""

    environment: dict[str, str]
    folder: Path

    def run(self, *arguments: object) -> None:
        """Runs a command in the empty folder `here`, and fails if it does."""
        subprocess.run(
            [sys.executable, "-m", "mien", *map(str, arguments)],
            env=os.environ | self.environment,
            cwd=self.folder / "here",
            check=True,
            capture_output=True,
            timeout=5 * LONG_S,
        )

    @property
    def files(self) -> list[str]:
        """The files in all four folders."""
        paths = (path for name in ("home", "cache", "tmp", "here") for path in (self.folder / name).rglob("*"))
        return sorted(str(path.relative_to(self.folder)) for path in paths)

    @property
    def events(self) -> list[str]:
        """What was written, but for null devices and Python's trial of the temporary folder, and all connections."""
        harmless = re.compile(rf"write ({os.devnull}|{self.folder}/tmp/[a-z0-9_]{{8}})")
        return [line for line in (self.folder / "log").read_text().splitlines() if not harmless.fullmatch(line)]


@pytest.fixture
def watched(tmp_path: Path) -> Watched:
    for name in ("home", "cache", "tmp", "here", "watch"):
        (tmp_path / name).mkdir()
    (tmp_path / "watch" / "sitecustomize.py").write_text(WATCH)
    repository = Path(__file__).parents[1]
    environment = {
        "HOME": str(tmp_path / "home"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
        "TMPDIR": str(tmp_path / "tmp"),
        "WATCH_LOG": str(tmp_path / "log"),
        "PYTHONPATH": os.pathsep.join([str(tmp_path / "watch"), str(repository)]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    return Watched(environment, tmp_path)


def test_watch_sees_a_file_and_a_connection(watched: Watched) -> None:
    program = "import socket; open('a', 'w'); socket.socket().connect_ex(('127.0.0.1', 9))"
    subprocess.run(
        [sys.executable, "-c", program], env=os.environ | watched.environment, cwd=watched.folder / "here", check=True
    )
    assert watched.files == ["here/a"]
    assert watched.events == ["write a", "connect to ('127.0.0.1', 9)"]


def test_photograph_leaves_nothing_behind(watched: Watched) -> None:
    watched.run("recognize", ASTRONAUT, "--json")
    assert (watched.files, watched.events) == ([], [])


def test_photograph_leaves_only_the_copy_that_was_asked_for(watched: Watched) -> None:
    watched.run("recognize", ASTRONAUT, "-o", "copy.jpg")
    assert watched.files == ["here/copy.jpg"]
    assert [event for event in watched.events if not event.startswith("write .mien-")] == []


@pytest.mark.film
def test_video_leaves_only_the_table_that_was_asked_for(watched: Watched) -> None:
    film = samples.write(watched.folder / "film.mp4", samples.WALK)
    watched.run("video", film, "--csv", "faces.csv", "--threads", 1)
    assert watched.files == ["here/faces.csv"]
    assert [event for event in watched.events if not event.startswith("write .mien-")] == []


@pytest.mark.process
def test_service_leaves_nothing_behind_and_logs_no_content(watched: Watched) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (1200, 1200, 3), np.uint8)
    with Image.open(ASTRONAUT) as astronaut:
        pixels[:512, :512] = np.asarray(astronaut)
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "PNG")  # 4 MB, which a form would be spooled to disk for
    with serve_process("--workers", "1", **watched.environment) as (process, client):
        answer = client.post("/v1/recognize", files={"pictures": ("secret-name.png", content.getvalue(), "image/png")})
        assert answer.status_code == 200
        assert answer.json()["pictures"][0]["faces"][0]["expression"] == "happy"
        assert (watched.files, watched.events) == ([], [])
        process.terminate()
        log = process.stderr.read()
    assert "secret-name" not in log
    assert "happy" not in log
