"""MobileFaceNet (Chen et al., CCBR 2018), with optional masks and reconstruction.

Shapes of `mobilefacenet`, 112x112 images:

    images                       (N, 1, 112, 112)
    stem                         (N, 64, 56, 56)
    stage 1, 5 blocks            (N, 64, 28, 28)
    stage 2, 7 blocks            (N, 128, 14, 14)
    stage 3, 3 blocks            (N, 128, 7, 7)
    head, 1x1 convolution        (N, 512, 7, 7)
    weighted average, linear     (N, 7)              logits
    decoder                      (N, 1, 112, 112)    reconstruction, in training only

The weights that tools/convert_mobilefacenet.py converts were trained to tell faces of different people apart.
"""

from __future__ import annotations

from itertools import zip_longest
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mien.networks.backbones import initialise
from mien.networks.masked_resnet import Decoder
from mien.networks.masking import UNetMask
from mien.networks.outputs import Outputs

STEM_CHANNELS = 64
STAGES = (
    ((2, 64), (2, 64), (2, 64), (2, 64), (2, 64)),
    ((4, 128), (2, 128), (2, 128), (2, 128), (2, 128), (2, 128), (2, 128)),
    ((4, 128), (2, 128), (2, 128)),
)
"""Blocks of each stage: expansion, output channels (Chen et al., Table 1). The first block of a stage has stride 2."""
HEAD_CHANNELS = 512
POOL_SIZE = 7
"""Height and width of the weighted average's kernel: the head's map at 112 pixels."""


class SameConv2d(nn.Conv2d):
    """A convolution with TensorFlow's `same` padding: at stride 2 an even map is padded on its right and lower side.

    (N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, groups: int = 1) -> None:
        padding = kernel_size // 2 if stride == 1 else 0
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, groups=groups, bias=False)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (the name that torch gives it)
        """(N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride))."""
        if self.stride[0] == 1:
            return super().forward(input)
        top, left = (length % 2 for length in input.shape[-2:])  # an odd map is padded on all sides
        return super().forward(F.pad(input, (left, 1, top, 1)))


class PReLUFunction(torch.autograd.Function):
    """PReLU whose backward pass is fast for channels-last maps on a CPU, where torch's own takes half of a step."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, slope: Tensor) -> Tensor:
        """(N, C, H, W) and (C,) -> (N, C, H, W)."""
        cast = slope.to(x.dtype)
        ctx.save_for_backward(x, cast)
        return F.prelu(x, cast)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor]:
        """The gradients of the map and of the slopes."""
        x, slope = ctx.saved_tensors
        positive = torch.ops.aten.threshold_backward(gradients[0], x, 0)
        negative = gradients[0] - positive
        by_map = torch.addcmul(positive, negative, slope.view(1, -1, 1, 1))
        rows = negative.mul_(x).permute(0, 2, 3, 1).flatten(0, 2)
        # As a matrix product, since it adds in 32 bit where the map is bfloat16.
        by_slope = rows.new_ones(1, len(rows)) @ rows
        return by_map, by_slope[0].to(torch.promote_types(slope.dtype, torch.float32))


class PReLU(nn.PReLU):
    """PReLU with `PReLUFunction` in training mode.

    (N, C, H, W) -> (N, C, H, W).
    """

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (the name that torch gives it)
        """(N, C, H, W) -> (N, C, H, W)."""
        if not self.training or torch.compiler.is_compiling():
            return super().forward(input)
        result: Tensor = PReLUFunction.apply(input, self.weight)
        return result


class ConvUnit(nn.Sequential):
    """A convolution, a batch norm and, unless it is linear, a PReLU."""

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int = 1, stride: int = 1, *,
        depthwise: bool = False, linear: bool = False,
    ) -> None:  # fmt: skip
        groups = in_channels if depthwise else 1
        super().__init__()
        self.conv = SameConv2d(in_channels, out_channels, kernel_size, stride, groups)
        self.norm = nn.BatchNorm2d(out_channels, eps=1e-3)
        if not linear:
            self.activation = PReLU(out_channels)


class Bottleneck(nn.Module):
    """Widens, filters each channel on its own, narrows, and adds its input where the shapes allow.

    (N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride)).
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        wide = in_channels * expansion
        self.expand = ConvUnit(in_channels, wide)
        self.depthwise = ConvUnit(wide, wide, 3, stride, depthwise=True)
        self.project = ConvUnit(wide, out_channels, linear=True)
        self.adds = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_channels, H, W) -> (N, out_channels, ceil(H / stride), ceil(W / stride))."""
        narrow: Tensor = self.project(self.depthwise(self.expand(x)))
        return narrow + x if self.adds else narrow


