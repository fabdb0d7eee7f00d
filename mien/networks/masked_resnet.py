"""Residual masking networks, with and without reconstruction.

Shapes of `resnet34_masking_reconstruction`, variant `paper`, 224x224 images:

    images                (N, 3, 224, 224)
    stem                  (N, 64, 112, 112)
    stage 1, mask, x(1+M) (N, 64, 112, 112)
    stage 2, mask, x(1+M) (N, 128, 56, 56)
    stage 3, mask, x(1+M) (N, 256, 28, 28)
    stage 4, mask, x(1+M) (N, 512, 14, 14)
    average, linear       (N, 7)                logits
    decoder               (N, 3, 224, 224)      reconstruction, in training only
"""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mien.networks.attention import BAM, CBAMBlock, SoftMask
from mien.networks.backbones import BasicBlock, ResNet, convolution, initialise
from mien.networks.masking import UNetMask
from mien.networks.outputs import Outputs


class Decoder(nn.Module):
    """Draws the image again from the masked feature maps (Shen and Li, section 3.2, the p' of Eq. 3).

    The paper says only "upsampling". Here each stage's map is brought to the same few channels by a 1x1 convolution
    and added, deepest first, to the next larger one; the largest becomes pixels by a 3x3 convolution and a pixel
    shuffle.

    Args:
        feature_channels: Channels of the stages' maps, first stage first.
        image_channels: Channels of the image to draw.
        scale: The image's height over the first stage's.
        width: Channels of the sums.
    """

    def __init__(self, feature_channels: tuple[int, ...], image_channels: int, scale: int, width: int = 32) -> None:
        super().__init__()
        self.lateral = nn.ModuleList(nn.Conv2d(channels, width, 1) for channels in feature_channels)
        self.norm = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.pixels = convolution(width, image_channels * scale**2, 3)
        self.scale = scale
        initialise(self)

    def forward(self, features: list[Tensor], size: tuple[int, int]) -> Tensor:
        """Masked maps of the stages, first to last -> (N, image_channels, *size) image in [0, 1]."""
        x = self.lateral[-1](features[-1])
        for project, feature in zip(reversed(self.lateral[:-1]), reversed(features[:-1]), strict=True):
            x = F.interpolate(x, size=feature.shape[-2:], mode="nearest") + project(feature)
        x = F.pixel_shuffle(self.pixels(self.relu(self.norm(x))), self.scale)
        if x.shape[-2:] != size:
            x = F.interpolate(x, size=size, mode="nearest")
        return x.sigmoid()


class MaskedResNet(nn.Module):
    """A ResNet whose stages are re-weighted by masks: P_N = P_R * (1 + M(P_R)) (Pham et al., 2020, Eq. 1).

    Shen and Li print their Eq. 1 and 2 identically; the base paper's formula is the reading taken here. BAM and
    residual attention have the same formula with other masks; without any masks this is a plain ResNet.

    Args:
        backbone: The residual stages.
        masks: Of the first stages, one each; the stages after them have none.
        num_classes: K.
        decoder: Draws the reconstruction in training mode; None for networks without.
        dropout: Share of the pooled features that is dropped before the last layer.
    """

    def __init__(
        self,
        backbone: ResNet,
        masks: list[nn.Module],
        num_classes: int,
        decoder: Decoder | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.masks = nn.ModuleList(masks)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(backbone.channels[-1], num_classes)
        self.decoder = decoder

    def forward(self, images: Tensor) -> Outputs:
        """(N, C, H, W) images, normalised as the network was trained -> Outputs."""
        x = self.backbone.stem(images)
        masks: list[Tensor] = []
        features: list[Tensor] = []
        for stage, mask in zip_longest(self.backbone.stages, self.masks):
            x = trunk_input = stage[0](x)
            for block in list(stage)[1:]:
                x = block(x)
            if mask is not None:
                masks.append(mask(trunk_input if isinstance(mask, SoftMask) else x))
                x = torch.addcmul(x, x, masks[-1])
            features.append(x)
        logits = self.fc(self.dropout(x.mean(dim=(2, 3))))
        reconstruction = None
        if self.decoder is not None and self.training:
            reconstruction = self.decoder(features, (images.shape[-2], images.shape[-1]))
        return Outputs(logits, tuple(masks), reconstruction)


def masked_resnet(
    *,
    blocks: tuple[int, ...],
    channels: tuple[int, ...],
    stem_stride: int,
    masks: tuple[dict[str, Any], ...] = (),
    mask_activation: str = "sigmoid",
    mask_depth: int = 0,
    block: str = "basic",
    reconstruct: bool = False,
    num_classes: int,
    in_channels: int,
    dropout: float,
) -> MaskedResNet:
    """Builds a residual network, with masks or without, from its parts.

    Args:
        blocks: Of each of the four stages; see `ResNet`.
        channels: Of each stage.
        stem_stride: 4, or 2 without max pooling.
        masks: Of the first stages: `kind` is u-net, bam or soft, all else are arguments of that class.
        mask_activation: `sigmoid` or `softmax`, of U-Net masks.
        mask_depth: Of the first U-Net mask, each later one less deep by one, 1 at least; 0 leaves them as they are.
        block: `basic` or `cbam`.
        reconstruct: Whether it has a decoder.
        num_classes: K.
        in_channels: Channels of the images.
        dropout: Share of the pooled features that is dropped in training.
    """
    backbone = ResNet(blocks, channels, in_channels, stem_stride, {"basic": BasicBlock, "cbam": CBAMBlock}[block])
    if mask_depth:
        masks = tuple(parts | {"depth": max(1, mask_depth - stage)} for stage, parts in enumerate(masks))
    stages = [_mask(width, activation=mask_activation, **parts) for width, parts in zip(channels, masks, strict=False)]
    decoder = Decoder(channels, in_channels, stem_stride) if reconstruct else None
    return MaskedResNet(backbone, stages, num_classes, decoder, dropout)


def _mask(channels: int, activation: str, kind: str = "u-net", **parts: Any) -> nn.Module:
    if kind == "u-net":
        return UNetMask(channels, **parts, activation=activation)
    if kind == "soft":
        return SoftMask(channels, **parts)
    return BAM(channels)
