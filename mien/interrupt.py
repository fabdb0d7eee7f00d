"""Ctrl-C and SIGTERM as a request to stop after the current step."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class Interrupt:
    """A flag that a loop checks between its steps.

    Attributes:
        requested: Whether a signal has asked the process to stop.
    """

    requested: bool = False


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """Turns the first Ctrl-C or SIGTERM within the block into a request; a second Ctrl-C ends the program at once."""
    interrupt = Interrupt()

    def request(number: int, frame: FrameType | None) -> None:
        interrupt.requested = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    previous = {number: signal.signal(number, request) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupt
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
