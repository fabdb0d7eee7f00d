"""A photo in any form as upright RGB; an error names it. What files may hold is tested with `mien.pixels`."""

from __future__ import annotations

import io
import os
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from mien.errors import ImageError
from mien.recognition.photo import Picture, gray, read


@pytest.fixture
def image_rgb() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)


@pytest.fixture
def png(image_rgb: NDArray[np.uint8], tmp_path: Path) -> Path:
    path = tmp_path / "noise.png"
    Image.fromarray(image_rgb).save(path)
    return path


def test_every_form_of_a_picture_is_the_same_array(image_rgb: NDArray[np.uint8], png: Path) -> None:
    with Image.open(png) as opened:
        forms = [png, str(png), png.read_bytes(), opened, Image.fromarray(image_rgb), image_rgb, image_rgb[:, ::1]]
        for form in forms:
            array = read(form)
            assert (array.dtype, array.flags.c_contiguous) == (np.uint8, True)
            assert np.array_equal(array, image_rgb)


def test_a_view_of_an_array_keeps_its_colours_in_place(image_rgb: NDArray[np.uint8]) -> None:
    mirrored_bgr = image_rgb[:, ::-1, ::-1]
    assert np.array_equal(read(mirrored_bgr), mirrored_bgr)


@pytest.mark.parametrize("form", ["array", "Pillow image", "file"])
def test_gray_becomes_three_equal_channels(form: str, image_rgb: NDArray[np.uint8], tmp_path: Path) -> None:
    plane = image_rgb[:, :, 0]
    Image.fromarray(plane).save(tmp_path / "gray.png")
    given = {"array": plane, "Pillow image": Image.fromarray(plane), "file": tmp_path / "gray.png"}[form]
    assert np.array_equal(read(given), np.stack([plane] * 3, axis=2))
    assert np.array_equal(gray(read(given)), plane)


def test_gray_of_colours() -> None:
    """ITU-R 601: green is brightest, blue darkest."""
    pixels = np.array([[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]], np.uint8)
    assert gray(pixels).tolist() == [[76, 150, 29, 255]]


def refusal(picture: Picture) -> str:
    with pytest.raises(ImageError) as caught:
        read(picture)
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
def test_other_arrays_are_refused(array: NDArray[np.uint8]) -> None:
    wanted = "an array must be (H, W, 3) RGB or (H, W) gray of uint8 values"
    assert refusal(array) == f"{wanted}, got {array.shape} of {array.dtype}"


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_picture_that_is_cut_off_is_named_in_every_form(
    kind: str, image_rgb: NDArray[np.uint8], tmp_path: Path
) -> None:
    stream = io.BytesIO()
    Image.fromarray(image_rgb).save(stream, kind)
    path = tmp_path / "cut.jpg"
    path.write_bytes(stream.getvalue()[:-200])
    for form in (path, str(path)):
        assert refusal(form).startswith(f"{path} cannot be read as a picture: ")
    assert refusal(path.read_bytes()).startswith("the picture given as bytes cannot be read as a picture: ")
    with Image.open(path) as opened:  # Pillow has read its header alone by then
        assert refusal(opened).startswith(f"the Pillow image {path} cannot be read as a picture: ")


def test_what_is_no_picture_is_named(tmp_path: Path) -> None:
    text = tmp_path / "text.jpg"
    text.write_text("not a picture")
    assert refusal(text) == (
        f"{text} cannot be read as a picture: it is empty or in none of the formats that Pillow reads, such as JPEG "
        "and PNG"
    )
    missing = tmp_path / "missing.jpg"
    assert refusal(missing) == f"{missing} cannot be read as a picture: there is no such file; check the path"
    fractions = Image.new("F", (4, 4))
    assert refusal(fractions).startswith("the Pillow image cannot be read as a picture: its pixels are fractions")


@pytest.mark.skipif(os.name == "nt", reason="Windows refuses to open a folder for want of permission")
def test_a_folder_is_named(tmp_path: Path) -> None:
    words = "cannot be read as a picture: it is a folder; name the pictures in it"
    assert refusal(str(tmp_path)) == f"{tmp_path} {words}"


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may read every file")
def test_a_file_that_may_not_be_read_is_named(png: Path) -> None:
    png.chmod(0)
    assert refusal(png) == f"{png} cannot be read as a picture: Permission denied"
