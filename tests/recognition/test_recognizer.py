"""From a picture to its faces: what is found, where, and what the classifier was shown of it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import skimage.data
from numpy.typing import NDArray
from PIL import Image

from mien.calibration import Calibration
from mien.detection.base import Detection
from mien.errors import ImageError
from mien.labels import EXPRESSIONS
from mien.models.onnx_model import OnnxModel
from mien.preprocess import Preprocessing, crop
from mien.recognition.recognizer import Recognizer
from mien.types import Box, Face, softmax
from tests.linear_classifier import WriteClassifier

DARK, BRIGHT = Box(60, 20, 90, 50), Box(5, 10, 35, 40)


class Squares:
    """A third party's detector: it finds what it was told, and keeps what it was shown."""

    def __init__(self, boxes: Sequence[Box]) -> None:
        self.found = tuple(
            Detection(box, {"nose": (box.x0 + 1, box.y0 + 2)}, 0.9 - i / 10) for i, box in enumerate(boxes)
        )
        self.shown: list[NDArray[np.uint8]] = []

    def __call__(self, image_rgb: NDArray[np.uint8]) -> tuple[Detection, ...]:
        self.shown.append(image_rgb)
        return self.found


@pytest.fixture
def picture() -> NDArray[np.uint8]:
    """A bright square on the left and a dark one on the right, on gray."""
    image = np.full((60, 100, 3), 128, np.uint8)
    for box, value in ((DARK, 5), (BRIGHT, 250)):
        image[int(box.y0) : int(box.y1), int(box.x0) : int(box.x1)] = value
    return image


def recognise(model: Path, boxes: Sequence[Box], picture: NDArray[np.uint8]) -> tuple[Face, ...]:
    return Recognizer(model, Squares(boxes), threads=1)(picture)


def test_each_face_is_named_by_its_own_pixels_from_left_to_right(
    by_brightness: Path, picture: NDArray[np.uint8]
) -> None:
    faces = recognise(by_brightness, [DARK, BRIGHT], picture)
    assert [face.box for face in faces] == [BRIGHT, DARK]
    assert [face.expression.name for face in faces] == ["surprise", "sad"]
    assert [face.score for face in faces] == [0.8, 0.9]
    assert [face.landmarks for face in faces] == [{"nose": (6, 12)}, {"nose": (61, 22)}]


def test_probabilities_are_those_of_the_crop(by_brightness: Path, picture: NDArray[np.uint8]) -> None:
    between = Box(30, 10.4, 42, 20)  # not square, half on the bright square
    (face,) = recognise(by_brightness, [between], picture)
    logits = OnnxModel(by_brightness, threads=1).logits([crop(picture[:, :, 0], between)])
    assert list(face.expression.probabilities) == list(EXPRESSIONS)
    assert list(face.expression.probabilities.values()) == pytest.approx(softmax(logits)[0].tolist())
    assert 0.5 < face.expression.confidence < 0.9999


def test_confidence_and_doubt_are_those_of_the_files_calibration(
    write_classifier: WriteClassifier, picture: NDArray[np.uint8]
) -> None:
    weights, bias = np.zeros((64, 7)), np.zeros(7)
    weights[:, 3] = 4 / 64  # happy, up to 4 for a white face
    logits = np.array([4 * 250 / 255, 4 * 5 / 255])
    cooled = np.exp(logits / 2) / (np.exp(logits / 2) + 6)
    path = write_classifier(weights, bias, calibration=Calibration(2.0, 2.0, 0.5, 0.8, 0.9, 10).to_dict())
    faces = recognise(path, [BRIGHT, DARK], picture)
    assert [face.expression.confidence for face in faces] == pytest.approx(cooled.tolist(), abs=1e-4)
    assert [face.expression.uncertain for face in faces] == [False, True]
    assert not any(face.expression.uncertain for face in recognise(write_classifier(weights), [DARK], picture))


def test_faces_over_the_edge_and_outside(by_brightness: Path, picture: NDArray[np.uint8]) -> None:
    picture[:, :10] = 255
    faces = recognise(by_brightness, [Box(-30, -30, 5, 5), Box(-90, 0, -50, 40)], picture)
    assert [face.expression.name for face in faces] == ["surprise", "surprise"]


