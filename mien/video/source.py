"""Videos, streams and cameras as upright RGB frames with their true times, decoded ahead in a thread."""

from __future__ import annotations

import queue
import re
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.errors import VideoError, error_text, require

AHEAD_BYTES = 64 << 20
"""Decoded frames that wait to be looked at, at most; there are always 2, however large."""
MOST_AHEAD = 32
"""Frames that wait, at most, however small."""
FALLBACK_RATE = 25.0
"""Frames a second where a video says neither times nor a rate."""
JUMP_S = 1.0
"""Where a frame's time is so much before the one before, another recording begins."""
MOST_STRETCHED = 4
"""Width of a pixel over its height, or height over width, at most."""
SILENCE_S = 1.0
"""How long a thread that has been left is waited for."""
SHORTEST_STEP_S = 1e-3
"""Where a frame's time is not after the one before, it is put so much later."""
CUT_OFF_S = 1.0
"""A video whose pictures end so much before the end that it names was cut off."""
TIMEOUTS_S = (20.0, 60.0)
"""How long an address may be silent when it is opened, and later."""
HD_LINES = 720
"""From so many on players take colours to be those of HD television, where a video does not name its own."""
BT709, UNNAMED = 1, 2
"""FFmpeg's numbers of the colours of HD television, and of those that are not named."""
CAMERAS: dict[str, tuple[str, str, dict[str, str]]] = {
    "linux": ("v4l2", "/dev/video{}", {}),
    "darwin": ("avfoundation", "{}:none", {"framerate": "30"}),  # FFmpeg's 29.97 is refused by what Apple builds in
    "win32": ("vfwcap", "{}", {}),
}
"""Platform -> FFmpeg's device, the name of camera number {}, and what it is asked for."""
CAMERA_WAIT_S = 0.005
"""How long a camera that has no picture yet, and says so instead of waiting, is left alone."""


@dataclass(frozen=True)
class Frame:
    """One picture of a video.

    Attributes:
        number: From 0.
        time_s: When it is shown, seconds from the video's start; strictly rising, as far apart as the video says.
        image_rgb: (H, W, 3), values 0..255: upright, with square pixels.
    """

    number: int
    time_s: float
    image_rgb: NDArray[np.uint8]


