"""Tests of the U-Net mask: shape, range, depth and receptive field."""

import pytest
import torch

from mien.networks.masking import UNetMask


@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("size", [(16, 16), (7, 9), (3, 3)])
def test_mask_has_the_shape_of_the_features_and_is_in_0_to_1(depth, stride, size):
    mask = UNetMask(6, depth, width=4, stride=stride)(torch.randn(2, 6, *size) * 5)
    assert mask.shape == (2, 6, *size)
    assert 0 <= mask.min() < 0.5 < mask.max() <= 1


def test_softmax_mask_sums_to_1_over_the_channels():
    mask = UNetMask(6, 2, activation="softmax")(torch.randn(2, 6, 8, 8))
    torch.testing.assert_close(mask.sum(dim=1), torch.ones(2, 8, 8))


def test_each_depth_adds_a_block_to_encoder_and_decoder():
    counts = [(len(mask.down), len(mask.up)) for mask in (UNetMask(4, depth) for depth in (1, 2, 3, 4))]
    assert counts == [(1, 0), (2, 1), (3, 2), (4, 3)]


def test_encoder_starts_at_twice_the_channels_and_doubles():
    assert [block.conv1.out_channels for block in UNetMask(8, 3).down] == [16, 32, 64]


def test_mask_depends_on_the_whole_map():
    """A change in one corner must reach the mask in the opposite corner."""
    torch.manual_seed(0)
    mask = UNetMask(4, 3, width=8).eval()
    for module in mask.modules():  # new blocks are equal to their shortcut, which reaches nowhere
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.ones_(module.weight)
    features = torch.randn(1, 4, 16, 16)
    changed = features.clone()
    changed[..., 0, 0] += 10
    assert (mask(features) - mask(changed)).abs()[..., -1, -1].max() > 0
