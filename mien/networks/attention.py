"""Published attention modules: BAM, CBAM, and the soft mask of residual attention."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mien.networks.backbones import BasicBlock, convolution

REDUCTION = 16
"""Ratio of the input's channels to those of the hidden layer, in BAM and CBAM."""
MIN_HIDDEN = 8
"""Fewest channels of the hidden layer, for backbones much narrower than those of the papers."""
DILATION = 4
"""Dilation of BAM's 3x3 convolutions."""


class BAM(nn.Module):
    """The bottleneck attention module (Park et al., BMVC 2018), M(F) for F' = F + F * M(F) (Eq. 1).

    M(F) = sigmoid(M_c(F) + M_s(F)) (Eq. 2); M_c(F) = BN(MLP(spatial average of F)) (Eq. 3);
    M_s(F) = BN(f1x1(f3x3(f3x3(f1x1(F))))) with dilated 3x3 convolutions (Eq. 4). As in the authors' code, each hidden
    layer has a batch norm and a ReLU.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(channels // REDUCTION, MIN_HIDDEN)
        self.channel = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(channels, hidden, 1),
            nn.BatchNorm2d(hidden),
            nn.ReLU(inplace=True),
            nn.Conv2d(hidden, channels, 1),
            nn.BatchNorm2d(channels),
        )
        layers: list[nn.Module] = [nn.Conv2d(channels, hidden, 1), nn.BatchNorm2d(hidden), nn.ReLU(inplace=True)]
        for _ in range(2):
            layers += [
                nn.Conv2d(hidden, hidden, 3, padding=DILATION, dilation=DILATION),
                nn.BatchNorm2d(hidden),
                nn.ReLU(inplace=True),
            ]
        self.spatial = nn.Sequential(*layers, nn.Conv2d(hidden, 1, 1), nn.BatchNorm2d(1))

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W) mask in [0, 1]."""
        mask: Tensor = (self.channel(features) + self.spatial(features)).sigmoid()
        return mask


class CBAM(nn.Module):
    """The convolutional block attention module (Woo et al., ECCV 2018), F'' = M_s(F') * F', F' = M_c(F) * F (Eq. 1).

    M_c(F) = sigmoid(MLP(spatial average of F) + MLP(spatial maximum of F)) (Eq. 2);
    M_s(F) = sigmoid(f7x7([average; maximum of F over its channels])) (Eq. 3). As in the authors' code, a batch norm
    follows f7x7.

    Args:
        channels: C.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = max(channels // REDUCTION, MIN_HIDDEN)
        self.channel = nn.Sequential(
            nn.Conv2d(channels, hidden, 1), nn.ReLU(inplace=True), nn.Conv2d(hidden, channels, 1)
        )
        self.spatial = nn.Sequential(convolution(2, 1, 7), nn.BatchNorm2d(1))

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W) re-weighted features."""
        average = features.mean(dim=(2, 3), keepdim=True)  # (N, C, 1, 1)
        maximum = features.amax(dim=(2, 3), keepdim=True)  # (N, C, 1, 1)
        features = features * (self.channel(average) + self.channel(maximum)).sigmoid()
        pooled = torch.cat([features.mean(dim=1, keepdim=True), features.amax(dim=1, keepdim=True)], dim=1)
        weighted: Tensor = features * self.spatial(pooled).sigmoid()
        return weighted


class CBAMBlock(BasicBlock):
    """A basic block in which CBAM re-weights the residual branch before the shortcut is added (Woo et al., Fig. 3)."""

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__(in_channels, out_channels, stride)
        self.attention = CBAM(out_channels)


class SoftMask(nn.Module):
    """The soft mask branch of residual attention (Wang et al., CVPR 2017, Fig. 3), M(x) for (1 + M(x)) * T(x) (Eq. 3).

    The map is reduced `depth` times by max pooling and enlarged again by bilinear interpolation. One residual unit (the
    paper's r = 1) follows each pooling and precedes each interpolation, and a skip connection with a unit of its own
    links equal sizes, except the largest. Two 1x1 convolutions and a sigmoid follow. x is the input of the trunk T.

    Args:
        channels: C.
        depth: Number of poolings: 3, 2 and 1 in the three stages of the paper's Attention-56.
        unit: Creates a residual unit with the given number of input and output channels; None uses `BasicBlock`.
    """

    def __init__(self, channels: int, depth: int, unit: Callable[[int], nn.Module] | None = None) -> None:
        super().__init__()
        new_unit = unit or (lambda width: BasicBlock(width, width))
        self.pool = nn.MaxPool2d(3, stride=2, padding=1)
        self.down = nn.ModuleList(new_unit(channels) for _ in range(depth))
        self.skip = nn.ModuleList(new_unit(channels) for _ in range(depth - 1))
        self.up = nn.ModuleList(new_unit(channels) for _ in range(depth))
        self.head = nn.Sequential(
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            convolution(channels, channels, 1),
            nn.BatchNorm2d(channels),
            nn.ReLU(inplace=True),
            nn.Conv2d(channels, channels, 1),
        )

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W) mask in [0, 1]."""
        sizes, skips = [features.shape[-2:]], []
        x = features
        for level, unit in enumerate(self.down):
            x = unit(self.pool(x))
            if level < len(self.skip):
                skips.append(self.skip[level](x))
                sizes.append(x.shape[-2:])
        for unit in self.up:
            x = F.interpolate(unit(x), size=sizes.pop(), mode="bilinear", align_corners=False)
            if skips:
                x = x + skips.pop()
        mask: Tensor = self.head(x).sigmoid()
        return mask
