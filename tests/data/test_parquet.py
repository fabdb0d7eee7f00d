"""Parquet files: pictures as bytes or structs, labels as numbers or names, splits by column or file name."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mien.data import FaceDataset, LabelOptions, load
from mien.errors import DataError
from mien.labels import EIGHT_EXPRESSIONS, EXPRESSIONS, SPLITS

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def png(gray: int) -> bytes:
    stream = io.BytesIO()
    Image.new("L", (48, 48), gray).save(stream, "PNG")
    return stream.getvalue()


NAMES = ["angry", "happy", "neutral"]
IMAGES = [png(gray) for gray in (10, 20, 30)]


def write(path: Path, metadata: dict[str, str] | None = None, **columns: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns)
    pq.write_table(table.replace_schema_metadata(metadata), path)
    return path


def read(path: Path, **options: Any) -> FaceDataset:
    return load(path, cache=False, options=LabelOptions(**options))


def splits_of(path: Path) -> list[str]:
    return [SPLITS[split] for split in read(path).splits]


def expressions_of(dataset: FaceDataset) -> list[str]:
    return [dataset.classes[target] for target in dataset.targets]


@pytest.mark.parametrize("form", ["bytes", "struct"])
def test_pictures_as_bytes_or_struct(tmp_path: Path, form: str) -> None:
    images = IMAGES if form == "bytes" else [{"bytes": image, "path": "x.png"} for image in IMAGES]
    dataset = read(
        write(tmp_path / "Faces.PARQUET", image=images, label=["angry", "happy", "neutral"], other=[1, 2, 3])
    )
    assert dataset.format == "parquet"
    assert dataset.images[:, 0, 0].tolist() == [10, 20, 30]
    assert dataset.targets.tolist() == [0, 3, 6]
    assert dataset.images.shape == (3, 48, 48)


def test_pictures_are_resized(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", image=IMAGES, label=NAMES)
    assert load(path, size=32, cache=False).images.shape == (3, 32, 32)


def test_split_from_column(tmp_path: Path) -> None:
    usage = ["Training", "PrivateTest", "PublicTest"]
    assert splits_of(write(tmp_path / "test.parquet", image=IMAGES, label=NAMES, Usage=usage)) == [
        "training",
        "private",
        "public",
    ]
    for wrong in ("private test", None):
        path = write(tmp_path / "test.parquet", image=IMAGES, label=NAMES, split=["train", "val", wrong])
        with pytest.raises(DataError, match=r"split must be one of .*, got .* in row 2 of test\.parquet"):
            load(path, cache=False)


def test_split_from_file_and_folder_names(tmp_path: Path) -> None:
    files = {
        "data/train-00000-of-00001.parquet": "training",
        "default/validation/0000.parquet": "public",
        "fer2013_test.parquet": "private",
        "other.parquet": "training",
    }
    for expression, name in zip(EXPRESSIONS, files, strict=False):
        write(tmp_path / name, image=IMAGES[:1], label=[expression])
    dataset = read(tmp_path)
    assert [SPLITS[split] for split in dataset.splits] == list(files.values())
    assert dataset.targets.tolist() == [0, 1, 2, 3]
    assert splits_of(tmp_path / "fer2013_test.parquet") == ["private"]


def hugging_face(names: list[str]) -> dict[str, str]:
    label = {"names": names, "_type": "ClassLabel"}
    return {"huggingface": json.dumps({"info": {"features": {"label": label, "image": {"_type": "Image"}}}})}


def test_numbers_index_the_names_of_the_header(tmp_path: Path) -> None:
    """Data made from folders numbers alphabetically: its 4 is neutral, while FER2013's is sad."""
    names = ["Angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]
    path = write(tmp_path / "a.parquet", hugging_face(names), image=IMAGES, label=[4, 5, 6])
    assert expressions_of(read(path)) == ["neutral", "sad", "surprise"]
    assert read(path).classes == EXPRESSIONS
    path = write(tmp_path / "b.parquet", hugging_face(["happy", "sad"]), image=IMAGES, label=[1, 0, 2])
    with pytest.raises(DataError, match=r"label must be 0\.\.1, got 2 in row 2 of b\.parquet"):
        load(path, cache=False)


def test_header_gives_names_and_order_of_other_classes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", hugging_face(["engaged", "bored", "asleep"]), image=IMAGES, label=[1, 0, 1])
    dataset = read(path)
    assert dataset.classes == ("engaged", "bored", "asleep")
    assert dataset.targets.tolist() == [1, 0, 1]


def test_header_with_contempt_gives_eight_classes(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", hugging_face(["happy", "contempt"]), image=IMAGES, label=[0, 1, 0])
    assert read(path).classes == EIGHT_EXPRESSIONS


def test_numbers_without_a_header_need_a_numbering(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", image=IMAGES, label=[0, 3, 6])
    with pytest.raises(DataError, match=r"the classes of .* are numbers, and numbers mean different classes"):
        read(path)
    assert expressions_of(read(path, numbering="fer2013")) == ["angry", "happy", "neutral"]
    assert expressions_of(read(path, numbering="affectnet")) == ["neutral", "surprise", "angry"]
    with pytest.raises(DataError, match=r"class number 0 in row 0 of .*a\.parquet is not in the numbering raf-db: 1 s"):
        read(path, numbering="raf-db")


@pytest.mark.parametrize("names", [None, 3, [], [1, 2], [""]])
def test_header_without_names_raises(tmp_path: Path, names: object) -> None:
    path = write(tmp_path / "a.parquet", hugging_face(names), image=IMAGES, label=[0, 0, 0])  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"the header of a\.parquet must list the label's names, got"):
        load(path, cache=False)


def test_labels_as_names(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", image=IMAGES, label=["happy", "Anger", "neutral"])
    assert expressions_of(read(path)) == ["happy", "angry", "neutral"]
    path = write(tmp_path / "a.parquet", image=IMAGES, label=["happy", "supprise", "neutral"])
    with pytest.raises(DataError, match=r"the class supprise of .* looks like a misspelt surprise: correct it"):
        load(path, cache=False)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        (
            {"image": IMAGES, "label": [0, 1, -1]},
            r"label must be a name or a number from 0 on, got -1 in row 2 of a\.parquet",
        ),
        ({"image": IMAGES, "label": [None, 1, 1]}, "a number from 0 on, got None in row 0"),
        ({"image": IMAGES, "label": [True, False, True]}, "a number from 0 on, got True in row 0"),
        ({"image": IMAGES, "label": [0.0, 1.0, 2.0]}, r"a number from 0 on, got 0\.0 in row 0"),
        ({"image": IMAGES, "emotion": [0, 1, 2]}, "must have the columns image and label, got image, emotion"),
        ({"pixels": IMAGES, "label": [0, 1, 2]}, "must have the columns image and label, got pixels, label"),
        (
            {"image": [IMAGES[0], b"no", IMAGES[2]], "label": [0, 1, 2]},
            r"the picture in row 1 of a\.parquet cannot be read",
        ),
        ({"image": [IMAGES[0], None, IMAGES[2]], "label": [0, 1, 2]}, "must hold the bytes .* NoneType in row 1"),
        ({"image": [[1, 2]], "label": [0]}, "must hold the bytes of a picture, got list in row 0"),
        ({"image": pa.array([], pa.binary()), "label": pa.array([], pa.int64())}, "has no rows"),
    ],
)
def test_wrong_tables(tmp_path: Path, columns: dict[str, object], words: str) -> None:
    path = write(tmp_path / "a.parquet", **columns)
    with pytest.raises(DataError, match=words):
        load(path, cache=False)


def test_damaged_file_raises(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", image=IMAGES, label=[0, 1, 2])
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[4:60] = np.random.default_rng(0).bytes(56)
    for data, words in (
        (b"", r"a\.parquet is not a Parquet file: it must start and end with PAR1; download it again$"),
        (b"not parquet at all", r"a\.parquet is not a Parquet file"),
        (whole[: len(whole) // 2], r"a\.parquet is cut off: it must start and end with PAR1"),
        (bytes(damaged), r"a\.parquet is damaged: reading stopped after 0 rows; download it again$"),
        (b"PAR1" + b"\xff" * 100 + b"PAR1", r"a\.parquet is damaged: reading stopped after 0 rows; download it again$"),
    ):
        path.write_bytes(data)
        with pytest.raises(DataError, match=words):
            load(path, cache=False)


def test_swapped_splits_raise(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.data.fer2013.PUBLISHED_COUNTS", {"public": (9,) * 7, "private": (1,) * 7})
    path = write(tmp_path / "validation.parquet", image=[IMAGES[0]] * 7, label=list(EXPRESSIONS))
    with pytest.raises(DataError, match="are swapped"):
        load(path, cache=False)
