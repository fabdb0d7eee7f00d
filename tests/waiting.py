"""Waiting in tests for a condition that another thread or process fulfils."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

LONG_S = 60.0
"""Longest wait, seconds; long enough for a busy machine."""


def until(condition: Callable[[], T], what: str, seconds: float = LONG_S) -> T:
    """Waits until a condition returns a true value, and returns that value.

    Args:
        condition: Function that is called repeatedly.
        what: Description of the condition, for the error.
        seconds: Longest wait.

    Raises:
        AssertionError: The condition stayed false.
    """
    end_s = time.monotonic() + seconds
    while not (result := condition()):
        assert time.monotonic() < end_s, f"waited {seconds:g} s in vain for {what}"
        time.sleep(0.01)
    return result
