"""Keeping freed memory, so that each step's tensors take pages that are already there."""

from __future__ import annotations

import ctypes
import sys

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
"""mallopt's parameter numbers, from glibc's malloc.h."""


def keep_freed_memory() -> bool:
    """Tells glibc to reuse large blocks instead of giving them back to the system and asking for new, zeroed ones.

    A training step frees and allocates the same large tensors again and again; the page faults of fresh ones cost
    about a tenth of a step on a CPU (see results/LOG.md).

    Returns:
        Whether it took effect: on Linux with glibc only.
    """
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    settings = {_MMAP_THRESHOLD: 2**31 - 1, _TRIM_THRESHOLD: 2**31 - 1, _TOP_PAD: 2**28}
    return all(mallopt(parameter, value) == 1 for parameter, value in settings.items())
