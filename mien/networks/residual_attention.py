"""The residual attention network Attention-56 (Wang et al., CVPR 2017, Table 1).

Shapes for images of 224x224 pixels and K classes:

    stem: 7x7 convolution, max pooling      (N, 64, 56, 56)
    unit, attention module, mask depth 3    (N, 256, 56, 56)
    unit, attention module, mask depth 2    (N, 512, 28, 28)
    unit, attention module, mask depth 1    (N, 1024, 14, 14)
    three units                             (N, 2048, 7, 7)
    mean, linear                            (N, K)
"""

from __future__ import annotations

from torch import Tensor, nn

from mien.networks.attention import SoftMask
from mien.networks.backbones import convolution, initialise
from mien.networks.outputs import Outputs

CHANNELS = (256, 512, 1024)
"""Output channels of the three attention stages."""
DEPTHS = (3, 2, 1)
"""Depths of their masks."""


class PreActivationUnit(nn.Module):
    """A bottleneck with batch norm and ReLU before each convolution (He et al., ECCV 2016, Fig. 4e).

    (N, in_channels, H, W) -> (N, out_channels, H / stride, W / stride).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1) -> None:
        super().__init__()
        width = out_channels // 4
        self.norm = nn.Sequential(nn.BatchNorm2d(in_channels), nn.ReLU(inplace=True))
        self.branch = nn.Sequential(
            convolution(in_channels, width, 1),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            convolution(width, width, 3, stride),
            nn.BatchNorm2d(width),
            nn.ReLU(inplace=True),
            convolution(width, out_channels, 1),
        )
        self.downsample: nn.Module | None = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = convolution(in_channels, out_channels, 1, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, H / stride, W / stride)."""
        active = self.norm(x)
        shortcut = x if self.downsample is None else self.downsample(active)
        result: Tensor = self.branch(active) + shortcut
        return result


class AttentionModule(nn.Module):
    """A trunk of units that a soft mask re-weights: (1 + M(x)) * T(x) (Eq. 3), with the paper's p = 1, t = 2, r = 1.

    Args:
        channels: C.
        depth: Depth of the mask.
    """

    def __init__(self, channels: int, depth: int) -> None:
        super().__init__()
        self.before = PreActivationUnit(channels, channels)
        self.trunk = nn.Sequential(PreActivationUnit(channels, channels), PreActivationUnit(channels, channels))
        self.mask = SoftMask(channels, depth, lambda width: PreActivationUnit(width, width))
        self.after = PreActivationUnit(channels, channels)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """(N, C, H, W) -> re-weighted features (N, C, H, W), and the mask (N, C, H, W) in [0, 1]."""
        x = self.before(x)
        mask = self.mask(x)
        return self.after(self.trunk(x) * (1 + mask)), mask


class ResidualAttentionNetwork(nn.Module):
    """Attention-56.

    Args:
        num_classes: K.
        in_channels: Channels of the images.
        dropout: Fraction of the pooled features dropped in training.
    """

    def __init__(self, *, num_classes: int, in_channels: int, dropout: float) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            convolution(in_channels, 64, 7, stride=2),
            nn.BatchNorm2d(64),
            nn.ReLU(inplace=True),
            nn.MaxPool2d(3, stride=2, padding=1),
        )
        widths = (64, *CHANNELS)
        strides = (1, 2, 2)
        self.units = nn.ModuleList(
            PreActivationUnit(a, b, stride) for a, b, stride in zip(widths, CHANNELS, strides, strict=False)
        )
        self.attention = nn.ModuleList(
            AttentionModule(channels, depth) for channels, depth in zip(CHANNELS, DEPTHS, strict=True)
        )
        self.end = nn.Sequential(
            PreActivationUnit(1024, 2048, 2),
            PreActivationUnit(2048, 2048),
            PreActivationUnit(2048, 2048),
            nn.BatchNorm2d(2048),
            nn.ReLU(inplace=True),
        )
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(2048, num_classes)
        initialise(self)

    def forward(self, images: Tensor) -> Outputs:
        """(N, C, H, W) normalised images -> Outputs."""
        x = self.stem(images)  # (N, 64, H / 4, W / 4)
        masks: list[Tensor] = []
        for unit, attention in zip(self.units, self.attention, strict=True):
            x, mask = attention(unit(x))  # (N, 256, H / 4, W / 4), then (N, 512, H / 8, ...), (N, 1024, H / 16, ...)
            masks.append(mask)
        pooled = self.end(x).mean(dim=(2, 3))  # (N, 2048)
        logits = self.fc(self.dropout(pooled))  # (N, K)
        return Outputs(logits, tuple(masks))
