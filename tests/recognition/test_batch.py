"""A folder of pictures becomes one table, the same however the work was interrupted."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pyarrow import parquet

from mien.data.pictures import find_pictures
from mien.errors import ConfigError, DataError
from mien.labels import EXPRESSIONS
from mien.recognition import batch
from mien.recognition.recognizer import Recognizer

ASTRONAUT = Path(__file__).parents[2] / "examples" / "astronaut.jpg"
MADE_BY = {"model": "small"}


@pytest.fixture(scope="module")
def recognizer():
    return Recognizer(threads=1)


@pytest.fixture
def folder(tmp_path):
    """Ten pictures: the astronaut at several sizes, one without a face, and one that is none."""
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    with Image.open(ASTRONAUT) as astronaut:
        for i in range(8):
            astronaut.resize((300 + 20 * i, 300 + 20 * i)).save(folder / ("more" if i % 2 else ".") / f"{i}.jpg")
    Image.new("RGB", (64, 48), "gray").save(folder / "nobody.png")
    (folder / "notes.jpg").write_text("no picture at all")
    (folder / "readme.txt").write_text("not even named like one")
    return folder


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(batch, "PICTURES_A_PART", 3)


def work_of(folder, name="faces.parquet"):
    return batch.Work(find_pictures([folder]), folder.parent / name, MADE_BY)


def test_a_row_a_face_and_one_for_every_other_picture(folder, recognizer):
    work, done = work_of(folder), []
    table = parquet.read_table(batch.recognize(work, recognizer, 2, done.append))
    assert done == [3, 6, 9, 10]
    assert not work.parts.exists()
    rows = {Path(row["path"]).name: row for row in table.to_pylist()}
    assert list(dict.fromkeys(table["path"].to_pylist())) == [str(path) for path in work.pictures]
    assert len(rows) == table.num_rows == 10
    assert "cannot be read as a picture" in rows["notes.jpg"]["error"]
    assert rows["notes.jpg"]["face"] is None
    assert (rows["nobody.png"]["face"], rows["nobody.png"]["width"], rows["nobody.png"]["error"]) == (None, 64, None)
    face = rows["4.jpg"]
    (expected,) = recognizer(folder / "4.jpg")
    assert (face["face"], face["expression"], face["uncertain"]) == (1, "happy", False)
    assert face["width"] == face["height"] == 380
    assert [face[name] for name in EXPRESSIONS] == pytest.approx(
        list(expected.expression.probabilities.values()), abs=1e-5
    )
    assert [face[name] for name in ("x0", "y0", "x1", "y1")] == pytest.approx(expected.box.xyxy, abs=0.01)


@pytest.mark.parametrize("pictures", [1, 4, 8])
def test_interrupted_it_goes_on_and_is_the_same_file(folder, recognizer, pictures, monkeypatch):
    whole = batch.recognize(work_of(folder, "whole.parquet"), recognizer, 1, lambda done: None).read_bytes()
    seen = []

    def rows(picture, recognizer, real=batch._rows):
        seen.append(picture)
        if len(seen) > pictures:
            raise KeyboardInterrupt
        return real(picture, recognizer)

    work = work_of(folder)
    monkeypatch.setattr(batch, "_rows", rows)
    with pytest.raises(KeyboardInterrupt):
        batch.recognize(work, recognizer, 1, lambda done: None)
    assert not work.output.exists()
    finished = len(list(work.parts.glob("*.parquet")))
    assert finished == pictures // 3
    monkeypatch.undo()
    monkeypatch.setattr(batch, "PICTURES_A_PART", 3)
    assert batch.recognize(work, recognizer, 2, lambda done: None).read_bytes() == whole


def test_odd_names_links_and_formats_have_their_row(folder, recognizer):
    (folder / os.fsdecode(b"caf\xe9.jpg")).write_text("no picture")
    (folder / "phone.HEIC").write_bytes(b"\0\0\0\x1cftypheic")
    (folder / "loop").symlink_to(folder / "loop")
    with Image.open(ASTRONAUT) as astronaut:
        astronaut.save(folder / "astronaut.jfif", "JPEG")
    rows = parquet.read_table(batch.recognize(work_of(folder), recognizer, 2, lambda done: None)).to_pylist()
    rows = {Path(row["path"]).name: row for row in rows}
    assert len(rows) == 13
    assert rows["caf\\xe9.jpg"]["error"].startswith(f"{folder}/caf\\xe9.jpg cannot be read as a picture")
    assert "none of the formats" in rows["phone.HEIC"]["error"]
    assert rows["astronaut.jfif"]["expression"] == "happy"


def test_other_work_is_not_gone_on_with(folder, recognizer):
    work = work_of(folder)
    work.parts.mkdir()
    (work.parts / "plan.json").write_text(work.plan)
    shutil.copy(ASTRONAUT, folder / "new.jpg")
    with pytest.raises(ConfigError, match=r"faces\.parquet\.parts was begun with other pictures, another model"):
        batch.recognize(work_of(folder), recognizer, 1, lambda done: None)
    with pytest.raises(ConfigError, match="was begun with other pictures"):
        batch.recognize(batch.Work(work.pictures, work.output, {"model": "tiny"}), recognizer, 1, lambda done: None)


def test_a_folder_without_pictures_is_one_sentence(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"there is no picture below .*empty: expected \.apng, \.avif, \.bmp"):
        work_of(tmp_path / "empty")


def test_parts_without_a_plan_are_not_trusted(folder, recognizer):
    work = work_of(folder)
    work.parts.mkdir()
    (work.parts / "000000000.parquet").write_bytes(b"of other pictures")
    assert parquet.read_table(batch.recognize(work, recognizer, 2, lambda done: None)).num_rows == 10


def test_several_faces_have_a_row_each(folder, recognizer):
    with Image.open(ASTRONAUT) as astronaut:
        both = np.concatenate([np.asarray(astronaut)] * 2, axis=1)
    for path in folder.rglob("*"):
        if path.is_file():
            path.unlink()
    Image.fromarray(both).save(folder / "both.jpg")
    table = parquet.read_table(batch.recognize(work_of(folder), recognizer, 1, lambda done: None))
    assert table["face"].to_pylist() == [1, 2]
