"""Pictures of every kind come out upright with 8-bit pixels, and what is broken in any way is an ImageError."""

from __future__ import annotations

import io
import struct
import threading
import time
import warnings
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, features

from mien.errors import ImageError
from mien.pixels import read

ORIENTATION = 0x0112
HALVES = 0, 255


def saved(picture: Image.Image, kind: str, **options: object) -> io.BytesIO:
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    stream.seek(0)
    return stream


def halves(mode: str, low: object = 0, high: object = 255) -> Image.Image:
    """(24, 32): the left half has one value, the right half another."""
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


def lying(upright: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """The rows that a file of that orientation stores: EXIF 2.32 says where row 0 and column 0 of these belong."""
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
def test_exif_turns_a_picture_upright(orientation: int, kind: str, noise: NDArray[np.uint8]) -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    stream = saved(Image.fromarray(lying(noise, orientation)), kind, exif=exif, lossless=True)
    assert np.array_equal(read(stream), noise)


def test_a_photograph_of_a_camera_held_upright() -> None:
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    stream = saved(halves("L").transpose(Image.Transpose.ROTATE_90), "JPEG", exif=exif)
    assert_halves(read(stream), *HALVES, "L", tolerance=8)


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0garbage", b"Exif\0\0MM\0*\xff\xff\xff\x7f"], ids=["no TIFF", "past its end"]
)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_damaged_exif_is_as_good_as_none(kind: str, exif: bytes) -> None:
    """Pillow raises SyntaxError on some of it, of pixels that are whole."""
    assert_halves(read(saved(halves("RGB", "black", "white"), kind, exif=exif)), *HALVES, "RGB", tolerance=8)


@pytest.mark.parametrize(
    "entry",
    [
        struct.pack(">HHI4s", 0x011A, 2, 3, b"72\0"),
        struct.pack(">HHIf", 0x010F, 11, 1, 1.5),
        struct.pack(">HHI4s", 0xA005, 1, 1, b""),
    ],
    ids=["text for a fraction", "fraction for a text", "bytes for an offset"],
)
def test_an_odd_exif_entry_does_not_keep_a_photograph_from_being_turned(entry: bytes) -> None:
    """Pillow's own exif_transpose writes the whole EXIF anew and fails on these in three ways."""
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
def test_modes(picture: Image.Image, kind: str, mode: str) -> None:
    assert_halves(read(saved(picture, kind, lossless=True)), *HALVES, mode, tolerance=1)


def test_cmyk() -> None:
    """Ink, so 0 is white; JPEG files hold it inverted, which Pillow knows."""
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
def test_what_is_transparent_is_white(picture: Image.Image, options: dict[str, object]) -> None:
    if picture.mode == "P":
        picture.putpalette([value for gray in range(256) for value in (gray, gray, gray)])
    assert_halves(read(saved(picture, "PNG", **options)), 90, 255, "RGB")


def test_half_transparent_is_laid_on_white() -> None:
    assert_halves(read(saved(halves("LA", (0, 255), (0, 128)), "PNG")), 0, 127, "RGB")


@pytest.mark.parametrize(
    ("kind", "dtype"), [("PNG", "<u2"), ("TIFF", "<u2"), ("TIFF", ">u2"), ("TIFF", "<i4")], ids=lambda value: value
)
@pytest.mark.parametrize("top", [65535, 200], ids=["bright", "nearly black"])
def test_sixteen_bits_are_scaled(kind: str, dtype: str, top: int) -> None:
    """By their range and not by what is in the picture: a dark one stays dark."""
    values = np.linspace(0, top, 24 * 32).reshape(24, 32).astype(dtype)
    picture = read(saved(Image.fromarray(values), kind))
    assert picture.mode == "L"
    assert np.array_equal(picture, np.round(values / 257))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        (np.full((4, 4), 0.5, np.float32), "its pixels are fractions of no known range; save it with 8 or 16 bits"),
        (np.full((4, 4), 70000, np.int32), "must be 0..65535, got 70000..70000; save it with 16 bits"),
        (np.full((4, 4), -1, np.int32), "must be 0..65535, got -1..-1"),
    ],
    ids=["fractions", "large", "negative"],
)
def test_values_of_no_known_range_are_refused(values: NDArray[np.generic], words: str) -> None:
    with pytest.raises(ImageError, match=words):
        read(saved(Image.fromarray(values), "TIFF"))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "MPO"])
def test_of_an_animation_the_first_frame(kind: str) -> None:
    frames = [halves("RGB", "white", "black"), Image.new("RGB", (32, 24), (128, 128, 128))]
    stream = saved(halves("RGB", "black", "white"), kind, save_all=True, append_images=frames, lossless=True)
    assert Image.open(stream).n_frames == 3
    assert_halves(read(stream), *HALVES, "RGB", tolerance=8)


def test_a_picture_of_pillow_stays_as_it_was(noise: NDArray[np.uint8]) -> None:
    given = Image.fromarray(lying(noise, 6))
    given.getexif()[ORIENTATION] = 6
    assert np.array_equal(read(given), noise)
    assert given.size == (24, 32)
    read(halves("RGB")).putpixel((0, 0), 99)
    assert given.getexif()[ORIENTATION] == 6


