"""Tests of BAM, CBAM and the soft mask against the formulas of their papers."""

import pytest
import torch

from mien.networks.attention import BAM, CBAM, CBAMBlock, SoftMask


@pytest.mark.parametrize("module", [BAM(32), CBAM(32), SoftMask(8, 3), SoftMask(8, 1)], ids=lambda m: type(m).__name__)
@pytest.mark.parametrize("size", [(16, 16), (9, 7), (3, 3)])
def test_modules_keep_the_shape(module, size):
    channels = 8 if isinstance(module, SoftMask) else 32
    assert module(torch.randn(2, channels, *size)).shape == (2, channels, *size)


@torch.inference_mode()
def test_bam_is_the_sigmoid_of_the_channel_and_spatial_sum():
    bam = BAM(32).eval()
    features = torch.randn(2, 32, 12, 12)
    channel, spatial = bam.channel(features), bam.spatial(features)
    assert channel.shape == (2, 32, 1, 1)
    assert spatial.shape == (2, 1, 12, 12)
    assert torch.allclose(bam(features), torch.sigmoid(channel + spatial))
    assert bam.spatial[0].out_channels == 8


@torch.inference_mode()
def test_bam_spatial_branch_reaches_8_pixels_and_channel_branch_all():
    """Two 3x3 convolutions of dilation 4 reach 8 pixels in each direction; the spatial average reaches all."""
    bam = BAM(32).eval()
    for module in bam.modules():
        if isinstance(module, torch.nn.Conv2d):
            torch.nn.init.constant_(module.weight, 0.05)  # positive, so that no ReLU blocks the change
    features = torch.rand(1, 32, 30, 30)
    changed = features.clone()
    changed[..., 15, 15] += 5
    differs = (bam.spatial(features) - bam.spatial(changed)).abs()[0, 0] > 1e-6
    rows = torch.nonzero(differs)[:, 0]
    assert (rows.min(), rows.max()) == (15 - 8, 15 + 8)
    assert (bam.channel(features) != bam.channel(changed)).any()


@torch.inference_mode()
def test_cbam_follows_its_equations():
    cbam = CBAM(16).eval()
    features = torch.randn(2, 16, 6, 6)
    hidden = lambda pooled: cbam.channel[2](torch.relu(cbam.channel[0](pooled)))  # noqa: E731
    average, maximum = features.mean((2, 3), keepdim=True), features.amax((2, 3), keepdim=True)
    weighted = features * torch.sigmoid(hidden(average) + hidden(maximum))
    planes = torch.stack([weighted.mean(1), weighted.amax(1)], dim=1)
    assert cbam.spatial[0].kernel_size == (7, 7)
    assert torch.allclose(cbam(features), weighted * torch.sigmoid(cbam.spatial(planes)), atol=1e-6)


@torch.inference_mode()
def test_cbam_block_weights_the_branch_but_not_the_shortcut():
    block = CBAMBlock(8, 8).eval()
    block.attention.forward = torch.zeros_like
    features = torch.randn(2, 8, 5, 5)
    assert torch.allclose(block(features), features.relu())


@torch.inference_mode()
def test_soft_mask_is_in_0_to_1_and_depends_on_the_whole_map():
    mask = SoftMask(8, 3).eval()
    features = torch.randn(1, 8, 24, 24)
    changed = features.clone()
    changed[..., 0, 0] += 20
    values = mask(features)
    assert 0 < values.min() < values.max() < 1
    assert (values - mask(changed)).abs()[..., -1, -1].max() > 0


def test_soft_mask_has_a_unit_per_depth():
    assert [(len(m.down), len(m.skip), len(m.up)) for m in (SoftMask(4, d) for d in (1, 2, 3))] == [
        (1, 0, 1),
        (2, 1, 2),
        (3, 2, 3),
    ]
