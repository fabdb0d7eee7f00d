"""Class folders: the class and split of each picture, files that are not pictures, and kinds of pictures."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.data import FaceDataset, load
from mien.errors import DataError
from mien.labels import EXPRESSIONS, SPLITS

Put = Callable[..., Path]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "faces"
    folder.mkdir()
    return folder


@pytest.fixture
def put(root: Path) -> Put:
    """Saves a plain gray picture below the root."""

    def put(place: str, gray: int = 100) -> Path:
        path = root / place
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (48, 48), gray).save(path)
        return path

    return put


def read(root: Path, size: int = 48) -> FaceDataset:
    return load(root, size=size, cache=False)


def listed(dataset: FaceDataset) -> list[tuple[str, str]]:
    return [(SPLITS[s], dataset.classes[t]) for s, t in zip(dataset.splits, dataset.targets, strict=True)]


def test_kaggle_test_folder_is_split_by_file_names(root: Path, put: Put) -> None:
    put("train/angry/Training_1.jpg")
    put("train/happy/Training_2.jpg")
    put("test/angry/PrivateTest_1.jpg")
    put("test/angry/PublicTest_2.jpg")
    put("test/surprise/PublicTest_3.jpg")
    dataset = read(root)
    assert dataset.format == "folders"
    assert listed(dataset) == [
        ("private", "angry"),
        ("public", "angry"),
        ("public", "surprise"),
        ("training", "angry"),
        ("training", "happy"),
    ]


@pytest.mark.parametrize(
    "place",
    [
        "train/happy/PrivateTest_1.jpg",
        "train/happy/PublicTest_1.jpg",
        "test/happy/Training_1.jpg",
        "publictest/happy/PrivateTest_1.jpg",
        "PrivateTest/happy/PublicTest_1.jpg",
    ],
)
def test_mixed_splits_raise(root: Path, put: Put, place: str) -> None:
    put("train/sad/Training_3.jpg")
    put(place)
    with pytest.raises(DataError, match="use a copy of the data in its original folders") as caught:
        read(root)
    assert str(root / place) in str(caught.value)


def test_swapped_splits_raise(root: Path, put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    for k, name in enumerate(EXPRESSIONS):
        put(f"val/{name}/{k}.png")
        put(f"test/{name}/{k}.png")
        put(f"test/{name}/{k}-again.png")
    monkeypatch.setattr("mien.data.fer2013.PUBLISHED_COUNTS", {"public": (1,) * 7, "private": (2,) * 7})
    read(root)
    monkeypatch.setattr("mien.data.fer2013.PUBLISHED_COUNTS", {"public": (2,) * 7, "private": (1,) * 7})
    with pytest.raises(DataError, match="are swapped"):
        read(root)


def test_folder_names_in_any_case_and_spelling(root: Path, put: Put) -> None:
    for place in ("Train/HAPPY/a.PNG", "Validation/Anger/b.jpeg", "TEST/neutral/c.bmp", "train/fearful/d.webp"):
        put(place)
    assert sorted(listed(read(root))) == [
        ("private", "neutral"),
        ("public", "angry"),
        ("training", "fear"),
        ("training", "happy"),
    ]


def test_folder_above_split_folders(root: Path, put: Put) -> None:
    put("images/train/happy/1.jpg")
    put("images/validation/sad/1.jpg")
    assert listed(read(root)) == [("training", "happy"), ("public", "sad")]


def test_pictures_without_split_folders_are_drawn_by_path(root: Path, put: Put) -> None:
    for i in range(200):
        put(f"{'happy' if i % 2 else 'sad'}/{i}.png", gray=i)
    dataset = read(root)
    assert set(dataset.targets.tolist()) == {EXPRESSIONS.index("happy"), EXPRESSIONS.index("sad")}
    totals = np.bincount(dataset.splits, minlength=3)
    assert 140 <= totals[0] <= 180
    assert (totals[1:] >= 8).all()
    moved = root.rename(root.parent / "moved")  # only the path below the named folder counts
    assert np.array_equal(read(moved).splits, dataset.splits)


def test_file_names_that_are_not_utf8(root: Path, put: Put, user_cache: Path) -> None:
    names = [os.fsdecode(b"happy/caf\xe9%d.png" % number) for number in range(10)]
    for name in names:
        put(name)
    assert len(load(root)) == len(read(root)) == 10


def test_junk_files_are_ignored(root: Path, put: Put) -> None:
    put("happy/1.jpg")
    for place in (".DS_Store", "happy/.DS_Store", "happy/._1.jpg", "__MACOSX/happy/._1.jpg", ".git/happy/1.jpg"):
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        (root / place).write_bytes(b"\0junk")
    put("__MACOSX/happy/1.jpg")
    (root / "happy" / "Thumbs.db").write_bytes(b"junk")
    (root / "folder.jpg").mkdir()
    assert len(read(root)) == 1


def test_linked_folders_are_followed_without_loops(root: Path, put: Put, tmp_path: Path) -> None:
    put("happy/1.jpg")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    Image.new("L", (48, 48)).save(elsewhere / "2.png")
    try:
        (root / "sad").symlink_to(elsewhere, target_is_directory=True)
        (elsewhere / "up").symlink_to(root, target_is_directory=True)
    except OSError:
        pytest.skip("this system cannot link folders")
    assert listed(read(root))[-1][1] == "sad"
    assert len(read(root)) == 2


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("1.jpg", "lies in no class folder; expected one such as .*happy"),
        ("train/1.jpg", "lies in no class folder; expected one such as .*train/happy"),
        ("trian/happy/1.jpg", "unknown split folder .*trian: did you mean .*train"),
    ],
)
def test_picture_in_wrong_folder(root: Path, put: Put, place: str, words: str) -> None:
    put(place)
    with pytest.raises(DataError, match=words.replace("/", r"[/\\]")):
        read(root)


def test_folder_without_pictures(root: Path) -> None:
    (root / "happy").mkdir()
    (root / "happy" / "notes.txt").write_text("none")
    with pytest.raises(DataError, match="holds no pictures; expected class folders"):
        read(root)


def test_file_that_is_not_a_picture(root: Path, put: Put) -> None:
    whole = put("happy/1.jpg")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (200, 200), np.uint8)).save(whole)
    damaged = root / "happy" / "2.jpg"
    for data in (b"", b"<html>not found</html>", whole.read_bytes()[:3000]):
        damaged.write_bytes(data)
        with pytest.raises(DataError, match=r"the picture .* cannot be read") as caught:
            read(root)
        assert str(damaged) in str(caught.value)


def test_damaged_png(root: Path, put: Put) -> None:
    """Pillow raises SyntaxError for a broken chunk, not OSError."""
    path = put("sad/1.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (500, 500), np.uint8)).save(path)
    data = bytearray(path.read_bytes())
    second = data.index(b"IDAT", data.index(b"IDAT") + 4)
    data[second : second + 4] = bytes(4)
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"the picture .*1\.png cannot be read"):
        read(root)


def test_unreadable_folder(root: Path, put: Put, monkeypatch: pytest.MonkeyPatch) -> None:
    put("happy/1.jpg")
    put("sad/1.jpg")
    listing = os.scandir

    def refuse(path: str) -> object:
        if Path(path).name == "sad":  # chmod does not stop root
            raise PermissionError(13, "Permission denied", str(path))
        return listing(path)

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(DataError, match="sad cannot be read: Permission denied; check its permissions"):
        read(root)


def save(root: Path, picture: Image.Image, name: str = "1.png", **options: object) -> None:
    (root / "happy").mkdir(exist_ok=True)
    picture.save(root / "happy" / name, **options)


def test_sixteen_bits_are_scaled_to_eight(root: Path) -> None:
    values = np.linspace(0, 65535, 48 * 48).reshape(48, 48)
    save(root, Image.fromarray(values.astype(np.uint16)))
    assert np.abs(read(root).images[0] - values / 257).max() <= 1


def test_floating_point_picture_raises(root: Path) -> None:
    save(root, Image.new("F", (48, 48), 0.5), "1.tif")
    with pytest.raises(DataError, match=r"the picture .*1\.tif cannot be read: its pixels are fractions"):
        read(root)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_transparency_becomes_white(root: Path, mode: str) -> None:
    picture = Image.new(mode, (48, 48), (0,) * len(mode))
    picture.paste((80,) * (len(mode) - 1) + (255,), (0, 0, 24, 48))
    save(root, picture)
    face = read(root).images[0]
    assert np.all(face[:, :24] == 80)
    assert np.all(face[:, 24:] == 255)


@pytest.mark.parametrize("mode", ["RGB", "P", "CMYK", "1"])
def test_other_colour_modes_become_gray(root: Path, mode: str) -> None:
    picture = Image.new("L", (48, 48), 255)
    picture.paste(0, (0, 0, 48, 24))
    save(root, picture.convert(mode), "1.tif")
    face = read(root).images[0]
    assert face[:23].max() < 40
    assert face[25:].min() > 215


def test_exif_orientation_is_applied(root: Path) -> None:
    """Orientation 6: the camera was upright, and the stored rows are the face's columns."""
    upright = np.zeros((48, 48), np.uint8)
    upright[:24] = 250
    exif = Image.Exif()
    exif[0x0112] = 6
    save(root, Image.fromarray(np.rot90(upright)), exif=exif)
    assert np.array_equal(read(root).images[0], upright)


def test_wide_picture_is_padded_not_stretched(root: Path) -> None:
    """A circle in a wide picture stays a circle: the edge is repeated, as in the recogniser's crop."""
    y, x = np.mgrid[:100, :200]
    circle = np.where((x - 100) ** 2 + (y - 50) ** 2 < 40**2, 255, 0).astype(np.uint8)
    save(root, Image.fromarray(circle))
    dataset = read(root, size=64)
    assert dataset.images.shape == (1, 64, 64)
    lit = dataset.images[0] > 127
    assert abs(int(lit.any(axis=0).sum()) - int(lit.any(axis=1).sum())) <= 1
