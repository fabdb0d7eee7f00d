"""Decodes videos, streams and cameras into upright RGB frames with their true times, ahead of use in a thread."""

from __future__ import annotations

import os
import queue
import re
import struct
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from mien.errors import VideoError, error_text, require, shortened, shortened_path
from mien.files import is_special

QUEUE_BYTES = 64 << 20
"""The most memory for decoded frames that wait in the queue; it always holds at least 2."""
MAX_QUEUE_FRAMES = 32
"""The most frames in the queue, however small they are."""
FALLBACK_FPS = 25.0
"""Frames per second of a video that has neither timestamps nor a frame rate."""
MAX_BACKWARD_JUMP_S = 1.0
"""If timestamps jump back by more than this, another recording starts."""
MAX_PIXEL_ASPECT_RATIO = 4
"""The largest accepted ratio of a pixel's sides; a larger one comes from a damaged file."""
JOIN_TIMEOUT_S = 1.0
"""How long to wait for the decoding thread to end."""
MIN_FRAME_STEP_S = 1e-3
"""The smallest time between frames; a frame whose timestamp is not after the previous one is moved to this."""
MAX_MISSING_END_S = 1.0
"""A video that ends this much earlier than its file states was truncated."""
TIMEOUTS_S = (20.0, 60.0)
"""How long a network address may not respond when it is opened, and while it is read."""
MIN_HD_HEIGHT = 720
"""Players assume the colours of HD television from this height on, if a video does not state its colours."""
BT709, UNSPECIFIED = 1, 2
"""FFmpeg's numbers for the colours of HD television and for unspecified colours."""
CAMERAS: dict[str, tuple[str, str, dict[str, str]]] = {
    "linux": ("v4l2", "/dev/video{}", {}),
    "darwin": ("avfoundation", "{}:none", {"framerate": "30"}),  # Apple's built-in cameras reject FFmpeg's 29.97
    "win32": ("vfwcap", "{}", {}),
}
"""Platform -> FFmpeg's input format, the name of camera {}, and FFmpeg's options."""
STANDARD_INPUT = "-"
"""The name of the video that is read from standard input."""
CAMERA_RETRY_S = 0.005
"""How long to wait before asking a camera again that has no frame yet and reports that instead of blocking."""


@dataclass(frozen=True)
class Frame:
    """One frame of a video.

    Attributes:
        number: From 0.
        time_s: When the frame is shown, in seconds from the start of the video; strictly increasing.
        image_rgb: (H, W, 3), values 0..255; upright, with square pixels.
    """

    number: int
    time_s: float
    image_rgb: NDArray[np.uint8]


_QueueItem: TypeAlias = Frame | Exception | None  # None marks the end of the video


