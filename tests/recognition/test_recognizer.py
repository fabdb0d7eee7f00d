"""Recognising the faces in a picture: which faces, where, and what the model sees."""

from __future__ import annotations

import copy
import io
import multiprocessing
import pickle
import shutil
from collections.abc import Sequence
from dataclasses import FrozenInstanceError
from pathlib import Path

import numpy as np
import pytest
import skimage.data
from numpy.typing import NDArray
from PIL import Image

from mien import pixels
from mien.calibration import Calibration
from mien.detection import yunet
from mien.detection.base import Detection
from mien.errors import ImageError, WeightsError
from mien.labels import EXPRESSIONS
from mien.models.onnx_model import OnnxModel
from mien.models.session import open_session
from mien.preprocess import Preprocessing, crop
from mien.recognition import photo
from mien.recognition.recognizer import Recognizer
from mien.types import Box, Face, softmax
from tests.linear_classifier import WriteClassifier

ASTRONAUT = Path(__file__).parents[2] / "examples" / "astronaut.jpg"
DARK, BRIGHT = Box(60, 20, 90, 50), Box(5, 10, 35, 40)


class FixedDetector:
    """A user's detector, which returns fixed boxes and keeps the images that it was called with."""

    def __init__(self, boxes: Sequence[Box]) -> None:
        self.detections = tuple(
            Detection(box, {"nose": (box.x0 + 1, box.y0 + 2)}, 0.9 - i / 10) for i, box in enumerate(boxes)
        )
        self.images: list[NDArray[np.uint8]] = []

    def __call__(self, image_rgb: NDArray[np.uint8]) -> tuple[Detection, ...]:
        self.images.append(image_rgb)
        return self.detections


@pytest.fixture
def picture() -> NDArray[np.uint8]:
    """Gray, with a bright square on the left and a dark one on the right."""
    image = np.full((60, 100, 3), 128, np.uint8)
    for box, value in ((DARK, 5), (BRIGHT, 250)):
        image[int(box.y0) : int(box.y1), int(box.x0) : int(box.x1)] = value
    return image


def recognize_boxes(model: Path, boxes: Sequence[Box], picture: NDArray[np.uint8]) -> tuple[Face, ...]:
    return Recognizer(model, FixedDetector(boxes), threads=1)(picture)


def test_faces_are_sorted_from_left_to_right_and_classified_by_their_own_pixels(
    by_brightness: Path, picture: NDArray[np.uint8]
) -> None:
    faces = recognize_boxes(by_brightness, [DARK, BRIGHT], picture)
    assert [face.box for face in faces] == [BRIGHT, DARK]
    assert [face.expression.name for face in faces] == ["surprise", "sad"]
    assert [face.score for face in faces] == [0.8, 0.9]
    assert [face.landmarks for face in faces] == [{"nose": (6, 12)}, {"nose": (61, 22)}]


def test_probabilities_are_those_of_the_crop(by_brightness: Path, picture: NDArray[np.uint8]) -> None:
    between = Box(30, 10.4, 42, 20)  # not square, half on the bright square
    (face,) = recognize_boxes(by_brightness, [between], picture)
    logits = OnnxModel(by_brightness, threads=1).logits([crop(picture[:, :, 0], between)])
    assert list(face.expression.probabilities) == list(EXPRESSIONS)
    assert list(face.expression.probabilities.values()) == pytest.approx(softmax(logits)[0].tolist())
    assert 0.5 < face.expression.confidence < 0.9999


def test_confidence_and_uncertainty_follow_the_calibration_of_the_model(
    write_classifier: WriteClassifier, picture: NDArray[np.uint8]
) -> None:
    weights, bias = np.zeros((64, 7)), np.zeros(7)
    weights[:, 3] = 4 / 64  # happy, up to 4 for a white face
    logits = np.array([4 * 250 / 255, 4 * 5 / 255])
    cooled = np.exp(logits / 2) / (np.exp(logits / 2) + 6)
    path = write_classifier(weights, bias, calibration=Calibration(2.0, 2.0, 0.5, 0.8, 0.9, 10).to_dict())
    faces = recognize_boxes(path, [BRIGHT, DARK], picture)
    assert [face.expression.confidence for face in faces] == pytest.approx(cooled.tolist(), abs=1e-4)
    assert [face.expression.uncertain for face in faces] == [False, True]
    assert not any(face.expression.uncertain for face in recognize_boxes(write_classifier(weights), [DARK], picture))


