"""Reading a picture in any form; what files may contain is tested in tests/test_pixels.py."""

from __future__ import annotations

import base64
import io
import os
import re
import socket
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mien.errors import ImageError, shortened_path
from mien.recognition import photo
from mien.recognition.photo import Picture, read, to_gray


@pytest.fixture
def image_rgb() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


@pytest.fixture
def png(image_rgb: NDArray[np.uint8], tmp_path: Path) -> Path:
    path = tmp_path / "noise.png"
    Image.fromarray(image_rgb).save(path)
    return path


class Pipe(io.RawIOBase):
    """A file object that cannot go back, such as standard input or an answer from a server."""

    def __init__(self, content: bytes) -> None:
        self.content = content

    def read(self, size: int = -1) -> bytes:
        content, self.content = self.content, b""
        return content


def test_every_form_of_a_picture_gives_the_same_array(image_rgb: NDArray[np.uint8], png: Path) -> None:
    with Image.open(png) as opened, png.open("rb") as file:
        encoded = png.read_bytes()
        not_contiguous = memoryview(np.repeat(np.frombuffer(encoded, np.uint8), 2))[::2]
        at_its_end = io.BytesIO(encoded)
        at_its_end.seek(0, io.SEEK_END)
        text = f"data:image/png;base64,{base64.b64encode(encoded).decode()}"
        forms = [
            png,
            str(png),
            encoded,
            bytearray(encoded),
            memoryview(encoded),
            not_contiguous,
            text,
            file,
            at_its_end,
            Pipe(encoded),
        ]
        forms += [opened, Image.fromarray(image_rgb), image_rgb, image_rgb[:, ::1]]
        for form in forms:
            array = read(form)
            assert (array.dtype, array.flags.c_contiguous) == (np.uint8, True)
            assert np.array_equal(array, image_rgb)


def test_array_view_keeps_its_channel_order(image_rgb: NDArray[np.uint8]) -> None:
    mirrored_bgr = image_rgb[:, ::-1, ::-1]
    assert np.array_equal(read(mirrored_bgr), mirrored_bgr)


@pytest.mark.parametrize("form", ["array", "Pillow image", "file"])
def test_gray_picture_becomes_three_equal_channels(form: str, image_rgb: NDArray[np.uint8], tmp_path: Path) -> None:
    gray = image_rgb[:, :, 0]
    Image.fromarray(gray).save(tmp_path / "gray.png")
    picture = {"array": gray, "Pillow image": Image.fromarray(gray), "file": tmp_path / "gray.png"}[form]
    assert np.array_equal(read(picture), np.stack([gray] * 3, axis=2))
    assert np.array_equal(to_gray(read(picture)), gray)


def test_to_gray_weighs_green_most_and_blue_least() -> None:
    pixels = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]], np.uint8)
    assert to_gray(pixels).tolist() == [[76, 150, 29, 255]]


def test_gray_is_deprecated(image_rgb: NDArray[np.uint8]) -> None:
    with pytest.warns(DeprecationWarning, match=r"use mien\.recognition\.photo\.to_gray"):
        assert np.array_equal(photo.gray(image_rgb), to_gray(image_rgb))


