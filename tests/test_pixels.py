"""Pixels: upright 8-bit pixels from every kind of picture, and an ImageError for every kind of damage."""

from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import threading
import time
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import EpsImagePlugin, Image, features

from mien.errors import ImageError
from mien.pixels import FORMATS, read, to_array

ORIENTATION = 0x0112
HALVES = 0, 255


def saved(picture: Image.Image, kind: str, **options: object) -> io.BytesIO:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    stream.seek(0)
    return stream


def halves(mode: str, low: object = 0, high: object = 255) -> Image.Image:
    """Makes an image (24, 32) whose left half has one value and whose right half has another."""
    picture = Image.new(mode, (32, 24), low)
    picture.paste(high, (16, 0, 32, 24))
    return picture


def assert_halves(picture: Image.Image, low: int, high: int, mode: str, tolerance: int = 0) -> None:
    assert (picture.mode, picture.size) == (mode, (32, 24))
    values = np.asarray(picture).astype(int)
    assert np.abs(values[:, :16] - low).max() <= tolerance
    assert np.abs(values[:, 16:] - high).max() <= tolerance


@pytest.fixture
def noise() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def as_stored(upright: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Returns the pixels as a file of an orientation stores them; the table of EXIF 2.32 places row 0 and column 0."""
    row_0, column_0 = {
        1: ("top", "left"), 2: ("top", "right"), 3: ("bottom", "right"), 4: ("bottom", "left"),
        5: ("left", "top"), 6: ("right", "top"), 7: ("right", "bottom"), 8: ("left", "bottom"),
    }[orientation]  # fmt: skip
    stored = upright.swapaxes(0, 1) if row_0 in ("left", "right") else upright
    if row_0 in ("bottom", "right"):
        stored = stored[::-1]
    return np.ascontiguousarray(stored[:, ::-1] if column_0 in ("bottom", "right") else stored)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(orientation: int, kind: str, noise: NDArray[np.uint8]) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stream = saved(Image.fromarray(as_stored(noise, orientation)), kind, exif=exif, lossless=True)
    assert np.array_equal(read(stream), noise)


def test_jpeg_of_orientation_6_is_turned() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    stream = saved(halves("L").transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif)
    assert_halves(read(stream), *HALVES, "L", tolerance=8)


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"Exif\0\0MM\0*\xff\xff\xff\x7f"], ids=["not TIFF", "offset past the end"]
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_damaged_exif_is_ignored(kind: str, exif: bytes) -> None:
    """Pillow raises SyntaxError for some of it, although the pixels are intact."""
    assert_halves(read(saved(halves("RGB", "black", "white"), kind, exif=exif)), *HALVES, "RGB", tolerance=8)


@pytest.mark.parametrize(
    "entry",
    [
        struct.pack(">HHI4s", 0x011A, 2, 3, b"72\0"),
        struct.pack(">HHIf", 0x010F, 11, 1, 1.5),
        struct.pack(">HHI4s", 0xA005, 1, 1, b""),
    ],
    ids=["text instead of a fraction", "float instead of text", "bytes instead of an offset"],
)
def test_odd_exif_entry_does_not_prevent_turning(entry: bytes) -> None:
    """Pillow's exif_transpose rewrites the whole EXIF and fails on each of these entries."""
    entries = struct.pack(">HHIHxx", ORIENTATION, 3, 1, 6) + entry
    exif = b"Exif\0\0MM\0*\0\0\0\x08" + struct.pack(">H", 2) + entries + bytes(4)
    stream = saved(halves("L").transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif)
    assert_halves(read(stream), *HALVES, "L", tolerance=8)


@pytest.mark.parametrize(
    ("picture", "kind", "mode"),
    [
        (halves("L"), "PNG", "L"),
        (halves("L").convert("1"), "PNG", "L"),
        (halves("L").convert("RGB"), "PNG", "RGB"),
        (halves("L").convert("P"), "PNG", "RGB"),
        (halves("L"), "GIF", "RGB"),
        (halves("L"), "BMP", "L"),
        (halves("L"), "WEBP", "RGB"),
        (halves("L").convert("YCbCr"), "TIFF", "RGB"),
    ],
    ids=lambda value: value.mode if isinstance(value, Image.Image) else value,
)
def test_colour_modes(picture: Image.Image, kind: str, mode: str) -> None:
    assert_halves(read(saved(picture, kind, lossless=True)), *HALVES, mode, tolerance=1)


def test_cmyk_jpeg() -> None:
    """CMYK is ink, so 0 is white; JPEG files store it inverted, and Pillow inverts it back."""
    stream = saved(halves("CMYK", (0, 0, 0, 255), (0, 0, 0, 0)), "JPEG")
    assert_halves(read(stream), *HALVES, "RGB", tolerance=8)


@pytest.mark.parametrize(
    ("picture", "options"),
    [
        (halves("RGBA", (90, 90, 90, 255), (0, 0, 0, 0)), {}),
        (halves("LA", (90, 255), (0, 0)), {}),
        (halves("P", 90, 7), {"transparency": 7}),
        (halves("L", 90, 7), {"transparency": 7}),
        (halves("RGB", (90, 90, 90), (7, 7, 7)), {"transparency": (7, 7, 7)}),
    ],
    ids=lambda value: value.mode if isinstance(value, Image.Image) else "",
)
def test_transparent_pixels_become_white(picture: Image.Image, options: dict[str, object]) -> None:
    if picture.mode == "P":
        picture.putpalette([value for gray in range(256) for value in (gray, gray, gray)])
    assert_halves(read(saved(picture, "PNG", **options)), 90, 255, "RGB")


def test_half_transparent_pixels_are_blended_with_white() -> None:
    assert_halves(read(saved(halves("LA", (0, 255), (0, 128)), "PNG")), 0, 127, "RGB")


@pytest.mark.parametrize(
    ("kind", "dtype"), [("PNG", "<u2"), ("TIFF", "<u2"), ("TIFF", ">u2"), ("TIFF", "<i4")], ids=lambda value: value
)
@pytest.mark.parametrize("top", [65535, 200], ids=["bright", "nearly black"])
def test_sixteen_bits_are_scaled_to_eight(kind: str, dtype: str, top: int) -> None:
    """Values are scaled by their range, not by the picture's content: a dark picture stays dark."""
    values = np.linspace(0, top, 24 * 32).reshape(24, 32).astype(dtype)
    picture = read(saved(Image.fromarray(values), kind))
    assert picture.mode == "L"
    assert np.array_equal(picture, np.round(values / 257))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.full((4, 4), 0.5, np.float32), "its pixels are fractions of unknown range; save it with 8 or 16 bits"),
        (np.full((4, 4), 70000, np.int32), "must be 0..65535, got 70000..70000; save it with 16 bits"),
        (np.full((4, 4), -1, np.int32), "must be 0..65535, got -1..-1"),
    ],
    ids=["fractions", "large", "negative"],
)
def test_values_of_unknown_range_raise(values: NDArray[np.generic], words: str) -> None:
    with pytest.raises(ImageError, match=words):
        read(saved(Image.fromarray(values), "TIFF"))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "MPO"])