class VideoSource:
    """An opened video; iterate over it once, in a `with` block.

    Args:
        source: A file's path, a URL that FFmpeg reads, or a camera's number.
        sound: Whether `sound` collects the packets of the first sound track, for a copy.

    Attributes:
        name: As the person gave it.
        frames_per_s: On average, as the video says; 0 where it does not.
        duration_s: As the video says; 0 where it does not, or is live.
        sound_stream: PyAV's stream of the first sound track; None where there is none or it was not asked for.
        sound: Packets of that stream with their times as in the video, of about what has been decoded so far.
        ended: Whether all of its frames have been taken.
        stopped: Asked before each frame, and while one is waited for: whether to end here, as if the video did. It
            answers no until it is replaced.

    Raises:
        VideoError: It cannot be opened, or shows nothing.
        MissingExtraError: PyAV is not installed.
    """

    def __init__(self, source: str | Path, sound: bool = False) -> None:
        self._av = require("av", "video")
        self.name = str(source)
        self._container = self._open()
        streams = self._container.streams
        shown = [
            stream
            for stream in streams.video
            if stream.codec_context is not None and not stream.disposition & stream.disposition.attached_pic
        ]
        if not shown:
            what = "sound alone" if streams.audio else "no moving pictures"
            self._container.close()
            raise VideoError(f"{self.name} has {what} that can be decoded: give a file with a video track")
        self._stream = shown[0]
        self._stream.thread_type = "AUTO"
        self.frames_per_s = float(self._stream.average_rate or 0)
        self.duration_s = (self._container.duration or 0) / 1e6
        self._start_s: float | None = None
        self._read_to_s = 0.0
        heard = [stream for stream in streams.audio if stream.codec_context is not None]
        self.sound_stream = heard[0] if sound and heard else None
        self.sound: deque[Any] = deque()
        self.ended = False
        self.stopped: Callable[[], bool] = lambda: False
        self._abandoned = False

    def __enter__(self) -> VideoSource:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if not self._abandoned:
            self._container.close()

    @property
    def start_s(self) -> float:
        """The video's own time of the first frame, which `Frame.time_s` and the sound are counted from."""
        return self._start_s or 0.0

    def __iter__(self) -> Iterator[Frame]:
        """The frames in order.

        Raises:
            VideoError: It is damaged, was cut off, or the camera is gone; what was readable came before.
        """
        ahead: queue.Queue[Frame | Exception | None] = queue.Queue(self._frames_ahead())
        left = threading.Event()
        thread = threading.Thread(target=self._decode, args=(ahead, left), daemon=True)
        thread.start()
        try:
            while (frame := self._next(ahead)) is not None:
                if isinstance(frame, Exception):
                    raise frame
                yield frame
            self.ended = not self.stopped()
        finally:
            left.set()
            thread.join(SILENCE_S)  # it may wait for an address that is silent
            self._abandoned = thread.is_alive()

    def _next(self, ahead: queue.Queue[Frame | Exception | None]) -> Frame | Exception | None:
        """The next that comes; waits in small steps, so that a stop gets through while an address is silent."""
        while not self.stopped():
            try:
                return ahead.get(timeout=0.2)
            except queue.Empty:
                continue
        return None

    def _open(self) -> Any:
        name, options = self.name, dict[str, Any]()
        if Path(name).exists():
            name = f"file:{name}"  # a colon in a file's name names no protocol
        elif name.isdecimal():
            device = CAMERAS.get(sys.platform, CAMERAS["linux"])
            name, options = device[1].format(name), {"format": device[0], "options": device[2]}
        try:
            return self._av.open(name, timeout=TIMEOUTS_S, metadata_errors="replace", **options)
        except (self._av.error.FFmpegError, OSError, ValueError) as error:
            raise VideoError(self._why(error)) from None

    def _why(self, error: Exception) -> str:
        """One sentence of an error on opening."""
        path = Path(self.name)
        if self.name.isdecimal():
            return f"camera {self.name} cannot be opened ({_reason(error)}): is it plugged in, free, and allowed?"
        if "://" in self.name:
            return f"{self.name} cannot be opened ({_reason(error)}): check the address and the connection"
        if not path.exists():
            return f"there is no video {self.name}; check the path"
        if path.is_dir():
            return f"{self.name} is a folder; name the video in it"
        if path.stat().st_size == 0:
            return f"{self.name} is empty; get it again"
        return f"{self.name} cannot be read as a video: {_reason(error)}"

    def _frames_ahead(self) -> int:
        pixels = self._stream.codec_context.width * self._stream.codec_context.height
        return max(2, min(MOST_AHEAD, AHEAD_BYTES // max(1, 3 * int(pixels))))

    def _decode(self, ahead: queue.Queue[Frame | Exception | None], left: threading.Event) -> None:
        """Runs in the thread: everything decoded goes into the queue, an error or None last."""

        def put(item: Frame | Exception | None) -> bool:
            while not left.is_set():
                try:
                    ahead.put(item, timeout=0.1)
                except queue.Full:
                    continue
                return True
            return False

        number, time_s = 0, -SHORTEST_STEP_S
        try:
            for frame in self._decoded(left):
                time_s = self._time_after(time_s, frame, number)
                if not put(Frame(number, time_s, self._upright(frame))):
                    return
                number += 1
            put(self._cut_off(number, time_s))
        except (self._av.error.FFmpegError, OSError, ValueError) as error:
            # A camera or a stream that ends this way is gone; of a file, what came before is whole.
            where = f"after {time_s:.1f} s" if number else "before its first picture"
            put(VideoError(f"{self.name} cannot be read on {where}: {_reason(error)}"))
        except Exception as error:  # whoever waits for the next picture must hear of it
            put(error)

    def _cut_off(self, number: int, time_s: float) -> VideoError | None:
        """What is wrong with the end that was reached after so many pictures, the last of them at that time."""
        if number == 0:
            return VideoError(f"{self.name} has not one picture that can be decoded; get it again")
        promised_s = self._promised_s()
        if promised_s - self._read_to_s <= CUT_OFF_S:
            return None
        return VideoError(
            f"{self.name} ends after {time_s:.1f} s of the {promised_s - self.start_s:.1f} s that it names: it was cut "
            "off, or changed while it was read"
        )

    def _packets(self, left: threading.Event) -> Iterator[Any]:
        """What the container holds; cameras on macOS say that there is no picture yet, which does not end them."""
        wanted = [stream for stream in (self._stream, self.sound_stream) if stream is not None]
        while not left.is_set():
            try:
                yield from self._container.demux(wanted)
                return
            except self._av.error.BlockingIOError:
                time.sleep(CAMERA_WAIT_S)

    def _decoded(self, left: threading.Event) -> Iterator[Any]:
        """Frames as FFmpeg gives them; packets of sound are put aside on the way."""
        for packet in self._packets(left):
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
                continue  # a damaged packet costs its own pictures, as players have it

    def _promised_s(self) -> float:
        """When the last picture ends, as the file says: the picture's own end, for sound may go on longer."""
        stream = self._stream
        if stream.duration:
            return float(((stream.start_time or 0) + stream.duration) * stream.time_base)
        if match := re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", "")):  # Matroska's
            hours, minutes, seconds = match.groups()
            return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
        return 0.0

    def _time_after(self, last_s: float, frame: Any, number: int) -> float:
        """A frame's time, after the last one's; where a video jumps back, as one made of two does, time goes on."""
        time_s = self._time_of(frame, number)
        if number and time_s < last_s - JUMP_S:
            self._start_s = self.start_s + time_s - last_s - 1 / (self.frames_per_s or FALLBACK_RATE)
            time_s = self._time_of(frame, number)
        return max(time_s, last_s + SHORTEST_STEP_S)

    def _time_of(self, frame: Any, number: int) -> float:
        if frame.time is None:
            return number / (self.frames_per_s or FALLBACK_RATE)
        if self._start_s is None:
            self._start_s = float(frame.time)
        return float(frame.time) - self._start_s

    def _upright(self, frame: Any) -> NDArray[np.uint8]:
        # Of a shape that the container names and one that the codec names, players take the container's.
        ratio = self._stream.sample_aspect_ratio or self._stream.codec_context.sample_aspect_ratio or 1
        if not 1 / MOST_STRETCHED <= ratio <= MOST_STRETCHED:
            ratio = 1  # damaged: no pixels are like that
        width = max(1, round(frame.width * ratio))
        colours = BT709 if frame.colorspace == UNNAMED and frame.height >= HD_LINES else None
        image_rgb = frame.to_ndarray(format="rgb24", width=width, height=frame.height, src_colorspace=colours)
        quarter_turns = round(frame.rotation / 90) % 4  # anticlockwise, of the picture as it is stored
        return np.ascontiguousarray(np.rot90(image_rgb, quarter_turns)) if quarter_turns else image_rgb


def _reason(error: Exception) -> str:
    return error_text(error).lower()
