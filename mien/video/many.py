"""Recognises many videos at once, each in a process of its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

from mien.errors import MienError
from mien.recognition.workers import Outcome, in_processes
from mien.video.pipeline import VideoOutputs, VideoResult, recognize_video
from mien.video.recognizer import VideoRecognizer
from mien.video.source import VideoSource
from mien.video.track import Smoothing

VideoJob = tuple[str, VideoOutputs]
"""The path or URL of a video, and the files to write."""


@dataclass(frozen=True)
class RecognizerSettings:
    """The arguments of `VideoRecognizer`, with which each process makes its own; it has one thread."""

    model: str
    detector: str
    detect_every: int
    smoothing: Smoothing
    min_score: float | None = None
    device: str | None = None


def recognize_videos(
    jobs: Iterable[VideoJob], settings: RecognizerSettings, workers: int
) -> Iterator[Outcome[VideoJob, VideoResult | MienError | OSError]]:
    """Recognises videos in several processes, and yields each outcome as soon as it is known.

    A video that cannot be read, or whose files cannot be written, has an error as its result. A process that dies costs
    its video alone, which is tried again; see `mien.recognition.workers.in_processes`.

    Args:
        jobs: The videos; each must have files of its own.
        settings: How to recognise.
        workers: Processes.

    Raises:
        MienError: No process can start.
    """
    return in_processes(partial(_VideoJobs, settings), jobs, workers)


class _VideoJobs:
    """The function of a process: recognises one video after the other."""

    def __init__(self, settings: RecognizerSettings) -> None:
        one_thread = 1
        self._recognizer = VideoRecognizer(
            settings.model,
            settings.detector,
            one_thread,
            settings.detect_every,
            settings.smoothing,
            min_score=settings.min_score,
            device=settings.device,
        )

    def __call__(self, job: VideoJob) -> VideoResult | MienError | OSError:
        name, outputs = job
        try:
            with VideoSource(name, sound=outputs.annotated is not None) as source:
                return recognize_video(source, self._recognizer, outputs, lambda frame: None)
        except (MienError, OSError) as error:
            return error
