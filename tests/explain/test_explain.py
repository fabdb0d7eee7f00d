"""Explanations of predictions by masks and by Grad-CAM, and their figures."""

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
from mien.explain import explain as module
from mien.explain.explain import explain
from mien.labels import EXPRESSIONS
from mien.models import onnx_file
from mien.models.torch_model import TorchModel
from mien.networks import registry
from mien.networks.outputs import Outputs
from mien.preprocess import Preprocessing
from mien.recognition import photo
from mien.types import Box, Expression, Face

pytestmark = pytest.mark.figure

ASTRONAUT = Path(__file__).parents[2] / "examples" / "astronaut.jpg"
PREPROCESSING = Preprocessing(size=48, channels=1, mean=0.0, std=1.0)


class MaskOfBrightness(nn.Module):
    """A network whose masks are the brightness of the image, in two sizes."""

    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(1, len(EXPRESSIONS))

    def forward(self, images):
        masks = tuple(torch.cat([nn.functional.avg_pool2d(images, side)] * 3, dim=1) for side in (2, 8))
        return Outputs(self.fc(images.mean(dim=(2, 3))), masks)


def exported(network, path, config=None):
    metadata = {"format": 1, "network": path.stem, "classes": EXPRESSIONS, "config": config or {}}
    metadata |= {"preprocessing": PREPROCESSING.to_dict()}
    onnx_file.write(network, 1, 48, path, {"mien": json.dumps(metadata)})
    return path


@pytest.fixture(scope="module")
def brightness_model(tmp_path_factory):
    return exported(MaskOfBrightness(), tmp_path_factory.mktemp("explained") / "brightness.onnx")


@pytest.fixture(scope="module")
def corner():
    """A black picture with a white top right corner."""
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


def test_masks_of_an_onnx_file_are_drawn_at_their_place(brightness_model, corner):
    (explanation,) = explain(corner, brightness_model, "none")
    assert explanation.method == "masks"
    assert explanation.network == "brightness"
    assert [heatmap.shape for heatmap in explanation.heatmaps] == [(24, 24), (6, 6)]
    expected = np.zeros((6, 6))
    expected[:2, 4:] = 1
    np.testing.assert_allclose(explanation.heatmaps[1], expected, atol=0.05)  # the picture is resized to 48 pixels
    axes = module.figure(explanation, "corner", (0.0, 1.0)).axes
    images = {each.get_title().partition(",")[0]: each.images[0].get_array() for each in axes if each.images}
    np.testing.assert_array_equal(images["face"], explanation.image)
    for stage in ("stage 1", "stage 2"):
        side = len(images[stage]) // 3
        assert images[stage][: side - 8, 2 * side + 8 :].mean() > 0.7
        assert images[stage][side + 8 :].mean() < 0.1


def test_masks_of_an_onnx_file_equal_those_of_torch(trained_run, exported_run):
    (of_file,), (of_torch,) = explain(ASTRONAUT, exported_run), explain(ASTRONAUT, trained_run)
    assert of_file.method == of_torch.method == "masks"
    np.testing.assert_array_equal(of_file.image, of_torch.image)
    assert [heatmap.shape for heatmap in of_file.heatmaps] == [(24, 24), (12, 12), (6, 6), (3, 3)]
    for one, other in zip(of_file.heatmaps, of_torch.heatmaps, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)


def test_faces_are_those_of_the_recogniser_numbered_from_left_to_right(brightness_model, two_faces, tmp_path):
    explanations = explain(two_faces, brightness_model)
    assert tuple(each.face for each in explanations) == Recognizer(brightness_model)(two_faces)
    assert len(explanations) == 2
    written = module.write(explanations, tmp_path, "two.old.jpg")
    assert [path.name for path in written] == ["two.old-face1.png", "two.old-face2.png"]
    assert sorted(tmp_path.iterdir()) == written
    for path in written:
        with Image.open(path) as image:
            image.load()
            assert image.format == "PNG"


