"""Damaged pictures: every format that Pillow writes, damaged at random; bombs and odd metadata by hand."""

from __future__ import annotations

import io
import random
import struct
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path

import mutate
import numpy as np
from harness import Case, command
from PIL import Image

FACE = Path(__file__).resolve().parents[2] / "examples" / "astronaut.jpg"


def encoded(picture: Image.Image, kind: str, **options: object) -> bytes:
    """Returns a picture as a file of a format."""
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def seeds() -> dict[str, bytes]:
    """Small good pictures of a face, by file name."""
    face = Image.open(FACE).convert("RGB")
    face.thumbnail((160, 160))
    gray = face.convert("L")
    deep = Image.fromarray(np.asarray(gray).astype(np.uint16) * 257)
    rgba = face.copy()
    rgba.putalpha(gray)
    exif = Image.Exif()
    exif[0x0112], exif[0x010E] = 6, "seed"
    palette, one = face.quantize(64), gray.convert("1")
    frames = {"save_all": True, "append_images": [face.rotate(90)] * 2, "duration": 50}
    return {
        "base.jpg": encoded(face, "JPEG"), "progressive.jpg": encoded(face, "JPEG", progressive=True, exif=exif),
        "cmyk.jpg": encoded(face.convert("CMYK"), "JPEG"), "gray.jpg": encoded(gray, "JPEG", exif=exif),
        "rgb.png": encoded(face, "PNG", exif=exif), "deep.png": encoded(deep, "PNG"), "rgba.png": encoded(rgba, "PNG"),
        "one.png": encoded(one, "PNG"), "palette.png": encoded(palette, "PNG", transparency=3),
        "animated.png": encoded(face, "PNG", **frames), "lossy.webp": encoded(face, "WEBP", exif=exif),
        "lossless.webp": encoded(rgba, "WEBP", lossless=True), "animated.webp": encoded(face, "WEBP", **frames),
        "still.gif": encoded(palette, "GIF", transparency=3), "animated.gif": encoded(palette, "GIF", **frames),
        "deflate.tif": encoded(face, "TIFF", compression="tiff_adobe_deflate"),
        "lzw.tif": encoded(rgba, "TIFF", compression="tiff_lzw"), "jpeg.tif": encoded(face, "TIFF", compression="jpeg"),
        "raw.tif": encoded(face, "TIFF"), "deep.tif": encoded(deep, "TIFF"), "lab.tif": encoded(face.convert("LAB"), "TIFF"),
        "fax.tif": encoded(one, "TIFF", compression="group4"), "pages.tif": encoded(face, "TIFF", **frames),
        "int.tif": encoded(gray.convert("I"), "TIFF"), "rgb.bmp": encoded(face, "BMP"), "one.bmp": encoded(one, "BMP"),
        "face.ppm": encoded(face, "PPM"), "gray.pgm": encoded(gray, "PPM"), "one.pbm": encoded(one, "PPM"),
        "face.tga": encoded(rgba, "TGA", compression="tga_rle"), "face.jp2": encoded(face, "JPEG2000"),
        "face.avif": encoded(face, "AVIF", quality=60), "face.mpo": encoded(face, "MPO", **frames),
        "face.ico": encoded(rgba, "ICO"), "face.icns": encoded(rgba.resize((128, 128)), "ICNS"),
        "face.eps": encoded(face, "EPS"), "face.pdf": encoded(face, "PDF"), "face.dds": encoded(rgba, "DDS"),
    }  # fmt: skip


def png(width: int, height: int, packed: bytes, depth: int = 8, colour: int = 0, more: bytes = b"") -> bytes:
    """Makes a PNG that declares any size."""
    head = _chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + head + more + _chunk(b"IDAT", packed) + _chunk(b"IEND", b"")


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def zeros(n: int) -> bytes:
    """Deflates n zeros without holding them."""
    packer = zlib.compressobj(1)
    parts = [packer.compress(bytes(min(1 << 22, n - start))) for start in range(0, n, 1 << 22)]
    return b"".join([*parts, packer.flush()])


