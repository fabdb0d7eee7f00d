"""Tests that the base network has the parameters and logits of the base project."""

import pytest
import torch

from mien.networks import registry
from tests.networks.base_project import base_name, seeded_images, seeded_weights
from tests.networks.test_registry import build_constant_network

pytestmark = pytest.mark.full_size

# Computed once by the base project's own code (commit 9141618) from `seeded_weights` and `seeded_images`.
GOLDEN = (
    (-0.33196, 0.34839, 0.88390, -0.95413, 1.24730, -0.53454, 0.73391),
    (-0.38068, 0.34451, 0.89852, -0.93854, 1.24927, -0.47686, 0.67819),
)


@pytest.fixture(scope="module")
def network():
    return build_constant_network(registry.find("resmasking"))


def test_number_of_parameters_equals_that_of_the_base_project(network):
    assert sum(parameter.numel() for parameter in network.parameters()) == 137_796_423


def test_key_map_is_one_to_one(network):
    names = [base_name(key) for key in network.state_dict()]
    assert len(set(names)) == len(names)
    assert {
        "conv1.weight",
        "mask1.up_pool5.0.bias",
        "mask1.conv8.bn2.weight",
        "mask4.conv2.downsample.0.weight",
    } <= set(names)


def test_logits_equal_those_of_the_base_project(network):
    state = network.state_dict()
    shapes = {base_name(key): tuple(tensor.shape) for key, tensor in state.items()}
    weights = seeded_weights(shapes)
    network.load_state_dict({key: weights[base_name(key)] for key in state})
    with torch.inference_mode():
        logits = network.eval()(seeded_images()).logits
    torch.testing.assert_close(logits, torch.tensor(GOLDEN), rtol=0, atol=1e-5 + 5e-6)  # plus the rounding of GOLDEN