def test_large_is_fine_without_a_word_and_huge_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow warns from its limit on, and refuses from twice that on."""
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 32 * 24 - 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_halves(read(saved(halves("L"), "PNG")), *HALVES, "L")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 32 * 24 // 2 - 1)
    with pytest.raises(ImageError, match="it has more than the 766 pixels allowed; make it smaller"):
        read(saved(halves("L"), "PNG"))


@pytest.mark.parametrize(("side", "words"), [(10_000, "truncated"), (14_000, "more than the 178,956,970 pixels")])
def test_a_small_file_that_promises_many_pixels(side: int, words: str) -> None:
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", zlib.compress(b"\0"))]
    data = b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body)) for name, body in chunks
    )
    with pytest.raises(ImageError, match=words):
        read(io.BytesIO(b"\x89PNG\r\n\x1a\n" + data))


def jpeg_of(scans: int) -> bytes:
    """A progressive JPEG whose last scan, of a few bytes, comes again and again."""
    first = saved(halves("L"), "JPEG", progressive=True).getvalue()[:-2]
    last = first[first.rindex(b"\xff\xda") :]
    return first + last * (scans - first.count(b"\xff\xda")) + b"\xff\xd9"


def test_a_small_file_that_takes_forever(tmp_path: Path) -> None:
    """Each scan is a pass over all pixels: 112 KB of them took minutes for 5000 x 5000."""
    assert_halves(read(io.BytesIO(jpeg_of(100))), *HALVES, "L", tolerance=8)
    (tmp_path / "endless.jpg").write_bytes(jpeg_of(101))
    for source in (tmp_path / "endless.jpg", io.BytesIO(jpeg_of(101)), Image.open(io.BytesIO(jpeg_of(101)))):
        with pytest.raises(ImageError, match="it has 101 scans and 100 are allowed; save it anew"):
            read(source)


def test_only_scans_of_the_picture_itself_count() -> None:
    """Metadata may hold a preview, and telephones put a film behind the end."""
    scans = b"\xff\xda" * 101
    stream = saved(halves("L"), "JPEG", exif=b"Exif\0\0" + scans, comment=scans, restart_marker_blocks=1)
    stream.seek(0, io.SEEK_END)
    stream.write(scans)
    assert_halves(read(stream), *HALVES, "L", tolerance=8)
    opened = Image.open(stream)
    opened.load()
    assert_halves(read(opened), *HALVES, "L", tolerance=8)


def test_threads_leave_the_process_its_warnings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each putting back what it found, the last one out would put back what the first one had changed."""
    both_in, first_out, opened = threading.Event(), threading.Event(), Image.open
    first, second = (saved(Image.new("L", (4, 4)), "PNG") for _ in range(2))

    def waiting(source: io.BytesIO, formats: None) -> Image.Image:
        if source is first:
            assert both_in.wait(10)
        else:
            both_in.set()
            assert first_out.wait(10)
        return opened(source, formats=formats)

    monkeypatch.setattr(Image, "open", waiting)
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
    ("error", "said"),
    [(MemoryError(), "MemoryError"), (ValueError("\n first\nsecond"), "first"), (OSError(5, "Bad disk"), "Bad disk")],
)
def test_whatever_a_reader_says_is_one_line(error: Exception, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(source: object, formats: None) -> Image.Image:
        raise error

    monkeypatch.setattr(Image, "open", fails)
    with pytest.raises(ImageError, match=f"^{said}$"):
        read("picture.jpg")


@pytest.mark.parametrize("data", [b"", b"<html>not found</html>", bytes(1000), b"\xff\xd8\xff\xe0", b"GIF89a"])
def test_what_is_no_picture(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "picture.jpg"
    path.write_bytes(data)
    for source in (path, str(path), io.BytesIO(data)):
        with pytest.raises(ImageError) as caught:
            read(source)
        assert "\n" not in str(caught.value)


def test_missing_files_and_folders(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="there is no such file; check the path"):
        read(tmp_path / "missing.jpg")
    with pytest.raises(ImageError):
        read("nul\0byte.jpg")
    with pytest.raises(ImageError):
        read(tmp_path)


def broken(data: bytes, random: np.random.Generator) -> list[bytes]:
    """Copies cut off at 40 places, and 120 with a few bytes changed, mostly in the headers."""
    copies = [data[:length] for length in range(0, len(data), max(1, len(data) // 40))]
    for _ in range(120):
        changed = bytearray(data)
        places = random.integers(0, random.choice([60, 300, len(data)]), random.choice([1, 2, 5]))
        for place, value in zip(places, random.choice([0, 1, 127, 128, 255], len(places)), strict=True):
            changed[min(place, len(data) - 1)] = value
        copies.append(bytes(changed))
    return copies


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "TIFF", "WEBP", "BMP", "DDS", "AVIF"])
def test_whatever_is_damaged_is_read_or_refused(kind: str, noise: NDArray[np.uint8]) -> None:
    """Pillow's readers let SyntaxError, struct.error, RuntimeError and more through."""
    if kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow was built without AVIF")
    random = np.random.default_rng(0)
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    exif[0x011A] = 72.5  # a fraction
    data = saved(Image.fromarray(noise), kind, exif=exif).getvalue()
    refused, modes = [], set()
    for copy in broken(data, random):
        try:
            modes.add(read(io.BytesIO(copy)).mode)
        except ImageError as error:
            refused.append(str(error))
    assert len(refused) > 20
    assert all(text and "\n" not in text for text in refused)
    assert modes <= {"L", "RGB"}
