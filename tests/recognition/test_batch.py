"""A folder of pictures is recognised into one Parquet file, with or without interruptions."""

import os
import pickle
import shutil
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow
import pytest
from PIL import Image
from pyarrow import parquet

from mien import pixels
from mien.data.pictures import find_pictures
from mien.errors import ConfigError, DataError
from mien.labels import EXPRESSIONS
from mien.models.zoo import find_model
from mien.recognition import batch
from mien.recognition.batch import FaceRecognizer, PartRecognizer, recognize_to_file
from mien.recognition.parts import MANIFEST, Counts, PartsFolder, PictureList
from mien.recognition.recognizer import Recognizer
from mien.recognition.workers import Outcome
from mien.storage import LocalFolder
from tests.recognition.worker_functions import CrashingRecognizer

pytestmark = pytest.mark.process

ASTRONAUT = Path(__file__).parents[2] / "examples" / "astronaut.jpg"
COLUMNS = [
    *("path", "width", "height", "error", "face", "x0", "y0", "x1", "y1"),
    *("score", "expression", "confidence", "uncertain", *EXPRESSIONS),
]


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


def list_of(folder):
    return PictureList(map(os.fspath, find_pictures([folder])), 3)


def recognize(folder, name="faces.parquet", workers=1, faces=None, on_progress=lambda counts: None):
    output = folder.parent / name
    recognize_to_file(list_of(folder), output, faces or FaceRecognizer(), workers, on_progress)
    return output


def in_this_process(start, tasks):
    """An executor without processes, for tests of what is done rather than of where."""
    function = start()
    return (Outcome(task, function(task)) for task in tasks)


def test_every_picture_has_a_row(folder, recognizer):
    progress = []
    output = recognize(folder, workers=2, on_progress=progress.append)
    assert [counts.pictures for counts in progress] in ([0, 3, 6, 9, 10], [0, 3, 6, 7, 10], [0, 3, 4, 7, 10])
    assert progress[-1] == Counts(10, 8, 1)
    assert not batch.parts_folder(output).exists()
    table = parquet.read_table(output)
    assert table.schema.names == COLUMNS
    rows = {Path(row["path"]).name: row for row in table.to_pylist()}
    assert list(dict.fromkeys(table["path"].to_pylist())) == [str(path) for path in find_pictures([folder])]
    assert len(rows) == table.num_rows == 10
    assert "cannot be read as a picture" in rows["notes.jpg"]["error"]
    assert rows["notes.jpg"]["face"] is None
    faceless = rows["faceless.png"]
    assert (faceless["face"], faceless["width"], faceless["error"]) == (None, 64, None)
    face = rows["4.jpg"]
    (expected,) = recognizer(folder / "4.jpg")
    assert (face["face"], face["expression"], face["uncertain"]) == (1, "happy", False)
    assert face["width"] == face["height"] == 380
    assert [face[name] for name in EXPRESSIONS] == pytest.approx(
        list(expected.expression.probabilities.values()), abs=1e-5
    )
    assert [face[name] for name in ("x0", "y0", "x1", "y1")] == pytest.approx(expected.box.xyxy, abs=0.01)


def test_resumed_job_writes_the_same_bytes_with_any_number_of_workers(folder):
    class InterruptError(Exception):
        pass

    def interrupt_after_six(counts):
        if counts.pictures >= 6:
            raise InterruptError

    uninterrupted = recognize(folder, "uninterrupted.parquet").read_bytes()
    with pytest.raises(InterruptError):
        recognize(folder, workers=2, on_progress=interrupt_after_six)
    parts = batch.parts_folder(folder.parent / "faces.parquet")
    assert not (folder.parent / "faces.parquet").exists()
    assert len(list(parts.glob("part-*.parquet"))) >= 2
    progress = []
    assert recognize(folder, workers=3, on_progress=progress.append).read_bytes() == uninterrupted
    assert progress[0].pictures >= 6
    assert not parts.exists()


