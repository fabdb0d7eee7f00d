"""Runs `mien video` as a process, and reads what it writes."""

from __future__ import annotations

import csv
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from tests.waiting import LONG_S


def command(*arguments: object) -> list[str]:
    """Returns the command line of `mien video` with one thread."""
    return [sys.executable, "-m", "mien", "video", *map(str, arguments), "--threads", "1"]


def run(*arguments: object, limit: Callable[[], None] | None = None) -> subprocess.CompletedProcess[str]:
    """Runs `mien video`; `limit` is called in the new process first."""
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, preexec_fn=limit, check=False, timeout=5 * LONG_S
    )


def read_csv(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
