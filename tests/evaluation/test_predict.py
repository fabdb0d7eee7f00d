"""Predictions keep the order of the data, and each view has the right images."""

import numpy as np
import pytest

from mien.calibration import Calibration
from mien.data.dataset import FaceDataset
from mien.errors import ConfigError, DataError
from mien.evaluation.predict import predict
from mien.preprocess import Preprocessing
from mien.types import softmax


def faces(n: int, size: int = 48) -> FaceDataset:
    images = np.random.default_rng(3).integers(0, 256, (n, size, size), dtype=np.uint8)
    return FaceDataset(images, np.arange(n) % 7, np.full(n, 2, np.int8), np.arange(100, 100 + n))


class Corners:
    """A model whose logits are the brightness of each quarter of a face; it records the images."""

    title = "corners"
    classes = ("a", "b", "c", "d")
    preprocessing = Preprocessing(size=48)
    calibration = Calibration()

    def __init__(self):
        self.seen = []

    def logits(self, images):
        self.seen.append(images.copy())
        n, size, _ = images.shape
        quarters = images.reshape(n, 2, size // 2, 2, size // 2).mean(axis=(2, 4)).reshape(n, 4)
        return (quarters / 64).astype(np.float32)

    def masks(self, images):
        return ()


def quartered(n: int) -> FaceDataset:
    plain = faces(n)
    return FaceDataset(plain.images, plain.targets % 4, plain.splits, plain.index, classes=Corners.classes)


def test_predictions_keep_index_and_targets_of_the_data():
    data = quartered(9)
    predictions = predict(Corners(), data)
    assert np.array_equal(predictions.index, data.index)
    assert np.array_equal(predictions.targets, data.targets)
    assert predictions.classes == data.classes
    assert np.allclose(predictions.logits, Corners().logits(data.images))


def test_logits_are_divided_by_the_temperatures():
    data, model = quartered(9), Corners()
    model.calibration = Calibration(2.0, 3.0)
    logits = Corners().logits(data.images)
    assert np.allclose(predict(model, data).logits, model.calibration.scale_logits(logits))
    assert (logits / 3 <= predict(model, data).logits).all()
    assert (predict(model, data).logits <= logits / 2).all()


def test_flip_view_averages_the_face_and_its_mirror_image():
    data = quartered(5)
    mirrored = Corners().logits(data.images[:, :, ::-1])
    expected = (softmax(Corners().logits(data.images)) + softmax(mirrored)) / 2
    assert np.allclose(predict(Corners(), data, "flip").probabilities, expected, atol=1e-6)


def test_ten_crop_view_has_corners_centre_and_mirror_images():
    data, model = quartered(2), Corners()
    predict(model, data, "ten-crop")
    assert len(model.seen) == 10
    assert {crop.shape for crop in model.seen} == {(2, 44, 44)}
    image = data.images[0]
    expected = [image[:44, :44], image[:44, 4:], image[4:, :44], image[4:, 4:], image[2:46, 2:46]]
    assert all(np.array_equal(crop[0], square) for crop, square in zip(model.seen, expected, strict=False))
    assert all(
        np.array_equal(mirror, plain[:, :, ::-1]) for plain, mirror in zip(model.seen[:5], model.seen[5:], strict=True)
    )


@pytest.mark.parametrize("view", ["single", "flip", "ten-crop"])
def test_views_are_deterministic(view):
    data = quartered(6)
    assert np.array_equal(predict(Corners(), data, view).logits, predict(Corners(), data, view).logits)


def test_model_with_other_classes_raises():
    with pytest.raises(DataError, match=r"got angry, .* in the data and a, b, c, d in the model"):
        predict(Corners(), faces(3))


def test_unknown_view_raises():
    with pytest.raises(ConfigError, match=r"there is no view filp: did you mean flip\?"):
        predict(Corners(), quartered(2), "filp")