def test_part_whose_process_always_dies_becomes_rows_with_the_reason(folder):
    shutil.copy(ASTRONAUT, folder / "crash.jpg")
    progress = []
    rows = parquet.read_table(
        recognize(folder, workers=2, faces=CrashingRecognizer(), on_progress=progress.append)
    ).to_pylist()
    assert len(rows) == 11
    with_signal = {
        Path(row["path"]).name for row in rows if "failed 3 times: its process ended with signal" in str(row["error"])
    }
    assert "crash.jpg" in with_signal
    assert len(with_signal) == 3
    assert progress[-1].failed_parts == 1
    assert progress[-1].pictures == 11
    assert progress[-1].errors == sum(row["error"] is not None for row in rows)


def test_failed_part_is_recognized_again_when_the_job_is_resumed(folder, tmp_path):
    faces, pictures = FaceRecognizer(), list_of(folder)
    parts = PartsFolder(LocalFolder(tmp_path / "parts"), batch.manifest(pictures, faces))

    def second_part_fails(start, tasks):
        function = start()
        return (Outcome(task, None, "no luck") if task.number == 1 else Outcome(task, function(task)) for task in tasks)

    first = batch.recognize_parts(pictures, parts, faces, second_part_fails, lambda counts: None)
    assert (first.failed_parts, first.errors) == (1, 4)
    assert "the part with this picture failed 3 times: no luck" in str(parts.read(1).to_pylist())
    second = batch.recognize_parts(pictures, parts, faces, in_this_process, lambda counts: None)
    assert second == Counts(10, 8, 1)


def test_files_with_odd_names_and_formats_have_a_row(folder):
    (folder / os.fsdecode(b"caf\xe9.jpg")).write_text("not a picture")
    (folder / "phone.HEIC").write_bytes(b"\0\0\0\x1cftypheic")
    (folder / "loop").symlink_to(folder / "loop")
    with Image.open(ASTRONAUT) as astronaut:
        astronaut.save(folder / "astronaut.jfif", "JPEG")
    rows = {Path(row["path"]).name: row for row in parquet.read_table(recognize(folder)).to_pylist()}
    assert len(rows) == 13
    assert "caf\\xe9.jpg cannot be read as a picture" in rows["caf\\xe9.jpg"]["error"]
    assert "its format is not one of JPEG, PNG" in rows["phone.HEIC"]["error"]
    assert rows["astronaut.jfif"]["expression"] == "happy"


def test_parts_of_another_job_are_an_error(folder):
    parts = PartsFolder(
        LocalFolder(batch.parts_folder(folder.parent / "faces.parquet")),
        batch.manifest(list_of(folder), FaceRecognizer()),
    )
    parts.open()
    with pytest.raises(ConfigError, match=r"faces\.parquet\.parts holds results of another model"):
        recognize(folder, faces=FaceRecognizer("tiny"))
    with pytest.raises(ConfigError, match="another detector"):
        recognize(folder, faces=FaceRecognizer(detector="none"))
    shutil.copy(ASTRONAUT, folder / "new.jpg")
    with pytest.raises(ConfigError, match="other pictures"):
        recognize(folder)


def test_foreign_folder_named_like_the_parts_is_refused_and_kept(folder):
    thesis = batch.parts_folder(folder.parent / "faces.parquet") / "thesis.tex"
    thesis.parent.mkdir()
    thesis.write_text("years of work")
    with pytest.raises(ConfigError, match=r"holds thesis\.tex but no _manifest\.json"):
        recognize(folder)
    assert list(thesis.parent.iterdir()) == [thesis]


@pytest.mark.parametrize("parquet_file", [True, False])
def test_output_that_mien_did_not_write_is_refused_and_kept(folder, parquet_file):
    output = folder.parent / "faces.parquet"
    if parquet_file:
        parquet.write_table(pyarrow.table({"path": ["a.jpg"]}), output)
    else:
        output.write_text("years of work")
    before = output.read_bytes()
    with pytest.raises(ConfigError, match=r"faces\.parquet exists and mien has not written it"):
        recognize(folder)
    assert output.read_bytes() == before
    assert not batch.parts_folder(output).exists()


def test_output_of_an_earlier_job_is_replaced(folder):
    recognize(folder)
    shutil.copy(ASTRONAUT, folder / "new.jpg")
    assert parquet.read_table(recognize(folder)).num_rows == 11


