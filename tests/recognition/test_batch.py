"""A folder of pictures is recognised into one Parquet file, with or without interruptions."""

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pyarrow import parquet

from mien import pixels
from mien.data.pictures import find_pictures
from mien.errors import ConfigError, DataError
from mien.labels import EXPRESSIONS
from mien.recognition import batch
from mien.recognition.recognizer import Recognizer

ASTRONAUT = Path(__file__).parents[2] / "examples" / "astronaut.jpg"
SETTINGS = {"model": "small"}


@pytest.fixture(scope="module")
def recognizer():
    return Recognizer(threads=1)


@pytest.fixture
def folder(tmp_path):
    """Ten files: the astronaut in eight sizes, a picture without a face, and a file that is not a picture."""
    folder = tmp_path / "pictures"
    (folder / "more").mkdir(parents=True)
    with Image.open(ASTRONAUT) as astronaut:
        for i in range(8):
            astronaut.resize((300 + 20 * i, 300 + 20 * i)).save(folder / ("more" if i % 2 else ".") / f"{i}.jpg")
    Image.new("RGB", (64, 48), "gray").save(folder / "faceless.png")
    (folder / "notes.jpg").write_text("not a picture")
    (folder / "readme.txt").write_text("not named like a picture")
    return folder


@pytest.fixture(autouse=True)
def small_parts(monkeypatch):
    monkeypatch.setattr(batch, "PICTURES_PER_PART", 3)


def job_of(folder, name="faces.parquet"):
    return batch.BatchJob(find_pictures([folder]), folder.parent / name, SETTINGS)


def test_every_picture_has_a_row(folder, recognizer):
    job, progress = job_of(folder), []
    table = parquet.read_table(batch.recognize(job, recognizer, 2, progress.append))
    assert progress == [3, 6, 9, 10]
    assert table.schema.names == [
        *("path", "width", "height", "error", "face", "x0", "y0", "x1", "y1"),
        *("score", "expression", "confidence", "uncertain", *EXPRESSIONS),
    ]
    assert not job.parts_folder.exists()
    rows = {Path(row["path"]).name: row for row in table.to_pylist()}
    assert list(dict.fromkeys(table["path"].to_pylist())) == [str(path) for path in job.pictures]
    assert len(rows) == table.num_rows == 10
    assert "cannot be read as a picture" in rows["notes.jpg"]["error"]
    assert rows["notes.jpg"]["face"] is None
    assert (rows["faceless.png"]["face"], rows["faceless.png"]["width"], rows["faceless.png"]["error"]) == (
        None,
        64,
        None,
    )
    face = rows["4.jpg"]
    (expected,) = recognizer(folder / "4.jpg")
    assert (face["face"], face["expression"], face["uncertain"]) == (1, "happy", False)
    assert face["width"] == face["height"] == 380
    assert [face[name] for name in EXPRESSIONS] == pytest.approx(
        list(expected.expression.probabilities.values()), abs=1e-5
    )
    assert [face[name] for name in ("x0", "y0", "x1", "y1")] == pytest.approx(expected.box.xyxy, abs=0.01)


@pytest.mark.parametrize("pictures", [1, 4, 8])
def test_resumed_job_writes_the_same_file(folder, recognizer, pictures, monkeypatch):
    uninterrupted = batch.recognize(
        job_of(folder, "uninterrupted.parquet"), recognizer, 1, lambda finished: None
    ).read_bytes()
    seen = []

    def rows(picture, recognizer, real=batch._rows):
        seen.append(picture)
        if len(seen) > pictures:
            raise KeyboardInterrupt
        return real(picture, recognizer)

    job = job_of(folder)
    monkeypatch.setattr(batch, "_rows", rows)
    with pytest.raises(KeyboardInterrupt):
        batch.recognize(job, recognizer, 1, lambda finished: None)
    assert not job.output.exists()
    parts = len(list(job.parts_folder.glob("*.parquet")))
    assert parts == pictures // 3
    monkeypatch.undo()
    monkeypatch.setattr(batch, "PICTURES_PER_PART", 3)
    assert batch.recognize(job, recognizer, 2, lambda finished: None).read_bytes() == uninterrupted


def test_files_with_odd_names_and_formats_have_a_row(folder, recognizer):
    (folder / os.fsdecode(b"caf\xe9.jpg")).write_text("not a picture")
    (folder / "phone.HEIC").write_bytes(b"\0\0\0\x1cftypheic")
    (folder / "loop").symlink_to(folder / "loop")
    with Image.open(ASTRONAUT) as astronaut:
        astronaut.save(folder / "astronaut.jfif", "JPEG")
    rows = parquet.read_table(batch.recognize(job_of(folder), recognizer, 2, lambda finished: None)).to_pylist()
    rows = {Path(row["path"]).name: row for row in rows}
    assert len(rows) == 13
    assert rows["caf\\xe9.jpg"]["error"].startswith(f"{folder}/caf\\xe9.jpg cannot be read as a picture")
    assert "none of the formats" in rows["phone.HEIC"]["error"]
    assert rows["astronaut.jfif"]["expression"] == "happy"


def test_parts_of_another_job_are_an_error(folder, recognizer):
    job = job_of(folder)
    job.parts_folder.mkdir()
    (job.parts_folder / "plan.json").write_text(job.plan)
    shutil.copy(ASTRONAUT, folder / "new.jpg")
    with pytest.raises(ConfigError, match=r"faces\.parquet\.parts used other pictures, another model"):
        batch.recognize(job_of(folder), recognizer, 1, lambda finished: None)
    with pytest.raises(ConfigError, match="used other pictures"):
        batch.recognize(
            batch.BatchJob(job.pictures, job.output, {"model": "tiny"}), recognizer, 1, lambda finished: None
        )


def test_folder_without_pictures_is_an_error(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"there is no picture below .*empty: expected \.apng, \.avif, \.bmp"):
        job_of(tmp_path / "empty")


def test_parts_without_a_plan_are_recognised_again(folder, recognizer):
    job = job_of(folder)
    job.parts_folder.mkdir()
    (job.parts_folder / "000000000.parquet").write_bytes(b"rows of other pictures")
    assert parquet.read_table(batch.recognize(job, recognizer, 2, lambda finished: None)).num_rows == 10


def test_each_of_several_faces_has_a_row(folder, recognizer):
    with Image.open(ASTRONAUT) as astronaut:
        both = np.concatenate([np.asarray(astronaut)] * 2, axis=1)
    for path in folder.rglob("*"):
        if path.is_file():
            path.unlink()
    Image.fromarray(both).save(folder / "both.jpg")
    table = parquet.read_table(batch.recognize(job_of(folder), recognizer, 1, lambda finished: None))
    assert table["face"].to_pylist() == [1, 2]


def test_each_picture_is_decoded_once(folder, recognizer, monkeypatch):
    decoded, read = [], pixels.read
    monkeypatch.setattr(pixels, "read", lambda source, *options: decoded.append(source) or read(source, *options))
    job = job_of(folder)
    batch.recognize(job, recognizer, 2, lambda finished: None)
    assert sorted(decoded) == sorted(job.pictures)
