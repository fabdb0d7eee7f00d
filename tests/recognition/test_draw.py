"""Boxes and labels that are drawn on an image, and the file they are written to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageColor

from mien.labels import COLOURS, EXPRESSIONS, class_colours
from mien.recognition.draw import annotate, save
from mien.types import Box, Expression, Face

GRAY = 90


def face(box: tuple[float, float, float, float], name: str = "happy", classes: tuple[str, ...] = EXPRESSIONS) -> Face:
    rest = 0.2 / (len(classes) - 1)
    return Face(Box(*box), {}, 1.0, Expression({other: 0.8 if other == name else rest for other in classes}))


def plain(width: int, height: int) -> NDArray[np.uint8]:
    return np.full((height, width, 3), GRAY, np.uint8)


def pixels_of_colour(image: Image.Image, colour: str) -> NDArray[np.bool_]:
    return (np.asarray(image) == ImageColor.getrgb(colour)).all(axis=2)


def changed_pixels(image: Image.Image) -> NDArray[np.bool_]:
    return (np.asarray(image) != GRAY).any(axis=2)


def bounds(mask: NDArray[np.bool_]) -> tuple[int, int, int, int]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def test_annotate_does_not_change_the_image() -> None:
    image_rgb = plain(200, 200)
    for faces in ([], [face((50, 50, 120, 120))]):
        image = annotate(image_rgb, faces)
        image.putpixel((0, 0), (1, 2, 3))
        assert (image_rgb == GRAY).all()
    image_rgb[:] = 0
    assert image.getpixel((199, 199)) == (GRAY,) * 3


def test_annotate_without_faces_is_a_copy() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    assert np.array_equal(annotate(noise, []), noise)


@pytest.mark.parametrize("box", [(60, 60, 140, 140), (-30, -30, 50, 50), (300, 10, 340, 50)])
def test_blur_leaves_no_detail_of_a_face_and_nothing_else_changes(box: tuple[int, int, int, int]) -> None:
    image_rgb = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    blurred = np.asarray(annotate(image_rgb, [face(box)], blur=True)).astype(int)
    clear = np.asarray(annotate(image_rgb, [face(box)])).astype(int)
    x0, y0, x1, y1 = (min(200, max(0, edge)) for edge in box)
    inside = (slice(y0 + 20, y1 - 20), slice(x0 + 20, x1 - 20))  # without the box and the label
    if x1 > x0:
        assert np.abs(np.diff(blurred[inside], axis=0)).mean() < 0.1 * np.abs(np.diff(clear[inside], axis=0)).mean()
    far = np.ones((200, 200), bool)
    margin = 13  # 0.15 of a side of 80, and the rounding
    far[max(0, y0 - margin) : y1 + margin, max(0, x0 - margin) : x1 + margin] = False
    assert (blurred[far] == clear[far]).all()


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_box_has_the_colour_of_the_class_and_is_at_its_edge(name: str) -> None:
    mask = pixels_of_colour(annotate(plain(300, 300), [face((100, 120, 200, 220), name)]), COLOURS[name])
    assert mask[120:220, 100].all()
    assert mask[120:220, 199].all()
    assert mask[120, 100:200].all()
    assert mask[219, 100:200].all()
    assert not mask[:, :100].any()
    assert not mask[:, 200:].any()
    assert not mask[220:].any()
    assert not mask[125:215, 105:195].any()


def test_box_of_a_class_without_an_assigned_colour_has_its_own_colour() -> None:
    mask = pixels_of_colour(
        annotate(plain(300, 300), [face((100, 120, 200, 220), "calm", ("calm", "not calm"))]),
        class_colours(("calm", "not calm"))["calm"],
    )
    assert mask[120:220, 100].all()
    assert mask[110, 100]


def test_label_text_differs_in_brightness_from_its_background() -> None:
    for name in EXPRESSIONS:
        colour = COLOURS[name]
        label = np.asarray(annotate(plain(300, 300), [face((100, 120, 200, 220), name)]))[:119, :200]
        brightness = label[changed_pixels(Image.fromarray(label))] @ [0.299, 0.587, 0.114]
        background = np.dot(ImageColor.getrgb(colour), [0.299, 0.587, 0.114])
        assert np.abs(brightness - background).max() > 90, name


@pytest.mark.parametrize("name", EXPRESSIONS)
def test_label_has_the_contrast_required_by_wcag(name: str) -> None:
    label = np.asarray(annotate(plain(900, 900), [face((200, 300, 800, 880), name)]))[:299]
    luminances = luminance(label[changed_pixels(Image.fromarray(label))])
    ground = luminance(np.array([ImageColor.getrgb(COLOURS[name])]))[0]
    contrasts = (np.maximum(luminances, ground) + 0.05) / (np.minimum(luminances, ground) + 0.05)
    assert contrasts.max() >= 4.5


def luminance(colours: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Returns the relative luminance of colours (N, 3), as WCAG 2.1 defines it."""
    values = colours / 255
    linear = np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def test_label_is_above_its_box() -> None:
    mask = changed_pixels(annotate(plain(300, 300), [face((100, 120, 200, 220))]))
    mask[120:220, 100:200] = False
    x0, y0, x1, y1 = bounds(mask)
    assert (x0, y1) == (100, 120)
    assert 12 <= y1 - y0 <= 40
    assert 50 <= x1 - x0 <= 130


