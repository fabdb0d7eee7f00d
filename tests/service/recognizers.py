"""Recognisers for tests of worker processes, which import this module: it must stay small."""

import os
import signal
import time
from pathlib import Path

GREEN, RED, BLUE, WHITE = (0, 128, 0), (255, 0, 0), (0, 0, 255), (255, 255, 255)
"""Colours of pictures at which a ColourRecognizer raises an error, crashes, fills the memory, or never ends."""


class Hold:
    """Lets a test hold the workers of a service between batches, through files in a folder."""

    def __init__(self, folder):
        self.held, self.started = Path(folder) / "held", Path(folder) / "started"

    def begin(self):
        """Workers wait at their next batch."""
        self.started.unlink(missing_ok=True)
        self.held.touch()

    def end(self):
        """Workers go on."""
        self.held.unlink(missing_ok=True)

    @property
    def is_reached(self):
        """Whether a worker waits."""
        return self.started.exists()

    def wait(self):
        """Waits in a worker while the test holds it."""
        while self.held.exists():
            self.started.touch()
            time.sleep(0.01)


class ColourRecognizer:
    """Finds no face in any picture, starts at once, and misbehaves at some colours."""

    device = "cpu"

    def __init__(self, folder):
        self.hold = Hold(folder)

    def recognize_batch(self, images_rgb):
        self.hold.wait()
        for image_rgb in images_rgb:
            colour = tuple(image_rgb[0, 0].tolist())
            if colour == GREEN:
                raise ZeroDivisionError("green")
            if colour == RED:
                os.kill(os.getpid(), signal.SIGSEGV)
            if colour == BLUE:
                bytes(2**40)
            if colour == WHITE:
                time.sleep(3600)
        return [()] * len(images_rgb)


def held_recognizer(folder, model, detector, min_score, device):
    """Makes a real recogniser that a test can hold."""
    from mien.recognition.recognizer import Recognizer

    class HeldRecognizer(Recognizer):
        def recognize_batch(self, pictures):
            hold.wait()
            return super().recognize_batch(pictures)

    hold = Hold(folder)
    return HeldRecognizer(model, detector, threads=1, min_score=min_score, device=device)
