"""Grad-CAM is what its paper says, and of the last maps of each kind of network."""

import numpy as np
import pytest
import torch
from torch import nn

from mien.calibration import Calibration
from mien.config import Config
from mien.errors import WeightsError
from mien.explain.grad_cam import grad_cam, last_stage
from mien.labels import EXPRESSIONS
from mien.models.torch_model import TorchModel
from mien.networks import registry
from mien.networks.outputs import Outputs
from mien.preprocess import Preprocessing


class Window(nn.Module):
    """Sees what lies in one corner of the image, and nothing else."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(8, 8))
        self.weight.data[:2, 6:] = 1

    def forward(self, images):
        return images * self.weight


class LooksAtOneCorner(nn.Module):
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


def test_it_is_bright_where_the_network_looks_and_nowhere_else():
    found = grad_cam(trained(LooksAtOneCorner(), 8, mean=0.0), np.full((8, 8), 200, np.uint8), said=6)
    expected = np.zeros((8, 8))
    expected[:2, 6:] = 1
    np.testing.assert_array_equal(found, expected)


def test_what_only_speaks_against_a_class_is_dark():
    found = grad_cam(trained(LooksAtOneCorner(), 8, mean=0.0), np.full((8, 8), 200, np.uint8), said=0)
    np.testing.assert_array_equal(found, np.zeros((8, 8)))


def test_of_averaged_maps_and_one_layer_it_is_their_weighted_sum():
    # There Grad-CAM is CAM (Selvaraju et al., section 3.1): the last layer's weights are the gradients.
    network = trained(built("resnet18", "mini"), 48)
    image = np.random.default_rng(0).integers(0, 256, (48, 48), dtype=np.uint8)
    maps = []
    network.network.backbone.layer4[-1].register_forward_hook(lambda part, given, result: maps.append(result.detach()))
    found = grad_cam(network, image, said=3)
    expected = torch.einsum("c,chw->hw", network.network.fc.weight[3], maps[-1][0]).relu().detach().numpy()
    assert expected.max() > 0
    np.testing.assert_allclose(found, expected / expected.max(), atol=1e-5)


@pytest.mark.parametrize(
    ("name", "variant", "size", "channels"),
    [
        ("resattnet18", "mini", 48, 160),
        ("resmasking18", "mini", 48, 160),
        ("densenet121", "", 64, 1024),
        ("inception_v3", "", 107, 2048),
    ],
)
def test_it_is_of_the_maps_that_the_last_layer_averages(name, variant, size, channels):
    network = trained(built(name, variant), size, registry.find(name, variant).in_channels)
    image = np.random.default_rng(0).integers(0, 256, (size, size), dtype=np.uint8)
    shapes = []
    stage = last_stage(network.network, torch.from_numpy(network.preprocessing(image[None])))
    stage.register_forward_hook(lambda part, given, result: shapes.append(tuple(result.shape)))
    found = grad_cam(network, image, said=3)
    assert set(shapes) == {(1, channels, *found.shape)}
    assert found.size > 1
    assert found.min() >= 0
    assert found.max() in (0, pytest.approx(1))


def test_a_network_without_maps_is_one_sentence():
    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(64, len(EXPRESSIONS))

        def forward(self, images):
            return Outputs(self.fc(images.flatten(1)))

    with pytest.raises(WeightsError, match="needs feature maps of more than one place"):
        grad_cam(trained(Flat(), 8), np.zeros((8, 8), np.uint8), said=0)
