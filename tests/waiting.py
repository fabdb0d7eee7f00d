"""Waiting in tests for what happens elsewhere: as long as a slow machine needs, but not for ever."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

LONG_S = 60.0
"""Longer than anything that a test waits for takes, however busy the machine is."""


def until(condition: Callable[[], T], what: str, seconds: float = LONG_S) -> T:
    """Asks again and again whether a condition holds -> what it said when it did.

    Raises:
        AssertionError: It never did; the sentence says what was waited for.
    """
    end_s = time.monotonic() + seconds
    while not (said := condition()):
        assert time.monotonic() < end_s, f"waited {seconds:g} s in vain for {what}"
        time.sleep(0.01)
    return said