def test_all_faces_go_through_the_classifier_in_one_batch(
    by_brightness: Path, picture: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    recognizer = Recognizer(by_brightness, Squares([DARK, BRIGHT] * 20), threads=1)
    whole, batches = Preprocessing.__call__, []

    def counted(self: Preprocessing, faces: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        batches.append(len(faces))
        return whole(self, faces)

    monkeypatch.setattr(Preprocessing, "__call__", counted)
    assert len(recognizer(picture)) == 40
    assert batches == [40]


def test_pictures_together_give_what_each_gives_alone_in_one_batch(
    by_brightness: Path, picture: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    recognizer = Recognizer(by_brightness, Squares([DARK, BRIGHT]), threads=1)
    none, flipped = np.full((60, 100, 3), 128, np.uint8), np.ascontiguousarray(picture[:, ::-1])
    alone = [recognizer(each) for each in (picture, none, flipped)]
    sizes: list[int] = []
    logits = OnnxModel.logits
    monkeypatch.setattr(OnnxModel, "logits", lambda self, crops: sizes.append(len(crops)) or logits(self, crops))
    assert recognizer.recognize_batch([picture, none, flipped]) == alone
    assert sizes == [6]
    assert recognizer.recognize_batch([]) == []
    assert alone[0] != alone[2]


def test_no_face(by_brightness: Path, picture: NDArray[np.uint8]) -> None:
    assert recognise(by_brightness, [], picture) == ()


def test_the_same_picture_in_every_form(by_brightness: Path, picture: NDArray[np.uint8], tmp_path: Path) -> None:
    """A third party's detector is shown RGB, whatever came."""
    picture[:, :, 2] = 77
    path = tmp_path / "picture.png"
    Image.fromarray(picture).save(path)
    detector = Squares([DARK])
    recognizer = Recognizer(by_brightness, detector, threads=1)
    results = [recognizer(given) for given in (picture, path, str(path), path.read_bytes(), Image.open(path))]
    assert all(result == results[0] for result in results)
    assert all(np.array_equal(shown, picture) for shown in detector.shown)


@pytest.mark.parametrize(("value", "name"), [(0, "sad"), (255, "surprise")])
def test_faces_already_cut_out_are_taken_whole(value: int, name: str, by_brightness: Path) -> None:
    (face,) = Recognizer(by_brightness, "none", threads=1)(np.full((40, 30), value, np.uint8))
    assert face.expression.name == name
    assert (face.box, dict(face.landmarks), face.score) == (Box(0, 0, 30, 40), {}, 1.0)


def test_threads_reach_the_classifier_and_the_detector(by_brightness: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = []
    session = onnxruntime.InferenceSession

    def opened(path: str, options: onnxruntime.SessionOptions, **others: object) -> onnxruntime.InferenceSession:
        counts.append((Path(path).name, options.intra_op_num_threads))
        return session(path, options, **others)

    monkeypatch.setattr(onnxruntime, "InferenceSession", opened)
    Recognizer(by_brightness, threads=2)
    assert counts == [("stub.onnx", 2), ("blazeface_full_range.onnx", 2)]


def test_the_astronaut(by_brightness: Path) -> None:
    (face,) = Recognizer(by_brightness, threads=1)(skimage.data.astronaut())
    assert (face.box.x0 + face.box.x1) / 2 == pytest.approx(225, abs=16)
    assert (face.box.y0 + face.box.y1) / 2 == pytest.approx(122, abs=16)
    assert "nose" in face.landmarks


def test_boxes_stand_in_the_upright_picture(by_brightness: Path) -> None:
    """Orientation 6: the camera was held upright, and the stored picture lies on its side."""
    upright = skimage.data.astronaut()[:, :400]
    exif = Image.Exif()
    exif[0x0112] = 6
    photograph = io.BytesIO()
    Image.fromarray(np.rot90(upright)).save(photograph, "PNG", exif=exif)
    recognizer = Recognizer(by_brightness, threads=1)
    assert recognizer(photograph.getvalue()) == recognizer(upright)


def test_what_is_no_picture_never_comes_to_the_detector(by_brightness: Path) -> None:
    detector = Squares([DARK])
    with pytest.raises(ImageError, match="cannot be read as a picture"):
        Recognizer(by_brightness, detector, threads=1)(b"text")
    assert detector.shown == []


def test_results_are_frozen(by_brightness: Path, picture: NDArray[np.uint8]) -> None:
    (face,) = recognise(by_brightness, [DARK], picture)
    for thing, name in ((face, "box"), (face.box, "x0"), (face.expression, "probabilities")):
        with pytest.raises(FrozenInstanceError):
            setattr(thing, name, None)


def test_old_names_still_work_with_a_warning(by_brightness):
    recognizer = Recognizer(by_brightness, "none", threads=1)
    image = np.full((48, 48), 200, np.uint8)
    with pytest.warns(DeprecationWarning, match="recognize_batch"):
        assert recognizer.together([image]) == recognizer.recognize_batch([image])
    with pytest.warns(DeprecationWarning, match="classify_crops"):
        assert recognizer.expressions([image]) == recognizer.classify_crops([image])
    with pytest.warns(DeprecationWarning, match=r"use Recognizer\.model"):
        assert recognizer.classifier is recognizer.model