class WeightedAverage(nn.Module):
    """Chen et al.'s global depthwise convolution: an average over the map with learnt weights for each channel.

    The kernel has POOL_SIZE rows and columns. It is resized to maps of other sizes.

    (N, C, H, W) -> (N, C, 1, 1).
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.full((channels, 1, POOL_SIZE, POOL_SIZE), 1 / POOL_SIZE**2))

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, 1, 1)."""
        height, width = x.shape[-2:]
        kernel: Tensor = self.weight
        if (height, width) != (POOL_SIZE, POOL_SIZE):
            kernel = F.interpolate(kernel, (height, width), mode="bilinear", align_corners=False)
            kernel = kernel * (POOL_SIZE**2 / (height * width))
        return (x * kernel[:, 0]).sum(dim=(2, 3), keepdim=True)


class Backbone(nn.Module):
    """The convolutional part, up to the pooled features."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            ConvUnit(in_channels, STEM_CHANNELS, 3, 2),
            ConvUnit(STEM_CHANNELS, STEM_CHANNELS, 3, depthwise=True),
            ConvUnit(STEM_CHANNELS, STEM_CHANNELS, linear=True),
        )
        self.stages = nn.ModuleList()
        width = STEM_CHANNELS
        for blocks in STAGES:
            stage = nn.Sequential()
            for index, (expansion, channels) in enumerate(blocks):
                stage.append(Bottleneck(width, channels, 1 if index else 2, expansion))
                width = channels
            self.stages.append(stage)
        self.head = ConvUnit(width, HEAD_CHANNELS)
        self.pool = WeightedAverage(HEAD_CHANNELS)
        self.pool_norm = nn.BatchNorm2d(HEAD_CHANNELS, eps=1e-3)
        initialise(self)


class MobileFaceNet(nn.Module):
    """MobileFaceNet as a classifier. Its stages' maps can be multiplied by 1 + a mask, as in `MaskedResNet`.

    An exported file can be used by every command, but not as the start of a training: it holds the PReLU slopes and the
    pooling kernel in other shapes. Start from the run instead.

    Args:
        in_channels: Channels of the images.
        num_classes: K.
        masks: Of the first stages, one each; the stages after them have none.
        decoder: Draws the reconstruction in training mode; None for networks without.
        dropout: Fraction of the pooled features that is dropped before the last layer.
    """

    def __init__(
        self, in_channels: int, num_classes: int, masks: list[nn.Module], decoder: Decoder | None, dropout: float
    ) -> None:
        super().__init__()
        self.backbone = Backbone(in_channels)
        self.masks = nn.ModuleList(masks)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(HEAD_CHANNELS, num_classes)
        self.decoder = decoder

    def forward(self, images: Tensor) -> Outputs:
        """(N, C, H, W) normalised images -> Outputs."""
        x = self.backbone.stem(images)
        masks: list[Tensor] = []
        features: list[Tensor] = []
        for stage, mask in zip_longest(self.backbone.stages, self.masks):
            x = stage(x)
            if mask is not None:
                masks.append(mask(x))
                x = torch.addcmul(x, x, masks[-1])
            features.append(x)
        pooled = self.backbone.pool_norm(self.backbone.pool(self.backbone.head(x)))
        logits = self.fc(self.dropout(torch.flatten(pooled, 1)))
        reconstruction = None
        if self.decoder is not None and self.training:
            reconstruction = self.decoder(features, (images.shape[-2], images.shape[-1]))
        return Outputs(logits, tuple(masks), reconstruction)


def mobilefacenet(
    *,
    masks: tuple[dict[str, Any], ...] = (),
    mask_activation: str = "sigmoid",
    mask_depth: int = 0,
    reconstruct: bool = False,
    num_classes: int,
    in_channels: int,
    dropout: float,
) -> MobileFaceNet:
    """Builds MobileFaceNet with new weights.

    Args:
        masks: The masks of the first stages: `kind` is u-net, the other keys are arguments of `UNetMask`.
        mask_activation: `sigmoid` or `softmax`.
        mask_depth: Of the first mask, each later one less deep by one, 1 at least; 0 leaves them as they are.
        reconstruct: Whether it has a decoder.
        num_classes: K.
        in_channels: Channels of the images.
        dropout: See `MobileFaceNet`.
    """
    if mask_depth:
        masks = tuple(mask | {"depth": max(1, mask_depth - stage)} for stage, mask in enumerate(masks))
    widths = tuple(blocks[-1][1] for blocks in STAGES)
    layers: list[nn.Module] = [
        UNetMask(width, activation=mask_activation, **{name: mask[name] for name in mask if name != "kind"})
        for width, mask in zip(widths, masks, strict=False)
    ]
    decoder = Decoder(widths, in_channels, 4) if reconstruct else None
    return MobileFaceNet(in_channels, num_classes, layers, decoder, dropout)
