"""The memory of the service: how much it takes with its workers, and settings of glibc that keep it small."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterable
from pathlib import Path

_TRIM_THRESHOLD, _MMAP_THRESHOLD, _ARENA_MAX = -1, -3, -8
"""mallopt's parameter numbers, from glibc's malloc.h."""
MMAP_THRESHOLD_BYTES, TRIM_THRESHOLD_BYTES = 2**20, 2**24
"""Freed blocks of the first size, and a freed end of the heap of the second size, return to the system at once."""


def memory_bytes(pids: Iterable[int]) -> float:
    """Returns the resident memory of processes together; pages that they share count once.

    A process that has ended counts nothing. On systems other than Linux the result is nan.
    """
    if sys.platform != "linux":
        return float("nan")
    return float(sum(map(_proportional_bytes, pids)))


def return_freed_memory() -> bool:
    """Makes glibc return the memory of bodies and answers to the system when they are freed.

    By default, each thread has a heap of its own, and glibc raises the size above which it returns blocks at once to
    that of the largest block that was ever freed.

    Returns:
        Whether it took effect, which is on Linux with glibc only.
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is None:
        return False
    settings = {_MMAP_THRESHOLD: MMAP_THRESHOLD_BYTES, _TRIM_THRESHOLD: TRIM_THRESHOLD_BYTES, _ARENA_MAX: 2}
    return all(mallopt(parameter, value) == 1 for parameter, value in settings.items())


def _proportional_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()
    except OSError:  # it has ended
        return 0
    return sum(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))