def bombs(made: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """Small files that say they are large, or are."""
    for side in (8_000, 13_300, 30_000, 65_535, 100_000, 2**31 - 1):
        little = min(side, 65_535)
        yield f"declares-{side}.png", png(side, side, zlib.compress(bytes(1000)))
        yield f"declares-{side}.bmp", made["rgb.bmp"][:18] + struct.pack("<ii", side, side) + made["rgb.bmp"][26:]
        yield f"declares-{side}.ppm", f"P6\n{side} {side}\n255\n".encode() + bytes(300)
        yield f"declares-{side}.pgm", f"P2\n{side} {side}\n65535\n".encode() + b"1 2 3 4 "
        yield f"declares-{side}.gif", b"GIF89a" + struct.pack("<HH", little, little) + made["still.gif"][10:]
        yield f"declares-{side}.tga", made["face.tga"][:12] + struct.pack("<HH", little, little) + made["face.tga"][16:]
        start = made["base.jpg"].index(b"\xff\xc0") + 5
        yield (
            f"declares-{side}.jpg",
            made["base.jpg"][:start] + struct.pack(">HH", little, little) + made["base.jpg"][start + 4 :],
        )
    for side, colour, depth, values in (
        (5_000, 0, 8, 1),
        (10_400, 2, 8, 3),
        (10_400, 6, 8, 4),
        (10_400, 0, 16, 2),
        (10_400, 6, 16, 8),
    ):
        yield f"zeros-{side}-{colour}-{depth}.png", png(side, side, zeros(side * (values * side + 1)), depth, colour)
    for width, height in ((1, 65_000), (65_000, 1), (1, 1), (1, 100_000_000), (100_000_000, 1), (65_000, 1_600)):
        yield f"thin-{width}-{height}.png", png(width, height, zeros(height * (width + 1)))
    for side in (5_000, 13_000):
        yield f"zeros-{side}.gif", encoded(Image.new("P", (side, side)), "GIF")
        yield f"zeros-{side}.jpg", encoded(Image.new("L", (side, side)), "JPEG")
        yield f"zeros-{side}.tif", encoded(Image.new("L", (side, side)), "TIFF", compression="tiff_adobe_deflate")
        yield f"zeros-{side}.jp2", encoded(Image.new("L", (side, side)), "JPEG2000")
    yield "zeros.webp", encoded(Image.new("RGB", (6_000, 6_000)), "WEBP", lossless=True, method=0)
    yield "text.png", png(9, 9, zeros(90), more=_chunk(b"zTXt", b"a\0\0" + zeros(1 << 28)))
    yield "texts.png", png(9, 9, zeros(90), more=_chunk(b"zTXt", b"a\0\0" + zeros(1 << 19)) * 500)


def oddities(made: dict[str, bytes], r: random.Random) -> Iterator[tuple[str, bytes]]:
    """Odd EXIF, and files that are no pictures."""
    base = made["base.jpg"]
    for n in range(40):
        body = b"Exif\0\0" + r.choice((b"", b"II*\0\x08\0\0\0")) + r.randbytes(r.choice((0, 1, 8, 200, 60_000)))
        yield f"exif-{n}.jpg", base[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + base[2:]
    for kind in range(20):
        for count, value in ((1, 6), (0, 6), (0xFFFFFFFF, 6), (1000, 8)):
            entry = struct.pack("<HHHIII", 1, 0x0112, kind, count, value, 8)
            body = b"Exif\0\0II*\0" + struct.pack("<I", 8) + entry
            yield (
                f"orientation-{kind}-{count}-{value}.jpg",
                base[:2] + b"\xff\xe1" + struct.pack(">H", len(body) + 2) + body + base[2:],
            )
    starts = (b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"II*\0", b"BM", b"RIFF\0\0\0\0WEBP", b"<svg/>", b"%PDF-1.7",
              b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"\0\0\0\x20ftypheic", b"PK\3\4", b"\x1f\x8b", b"8BPS")  # fmt: skip
    for n, start in enumerate(starts):
        for m, end in enumerate((b"", bytes(500), b"\xff" * 500)):
            yield f"start-{n}-{m}.jpg", start + end


def cases(folder: Path, count: int, r: random.Random) -> Iterator[Case]:
    """Yields pictures for a recogniser that was made beforehand, and every tenth for the command line."""
    from mien import Recognizer
    from mien.errors import ImageError

    recognizer = Recognizer(threads=1)
    made = seeds()
    others = list(made.values())

    def recognize(path: Path) -> None:
        try:
            assert isinstance(recognizer(path), tuple)
        except ImageError as error:
            print(f"mien: {error}", file=sys.stderr)
            raise SystemExit(2) from None

    def contents() -> Iterator[tuple[str, bytes]]:
        yield from ((f"good-{name}", data) for name, data in made.items())
        yield from bombs(made)
        yield from oddities(made, r)
        while True:
            name = r.choice(list(made))
            kind, data = mutate.damaged(made[name], r, r.choice(others))
            yield (
                f"{kind}-{name}",
                mutate.with_png_checksums(data) if name.endswith("png") and r.random() < 0.6 else data,
            )

    for number, (name, data) in zip(range(count), contents(), strict=False):
        path = folder / f"picture{Path(name).suffix}"
        path.write_bytes(data)
        if number % 10 == 9:
            yield Case(f"recognize {name}", command("recognize", path, "--json", "--threads", 1))
        else:
            yield Case(name, lambda path=path: recognize(path))