def test_faces_beyond_the_edge_of_the_picture_are_classified(by_brightness: Path, picture: NDArray[np.uint8]) -> None:
    picture[:, :10] = 255
    faces = recognize_boxes(by_brightness, [Box(-30, -30, 5, 5), Box(-90, 0, -50, 40)], picture)
    assert [face.expression.name for face in faces] == ["surprise", "surprise"]


def test_all_faces_of_a_picture_are_classified_in_one_batch(
    by_brightness: Path, picture: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    recognizer = Recognizer(by_brightness, FixedDetector([DARK, BRIGHT] * 20), threads=1)
    preprocess, batches = Preprocessing.__call__, []

    def counted(self: Preprocessing, faces: Sequence[NDArray[np.uint8]]) -> NDArray[np.float32]:
        batches.append(len(faces))
        return preprocess(self, faces)

    monkeypatch.setattr(Preprocessing, "__call__", counted)
    assert len(recognizer(picture)) == 40
    assert batches == [40]


def test_recognize_batch_gives_the_same_as_single_calls_in_one_batch(
    by_brightness: Path, picture: NDArray[np.uint8], monkeypatch: pytest.MonkeyPatch
) -> None:
    recognizer = Recognizer(by_brightness, FixedDetector([DARK, BRIGHT]), threads=1)
    none, flipped = np.full((60, 100, 3), 128, np.uint8), np.ascontiguousarray(picture[:, ::-1])
    alone = [recognizer(each) for each in (picture, none, flipped)]
    sizes: list[int] = []
    logits = OnnxModel.logits
    monkeypatch.setattr(OnnxModel, "logits", lambda self, crops: sizes.append(len(crops)) or logits(self, crops))
    assert recognizer.recognize_batch([picture, none, flipped]) == alone
    assert sizes == [6]
    assert recognizer.recognize_batch([]) == []
    assert alone[0] != alone[2]


def test_picture_without_a_face_gives_no_faces(by_brightness: Path, picture: NDArray[np.uint8]) -> None:
    assert recognize_boxes(by_brightness, [], picture) == ()


def test_detector_gets_the_same_rgb_image_from_every_form_of_a_picture(
    by_brightness: Path, picture: NDArray[np.uint8], tmp_path: Path
) -> None:
    picture[:, :, 2] = 77
    path = tmp_path / "picture.png"
    Image.fromarray(picture).save(path)
    detector = FixedDetector([DARK])
    recognizer = Recognizer(by_brightness, detector, threads=1)
    results = [recognizer(form) for form in (picture, path, str(path), path.read_bytes(), Image.open(path))]
    assert all(result == results[0] for result in results)
    assert all(np.array_equal(image, picture) for image in detector.images)


@pytest.mark.parametrize(("value", "name"), [(0, "sad"), (255, "surprise")])
def test_detector_none_takes_the_whole_picture_as_the_face(value: int, name: str, by_brightness: Path) -> None:
    (face,) = Recognizer(by_brightness, "none", threads=1)(np.full((40, 30), value, np.uint8))
    assert face.expression.name == name
    assert (face.box, dict(face.landmarks)) == (Box(0, 0, 30, 40), {})


def test_cropped_picture_that_shows_no_face_is_uncertain(by_brightness: Path) -> None:
    recognizer = Recognizer(by_brightness, "none", threads=1)
    (face,) = recognizer(np.ascontiguousarray(skimage.data.astronaut()[70:176, 172:278]))
    (cup,) = recognizer(np.ascontiguousarray(skimage.data.coffee()[100:300, 200:400]))
    assert (face.score > 0.9, cup.score < 0.1) == (True, True)
    assert cup.expression.uncertain
    assert face.expression.uncertain == recognizer.classify_crops([np.zeros((48, 48), np.uint8)])[0].uncertain


def test_threads_apply_to_the_model_and_the_detector(by_brightness: Path) -> None:
    recognizer = Recognizer(by_brightness, threads=2)
    sessions = recognizer.model._session, recognizer.detector._session  # type: ignore[attr-defined]
    assert [session.get_session_options().intra_op_num_threads for session in sessions] == [2, 2]


def test_finds_the_astronaut(by_brightness: Path) -> None:
    (face,) = Recognizer(by_brightness, threads=1)(skimage.data.astronaut())
    assert (face.box.x0 + face.box.x1) / 2 == pytest.approx(225, abs=16)
    assert (face.box.y0 + face.box.y1) / 2 == pytest.approx(122, abs=16)
    assert "nose" in face.landmarks


def test_boxes_are_in_pixels_of_the_upright_picture(by_brightness: Path) -> None:
    """With EXIF orientation 6 the camera was upright and the stored picture is on its side."""
    upright = skimage.data.astronaut()[:, :400]
    exif = Image.Exif()
    exif[0x0112] = 6
    photograph = io.BytesIO()
    Image.fromarray(np.rot90(upright)).save(photograph, "PNG", exif=exif)
    recognizer = Recognizer(by_brightness, threads=1)
    assert recognizer(photograph.getvalue()) == recognizer(upright)


def test_unreadable_picture_is_not_given_to_the_detector(by_brightness: Path) -> None:
    detector = FixedDetector([DARK])
    with pytest.raises(ImageError, match="cannot be read as a picture"):
        Recognizer(by_brightness, detector, threads=1)(b"text")
    assert detector.images == []


def test_results_are_frozen(by_brightness: Path, picture: NDArray[np.uint8]) -> None:
    (face,) = recognize_boxes(by_brightness, [DARK], picture)
    for thing, name in ((face, "box"), (face.box, "x0"), (face.expression, "probabilities")):
        with pytest.raises(FrozenInstanceError):
            setattr(thing, name, None)


def test_old_method_names_are_deprecated(by_brightness):
    recognizer = Recognizer(by_brightness, "none", threads=1)
    image = np.full((48, 48), 200, np.uint8)
    with pytest.warns(DeprecationWarning, match="recognize_batch"):
        assert recognizer.together([image]) == recognizer.recognize_batch([image])
    with pytest.warns(DeprecationWarning, match="classify_crops"):
        assert recognizer.expressions([image]) == recognizer.classify_crops([image])
    with pytest.warns(DeprecationWarning, match=r"use Recognizer\.model"):
        assert recognizer.classifier is recognizer.model


def test_each_picture_is_decoded_once(by_brightness: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [tmp_path / "a.png", tmp_path / "b.png"]
    for path in paths:
        Image.new("RGB", (50, 50)).save(path)
    decoded: list[object] = []
    read = pixels.read
    monkeypatch.setattr(pixels, "read", lambda source, *options: decoded.append(source) or read(source, *options))
    recognizer = Recognizer(by_brightness, FixedDetector([DARK]), threads=1)
    recognizer.recognize_batch(paths)
    assert [Path(str(source)) for source in decoded] == paths
    recognizer(photo.read(paths[0]))
    assert [Path(str(source)) for source in decoded] == [*paths, paths[0]]


def test_model_with_other_classes(write_classifier: WriteClassifier, picture: NDArray[np.uint8]) -> None:
    weights = np.zeros((64, 2))
    weights[:, 1] = 4 / 64
    path = write_classifier(weights, np.array([2.0, 0]), classes=["bored", "engaged"])
    faces = recognize_boxes(path, [DARK, BRIGHT], picture)
    assert [face.expression.name for face in faces] == ["engaged", "bored"]
    assert list(faces[0].expression.probabilities) == ["bored", "engaged"]


def test_recognizer_works_in_a_pool_of_spawned_processes() -> None:
    recognizer = Recognizer(threads=1)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        (faces,) = pool.map(recognizer, [ASTRONAUT])
    assert faces == recognizer(ASTRONAUT)
    assert [face.expression.name for face in faces] == ["happy"]


def test_pickled_recognizer_opens_its_files_from_any_folder(
    by_brightness: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copy(by_brightness, tmp_path / "model.onnx")
    shutil.copy(yunet.MODEL, tmp_path / "yunet.onnx")
    monkeypatch.chdir(tmp_path)
    recognizer = Recognizer("model.onnx", "yunet.onnx", threads=1)
    pickled = pickle.dumps(recognizer)
    assert len(pickled) < 10_000  # paths instead of weights
    monkeypatch.chdir("/")
    assert pickle.loads(pickled)(ASTRONAUT) == recognizer(ASTRONAUT)
    (tmp_path / "model.onnx").unlink()
    with pytest.raises(WeightsError, match=r"there is no model file .*model\.onnx"):
        pickle.loads(pickled)


@pytest.mark.parametrize("detector", ["yunet", "blazeface", "none"])
def test_copies_of_a_recognizer_recognize_the_same(detector: str) -> None:
    recognizer = Recognizer("tiny", detector, threads=1)
    assert copy.deepcopy(recognizer)(ASTRONAUT) == recognizer(ASTRONAUT)


def test_pickled_session_keeps_its_threads(by_brightness: Path) -> None:
    session = pickle.loads(pickle.dumps(open_session(by_brightness, threads=3)))
    assert session.get_session_options().intra_op_num_threads == 3
