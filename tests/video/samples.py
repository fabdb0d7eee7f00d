"""Sample videos with a public-domain face at given places, and a tone as their sound."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import skimage.data
from numpy.typing import NDArray
from PIL import Image

SIZE = (240, 320)
"""Height and width of the frames, in pixels."""
FACE_PX = 110
"""Height and width of the pasted square around the face."""


def face_at(*places: tuple[float, float], face_px: int = FACE_PX) -> NDArray[np.uint8]:
    """Returns a gray frame with copies of the astronaut's face, whose upper left corners are at `places` (x, y)."""
    image = Image.new("RGB", SIZE[::-1], (110, 110, 110))
    face = Image.fromarray(skimage.data.astronaut()[20:240, 110:330]).resize((face_px, face_px))
    for x, y in places:
        image.paste(face, (round(x), round(y)))
    return np.asarray(image)


WALK = [face_at((10 + 4 * i, 60)) for i in range(25)]
"""25 frames in which a face moves from left to right."""


def write(
    path: Path,
    frames: Sequence[NDArray[np.uint8]],
    times_s: Sequence[float] | None = None,
    rate: int = 25,
    sound: str | None = None,
    sound_s: float | None = None,
    sound_rate: int = 48000,
    sound_from_s: float = 0.0,
    sound_layout: str = "stereo",
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    **stream: Any,
) -> Path:
    """Writes a video.

    Args:
        path: The file.
        frames: RGB images.
        times_s: The time of each frame; None spaces them evenly.
        rate: Frames per second.
        sound: The codec of a tone; None writes no sound.
        sound_s: The end of the tone; None ends it with the frames.
        sound_rate: Sample rate of the tone.
        sound_from_s: The start of the tone.
        sound_layout: `mono` or `stereo`.
        codec: The codec of the video.
        pix_fmt: The pixel format of the video.
        stream: Other attributes of the video's codec context.
    """
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=rate)
        video.height, video.width = frames[0].shape[:2]
        video.pix_fmt = pix_fmt
        video.codec_context.time_base = Fraction(1, 1000)
        for name, value in stream.items():
            setattr(video.codec_context, name, value)
        audio = container.add_stream(sound, rate=sound_rate, layout=sound_layout) if sound else None
        for number, image in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), format="rgb24")
            time_s = times_s[number] if times_s else number / rate
            frame.pts, frame.time_base = round(1000 * time_s), Fraction(1, 1000)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None:
            seconds = sound_s or (times_s[-1] if times_s else len(frames) / rate) + 0.04
            _add_tone(container, audio, seconds, sound_rate, sound_from_s)
    return path


def write_sound(path: Path, codec: str, seconds: float) -> Path:
    """Writes a file with sound only."""
    with av.open(str(path), "w") as container:
        _add_tone(container, container.add_stream(codec, rate=48000), seconds)
    return path


def _add_tone(container: Any, stream: Any, seconds: float, rate: int = 48000, from_s: float = 0.0) -> None:
    tone = np.sin(np.arange(round(rate * seconds)) * (2 * np.pi * 440 / rate)).astype(np.float32)[None] * 0.3
    for start in range(round(rate * from_s), tone.shape[1], 960):
        block = av.AudioFrame.from_ndarray(np.ascontiguousarray(tone[:, start : start + 960]), "fltp", "mono")
        block.sample_rate, block.pts, block.time_base = rate, start, Fraction(1, rate)
        container.mux(stream.encode(block))
    container.mux(stream.encode(None))


def set_display_matrix(path: Path, matrix: tuple[float, float, float, float]) -> Path:
    """Sets the display matrix of an MP4 file, as phones do: (x, y) is shown at (ax + cy, bx + dy)."""
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 44
    a, b, c, d = (round(0x10000 * value) for value in matrix)
    content[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 0x40000000)
    path.write_bytes(content)
    return path
