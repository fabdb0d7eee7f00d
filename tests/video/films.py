"""Videos that the tests make: of a public-domain face that is where the test says, with a tone as their sound."""

from __future__ import annotations

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
"""Height and width of the pictures, pixels."""
FACE_PX = 110
"""Height and width of the square that the face is pasted as."""


def face_at(*places: tuple[float, float], face_px: int = FACE_PX) -> NDArray[np.uint8]:
    """A gray picture with the astronaut's face, its square's upper left corner at each (x, y)."""
    picture = Image.new("RGB", SIZE[::-1], (110, 110, 110))
    face = Image.fromarray(skimage.data.astronaut()[20:240, 110:330]).resize((face_px, face_px))
    for x, y in places:
        picture.paste(face, (round(x), round(y)))
    return np.asarray(picture)


def write(
    path: Path,
    pictures: Sequence[NDArray[np.uint8]],
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

    `sound` is the codec of a tone as long as the pictures, or as `sound_s`, which begins at `sound_from_s`; `stream`
    sets the picture's attributes.
    """
    with av.open(str(path), "w") as container:
        video = container.add_stream(codec, rate=rate)
        video.height, video.width = pictures[0].shape[:2]
        video.pix_fmt = pix_fmt
        video.codec_context.time_base = Fraction(1, 1000)
        for name, value in stream.items():
            setattr(video.codec_context, name, value)
        audio = container.add_stream(sound, rate=sound_rate, layout=sound_layout) if sound else None
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            time_s = times_s[number] if times_s else number / rate
            frame.pts, frame.time_base = round(1000 * time_s), Fraction(1, 1000)
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None:
            seconds = sound_s or (times_s[-1] if times_s else len(pictures) / rate) + 0.04
            _add_tone(container, audio, seconds, sound_rate, sound_from_s)
    return path


def write_sound(path: Path, codec: str, seconds: float) -> Path:
    """A file of sound alone."""
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


def turn(path: Path) -> Path:
    """Says in an MP4 file that its pictures are to be shown a quarter turn clockwise, as telephones do."""
    content = bytearray(path.read_bytes())
    matrix = content.index(b"tkhd") + 44
    quarter = (0, 0x10000, 0, 0xFFFF0000, 0, 0, 0, 0, 0x40000000)
    content[matrix : matrix + 36] = b"".join(value.to_bytes(4, "big") for value in quarter)
    path.write_bytes(content)
    return path
