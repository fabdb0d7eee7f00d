"""The masking layer: a small U-Net that computes a weight for every value of a feature map."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mien.networks.backbones import BasicBlock, initialise


class UNetMask(nn.Module):
    """Computes a mask M(P) in [0, 1] for a feature map P, to be used as P * (1 + M).

    Pham, Vu and Tran (ICPR 2020), Eq. 1; Shen and Li, section 3.1 and Fig. 3. A weight of 0 keeps a value and 1
    doubles it, so that a mask can emphasise a value but never remove it. Maps of odd size are padded by the pooling of
    the encoder and cropped in the decoder.

        encoder    `depth` blocks with 2x2 max pooling in between: width, 2 width, 4 width, ... channels
        decoder    for each smaller depth: transposed convolution, concatenation with the encoder's map, block
        head       block back to the feature map's channels, then sigmoid or softmax

    Args:
        channels: C, channels of the feature map and of its mask.
        depth: Number of resolutions of the encoder, at least 1.
        width: Channels of the encoder's first block; None is 2 C, as in the base network.
        stride: 1 works at the resolution of the feature map, as in the papers. 2 works at half of it and ends in a
            transposed convolution instead of a block: a quarter of the cost, in fewer and larger operations.
        activation: `sigmoid` computes each weight independently. `softmax` makes the weights at each position sum to 1
            over the channels, as in the base project's code.
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
        # The base network's last block ends in a ReLU, which is harmless before its softmax. Before a sigmoid it would
        # keep every weight above 0.5, so it is left out there.
        self.head: nn.Module = (
            BasicBlock(widths[0], channels, final_relu=self.softmax)
            if stride == 1
            else nn.ConvTranspose2d(widths[0], channels, stride, stride=stride)
        )
        initialise(self)
        for module in self.modules():
            if isinstance(module, BasicBlock):  # each block starts as its shortcut (Goyal et al., 2017, section 5.1)
                nn.init.zeros_(module.bn2.weight)

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, H, W) feature map -> (N, C, H, W) mask in [0, 1]."""
        x = features if self.stride == 1 else self.pool(features)  # (N, C, H / stride, W / stride)
        skips: list[Tensor] = []
        for level, block in enumerate(self.down):
            x = block(x if level == 0 else self.pool(x))  # (N, width * 2^level, H / (stride * 2^level), ...)
            skips.append(x)
        skips.pop()  # the deepest map is x itself
        for enlarge, block in zip(self.enlarge, self.up, strict=True):
            skip = skips.pop()
            x = block(torch.cat([crop_to(enlarge(x), skip), skip], dim=1))  # the shape of skip
        x = crop_to(self.head(x), features)  # (N, C, H, W)
        return x.softmax(dim=1) if self.softmax else x.sigmoid()


def crop_to(x: Tensor, target: Tensor) -> Tensor:
    """Crops a map at its right and lower edge to the height and width of `target`."""
    return x[..., : target.shape[-2], : target.shape[-1]]
