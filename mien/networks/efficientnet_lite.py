"""EfficientNet-Lite0: depthwise convolutions without squeeze-and-excitation, whose ImageNet weights pip can install."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mien.networks.backbones import initialise

BLOCKS = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
"""Of each stage: blocks, kernel size, stride of the first, expansion, output channels (Tan and Le, Table 1)."""
STEM_CHANNELS = 32
HEAD_CHANNELS = 1280


class SameConv2d(nn.Conv2d):
    """A convolution padded as TensorFlow's `same`: at stride 2 an even map gets more on its right and lower side."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, groups=groups, bias=False)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (the name that torch gives it)
        """(N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride))."""
        padding: list[int] = []
        for length in (input.shape[3], input.shape[2]):
            total = max(self.kernel_size[0] - (length % self.stride[0] or self.stride[0]), 0)
            padding += [total // 2, total - total // 2]
        return super().forward(F.pad(input, padding) if any(padding) else input)


def norm(channels: int) -> nn.BatchNorm2d:
    """A batch norm as the published weights had it."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class InvertedResidual(nn.Module):
    """Widens, filters each channel alone, narrows, and adds its input where the shapes allow.

    (N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = in_channels * expansion
        self.expands = expansion != 1
        if self.expands:
            self.expand_conv = SameConv2d(in_channels, wide, 1)
            self.bn0 = norm(wide)
        self.depthwise_conv = SameConv2d(wide, wide, kernel_size, stride, groups=wide)
        self.bn1 = norm(wide)
        self.project_conv = SameConv2d(wide, out_channels, 1)
        self.bn2 = norm(out_channels)
        self.adds = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride))."""
        wide = F.relu6(self.bn0(self.expand_conv(x))) if self.expands else x
        wide = F.relu6(self.bn1(self.depthwise_conv(wide)))
        narrow: Tensor = self.bn2(self.project_conv(wide))
        return narrow + x if self.adds else narrow


class EfficientNetLite0(nn.Module):
    """EfficientNet-B0 (Tan and Le, ICML 2019) with ReLU6 for swish and without squeeze-and-excitation.

    Attribute names are those of the published weights, without their leading underscores.
    """

    def __init__(self, num_classes: int, in_channels: int) -> None:
        super().__init__()
        self.conv_stem = SameConv2d(in_channels, STEM_CHANNELS, 3, stride=2)
        self.bn0 = norm(STEM_CHANNELS)
        self.blocks = nn.Sequential()
        width = STEM_CHANNELS
        for repeats, kernel_size, stride, expansion, channels in BLOCKS:
            for i in range(repeats):
                self.blocks.append(InvertedResidual(width, channels, kernel_size, 1 if i else stride, expansion))
                width = channels
        self.conv_head = SameConv2d(width, HEAD_CHANNELS, 1)
        self.bn1 = norm(HEAD_CHANNELS)
        initialise(self)
        self.fc = nn.Linear(HEAD_CHANNELS, num_classes)

    def forward(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> logits (N, K)."""
        x = F.relu6(self.bn0(self.conv_stem(images)))
        x = F.relu6(self.bn1(self.conv_head(self.blocks(x))))
        logits: Tensor = self.fc(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))
        return logits
