"""Explanations show what the network did, where it did it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from mien import Recognizer
from mien.calibration import Calibration
from mien.config import Config
from mien.errors import ConfigError, ImageError, WeightsError
from mien.explain import explain as explaining
from mien.explain.explain import explain
from mien.labels import EXPRESSIONS
from mien.models import onnx_file
from mien.models.torch_model import TorchModel
from mien.networks import registry
from mien.networks.outputs import Outputs
from mien.preprocess import Preprocessing
from mien.recognition import photo

ASTRONAUT = Path(__file__).parents[2] / "examples" / "astronaut.jpg"
PREPROCESSING = Preprocessing(size=48, channels=1, mean=0.0, std=1.0)


class MaskOfBrightness(nn.Module):
    """Its masks are the picture's own brightness, in two sizes."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(1, len(EXPRESSIONS))

    def forward(self, images):
        masks = tuple(nn.functional.avg_pool2d(images, side).repeat(1, 3, 1, 1) for side in (2, 8))
        return Outputs(self.fc(images.mean(dim=(2, 3))), masks)


def exported(network, path, config=None):
    metadata = {"format": 1, "network": path.stem, "classes": EXPRESSIONS, "config": config or {}}
    metadata |= {"preprocessing": PREPROCESSING.to_dict()}
    onnx_file.write(network, 1, 48, path, {"mien": json.dumps(metadata)})
    return path


@pytest.fixture(scope="module")
def of_brightness(tmp_path_factory):
    return exported(MaskOfBrightness(), tmp_path_factory.mktemp("explained") / "brightness.onnx")


@pytest.fixture(scope="module")
def corner():
    """A black picture, white in the top right corner."""
    picture = np.zeros((96, 96), np.uint8)
    picture[:32, 64:] = 255
    return picture


@pytest.fixture(scope="module")
def two_faces():
    return np.concatenate([photo.read(ASTRONAUT)] * 2, axis=1)


def built(name, variant="mini", **parts):
    torch.manual_seed(0)
    network = registry.create(registry.find(name, variant), len(EXPRESSIONS), **parts).eval()

    return TorchModel(network, PREPROCESSING, EXPRESSIONS, Config(), Calibration(), {})


def test_masks_of_a_file_lie_where_they_are(of_brightness, corner):
    (found,) = explain(corner, of_brightness, "none")
    assert found.method == "masks"
    assert found.network == "brightness"
    assert [heat.shape for heat in found.heats] == [(24, 24), (6, 6)]
    expected = np.zeros((6, 6))
    expected[:2, 4:] = 1
    np.testing.assert_allclose(found.heats[1], expected, atol=0.05)  # the picture was scaled to 48 pixels
    axes = explaining.figure(found, "corner", (0.0, 1.0)).axes
    shown = {each.get_title().partition(",")[0]: each.images[0].get_array() for each in axes if each.images}
    np.testing.assert_array_equal(shown["face"], found.image)
    for stage in ("stage 1", "stage 2"):
        side = len(shown[stage]) // 3
        assert shown[stage][: side - 8, 2 * side + 8 :].mean() > 0.7
        assert shown[stage][side + 8 :].mean() < 0.1


def test_masks_are_the_same_in_torch_and_in_its_file(trained_run, exported_run):
    (of_file,), (of_torch,) = explain(ASTRONAUT, exported_run), explain(ASTRONAUT, trained_run)
    assert of_file.method == of_torch.method == "masks"
    np.testing.assert_array_equal(of_file.image, of_torch.image)
    assert [heat.shape for heat in of_file.heats] == [(24, 24), (12, 12), (6, 6), (3, 3)]
    for one, other in zip(of_file.heats, of_torch.heats, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_faces_are_those_of_the_recogniser_and_numbered_from_left_to_right(of_brightness, two_faces, tmp_path):
    found = explain(two_faces, of_brightness)
    assert tuple(each.face for each in found) == Recognizer(of_brightness)(two_faces)
    assert len(found) == 2
    written = explaining.write(found, tmp_path, "two.old.jpg")
    assert [path.name for path in written] == ["two.old-face1.png", "two.old-face2.png"]
    assert sorted(tmp_path.iterdir()) == written
    for path in written:
        with Image.open(path) as picture:
            picture.load()
            assert picture.format == "PNG"


def test_all_faces_and_stages_of_a_photograph_have_one_scale(of_brightness, two_faces, tmp_path, monkeypatch):
    spans = []
    drawn = explaining.figure
    monkeypatch.setattr(explaining, "figure", lambda *given: spans.append(given[2]) or drawn(*given))
    found = explain(two_faces, of_brightness)
    explaining.write(found, tmp_path, "two.jpg")
    heats = np.concatenate([heat.ravel() for each in found for heat in each.heats])
    assert spans == [(heats.min(), heats.max())] * 2


def test_a_network_without_masks_is_explained_by_gradients():
    (found,) = explain(ASTRONAUT, built("resnet18"))
    assert found.method == "grad-cam"
    (heat,) = found.heats
    assert heat.shape == (3, 3)
    assert heat.max() == pytest.approx(1)
    texts = " ".join(text.get_text() for text in explaining.figure(found, "astronaut.jpg", (0.0, 1.0)).texts)
    assert f"raises the score of {found.face.expression.name}" in " ".join(texts.split())


def test_masks_that_are_the_same_everywhere_are_not_shown():
    # A softmax over channels has the same mean at every place.
    softmax = built("resmasking18", mask_activation="softmax")
    assert explain(ASTRONAUT, softmax)[0].method == "grad-cam"
    assert explain(ASTRONAUT, built("resmasking18"))[0].method == "masks"
    with pytest.raises(ConfigError, match="gives no masks that differ from place to place: leave the method out"):
        explain(ASTRONAUT, softmax, method="masks")


def test_either_way_can_be_asked_for(trained_run):
    assert explain(ASTRONAUT, trained_run, method="masks")[0].method == "masks"
    assert len(explain(ASTRONAUT, trained_run, method="grad-cam")[0].heats) == 1


def test_a_file_without_masks_is_explained_by_gradients_too(tmp_path):
    network = built("resnet18")
    plain = exported(
        network.network, tmp_path / "plain.onnx", config={"network": {"name": "resnet18", "variant": "mini"}}
    )
    (expected,), (found,) = explain(ASTRONAUT, network)[0].heats, explain(ASTRONAUT, plain)[0].heats
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_a_file_that_is_not_what_its_config_says_has_no_gradients(of_brightness):
    with pytest.raises(WeightsError, match=r"brightness\.onnx does not fit brightness: its .* is missing"):
        explain(ASTRONAUT, of_brightness, method="grad-cam")


@pytest.mark.parametrize("model", ["of_brightness", "trained_run"])
def test_no_face_is_nothing_to_explain(model, tmp_path, request):
    found = explain(np.full((200, 300), 90, np.uint8), request.getfixturevalue(model))
    assert found == []
    assert explaining.write(found, tmp_path, "wall.jpg") == []
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_picture_is_refused(of_brightness):
    with pytest.raises(ImageError, match="cannot be read as a picture"):
        explain(b"no picture", of_brightness)