def test_all_faces_and_stages_of_a_picture_have_the_same_limits(brightness_model, two_faces, tmp_path, monkeypatch):
    limits = []
    figure = module.figure
    monkeypatch.setattr(module, "figure", lambda *arguments: limits.append(arguments[2]) or figure(*arguments))
    explanations = explain(two_faces, brightness_model)
    module.write(explanations, tmp_path, "two.jpg")
    heatmaps = np.concatenate([heatmap.ravel() for each in explanations for heatmap in each.heatmaps])
    assert limits == [(heatmaps.min(), heatmaps.max())] * 2


def test_network_without_masks_is_explained_by_grad_cam():
    (explanation,) = explain(ASTRONAUT, built("resnet18"))
    assert explanation.method == "grad-cam"
    (heatmap,) = explanation.heatmaps
    assert heatmap.shape == (3, 3)
    assert heatmap.max() == pytest.approx(1)
    texts = " ".join(text.get_text() for text in module.figure(explanation, "astronaut.jpg", (0.0, 1.0)).texts)
    assert f"raises the score of {explanation.face.expression.name}" in " ".join(texts.split())


def test_uniform_masks_are_not_used():
    # The mean of a softmax over channels is the same at every position.
    softmax = built("resmasking18", mask_activation="softmax")
    assert explain(ASTRONAUT, softmax)[0].method == "grad-cam"
    assert explain(ASTRONAUT, built("resmasking18"))[0].method == "masks"
    with pytest.raises(ConfigError, match="has no masks that differ between positions; leave the method out"):
        explain(ASTRONAUT, softmax, method="masks")


def test_method_can_be_chosen(trained_run):
    assert explain(ASTRONAUT, trained_run, method="masks")[0].method == "masks"
    assert len(explain(ASTRONAUT, trained_run, method="grad-cam")[0].heatmaps) == 1


def test_onnx_file_without_masks_is_explained_by_grad_cam(tmp_path):
    network = built("resnet18")
    plain = exported(
        network.network, tmp_path / "plain.onnx", config={"network": {"name": "resnet18", "variant": "mini"}}
    )
    (expected,), (heatmap,) = explain(ASTRONAUT, network)[0].heatmaps, explain(ASTRONAUT, plain)[0].heatmaps
    np.testing.assert_allclose(heatmap, expected, atol=1e-4)


def test_grad_cam_of_an_onnx_file_with_a_wrong_config_is_an_error(brightness_model):
    with pytest.raises(WeightsError, match=r"brightness\.onnx does not fit brightness: its .* is missing"):
        explain(ASTRONAUT, brightness_model, method="grad-cam")


@pytest.mark.parametrize("model", ["brightness_model", "trained_run"])
def test_picture_without_a_face_has_no_explanations(model, tmp_path, request):
    explanations = explain(np.full((200, 300), 90, np.uint8), request.getfixturevalue(model))
    assert explanations == []
    assert module.write(explanations, tmp_path, "wall.jpg") == []
    assert list(tmp_path.iterdir()) == []


def test_unreadable_picture_is_an_error(brightness_model):
    with pytest.raises(ImageError, match="cannot be read as a picture"):
        explain(b"not a picture", brightness_model)


def test_heats_is_deprecated(brightness_model, corner):
    (explanation,) = explain(corner, brightness_model, "none")
    with pytest.warns(DeprecationWarning, match=r"use Explanation\.heatmaps"):
        assert explanation.heats is explanation.heatmaps


def test_figure_of_a_model_with_other_classes():
    classes = ("bored", "engaged", "confused")
    face = Face(
        Box(0, 0, 48, 48), {}, 1.0, Expression(dict(zip(classes, (0.2, 0.7, 0.1), strict=True)), uncertain=True)
    )
    heatmaps = (np.zeros((6, 6)), np.ones((3, 3)))
    explanation = module.Explanation("network", face, np.zeros((48, 48), np.uint8), "masks", heatmaps)
    axes = module.figure(explanation, "a.jpg, face 1 of 1", (0.0, 1.0)).axes
    titles = [each.get_title() for each in axes]
    assert titles == ["face", "stage 1, 6 x 6", "engaged 70%, uncertain", "stage 2, 3 x 3", ""]
    assert [label.get_text() for label in axes[2].get_yticklabels()] == list(classes)
