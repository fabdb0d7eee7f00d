"""Runs one case of mien in a forked child, and judges how it ended.

A fork of a process that has imported everything takes 50 ms where a new Python takes seconds, and each case still has
an exit code, output, time, peak memory and crash of its own.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

MAX_S = 20.0
"""Most processor time of a case, seconds."""
MAX_MIB = 1024
"""Most memory of a case, MiB."""
_IDLE_S = 60.0
"""Time after which a case that neither works nor waits for a processor or a disk counts as hanging, seconds."""


@dataclass(frozen=True)
class Case:
    """One input.

    Attributes:
        name: What the input is.
        run: Called in the child; it returns or raises as mien's command line does.
        codes: The exit codes that are right.
        folder: A folder in which no temporary file may be left.
    """

    name: str
    run: Callable[[], object]
    codes: tuple[int, ...] = (0, 2)
    folder: Path | None = None


@dataclass
class Outcome:
    """How a case ended; `faults` is empty if it ended as it should."""

    name: str
    code: int
    seconds: float
    mib: float
    output: str
    errors: str
    faults: list[str] = field(default_factory=list)


def command(*words: object) -> Callable[[], object]:
    """Returns a function that runs `mien WORDS`."""

    def run() -> None:
        from mien.cli import main

        sys.argv = ["mien", *map(str, words)]
        main()

    return run


def run(case: Case, work: Path) -> Outcome:
    """Runs a case in a child process and judges it."""
    files = [work / "stdout", work / "stderr"]
    pid = os.fork()
    if pid == 0:
        _child(case, files, work)
    code, seconds, mib, killed = _wait(pid)
    output, errors = (file.read_bytes().decode("utf-8", "backslashreplace") for file in files)
    checks = {
        "traceback": "Traceback (most recent call last)" in output + errors,
        "crash": code < 0 and not killed,
        "time": killed == "time" or seconds > MAX_S,
        "memory": killed == "memory" or mib > MAX_MIB,
        "exit code": code >= 0 and code not in case.codes,
        "no sentence": code == 2 and not errors.strip(),
        "temporary file": bool(case.folder and list(case.folder.glob("**/.mien-*"))),
    }
    return Outcome(case.name, code, seconds, mib, output, errors, [fault for fault, is_so in checks.items() if is_so])


def _child(case: Case, files: list[Path], work: Path) -> None:
    code = 1
    try:
        for path, number in zip(files, (1, 2), strict=True):
            os.dup2(os.open(path, os.O_CREAT | os.O_TRUNC | os.O_WRONLY), number)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(work)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
        case.run()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
    except BaseException:
        traceback.print_exc()
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError):
                stream.flush()
        os._exit(code)


def _wait(pid: int) -> tuple[int, float, float, str]:
    """Waits for a child, and ends one that takes too much -> (exit code, processor seconds, MiB, why it was ended)."""
    peak, killed, last_s, since = 0.0, "", 0.0, time.perf_counter()
    while True:
        done, status, usage = os.wait4(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status), usage.ru_utime + usage.ru_stime, peak, killed
        spent_s, can_run, mib = _state(pid)
        peak, now = max(peak, mib), time.perf_counter()
        if spent_s > last_s or can_run:
            last_s, since = spent_s, now
        why = "memory" if peak > 2 * MAX_MIB else "time" if spent_s > 2 * MAX_S or now - since > _IDLE_S else ""
        if why and not killed:
            killed = why
            os.kill(pid, signal.SIGKILL)
        time.sleep(0.01)


def _state(pid: int) -> tuple[float, bool, float]:
    """Reads a process's processor time in seconds, whether a thread runs or waits for a disk, and its peak MiB."""
    try:
        root = Path(f"/proc/{pid}")
        stats = [path.read_text().rsplit(")", 1)[1].split() for path in root.glob("task/*/stat")]
        status = dict(line.split(":", 1) for line in (root / "status").read_text().splitlines())
        spent = sum(int(each[11]) + int(each[12]) for each in stats) / os.sysconf("SC_CLK_TCK")
        return spent, any(each[0] in "RD" for each in stats), int(status["VmHWM"].split()[0]) / 1024
    except (OSError, IndexError, KeyError, ValueError):  # it has just ended
        return 0.0, True, 0.0
