"""How many of the processor's cores this process may use."""

from __future__ import annotations

import os


def usable_cores() -> int:
    """Those that the process is bound to, as by `taskset` or a container; all where the system does not say."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1
