"""Reading a picture in any form; what files may contain is tested in tests/test_pixels.py."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mien.errors import ImageError
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


def test_every_form_of_a_picture_gives_the_same_array(image_rgb: NDArray[np.uint8], png: Path) -> None:
    with Image.open(png) as opened:
        forms = [png, str(png), png.read_bytes(), opened, Image.fromarray(image_rgb), image_rgb, image_rgb[:, ::1]]
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


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((4, 4, 3)),
        np.zeros((4, 4), np.uint16),
        np.zeros((4, 4), np.bool_),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((3, 4, 4), np.uint8),
        np.zeros((1, 4, 4, 3), np.uint8),
        np.zeros(12, np.uint8),
        np.zeros((0, 4, 3), np.uint8),
    ],
    ids=lambda array: f"{array.dtype} {array.shape}",
)
def test_array_of_another_shape_or_type_is_an_error(array: NDArray[np.uint8]) -> None:
    expected = "an array must be (H, W, 3) RGB or (H, W) gray of type uint8"
    assert error_of(array) == f"{expected}, got {array.shape} of {array.dtype}"


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_error_of_a_truncated_picture_names_it_in_every_form(
    kind: str, image_rgb: NDArray[np.uint8], tmp_path: Path
) -> None:
    stream = io.BytesIO()
    Image.fromarray(image_rgb).save(stream, kind)
    path = tmp_path / "cut.jpg"
    path.write_bytes(stream.getvalue()[:-200])
    for form in (path, str(path)):
        assert error_of(form).startswith(f"{path} cannot be read as a picture: ")
    assert error_of(path.read_bytes()).startswith("the picture given as bytes cannot be read as a picture: ")
    assert error_of(path.read_bytes(), name="upload.jpg").startswith("upload.jpg cannot be read as a picture: ")
    with Image.open(path) as opened:  # Pillow has only read the header so far
        assert error_of(opened).startswith(f"the Pillow image {path} cannot be read as a picture: ")


def test_file_of_another_format_is_an_error(png: Path) -> None:
    assert read(png, formats=("PNG",)).shape == (20, 30, 3)
    assert error_of(png, formats=("JPEG", "WEBP")) == (
        f"{png} cannot be read as a picture: it is empty, or its format is not one of JPEG, WEBP"
    )


def test_file_with_too_many_pixels_is_an_error(png: Path) -> None:
    assert read(png, max_pixels=600).shape == (20, 30, 3)
    assert error_of(png, max_pixels=599).startswith(f"{png} cannot be read as a picture: it has 30 x 20 pixels")


def test_file_that_is_not_a_picture_is_an_error(tmp_path: Path) -> None:
    text = tmp_path / "text.jpg"
    text.write_text("not a picture")
    assert error_of(text) == (
        f"{text} cannot be read as a picture: it is empty, or its format is not one of those that Pillow reads, "
        "such as JPEG and PNG"
    )
    missing = tmp_path / "missing.jpg"
    assert error_of(missing) == f"{missing} cannot be read as a picture: there is no such file; check the path"
    floats = Image.new("F", (4, 4))
    assert error_of(floats).startswith("the Pillow image cannot be read as a picture: its pixels are fractions")


@pytest.mark.skipif(os.name == "nt", reason="Windows reports a folder as a missing permission")
def test_folder_is_an_error(tmp_path: Path) -> None:
    words = "cannot be read as a picture: it is a folder; name the pictures in it"
    assert error_of(str(tmp_path)) == f"{tmp_path} {words}"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read every file")
def test_unreadable_file_is_an_error(png: Path) -> None:
    png.chmod(0)
    assert error_of(png) == f"{png} cannot be read as a picture: Permission denied"
