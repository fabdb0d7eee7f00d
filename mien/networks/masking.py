"""The masking layer: a small U-Net that weighs every value of a feature map."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mien.networks.backbones import BasicBlock, initialise


class UNetMask(nn.Module):
    """Computes a mask M(P) in [0, 1] for a feature map P, to be used as P * (1 + M).

    Pham, Vu and Tran (ICPR 2020), Eq. 1, and Shen and Li, section 3.1 and Fig. 3. 0 leaves a value as it is, 1
    doubles it: a mask can stress, never erase. One class serves all depths; odd map sizes are rounded up on the way
    down and cut on the way up.

        encoder    depth blocks, 2x2 max pooling between two:  width, 2 width, 4 width, ... channels
        decoder    transposed convolution, joined with the encoder's map of that size, block
        head       a block back to the feature map's channels, then sigmoid or softmax

    Args:
        channels: Channels of the feature map and of its mask.
        depth: Number of sizes in the encoder, at least 1.
        width: Channels of the encoder's first block. The base network has twice the feature map's.
        stride: 1 works at the feature map's own size, as the papers do. 2 works at half of it and ends in one
            transposed convolution instead of a block: a quarter of the cost, in fewer and larger operations.
        activation: `sigmoid` weighs each value by itself. `softmax` divides 1 among the channels of each place, as
            the base project's code does.
    """

    def __init__(
        self, channels: int, depth: int, width: int | None = None, stride: int = 1, activation: str = "sigmoid"
    ) -> None:
        super().__init__()
        widths = [(width or 2 * channels) * 2**level for level in range(depth)]
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.stride = stride
        self.softmax = activation == "softmax"
        self.down = nn.ModuleList(BasicBlock(a, b) for a, b in zip([channels, *widths], widths, strict=False))
        self.enlarge = nn.ModuleList()
        self.up = nn.ModuleList()
        for deep, shallow in zip(widths[:0:-1], widths[-2::-1], strict=True):
            self.enlarge.append(
                nn.Sequential(
                    nn.ConvTranspose2d(deep, shallow, 2, stride=2), nn.BatchNorm2d(shallow), nn.ReLU(inplace=True)
                )
            )
            self.up.append(BasicBlock(2 * shallow, shallow))
        # The base network's last block ends in a ReLU, harmless before its softmax. Before a sigmoid it would hold
        # every mask above 0.5, so there it is left out.
        self.head: nn.Module = (
            BasicBlock(widths[0], channels, final_relu=self.softmax)
            if stride == 1
            else nn.ConvTranspose2d(widths[0], channels, stride, stride=stride)
        )
        initialise(self)
        for part in self.modules():
            if isinstance(part, BasicBlock):  # each block starts as its shortcut (Goyal et al., 2017, section 5.1)
                nn.init.zeros_(part.bn2.weight)

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, H, W) feature map -> (N, C, H, W) mask in [0, 1]."""
        x = features if self.stride == 1 else self.pool(features)
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else self.pool(x))
            skips.append(x)
        skips.pop()
        for enlarge, block in zip(self.enlarge, self.up, strict=True):
            skip = skips.pop()
            x = block(torch.cat([cut(enlarge(x), skip), skip], dim=1))
        x = cut(self.head(x), features)
        return x.softmax(dim=1) if self.softmax else x.sigmoid()


def cut(x: Tensor, like: Tensor) -> Tensor:
    """`x` without the rows and columns by which its height and width pass those of `like`."""
    return x[..., : like.shape[-2], : like.shape[-1]]
