"""Residual masking networks, with and without reconstruction.

Shapes of `resnet34_masking_reconstruction`, variant `paper`, for images of 224x224 pixels and K classes:

    images                     (N, 3, 224, 224)
    stem                       (N, 64, 112, 112)
    stage 1, mask, x (1 + M)   (N, 64, 112, 112)
    stage 2, mask, x (1 + M)   (N, 128, 56, 56)
    stage 3, mask, x (1 + M)   (N, 256, 28, 28)
    stage 4, mask, x (1 + M)   (N, 512, 14, 14)
    mean, linear               (N, K)               logits
    decoder                    (N, 3, 224, 224)     reconstruction, in training only
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


class MaskedResNet(nn.Module):
    """A ResNet whose stages are re-weighted by masks: P_N = P_R * (1 + M(P_R)) (Pham et al., 2020, Eq. 1).

    Shen and Li print the same formula as their Eq. 1 and 2. BAM and residual attention have this formula too, with
    other masks. Without masks this is a plain ResNet.

    Args:
        backbone: The residual stages.
        masks: The masks of the first stages, one each; later stages have none.
        num_classes: K.
        decoder: Reconstructs the image in training mode; None for networks without reconstruction.
        dropout: Fraction of the pooled features dropped in training.
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
        """(N, C, H, W) normalised images -> Outputs.

        In the comments, s is the stem's stride and C_i is the number of channels of stage i = 1, 2, 3, 4.
        """
        x = self.backbone.stem(images)  # (N, C_1, H / s, W / s)
        masks: list[Tensor] = []
        features: list[Tensor] = []
        for stage, mask in zip_longest(self.backbone.stages, self.masks):
            x = trunk_input = stage[0](x)  # (N, C_i, h, w) with h = H / (s 2^(i - 1)) and w = W / (s 2^(i - 1))
            for block in list(stage)[1:]:
                x = block(x)  # (N, C_i, h, w)
            if mask is not None:
                masks.append(mask(trunk_input if isinstance(mask, SoftMask) else x))  # (N, C_i, h, w) in [0, 1]
                x = torch.addcmul(x, x, masks[-1])  # (N, C_i, h, w): x (1 + M)
            features.append(x)
        pooled = x.mean(dim=(2, 3))  # (N, C_4)
        logits = self.fc(self.dropout(pooled))  # (N, K)
        reconstruction = None
        if self.decoder is not None and self.training:
            reconstruction = self.decoder(features, (images.shape[-2], images.shape[-1]))  # (N, C, H, W) in [0, 1]
        return Outputs(logits, tuple(masks), reconstruction)


class Decoder(nn.Module):
    """Reconstructs the image from the masked feature maps (Shen and Li, section 3.2, the p' of Eq. 3).

    The paper specifies only "upsampling". Here a 1x1 convolution reduces each stage's map to `width` channels, and each
    map is added to the next larger one, deepest first. A 3x3 convolution and a pixel shuffle turn the largest map into
    pixels.

    Args:
        feature_channels: Channels of the stages' maps, first stage first.
        image_channels: C, channels of the image.
        scale: The image's height divided by that of the first stage's map.
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
        """Masked maps of the stages, first to last, and (H, W) -> (N, C, H, W) image in [0, 1]."""
        x = self.lateral[-1](features[-1])  # (N, width, h, w) of the last stage
        for project, feature in zip(reversed(self.lateral[:-1]), reversed(features[:-1]), strict=True):
            x = F.interpolate(x, size=feature.shape[-2:], mode="nearest") + project(feature)  # (N, width, h, w)
        x = self.pixels(self.relu(self.norm(x)))  # (N, C scale^2, H / scale, W / scale), rounded up
        x = F.pixel_shuffle(x, self.scale)  # (N, C, H, W), or a few pixels more
        if x.shape[-2:] != size:
            x = F.interpolate(x, size=size, mode="nearest")  # (N, C, H, W)
        return x.sigmoid()


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
    """Builds a residual network, with or without masks, from the arguments of a row of the registry.

    Args:
        blocks: Residual blocks of each of the four stages; see `ResNet`.
        channels: Output channels of each stage.
        stem_stride: 4, or 2 for a stem without max pooling.
        masks: The masks of the first stages: `kind` is u-net, bam or soft, the other keys are arguments of that class.
        mask_activation: Activation of U-Net masks, `sigmoid` or `softmax`.
        mask_depth: Depth of the first U-Net mask; each later mask is one less deep, but at least 1. 0 keeps the depths
            given in `masks`.
        block: Block type of the stages, `basic` or `cbam`.
        reconstruct: Whether to add a decoder.
        num_classes: K.
        in_channels: Channels of the images.
        dropout: Fraction of the pooled features dropped in training.
    """
    backbone = ResNet(blocks, channels, in_channels, stem_stride, {"basic": BasicBlock, "cbam": CBAMBlock}[block])
    if mask_depth:
        masks = tuple(arguments | {"depth": max(1, mask_depth - stage)} for stage, arguments in enumerate(masks))
    modules = [_create_mask(width, mask_activation, **mask) for width, mask in zip(channels, masks, strict=False)]
    decoder = Decoder(channels, in_channels, stem_stride) if reconstruct else None
    return MaskedResNet(backbone, modules, num_classes, decoder, dropout)


def _create_mask(channels: int, activation: str, kind: str, **arguments: Any) -> nn.Module:
    if kind == "u-net":
        return UNetMask(channels, **arguments, activation=activation)
    if kind == "soft":
        return SoftMask(channels, **arguments)
    return BAM(channels)