def error_of(picture: Picture, **options: object) -> str:
    with pytest.raises(ImageError) as caught:
        read(picture, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("kind", [np.uint8, np.uint16, np.float16, np.float32, np.float64])
@pytest.mark.parametrize("channels", [0, 1, 3, 4])
def test_array_of_every_type_and_channel_count(image_rgb: NDArray[np.uint8], kind: type, channels: int) -> None:
    image = {0: image_rgb[:, :, 0], 1: image_rgb[:, :, :1], 3: image_rgb, 4: image_rgb}[channels]
    if channels == 4:
        image = np.concatenate([image, np.full((20, 30, 1), 255, np.uint8)], axis=2)
    array = {"u": image.astype(kind) * (257 if kind is np.uint16 else 1), "f": image.astype(kind) / 255}[
        np.dtype(kind).kind
    ]
    expected = image_rgb if channels > 1 else np.repeat(image_rgb[:, :, :1], 3, axis=2)
    assert np.array_equal(read(array), expected)


def test_transparent_array_is_laid_over_white_like_a_file(image_rgb: NDArray[np.uint8], tmp_path: Path) -> None:
    rgba = np.concatenate([image_rgb, image_rgb[:, :, :1]], axis=2)
    Image.fromarray(rgba).save(tmp_path / "transparent.png")
    assert np.array_equal(read(rgba), read(tmp_path / "transparent.png"))
    assert not np.array_equal(read(rgba), image_rgb)


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4), np.int64),
        np.zeros((4, 4), np.bool_),
        np.zeros((4, 4), np.complex128),
        np.full((4, 4), None),
        np.zeros((4, 4, 2), np.uint8),
        np.zeros((3, 8, 8), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.zeros(12, np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
    ids=lambda array: f"{array.dtype} {array.shape}",
)
def test_array_of_another_shape_or_type_is_an_error(array: NDArray[np.uint8]) -> None:
    expected = "an array must be (H, W) gray, (H, W, 3) RGB or (H, W, 4) RGBA of type uint8, uint16 or float"
    assert error_of(array) == f"{expected}, got {array.shape} of {array.dtype}"


@pytest.mark.parametrize("value", [1.001, 255.0, -0.1, np.nan, np.inf])
def test_array_of_floats_out_of_range_is_an_error(value: float) -> None:
    array = np.zeros((4, 4, 3), np.float32)
    array[2, 2, 1] = value
    assert error_of(array).startswith("an array of floats must have values 0..1, got ")


@pytest.mark.parametrize("value", [None, 7, 2.5, ["a.jpg"], {"a": 1}, object(), Path])
def test_value_that_is_no_picture_is_an_error(value: object) -> None:
    assert error_of(value) == (
        "a picture must be a path, the bytes of a file, a binary file object, a Pillow image or an array, got "
        f"{type(value).__name__}"
    )


def test_file_object_of_text_or_closed_is_an_error(png: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("not a picture")
    with (tmp_path / "notes.txt").open() as file:
        words = "cannot be read as a picture: it gives str instead of bytes; open the file with mode 'rb'"
        assert error_of(file) == f"the file object {shortened_path(tmp_path / 'notes.txt')} {words}"
    with png.open("rb") as file:
        pass
    assert error_of(file).startswith(f"the file object {shortened_path(png)} cannot be read as a picture: ")
    assert error_of(io.BytesIO(b"nothing")).startswith("the file object cannot be read as a picture: it is empty")


@pytest.mark.parametrize(
    "picture",
    [
        "x" * 50_000,
        "A" * 50_000 + "/photo.jpg",
        b"x" * 50_000,
        "data:image/png;base64," + "A" * 50_000,
        "data:image/png;base64," + "!" * 50_000,
        "data:" + "x" * 50_000,
        "photo\0.jpg" + "y" * 50_000,
        Path("y" * 50_000),
    ],
    ids=["name", "path", "bytes", "data URI", "not base64", "no comma", "null character", "Path"],
)
def test_message_repeats_at_most_80_characters_of_a_value(picture: Picture) -> None:
    message = error_of(picture)
    assert len(message) < 300
    assert not re.search(r"(.)\1{80}", message)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_error_of_a_truncated_picture_names_it_in_every_form(
    kind: str, image_rgb: NDArray[np.uint8], tmp_path: Path
) -> None:
    stream = io.BytesIO()
    Image.fromarray(image_rgb).save(stream, kind)
    path = tmp_path / "cut.jpg"
    path.write_bytes(stream.getvalue()[:-200])
    for form in (path, str(path)):
        assert error_of(form).startswith(f"{shortened_path(path)} cannot be read as a picture: ")
    assert error_of(path.read_bytes()).startswith("the picture given as bytes cannot be read as a picture: ")
    assert error_of(path.read_bytes(), name="upload.jpg").startswith("upload.jpg cannot be read as a picture: ")
    with Image.open(path) as opened:  # Pillow has only read the header so far
        assert error_of(opened).startswith(f"the Pillow image {shortened_path(path)} cannot be read as a picture: ")


def test_file_of_another_format_is_an_error(png: Path) -> None:
    assert read(png, formats=("PNG",)).shape == (20, 30, 3)
    assert error_of(png, formats=("JPEG", "WEBP")) == (
        f"{shortened_path(png)} cannot be read as a picture: it is empty, or its format is not one of JPEG, WEBP"
    )


def test_file_with_too_many_pixels_is_an_error(png: Path) -> None:
    assert read(png, max_pixels=600).shape == (20, 30, 3)
    assert error_of(png, max_pixels=599).startswith(
        f"{shortened_path(png)} cannot be read as a picture: it has 30 x 20 pixels"
    )


def test_file_that_is_not_a_picture_is_an_error(tmp_path: Path) -> None:
    text = tmp_path / "text.jpg"
    text.write_text("not a picture")
    assert error_of(text) == (
        f"{shortened_path(text)} cannot be read as a picture: it is empty, or its format is not one of JPEG, PNG, "
        f"WEBP, GIF, BMP, TIFF, AVIF, {'HEIF, ' if 'HEIF' in Image.OPEN else ''}JPEG2000, PPM, TGA"
    )
    missing = tmp_path / "missing.jpg"
    assert (
        error_of(missing)
        == f"{shortened_path(missing)} cannot be read as a picture: there is no such file; check the path"
    )
    floats = Image.new("F", (4, 4))
    assert error_of(floats).startswith("the Pillow image cannot be read as a picture: its pixels are fractions")


@pytest.mark.skipif(os.name == "nt", reason="Windows reports a folder as a missing permission")
def test_folder_is_an_error(tmp_path: Path) -> None:
    words = "cannot be read as a picture: it is a folder; name the pictures in it"
    assert error_of(str(tmp_path)) == f"{shortened_path(tmp_path)} {words}"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read every file")
def test_unreadable_file_is_an_error(png: Path) -> None:
    png.chmod(0)
    assert error_of(png) == f"{shortened_path(png)} cannot be read as a picture: Permission denied"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such files")
def test_pipe_device_and_socket_are_errors_at_once(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "link.jpg").symlink_to("/dev/zero")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.jpg"))
        for path in (tmp_path / "pipe.jpg", str(tmp_path / "pipe.jpg"), tmp_path / "link.jpg", tmp_path / "socket.jpg"):
            words = "it is a pipe, a device or a socket; give a file, or - for standard input"
            assert error_of(path) == f"{shortened_path(path)} cannot be read as a picture: {words}"


def test_error_of_a_video_names_the_command_for_videos(tmp_path: Path) -> None:
    for name in ("film.mp4", "FILM.MOV"):
        (tmp_path / name).write_bytes(b"\0\0\0\x18ftypmp42")
        assert error_of(tmp_path / name).endswith("; if it is a video, use mien video")
    (tmp_path / "photo.jpg").write_bytes(b"nothing")
    assert "mien video" not in error_of(tmp_path / "photo.jpg")
