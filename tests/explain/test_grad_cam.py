"""Grad-CAM equals its definition, and uses the last feature map of each kind of network."""

import numpy as np
import pytest
import torch
from torch import nn

from mien.calibration import Calibration
from mien.config import Config
from mien.errors import WeightsError
from mien.explain.grad_cam import grad_cam, last_feature_layer
from mien.labels import EXPRESSIONS
from mien.models.torch_model import TorchModel
from mien.networks import registry
from mien.networks.outputs import Outputs
from mien.preprocess import Preprocessing


class Window(nn.Module):
    """Multiplies the image by 1 in one corner and by 0 elsewhere."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(8, 8))
        self.weight.data[:2, 6:] = 1

    def forward(self, images):
        return images * self.weight


class OneCornerNetwork(nn.Module):
    def __init__(self):
        super().__init__()
        self.window = Window()
        self.fc = nn.Linear(1, len(EXPRESSIONS))
        self.fc.weight.data[:, 0] = torch.linspace(-1, 1, len(EXPRESSIONS))

    def forward(self, images):
        return Outputs(self.fc(self.window(images).mean(dim=(2, 3))))


def trained(network, size, channels=1, mean=0.5):
    preprocessing = Preprocessing(size=size, channels=channels, mean=mean)
    return TorchModel(network.eval(), preprocessing, EXPRESSIONS, Config(), Calibration(), {})


def built(name, variant, **parts):
    torch.manual_seed(0)
    return registry.create(registry.find(name, variant), len(EXPRESSIONS), **parts)


def test_heatmap_is_bright_only_where_the_network_looks():
    heatmap = grad_cam(trained(OneCornerNetwork(), 8, mean=0.0), np.full((8, 8), 200, np.uint8), target=6)
    expected = np.zeros((8, 8))
    expected[:2, 6:] = 1
    np.testing.assert_array_equal(heatmap, expected)


def test_heatmap_of_a_class_that_no_position_raises_is_dark():
    heatmap = grad_cam(trained(OneCornerNetwork(), 8, mean=0.0), np.full((8, 8), 200, np.uint8), target=0)
    np.testing.assert_array_equal(heatmap, np.zeros((8, 8)))


def test_grad_cam_of_averaged_maps_and_one_linear_layer_is_cam():
    # The weights of the last layer are then the gradients (Selvaraju et al., section 3.1).
    network = trained(built("resnet18", "mini"), 48)
    image = np.random.default_rng(0).integers(0, 256, (48, 48), dtype=np.uint8)
    maps = []
    network.network.backbone.layer4[-1].register_forward_hook(
        lambda module, inputs, output: maps.append(output.detach())
    )
    heatmap = grad_cam(network, image, target=3)
    expected = torch.einsum("c,chw->hw", network.network.fc.weight[3], maps[-1][0]).relu().detach().numpy()
    assert expected.max() > 0
    np.testing.assert_allclose(heatmap, expected / expected.max(), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "variant", "size", "channels"),
    [
        ("resattnet18", "mini", 48, 160),
        ("resmasking18", "mini", 48, 160),
        ("densenet121", "", 64, 1024),
        ("inception_v3", "", 107, 2048),
    ],
)
def test_layer_is_the_one_whose_maps_the_last_layer_averages(name, variant, size, channels):
    network = trained(built(name, variant), size, registry.find(name, variant).in_channels)
    image = np.random.default_rng(0).integers(0, 256, (size, size), dtype=np.uint8)
    shapes = []
    stage = last_feature_layer(network.network, torch.from_numpy(network.preprocessing(image[None])))
    stage.register_forward_hook(lambda module, inputs, output: shapes.append(tuple(output.shape)))
    heatmap = grad_cam(network, image, target=3)
    assert set(shapes) == {(1, channels, *heatmap.shape)}
    assert heatmap.size > 1
    assert heatmap.min() >= 0
    assert heatmap.max() in (0, pytest.approx(1))


def test_network_without_feature_maps_is_an_error():
    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(64, len(EXPRESSIONS))

        def forward(self, images):
            return Outputs(self.fc(images.flatten(1)))

    with pytest.raises(WeightsError, match="needs a feature map of more than one position"):
        grad_cam(trained(Flat(), 8), np.zeros((8, 8), np.uint8), target=0)
