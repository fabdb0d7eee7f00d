"""Ctrl-C and SIGTERM as a wish to stop after the step at hand."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType


@dataclass
class Interrupt:
    """Whether a stop was asked for."""

    requested: bool = False


@contextmanager
def interruptible() -> Iterator[Interrupt]:
    """While the block runs, the first Ctrl-C or SIGTERM is noted; a second Ctrl-C ends the program at once."""
    interrupt = Interrupt()

    def note(number: int, frame: FrameType | None) -> None:
        interrupt.requested = True
        signal.signal(signal.SIGINT, signal.default_int_handler)

    previous = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interrupt
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