@pytest.mark.parametrize("name", ["sad", "happy"])
def test_labels_have_the_same_height_with_and_without_descenders(name: str) -> None:
    height = bounds(changed_pixels(annotate(plain(300, 300), [face((100, 120, 200, 220), name)])))[1]
    assert height == bounds(changed_pixels(annotate(plain(300, 300), [face((100, 120, 200, 220), "fear")])))[1]


BOXES = {
    "top": (100, 0, 200, 100),
    "top left": (0, 0, 100, 100),
    "top right": (200, 0, 300, 100),
    "right": (260, 100, 300, 140),
    "bottom right": (260, 260, 300, 300),
    "bottom": (100, 200, 200, 300),
    "left, partly outside": (-50, 100, 50, 200),
    "top, partly outside": (100, -50, 200, 50),
    "bottom right, partly outside": (270, 270, 400, 400),
}


@pytest.mark.parametrize("box", BOXES.values(), ids=BOXES)
def test_label_is_inside_the_image_and_does_not_cover_the_face(box: tuple[int, int, int, int]) -> None:
    x0, y0, x1, y1 = box
    size = label_size((80, 100, 80 + x1 - x0, 100 + y1 - y0))
    assert label_size(box) == size
    inside = changed_pixels(annotate(plain(300, 300), [face(box, "surprise")]))[
        max(0, y0 + 3) : y1 - 3, max(0, x0 + 3) : x1 - 3
    ]
    assert inside.size > 500
    assert not inside.any()


def label_size(box: tuple[int, int, int, int]) -> tuple[int, int]:
    """Returns the width and height of what is drawn outside the box."""
    mask = changed_pixels(annotate(plain(300, 300), [face(box, "surprise")]))
    mask[max(0, box[1]) : box[3], max(0, box[0]) : box[2]] = False
    x0, y0, x1, y1 = bounds(mask)
    return x1 - x0, y1 - y0


def test_label_of_a_face_that_fills_the_image_is_at_its_top() -> None:
    mask = changed_pixels(annotate(plain(200, 200), [face((0, 0, 200, 200))]))
    assert mask[5:20, 10:60].any()
    assert not mask[60:195, 5:195].any()


@pytest.mark.parametrize(("width", "height"), [(48, 48), (60, 300), (300, 20)])
def test_label_shrinks_to_fit_a_small_image(width: int, height: int) -> None:
    image = annotate(plain(width, height), [face((0, 0, width, height), "surprise")])
    black = pixels_of_colour(image, "#000000") | (np.asarray(image).max(axis=2) < 60)
    x0, _, x1, _ = bounds(black)
    assert x0 > 0
    assert x1 < width


@pytest.mark.parametrize(("width", "height"), [(1, 1), (1, 30), (20, 20)])
def test_image_without_room_for_a_label_has_only_boxes(width: int, height: int) -> None:
    image = annotate(plain(width, height), [face((0, 0, width, height)), face((0.2, 0.2, 0.4, 0.4))])
    assert image.size == (width, height)
    assert pixels_of_colour(image, COLOURS["happy"])[0, 0]
    assert (pixels_of_colour(image, COLOURS["happy"]) | ~changed_pixels(image)).all()


def test_faces_outside_the_image_are_accepted() -> None:
    for box in ((-90, -90, -50, -50), (400, 400, 450, 450)):
        assert annotate(plain(200, 200), [face(box)]).size == (200, 200)


@pytest.mark.parametrize("side", [200, 1000, 4000])
def test_line_and_label_scale_with_the_image(side: int) -> None:
    box = tuple(side * fraction for fraction in (0.4, 0.4, 0.6, 0.6))
    mask = pixels_of_colour(annotate(plain(side, side), [face(box)]), COLOURS["happy"])
    label = round(side * 0.4) - bounds(mask)[1]
    assert label == pytest.approx(max(15, 0.04 * side), rel=0.3)
    line = int(mask[side // 2, : side // 2].sum())
    assert line == max(2, side // 250)


def test_small_face_in_a_large_image_has_a_thin_line_and_a_legible_label() -> None:
    mask = pixels_of_colour(annotate(plain(4000, 4000), [face((2000, 2000, 2060, 2060))]), COLOURS["happy"])
    assert int(mask[2030, :2030].sum()) <= 3
    assert 40 <= 2000 - bounds(mask)[1] <= 80


def test_box_does_not_cover_the_label_of_another_face() -> None:
    alone = annotate(plain(300, 300), [face((100, 120, 200, 220))])
    label = bounds(changed_pixels(alone.crop((0, 0, 300, 120))))
    crossed = annotate(plain(300, 300), [face((100, 120, 200, 220)), face((130, 40, 230, label[1] + 8), "sad")])
    assert np.array_equal(crossed.crop(label), alone.crop(label))


def test_save_numbers_files_with_reserved_names(tmp_path: Path) -> None:
    image = annotate(plain(64, 64), [])
    first = save(image, tmp_path, "a", set())
    second = save(image, tmp_path, "a", {first})
    third = save(image, tmp_path, "a", {first, second})
    assert [path.name for path in (first, second, third)] == ["a-faces.jpg", "a-faces-2.jpg", "a-faces-3.jpg"]
    assert all(Image.open(path).size == (64, 64) for path in (first, second, third))
    assert save(image, tmp_path, "a", set()) == first
