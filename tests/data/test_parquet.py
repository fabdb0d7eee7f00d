"""Hugging Face style Parquet: bytes or structs, labels by number or name, splits by column or file name."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.data import load
from mien.errors import DataError
from mien.labels import EXPRESSIONS, SPLITS

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def png(gray: int) -> bytes:
    stream = io.BytesIO()
    Image.new("L", (48, 48), gray).save(stream, "PNG")
    return stream.getvalue()


IMAGES = [png(gray) for gray in (10, 20, 30)]


def write(path: Path, metadata: dict[str, str] | None = None, **columns: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    table = pa.table(columns)
    pq.write_table(table.replace_schema_metadata(metadata), path)
    return path


def splits_of(path: Path) -> list[str]:
    return [SPLITS[split] for split in load(path, cache=False).splits]


@pytest.mark.parametrize("form", ["bytes", "struct"])
def test_images_as_bytes_and_as_struct(tmp_path: Path, form: str) -> None:
    images = IMAGES if form == "bytes" else [{"bytes": image, "path": "x.png"} for image in IMAGES]
    dataset = load(write(tmp_path / "Faces.PARQUET", image=images, label=[0, 3, 6], other=[1, 2, 3]), cache=False)
    assert dataset.form == "parquet"
    assert dataset.images[:, 0, 0].tolist() == [10, 20, 30]
    assert dataset.targets.tolist() == [0, 3, 6]
    assert dataset.images.shape == (3, 48, 48)


def test_size(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", image=IMAGES, label=[0, 3, 6])
    assert load(path, size=32, cache=False).images.shape == (3, 32, 32)


def test_split_by_column(tmp_path: Path) -> None:
    usage = ["Training", "PrivateTest", "PublicTest"]
    assert splits_of(write(tmp_path / "test.parquet", image=IMAGES, label=[0, 1, 2], Usage=usage)) == [
        "training",
        "private",
        "public",
    ]
    for wrong in ("private test", None):
        path = write(tmp_path / "test.parquet", image=IMAGES, label=[0, 1, 2], split=["train", "val", wrong])
        with pytest.raises(DataError, match=r"split must be one of .*, got .* in row 2 of test\.parquet"):
            load(path, cache=False)


def test_split_by_file_and_folder(tmp_path: Path) -> None:
    files = {
        "data/train-00000-of-00001.parquet": "training",
        "default/validation/0000.parquet": "public",
        "fer2013_test.parquet": "private",
        "other.parquet": "training",
    }
    for i, name in enumerate(files):
        write(tmp_path / name, image=IMAGES[:1], label=[i])
    dataset = load(tmp_path, cache=False)
    assert [SPLITS[split] for split in dataset.splits] == list(files.values())
    assert dataset.targets.tolist() == [0, 1, 2, 3]
    assert splits_of(tmp_path / "fer2013_test.parquet") == ["private"]


def hugging_face(names: list[str]) -> dict[str, str]:
    label = {"names": names, "_type": "ClassLabel"}
    return {"huggingface": json.dumps({"info": {"features": {"label": label, "image": {"_type": "Image"}}}})}


def test_labels_are_numbered_as_the_header_says(tmp_path: Path) -> None:
    """Sets made from folders number by the alphabet: their 4 is neutral, where FER2013's is sad."""
    names = ["Angry", "disgust", "fear", "happy", "neutral", "sad", "surprise"]
    path = write(tmp_path / "a.parquet", hugging_face(names), image=IMAGES, label=[4, 5, 6])
    assert [EXPRESSIONS[k] for k in load(path, cache=False).targets] == ["neutral", "sad", "surprise"]
    path = write(tmp_path / "b.parquet", hugging_face(["happy", "sad"]), image=IMAGES, label=[1, 0, 2])
    with pytest.raises(DataError, match=r"label must be 0\.\.1, got 2 in row 2 of b\.parquet"):
        load(path, cache=False)
    path = write(tmp_path / "c.parquet", hugging_face(["happy", "contempt"]), image=IMAGES, label=[0, 0, 0])
    with pytest.raises(DataError, match=r"unknown class contempt in the header of c\.parquet"):
        load(path, cache=False)


@pytest.mark.parametrize("names", [None, 3, []])
def test_a_header_without_names_is_refused(tmp_path: Path, names: object) -> None:
    path = write(tmp_path / "a.parquet", hugging_face(names), image=IMAGES, label=[0, 0, 0])  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"the header of a\.parquet must list the label's names, got"):
        load(path, cache=False)


def test_labels_by_name(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", image=IMAGES, label=["happy", "Anger", "neutral"])
    assert [EXPRESSIONS[k] for k in load(path, cache=False).targets] == ["happy", "angry", "neutral"]
    path = write(tmp_path / "a.parquet", image=IMAGES, label=["happy", "supprise", "neutral"])
    with pytest.raises(DataError, match=r"unknown label supprise in row 1 of a\.parquet: did you mean .*surprise"):
        load(path, cache=False)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"image": IMAGES, "label": [0, 7, 1]}, r"label must be 0\.\.6, got 7 in row 1 of a\.parquet"),
        ({"image": IMAGES, "label": [0, 1, -1]}, r"label must be 0\.\.6, got -1 in row 2"),
        ({"image": IMAGES, "label": [None, 1, 1]}, r"label must be 0\.\.6, got None in row 0"),
        ({"image": IMAGES, "label": [True, False, True]}, r"label must be 0\.\.6, got True in row 0"),
        ({"image": IMAGES, "label": [0.0, 1.0, 2.0]}, r"label must be 0\.\.6, got 0\.0 in row 0"),
        ({"image": IMAGES, "emotion": [0, 1, 2]}, "must have the columns image and label, got image, emotion"),
        ({"pixels": IMAGES, "label": [0, 1, 2]}, "must have the columns image and label, got pixels, label"),
        ({"image": [IMAGES[0], b"no", IMAGES[2]], "label": [0, 1, 2]}, r"not a picture .* in row 1 of a\.parquet"),
        ({"image": [IMAGES[0], None, IMAGES[2]], "label": [0, 1, 2]}, "must hold the bytes .* NoneType in row 1"),
        ({"image": [[1, 2]], "label": [0]}, "must hold the bytes of a picture, got list in row 0"),
        ({"image": pa.array([], pa.binary()), "label": pa.array([], pa.int64())}, "has no rows"),
    ],
)
def test_wrong_tables(tmp_path: Path, columns: dict[str, object], words: str) -> None:
    path = write(tmp_path / "a.parquet", **columns)
    with pytest.raises(DataError, match=words):
        load(path, cache=False)


def test_not_parquet_and_cut_off(tmp_path: Path) -> None:
    path = write(tmp_path / "a.parquet", image=IMAGES, label=[0, 1, 2])
    whole = path.read_bytes()
    damaged = bytearray(whole)
    damaged[4:60] = np.random.default_rng(0).bytes(56)
    for data in (b"", b"not parquet at all", whole[: len(whole) // 2], bytes(damaged)):
        path.write_bytes(data)
        with pytest.raises(DataError, match=r"a\.parquet is not a Parquet file that can be read"):
            load(path, cache=False)


def test_swapped_splits_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.data.fer2013.PUBLISHED_COUNTS", {"public": (9,) * 7, "private": (1,) * 7})
    path = write(tmp_path / "validation.parquet", image=[IMAGES[0]] * 7, label=list(range(7)))
    with pytest.raises(DataError, match="are swapped"):
        load(path, cache=False)
