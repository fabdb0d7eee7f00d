"""glibc settings that keep freed memory, so that every training step reuses the same pages."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
"""mallopt's parameter numbers, from glibc's malloc.h."""


def keep_freed_memory() -> bool:
    """Makes glibc reuse large blocks instead of returning them to the system.

    A training step frees and allocates the same large tensors again and again. The page faults of newly mapped blocks
    take about a tenth of a step on a CPU (see results/LOG.md).

    Returns:
        Whether it took effect, which is on Linux with glibc only.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = {_MMAP_THRESHOLD: 2**31 - 1, _TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 2**28}
    return all(mallopt(parameter, value) == 1 for parameter, value in settings.items())
