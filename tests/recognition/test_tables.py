"""Results as Arrow, pandas and Polars tables with the columns of the files, and as detections of supervision."""

import pickle
from pathlib import Path

import numpy as np
import pandas
import polars
import pyarrow.parquet
import pytest
import supervision

from mien.recognition.batch import FaceRecognizer
from mien.recognition.recognizer import Recognizer
from mien.recognition.tables import Faces, to_supervision
from mien.types import Box, Expression, Face
from mien.video.recognizer import VideoRecognizer
from mien.video.tables import to_table
from tests.video import samples

ASTRONAUT = Path(__file__).parents[2] / "examples" / "astronaut.jpg"


@pytest.fixture(scope="module")
def recognizer():
    return Recognizer("tiny", threads=1)


@pytest.fixture(scope="module")
def faces(recognizer):
    return recognizer(ASTRONAUT)


def test_faces_are_a_tuple_that_can_be_pickled(faces):
    assert isinstance(faces, tuple)
    (face,) = faces
    assert isinstance(face, Face)
    copy = pickle.loads(pickle.dumps(faces))
    assert (copy, copy.classes, copy.size, copy.path) == (faces, faces.classes, (512, 512), str(ASTRONAUT))


def test_photograph_gives_the_table_of_the_parquet_file(faces, tmp_path):
    path = tmp_path / "missing.jpg"
    file = FaceRecognizer("tiny").table([str(ASTRONAUT)])
    assert faces.to_arrow().equals(file)
    pandas.testing.assert_frame_equal(faces.to_pandas(), file.to_pandas())
    assert faces.to_polars().equals(polars.from_arrow(file))
    assert not path.exists()


def test_folder_gives_the_table_of_the_parquet_file(recognizer, tmp_path):
    (tmp_path / "a.jpg").write_bytes(ASTRONAUT.read_bytes())
    (tmp_path / "b.jpg").write_bytes(b"no picture")
    (tmp_path / "c.png").write_bytes(plain_png())
    paths = sorted(map(str, tmp_path.iterdir()))
    table = recognizer.recognize_files(paths)
    assert table.to_arrow().equals(FaceRecognizer("tiny").table(paths))
    frame = table.to_pandas()
    assert frame["face"].notna().tolist() == [True, False, False]
    assert frame["error"].notna().tolist() == [False, True, False]


def plain_png():
    import io

    from PIL import Image

    stream = io.BytesIO()
    Image.new("RGB", (90, 40), "gray").save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.film
def test_film_gives_the_table_of_the_parquet_file(tmp_path, recognizer):
    film, file = tmp_path / "film.mp4", tmp_path / "film.parquet"
    samples.write(film, [samples.face_at((60, 40))] * 9)
    frames = list(VideoRecognizer("tiny", threads=1)(film))
    from mien.video.writers import ParquetWriter

    writer = ParquetWriter(file, recognizer.model.classes)
    for frame in frames:
        writer.add(frame)
    writer.finish(keep=True)
    assert to_table(iter(frames)).to_arrow().equals(pyarrow.parquet.read_table(file))
    assert len(to_table(frames).to_polars()) == sum(len(frame.faces) for frame in frames) > 5
    detections = frames[4].to_supervision()
    assert detections.tracker_id.tolist() == [frames[4].faces[0].track] == [1]
    assert detections.data["class_name"].tolist() == [frames[4].faces[0].steady.name]


def test_picture_without_faces_gives_one_row_and_no_detection(recognizer):
    faces = recognizer(np.full((40, 90, 3), 128, np.uint8))
    frame = faces.to_pandas()
    assert (len(faces), len(frame), len(faces.to_supervision())) == (0, 1, 0)
    assert (frame.loc[0, "width"], frame.loc[0, "height"], frame.loc[0, "path"]) == (90, 40, "")


def test_supervision_draws_the_faces(faces):
    detections = faces.to_supervision()
    assert isinstance(detections, supervision.Detections)
    assert detections.xyxy.tolist() == [pytest.approx(faces[0].box.xyxy)]
    assert detections.class_id.tolist() == [faces.classes.index(faces[0].expression.name)]
    assert detections.confidence[0] == pytest.approx(faces[0].expression.confidence)
    assert detections.tracker_id is None
    scene = np.zeros((512, 512, 3), np.uint8)
    drawn = supervision.BoxAnnotator().annotate(scene.copy(), detections)
    drawn = supervision.LabelAnnotator().annotate(drawn, detections)
    assert (drawn != scene).any()
    certain = detections[detections.confidence > 0.99]
    assert len(certain) <= len(detections)


def test_face_without_a_track_has_the_number_minus_one():
    face = Face(Box(0, 0, 10, 10), {}, 0.9, Expression({"sad": 0.25, "happy": 0.75}, True))
    detections = to_supervision([face, face], ("sad", "happy"), [None, 7])
    assert detections.tracker_id.tolist() == [-1, 7]
    assert detections.class_id.tolist() == [1, 1]
    assert detections.data["uncertain"].tolist() == [True, True]
    assert Faces([face], ("sad", "happy"), (20, 20)).to_arrow()["sad"].to_pylist() == [0.25]