def test_damaged_part_and_manifest_are_errors(folder):
    parts = batch.parts_folder(folder.parent / "faces.parquet")
    faces, pictures = FaceRecognizer(), list_of(folder)
    PartsFolder(LocalFolder(parts), batch.manifest(pictures, faces)).open()
    (parts / "part-000000001.parquet").write_bytes(b"rows of other pictures")
    with pytest.raises(DataError, match=r"part-000000001\.parquet in .* is damaged"):
        recognize(folder)
    (parts / MANIFEST).write_text("{")
    with pytest.raises(ConfigError, match="is damaged"):
        recognize(folder)


def test_folder_without_pictures_is_an_error(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"there is no picture below .*empty: expected \.apng, \.avif, \.bmp"):
        list_of(tmp_path / "empty")


def test_each_of_several_faces_has_a_row(tmp_path):
    with Image.open(ASTRONAUT) as astronaut:
        Image.fromarray(np.concatenate([np.asarray(astronaut)] * 2, axis=1)).save(tmp_path / "both.jpg")
    assert FaceRecognizer().table([str(tmp_path / "both.jpg")])["face"].to_pylist() == [1, 2]


def test_each_picture_is_decoded_once(folder, tmp_path, monkeypatch):
    decoded, read = [], pixels.read
    monkeypatch.setattr(pixels, "read", lambda source, *options: decoded.append(source) or read(source, *options))
    faces, pictures = FaceRecognizer(), list_of(folder)
    recognize_part = PartRecognizer(faces, PartsFolder(LocalFolder(tmp_path), batch.manifest(pictures, faces)))
    assert sum(map(recognize_part, pictures.parts()), Counts()) == Counts(10, 8, 1)
    assert sorted(map(Path, decoded)) == list(find_pictures([folder]))


@pytest.mark.parametrize(
    ("form", "columns"),
    [
        (pyarrow.table, lambda batch: batch.to_pydict()),
        (pyarrow.RecordBatch.from_pydict, lambda batch: batch.to_pydict()),
        (pd.DataFrame, lambda batch: batch.astype(object).where(batch.notna(), None).to_dict("list")),
        (partial(dict), lambda batch: {name: values.tolist() for name, values in batch.items()}),
    ],
    ids=["table", "record batch", "pandas", "dictionary"],
)
def test_batch_of_paths_becomes_faces_in_the_same_form(form, columns, folder):
    faces = pickle.loads(pickle.dumps(FaceRecognizer(threads=1)))
    batch_of_paths = form({"path": [str(folder / "0.jpg"), str(folder / "notes.jpg")], "id": [1, 2]})
    result = faces(batch_of_paths)
    assert type(result) is type(batch_of_paths)
    rows = columns(result)
    assert list(rows) == COLUMNS
    assert rows["expression"] == ["happy", None]
    assert "notes.jpg cannot be read" in rows["error"][1]
    empty = faces(form({"path": []}))
    assert list(columns(empty)) == COLUMNS


def test_model_file_travels_with_the_recognizer(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    shutil.copy(find_model("tiny"), tmp_path / "my.onnx")
    pickled = pickle.dumps(FaceRecognizer(tmp_path / "my.onnx"))
    assert pickle.loads(pickled).model == str(tmp_path / "my.onnx")  # on the same machine, the file itself
    (tmp_path / "my.onnx").unlink()
    faces = pickle.loads(pickled)
    assert Path(faces.model).parent == tmp_path / "temporary"
    assert faces.table([str(ASTRONAUT)])["expression"].to_pylist() == ["happy"]


def test_batch_with_the_content_of_files_is_not_read_again():
    table = pyarrow.table({"path": ["s3://nowhere/a.jpg"], "bytes": [ASTRONAUT.read_bytes()]})
    assert FaceRecognizer()(table)["expression"].to_pylist() == ["happy"]


def test_batch_without_paths_is_an_error():
    with pytest.raises(ConfigError, match="a batch needs the column path, and its columns are file, x"):
        FaceRecognizer()(pyarrow.table({"file": ["a"], "x": [1]}))
