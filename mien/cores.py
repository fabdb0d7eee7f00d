"""The number of CPU cores that this process may use."""

from __future__ import annotations

import math
import os
from pathlib import Path

QUOTA = Path("/sys/fs/cgroup/cpu.max")
"""File in which Linux gives a container's CPU limit: microseconds of CPU time, or max, and the period they refer to."""


def usable_cores() -> int:
    """Returns the number of cores that the process is bound to, as by `taskset`, or a container's limit if lower."""
    bound = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = QUOTA.read_text(encoding="ascii").split()
        return max(1, min(bound, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError, ZeroDivisionError):  # no such file, or no limit
        return bound