def test_animation_gives_its_first_frame(kind: str) -> None:
    frames = [halves("RGB", "white", "black"), Image.new("RGB", (32, 24), (128, 128, 128))]
    stream = saved(halves("RGB", "black", "white"), kind, save_all=True, append_images=frames, lossless=True)
    assert Image.open(stream).n_frames == 3
    assert_halves(read(stream), *HALVES, "RGB", tolerance=8)


def test_given_pillow_image_is_not_changed(noise: NDArray[np.uint8]) -> None:
    given = Image.fromarray(as_stored(noise, 6))
    given.getexif()[ORIENTATION] = 6
    assert np.array_equal(read(given), noise)
    assert given.size == (24, 32)
    read(halves("RGB")).putpixel((0, 0), 99)
    assert given.getexif()[ORIENTATION] == 6


def test_large_picture_gives_no_warning_and_huge_one_raises(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow warns above its limit, and raises above twice its limit."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 32 * 24 - 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_halves(read(saved(halves("L"), "PNG")), *HALVES, "L")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 32 * 24 // 2 - 1)
    with pytest.raises(ImageError, match="it has 768 pixels and 766 are allowed; make it smaller"):
        read(saved(halves("L"), "PNG"))


def png(width: int, height: int, content: bytes = zlib.compress(b"\0"), colour: int = 0, depth: int = 8) -> io.BytesIO:
    """Makes a PNG of any size; by default its pixels are cut off."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    data = b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in ((b"IHDR", header), (b"IDAT", content), (b"IEND", b""))
    )
    return io.BytesIO(b"\x89PNG\r\n\x1a\n" + data)


def webp(side: int) -> io.BytesIO:
    """Makes a lossless WebP that declares a side, in the 14 bits each that its header has for them."""
    data = bytearray(saved(Image.new("RGB", (16, 16)), "WEBP", lossless=True).getvalue())
    start = data.index(b"VP8L") + 9
    bits = int.from_bytes(data[start : start + 4], "little") >> 28 << 28
    data[start : start + 4] = (bits | (side - 1) << 14 | (side - 1)).to_bytes(4, "little")
    return io.BytesIO(data)


def with_size(kind: str, side: int) -> io.BytesIO:
    """Makes a small file that declares a side, of a format that states it in its header as text or plain numbers."""
    data = bytearray(saved(Image.new("L" if kind == "JPEG" else "RGB", (16, 16)), kind).getvalue())
    if kind == "JPEG":
        start = data.index(b"\xff\xc0") + 5
        data[start : start + 4] = struct.pack(">HH", side, side)
    elif kind == "BMP":
        data[18:26] = struct.pack("<ii", side, side)
    elif kind == "PPM":
        data = bytearray(bytes(data).replace(b"16 16", b"%d %d" % (side, side)))
    else:
        data[12:16] = struct.pack("<HH", side, side)
    return io.BytesIO(data)


BOMBS = {
    "column": (png(1, 100_000_000), "its longer side has 100,000,000 pixels and 65,535 are allowed; scale it down"),
    "row": (png(100_000_000, 1), "its longer side has 100,000,000 pixels and 65,535 are allowed; scale it down"),
    "side of a JPEG": (png(65_536, 1), "its longer side has 65,536 pixels and 65,535 are allowed; scale it down"),
    "PNG": (png(10_500, 10_500), "it has 10500 x 10500 pixels and 110,000,000 are allowed; make it smaller, or set"),
    "above Pillow's limit": (png(14_000, 14_000), "it has 196,000,000 pixels and 110,000,000 are allowed; make it"),
    "WebP": (webp(13_000), "it has 13000 x 13000 pixels and 36,666,666 are allowed in a WEBP file; make it smaller"),
    "JPEG": (with_size("JPEG", 13_000), "it has 13000 x 13000 pixels and 110,000,000 are allowed; make it smaller"),
    "BMP": (with_size("BMP", 13_000), "it has 13000 x 13000 pixels and 110,000,000 are allowed; make it smaller"),
    "PPM": (with_size("PPM", 13_000), "it has 13000 x 13000 pixels and 110,000,000 are allowed; make it smaller"),
    "TGA": (with_size("TGA", 13_000), "it has 13000 x 13000 pixels and 110,000,000 are allowed; make it smaller"),
}
"""Small files that declare many pixels, and the start of the error."""


def fails(image: Image.Image) -> Image.Image:
    raise ImageError("decoded")


@pytest.mark.parametrize("name", BOMBS)
def test_size_is_limited_before_pixels_are_decoded(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.pixels._to_upright", fails)
    file, words = BOMBS[name]
    file.seek(0)
    with pytest.raises(ImageError) as caught:
        read(file)
    assert str(caught.value).startswith(words)


def test_environment_variable_raises_and_lowers_the_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    pillow_limit = Image.MAX_IMAGE_PIXELS
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", pillow_limit)  # restores it
    error = r"it has {} pixels and {} are allowed.*; make it smaller, or set .* variable MIEN_MAX_PIXELS to {}$"
    with pytest.raises(ImageError, match=error.format("13000 x 13000", "36,666,666", 507_000_000)):
        read(webp(13_000))
    monkeypatch.setenv("MIEN_MAX_PIXELS", "507000000")
    with monkeypatch.context() as patched:
        patched.setattr("mien.pixels._to_upright", fails)
        with pytest.raises(ImageError, match=r"^decoded$"):
            read(webp(13_000))
    monkeypatch.setenv("MIEN_MAX_PIXELS", str(14_000**2))
    with pytest.raises(ImageError, match="truncated"):
        read(png(14_000, 14_000))
    monkeypatch.setenv("MIEN_MAX_PIXELS", "767")
    with pytest.raises(ImageError, match=error.format("32 x 24", "767", 768)):
        read(saved(halves("L"), "PNG"))
    for wrong in ("many", "0", "-1", "9" * 99, "1e9"):
        monkeypatch.setenv("MIEN_MAX_PIXELS", wrong)
        with pytest.raises(ImageError, match="MIEN_MAX_PIXELS must be a whole number above 0, got"):
            read(saved(halves("L"), "PNG"))


def test_explicit_limit_overrides_the_environment_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_MAX_PIXELS", "1")
    assert_halves(read(saved(halves("L"), "PNG"), max_pixels=768), *HALVES, "L")
    error = r"it has 32 x 24 pixels and 767 are allowed; make it smaller, or {} to 768$"
    with pytest.raises(ImageError, match=error.format("raise max_pixels")):
        read(saved(halves("L"), "PNG"), max_pixels=767)
    with pytest.raises(ImageError, match=error.format("use --most")):
        read(saved(halves("L"), "PNG"), max_pixels=767, raised_by="use --most to")


@pytest.mark.slow
def test_largest_allowed_picture_takes_less_than_a_gigabyte(tmp_path: Path) -> None:
    side = 10_480
    packer = zlib.compressobj(1)
    rows = b"".join(packer.compress(bytes(1 + side * 4)) for _ in range(side)) + packer.flush()
    (tmp_path / "large.png").write_bytes(png(side, side, rows, colour=6).getvalue())
    code = (
        "import re, sys; from pathlib import Path; from mien.recognition import photo; "
        f"assert photo.read(sys.argv[1]).shape == ({side}, {side}, 3); "
        "print(re.search(r'VmHWM:\\s+(\\d+)', Path('/proc/self/status').read_text())[1])"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "large.png")]
    assert int(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout) < 1 << 20  # KiB


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "LA", "P", "I;16", "1", "CMYK", "L"])
def test_large_picture_has_the_pixels_of_its_parts(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large pictures are converted in bands."""
    values = np.random.default_rng(0).integers(0, 256, (60, 40, 4), dtype=np.uint8)
    rgba = Image.fromarray(values, "RGBA")
    picture = Image.fromarray(values[:, :, 0].astype(np.uint16) * 200) if mode == "I;16" else rgba.convert(mode)
    options = {"transparency": 7} if mode in ("P", "L") else {}
    stream = saved(picture, "TIFF" if mode == "CMYK" else "PNG", **options)
    at_once = read(stream)
    monkeypatch.setattr("mien.pixels._BAND_PIXELS", 130)
    stream.seek(0)
    in_bands = read(stream)
    assert (in_bands.mode, in_bands.size) == (at_once.mode, (40, 60))
    assert np.array_equal(in_bands, at_once)
    for output in ("RGB", "L"):
        assert np.array_equal(to_array(in_bands, output), at_once.convert(output))


def test_postscript_never_starts_ghostscript(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow opens a PostScript file, whatever its name, and runs the program `gs` on it."""
    started = tmp_path / "started"
    gs = tmp_path / "gs"
    gs.write_text(f"#!/bin/sh\ntouch {started}\nexit 1\n")
    gs.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", None)
    path = tmp_path / "photo.jpg"
    path.write_bytes(saved(Image.new("RGB", (9, 9)), "EPS").getvalue())
    with pytest.raises(ImageError, match="it is empty, or its format is not one of JPEG, PNG, "):
        read(path)
    assert not started.exists()
    with pytest.raises((OSError, subprocess.CalledProcessError)):
        Image.open(path).load()
    assert started.exists()


@pytest.mark.parametrize("kind", ["ICO", "ICNS", "PDF", "PCX", "SGI", "DDS", "QOI", "IM", "XBM"])
def test_other_formats_of_pillow_are_not_opened(kind: str) -> None:
    picture = Image.new("1" if kind == "XBM" else "RGB", (32, 32))
    with pytest.raises(ImageError, match="its format is not one of JPEG, PNG, "):
        read(saved(picture, kind))


@pytest.mark.parametrize("kind", [name for name in FORMATS if name != "HEIF"])
def test_each_format_is_opened(kind: str) -> None:
    assert_halves(read(saved(halves("RGB", "black", "white"), kind)), *HALVES, "RGB", tolerance=9)


def test_pipe_and_huge_file_are_refused_without_reading(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(ImageError, match="it is a pipe or a device; expected a file"):
        read(tmp_path / "pipe.jpg")
    with pytest.raises(ImageError, match="it is a pipe or a device; expected a file"):
        read("/dev/zero")
    with (tmp_path / "huge.webp").open("wb") as file:
        file.truncate((512 << 20) + 1)
    with pytest.raises(ImageError, match="it has 536,870,913 bytes and 536,870,912 are allowed; save it as a JPEG"):
        read(tmp_path / "huge.webp")


def jpeg_of(scans: int) -> bytes:
    """Makes a progressive JPEG whose last scan, of a few bytes, is repeated."""
    first = saved(halves("L"), "JPEG", progressive=True).getvalue()[:-2]
    last = first[first.rindex(b"\xff\xda") :]
    return first + last * (scans - first.count(b"\xff\xda")) + b"\xff\xd9"


def test_jpeg_with_too_many_scans_raises(tmp_path: Path) -> None:
    """Each scan takes a pass over all pixels: 112 KB of scans took minutes for 5000 x 5000 pixels."""
    assert_halves(read(io.BytesIO(jpeg_of(100))), *HALVES, "L", tolerance=8)
    (tmp_path / "endless.jpg").write_bytes(jpeg_of(101))
    for source in (tmp_path / "endless.jpg", io.BytesIO(jpeg_of(101)), Image.open(io.BytesIO(jpeg_of(101)))):
        with pytest.raises(ImageError, match="it has 101 scans and 100 are allowed; save it again as a plain JPEG"):
            read(source)


def test_large_jpeg_may_have_fewer_scans(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.pixels.MAX_SCANNED_PIXELS", 32 * 24 * 50)
    assert_halves(read(io.BytesIO(jpeg_of(50))), *HALVES, "L", tolerance=8)
    with pytest.raises(ImageError, match="it has 51 scans and 50 are allowed"):
        read(io.BytesIO(jpeg_of(51)))


def test_scans_in_metadata_and_after_the_end_do_not_count() -> None:
    """Metadata may hold a preview, and phones append a video."""
    scans = b"\xff\xda" * 101
    stream = saved(halves("L"), "JPEG", exif=b"Exif\0\0" + scans, comment=scans, restart_marker_blocks=1)
    stream.seek(0, io.SEEK_END)
    stream.write(scans)
    assert_halves(read(stream), *HALVES, "L", tolerance=8)
    opened = Image.open(stream)
    opened.load()
    assert_halves(read(opened), *HALVES, "L", tolerance=8)


def test_concurrent_reads_restore_warning_filters(monkeypatch: pytest.MonkeyPatch) -> None:
    """If each thread restored what it found, the last one would restore the first one's change."""
    both_in, first_out, pillow_open = threading.Event(), threading.Event(), Image.open
    first, second = (saved(Image.new("L", (4, 4)), "PNG") for _ in range(2))

    def open_in_turn(source: io.BytesIO, formats: None) -> Image.Image:
        if source is first:
            assert both_in.wait(10)
        else:
            both_in.set()
            assert first_out.wait(10)
        return pillow_open(source, formats=formats)

    monkeypatch.setattr(Image, "open", open_in_turn)
    before = list(warnings.filters)
    with ThreadPoolExecutor(2) as pool:
        done = pool.submit(read, first)
        while list(warnings.filters) == before and not done.done():  # until the first is in
            time.sleep(0.001)
        other = pool.submit(read, second)
        done.result()
        first_out.set()
        other.result()
    assert list(warnings.filters) == before


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MemoryError(), "there is not enough memory to decode it; make it smaller"),
        (ValueError("\n first\nsecond"), "first"),
        (OSError(5, "Bad disk"), "Bad disk"),
    ],
)
def test_error_of_pillow_becomes_one_line(error: Exception, line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(source: object, formats: tuple[str, ...]) -> Image.Image:
        raise error

    monkeypatch.setattr(Image, "open", fails)
    with pytest.raises(ImageError, match=f"^{line}$"):
        read(io.BytesIO())


@pytest.mark.parametrize("data", [b"", b"<html>not found</html>", bytes(1000), b"\xff\xd8\xff\xe0", b"GIF89a"])
def test_file_that_is_not_a_picture(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "picture.jpg"
    path.write_bytes(data)
    for source in (path, str(path), io.BytesIO(data)):
        with pytest.raises(ImageError) as caught:
            read(source)
        assert "\n" not in str(caught.value)


def test_missing_file_and_folder(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="there is no such file; check the path"):
        read(tmp_path / "missing.jpg")
    with pytest.raises(ImageError):
        read("nul\0byte.jpg")
    with pytest.raises(ImageError):
        read(tmp_path)


def broken(data: bytes, random: np.random.Generator) -> list[bytes]:
    """Makes 40 truncated copies, and 120 with a few changed bytes, mostly in the headers."""
    copies = [data[:length] for length in range(0, len(data), max(1, len(data) // 40))]
    for _ in range(120):
        changed = bytearray(data)
        places = random.integers(0, random.choice([60, 300, len(data)]), random.choice([1, 2, 5]))
        for place, value in zip(places, random.choice([0, 1, 127, 128, 255], len(places)), strict=True):
            changed[min(place, len(data) - 1)] = value
        copies.append(bytes(changed))
    return copies


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP", "TGA", "PPM", "JPEG2000", "AVIF"])
def test_damaged_file_is_read_or_raises_image_error(kind: str, noise: NDArray[np.uint8]) -> None:
    """Pillow raises SyntaxError, struct.error, RuntimeError and others."""
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow was built without AVIF")
    random = np.random.default_rng(0)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    exif[0x011A] = 72.5  # a fraction
    data = saved(Image.fromarray(noise), kind, exif=exif).getvalue()
    messages, modes = [], set()
    for copy in broken(data, random):
        try:
            modes.add(read(io.BytesIO(copy)).mode)
        except ImageError as error:
            messages.append(str(error))
    assert len(messages) > 20
    assert all(text and "\n" not in text for text in messages)
    assert modes <= {"L", "RGB"}


@pytest.mark.parametrize("name", ["astronaut.heic", "astronaut.avif"])
def test_heic_and_avif_photographs_are_upright(name: str) -> None:
    """The HEIC file is stored sideways, as a phone writes it."""
    if name.endswith("heic"):
        pytest.importorskip("pi_heif", reason="the package pi-heif is needed: pip install '.[heic]'")
    with Image.open(Path(__file__).parents[1] / "examples" / "astronaut.jpg") as photograph:
        expected = np.asarray(photograph.crop((100, 0, 350, 240)).resize((125, 120)), float)
    path = Path(__file__).parent / name
    for source in (path, str(path), io.BytesIO(path.read_bytes())):
        pixels = np.asarray(read(source), float)
        assert pixels.shape == (120, 125, 3)
        assert np.abs(pixels - expected).mean() < 6


@pytest.mark.parametrize("brand", [b"heic", b"heix", b"mif1"])
def test_heic_without_its_package_is_one_sentence(
    brand: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pi_heif", None)
    path = tmp_path / "photo.jpg"
    path.write_bytes(b"\0\0\0\x18ftyp" + brand + bytes(4) + b"mif1heic" + bytes(200))
    with pytest.raises(ImageError) as caught:
        read(path)
    sentence = "it is a HEIC photograph, and this needs the package pi_heif, which is not installed: pip install "
    assert str(caught.value).startswith(sentence)
    assert "[heic]" in str(caught.value)


def test_damaged_heic_is_one_sentence() -> None:
    pytest.importorskip("pi_heif", reason="the package pi-heif is needed: pip install '.[heic]'")
    whole = (Path(__file__).parent / "astronaut.heic").read_bytes()
    for end in (30, 300, 1000, len(whole) - 100):
        with pytest.raises(ImageError) as caught:
            read(io.BytesIO(whole[:end]))
        assert "\n" not in str(caught.value)


def test_heic_is_not_read_where_its_format_is_not_accepted() -> None:
    with pytest.raises(ImageError, match="its format is not one of JPEG, PNG"):
        read(Path(__file__).parent / "astronaut.heic", formats=("JPEG", "PNG"))
