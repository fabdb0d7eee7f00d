"""Damaged videos for `mien video`, with each of its outputs."""

from __future__ import annotations

import random
import shutil
import struct
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import mutate
from harness import Case, command
from pictures import FACE
from PIL import Image

KINDS = {
    "h264.mp4": "libx264", "mpeg4.avi": "mpeg4", "vp8.webm": "libvpx", "h264.mkv": "libx264", "mjpeg.avi": "mjpeg",
    "mpeg4.mov": "mpeg4", "mpeg2.ts": "mpeg2video", "flv.flv": "flv",
}  # fmt: skip
"""Name of a file -> codec."""
OUTPUTS = (
    ("--jsonl", "a.jsonl"),
    ("-o", "a.mp4"),
    ("--parquet", "a.parquet"),
    ("--report", "a.html"),
    ("--csv", "a.csv"),
)


def seeds(folder: Path) -> dict[str, bytes]:
    """Makes half a second of a face in several containers and codecs."""
    import av

    picture, made = Image.open(FACE).convert("RGB").resize((192, 144)), {}
    for name, codec in KINDS.items():
        path = folder / name
        with av.open(str(path), "w") as video:
            stream = video.add_stream(codec, rate=Fraction(20))
            stream.width, stream.height = 192, 144
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            for _ in range(10):
                video.mux(stream.encode(av.VideoFrame.from_image(picture)))
            video.mux(stream.encode())
        made[name] = path.read_bytes()
    return made


def by_hand(made: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """Yields files with an odd header, playlists, and files that are no videos."""
    mp4 = made["h264.mp4"]
    for box, start, size in ((b"tkhd", 80, 8), (b"avc1", 28, 4), (b"mvhd", 16, 8), (b"mdhd", 16, 8), (b"stts", 8, 8),
                             (b"stsz", 8, 8), (b"stco", 8, 8), (b"stsc", 8, 8), (b"tkhd", 44, 36)):  # fmt: skip
        place = mp4.find(box) + start
        for value in (b"\0", b"\xff", b"\x7f"):
            yield f"{box.decode()}-{start}-{value.hex()}.mp4", mp4[:place] + value * size + mp4[place + size :]
    for n in (0, 1, 7, 64):
        yield f"zero-{n}.mp4", bytes(n)
    yield "list.mp4", b"ffconcat version 1.0\nfile /etc/passwd\n"
    yield "playlist.mp4", b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/passwd\n"
    yield "text.mkv", b"this is no video\n" * 99
    yield "picture.mp4", FACE.read_bytes()
    yield "huge.y4m", b"YUV4MPEG2 W65535 H65535 F25:1 C420\nFRAME\n" + bytes(999)
    yield "large.y4m", b"YUV4MPEG2 W16000 H16000 F25:1 C420\nFRAME\n" + bytes(999)
    yield "slow.y4m", b"YUV4MPEG2 W16 H16 F1:2147483647 C420\n" + (b"FRAME\n" + bytes(384)) * 9
    yield "fast.y4m", b"YUV4MPEG2 W16 H16 F2147483647:1 C420\n" + (b"FRAME\n" + bytes(384)) * 9
    yield "huge.avi", made["mjpeg.avi"].replace(struct.pack("<II", 192, 144), struct.pack("<II", 60000, 60000))


def cases(folder: Path, count: int, r: random.Random) -> Iterator[Case]:
    """Yields videos."""
    import mien.video.pipeline  # noqa: F401  (in the parent, so that no child imports it)

    made = seeds(folder)
    others, hand, outputs = list(made.values()), list(by_hand(made)), folder / "outputs"
    for number in range(count):
        if number < len(hand):
            name, data = hand[number]
        else:
            kind = r.choice(list(made))
            damage, data = mutate.damaged(made[kind], r, r.choice(others))
            name = f"{damage}-{kind}"
        path = folder / f"video{Path(name).suffix}"
        path.write_bytes(data)
        shutil.rmtree(outputs, ignore_errors=True)
        outputs.mkdir()
        option, file = OUTPUTS[number % len(OUTPUTS)]
        yield Case(name, command("video", path, option, outputs / file, "--threads", 1), folder=outputs)