class VideoSource:
    """An open video, to be iterated over once inside a `with` block.

    Args:
        source: The path of a file, a URL that FFmpeg reads, the number of a camera, or STANDARD_INPUT.
        sound: Whether to collect the packets of the first audio stream in `sound`.

    Attributes:
        name: The source as it was given.
        frames_per_s: The average frame rate; 0 if the video does not state it.
        duration_s: The duration; 0 if the video does not state it, or is live.
        sound_stream: PyAV's first audio stream; None if there is none or `sound` is off.
        sound: The packets of that stream with the video's own timestamps, up to about the last decoded frame.
        ended: Whether all frames have been read.
        stopped: Called before each frame and while waiting for one; if it returns true, iteration ends. Replace it to
            be able to stop; by default it returns false.

    Raises:
        VideoError: The video cannot be opened, or has no video stream.
        MissingExtraError: PyAV is not installed.
    """

    def __init__(self, source: str | Path, sound: bool = False) -> None:
        self._av = require("av", "video")
        self.name = str(source)
        self._label = "standard input" if self.name == STANDARD_INPUT else shortened_path(self.name)
        self._container = self._open()
        streams = self._container.streams
        video_streams = [
            stream
            for stream in streams.video
            if stream.codec_context is not None and not stream.disposition & stream.disposition.attached_pic
        ]
        if not video_streams:
            content = "only sound" if streams.audio else "no video"
            self._container.close()
            raise VideoError(f"{self._label} has {content} that can be decoded; give a file with a video stream")
        self._stream = video_streams[0]
        self._stream.thread_type = "AUTO"
        self.frames_per_s = float(self._stream.average_rate or 0)
        self.duration_s = (self._container.duration or 0) / 1e6
        self._start_s: float | None = None
        self._read_to_s = 0.0
        audio_streams = [stream for stream in streams.audio if stream.codec_context is not None]
        self.sound_stream = audio_streams[0] if sound and audio_streams else None
        self.sound: deque[Any] = deque()
        self.ended = False
        self.stopped: Callable[[], bool] = lambda: False
        self._thread_is_running = False

    def __enter__(self) -> VideoSource:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if not self._thread_is_running:  # the thread still uses the container
            self._container.close()

    @property
    def start_s(self) -> float:
        """The video's own timestamp that corresponds to a `Frame.time_s` of 0."""
        return self._start_s or 0.0

    def __iter__(self) -> Iterator[Frame]:
        """Yields the frames in order.

        Raises:
            VideoError: The video is damaged or truncated, or the camera was disconnected. All readable frames come
                first.
        """
        frames: queue.Queue[_QueueItem] = queue.Queue(self._queue_size())
        cancelled = threading.Event()
        thread = threading.Thread(target=self._decode, args=(frames, cancelled), daemon=True)
        thread.start()
        try:
            while (frame := self._next(frames)) is not None:
                if isinstance(frame, Exception):
                    raise frame
                yield frame
            self.ended = not self.stopped()
        finally:
            cancelled.set()
            thread.join(JOIN_TIMEOUT_S)  # it may be waiting for a network address
            self._thread_is_running = thread.is_alive()

    def _next(self, frames: queue.Queue[_QueueItem]) -> _QueueItem:
        """Waits for the next item in short steps, so that `stopped` is noticed while a network address is silent."""
        while not self.stopped():
            try:
                return frames.get(timeout=0.2)
            except queue.Empty:
                continue
        return None

    def _open(self) -> Any:
        name, options = self.name, dict[str, Any]()
        if is_special(name):
            raise VideoError(
                f"{self._label} is a pipe, a device or a socket: give a file, - for standard input, or the "
                "number of a camera"
            )
        if name == STANDARD_INPUT:
            name = "pipe:0"
        elif os.path.exists(name):  # noqa: PTH110 - Path.exists raises for an impossible name
            name = f"file:{name}"  # otherwise FFmpeg takes the text before a colon in the name as a protocol
        elif name.isdecimal():
            device = CAMERAS.get(sys.platform, CAMERAS["linux"])
            name, options = device[1].format(name), {"format": device[0], "options": device[2]}
        try:
            return self._av.open(name, timeout=TIMEOUTS_S, metadata_errors="replace", **options)
        except (self._av.error.FFmpegError, OSError, ValueError) as error:
            raise VideoError(self._opening_error(error)) from None

    def _opening_error(self, error: Exception) -> str:
        path = Path(self.name)
        if self.name == STANDARD_INPUT:
            return f"standard input cannot be read as a video: {_reason(error)}"
        if self.name.isdecimal():
            return (
                f"camera {self._label} cannot be opened ({_reason(error)}): check that it is connected, not in use by "
                "another program, and that mien has permission to use it"
            )
        if "://" in self.name:
            return f"{self._label} cannot be opened ({_reason(error)}): check the address and the connection"
        if not os.path.exists(path):  # noqa: PTH110
            return f"there is no video {self._label}; check the path"
        if path.is_dir():
            return f"{self._label} is a folder; give the path of a video in it"
        if path.stat().st_size == 0:
            return f"{self._label} is an empty file; download or copy it again"
        return f"{self._label} cannot be read as a video: {_reason(error)}"

    def _queue_size(self) -> int:
        pixels = self._stream.codec_context.width * self._stream.codec_context.height
        return max(2, min(MAX_QUEUE_FRAMES, QUEUE_BYTES // max(1, 3 * int(pixels))))

    def _decode(self, frames: queue.Queue[_QueueItem], cancelled: threading.Event) -> None:
        """Decodes the video into a queue, in a thread. The last item is an error or None."""

        def put(item: _QueueItem) -> bool:
            while not cancelled.is_set():
                try:
                    frames.put(item, timeout=0.1)
                except queue.Full:
                    continue
                return True
            return False

        number, time_s = 0, -MIN_FRAME_STEP_S
        try:
            for decoded in self._decoded_frames(cancelled):
                time_s = self._time_after(time_s, decoded, number)
                if not put(Frame(number, time_s, self._upright(decoded))):
                    return
                number += 1
            put(self._truncation_error(number, time_s))
        except (self._av.error.FFmpegError, OSError, ValueError) as error:
            where = f"after {time_s:.1f} s" if number else "before the first frame"
            put(VideoError(f"reading {self._label} stopped {where}: {_reason(error)}"))
        except Exception as error:  # raised again by the thread that waits for frames
            put(error)

    def _truncation_error(self, frame_count: int, last_time_s: float) -> VideoError | None:
        """Returns an error if the video ended without a frame, or earlier than it states."""
        if frame_count == 0:
            return VideoError(f"{self._label} has no frame that can be decoded; download or copy it again")
        stated_end_s = self._stated_end_s()
        if stated_end_s - self._read_to_s <= MAX_MISSING_END_S:
            return None
        return VideoError(
            f"{self._label} ends after {last_time_s:.1f} s, but states a duration of {stated_end_s - self.start_s:.1f} "
            "s: it was truncated, or changed while it was being read"
        )

    def _packets(self, cancelled: threading.Event) -> Iterator[Any]:
        """Yields the packets of the container."""
        streams = [stream for stream in (self._stream, self.sound_stream) if stream is not None]
        while not cancelled.is_set():
            try:
                yield from self._container.demux(streams)
                return
            except self._av.error.BlockingIOError:  # on macOS, a camera that has no frame yet
                time.sleep(CAMERA_RETRY_S)

    def _decoded_frames(self, cancelled: threading.Event) -> Iterator[Any]:
        """Yields PyAV's frames, and collects the packets of the audio stream in between."""
        for packet in self._packets(cancelled):
            if packet.stream is not self._stream:
                if packet.dts is not None:
                    self.sound.append(packet)
                continue
            if packet.pts is not None:
                end_s = float((packet.pts + (packet.duration or 0)) * packet.time_base)
                self._read_to_s = max(self._read_to_s, end_s)
            try:
                yield from packet.decode()
            except self._av.error.InvalidDataError:
                continue  # like players, skip only the frames of a damaged packet

    def _stated_end_s(self) -> float:
        """Returns the end of the video stream that the file states, or 0; an audio stream may be longer."""
        stream = self._stream
        if stream.duration:
            return float(((stream.start_time or 0) + stream.duration) * stream.time_base)
        if match := re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", "")):  # Matroska
            hours, minutes, seconds = match.groups()
            return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
        return 0.0

    def _time_after(self, last_time_s: float, frame: Any, number: int) -> float:
        """Returns a frame's time, which is after the last one even where the timestamps jump back."""
        time_s = self._time_s(frame, number)
        if number and time_s < last_time_s - MAX_BACKWARD_JUMP_S:
            self._start_s = self.start_s + time_s - last_time_s - 1 / (self.frames_per_s or FALLBACK_FPS)
            time_s = self._time_s(frame, number)
        return max(time_s, last_time_s + MIN_FRAME_STEP_S)

    def _time_s(self, frame: Any, number: int) -> float:
        if frame.time is None:
            return number / (self.frames_per_s or FALLBACK_FPS)
        if self._start_s is None:
            self._start_s = float(frame.time)
        return float(frame.time) - self._start_s

    def _upright(self, frame: Any) -> NDArray[np.uint8]:
        """Converts a frame to RGB with square pixels, turned and mirrored as the container states."""
        # If the container and the codec state different pixel aspect ratios, players use the container's.
        ratio = self._stream.sample_aspect_ratio or self._stream.codec_context.sample_aspect_ratio or 1
        if not 1 / MAX_PIXEL_ASPECT_RATIO <= ratio <= MAX_PIXEL_ASPECT_RATIO:
            ratio = 1
        width = max(1, round(frame.width * ratio))
        colours = BT709 if frame.colorspace == UNSPECIFIED and frame.height >= MIN_HD_HEIGHT else None
        image_rgb = frame.to_ndarray(format="rgb24", width=width, height=frame.height, src_colorspace=colours)
        return np.ascontiguousarray(_display(image_rgb, self._display_matrix(frame)))

    def _display_matrix(self, frame: Any) -> tuple[int, int, int, int]:
        """Returns a, b, c, d of a frame's display matrix: decoded (x, y) is shown at (ax + cy, bx + dy)."""
        for data in frame.side_data:
            if data.type.name == "DISPLAYMATRIX":
                a, b, _, c, d, *_ = struct.unpack("=9i", bytes(data))
                return a, b, c, d
        return 1, 0, 0, 1


def _display(image: NDArray[np.uint8], matrix: tuple[int, int, int, int]) -> NDArray[np.uint8]:
    """Turns and mirrors an image by the one of the eight quarter turns and mirrorings that is next to a matrix."""
    a, b, c, d = matrix
    if abs(b) + abs(c) > abs(a) + abs(d):  # rows become columns
        image, a, d = image.swapaxes(0, 1), c, b
    return image[:: -1 if d < 0 else 1, :: -1 if a < 0 else 1]


def _reason(error: Exception) -> str:
    return shortened(error_text(error)).lower()
