"""Networks that others publish, with the one signature of all networks; most of their code is torchvision's."""

from __future__ import annotations

from typing import Any

import torchvision
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.resnet import Bottleneck, ResNet

from mien.networks.attention import BAM, CBAM
from mien.networks.efficientnet_lite import EfficientNetLite0
from mien.networks.outputs import Outputs


class Published(nn.Module):
    """A classifier whose results are Outputs.

    Args:
        network: (N, 3, H, W) -> logits, or a tuple of logits and auxiliary logits.
        in_channels: C; where it is not 3 the first convolution is replaced by a new one for C channels.
        dropout: Share of the features dropped before the last layer, on top of the network's own.
    """

    def __init__(self, network: nn.Module, in_channels: int, dropout: float) -> None:
        super().__init__()
        if in_channels != 3:
            replace_first_convolution(network, in_channels)
        if dropout:
            name, head = [(name, part) for name, part in network.named_modules() if isinstance(part, nn.Linear)][-1]
            network.set_submodule(name, nn.Sequential(nn.Dropout(dropout), head))
        self.network = network

    def forward(self, images: Tensor) -> Outputs:
        """(N, C, H, W) images, normalised as the network was trained -> Outputs."""
        result = self.network(images)
        if isinstance(result, Tensor):
            return Outputs(result)
        logits, *auxiliary = result
        return Outputs(logits, auxiliary_logits=tuple(auxiliary))


def replace_first_convolution(network: nn.Module, in_channels: int) -> None:
    """Puts a new first convolution into a network, for images of other channels."""
    name, old = next((name, part) for name, part in network.named_modules() if isinstance(part, nn.Conv2d))
    new = nn.Conv2d(
        in_channels,
        old.out_channels,
        old.kernel_size,  # type: ignore[arg-type]
        old.stride,  # type: ignore[arg-type]
        old.padding,  # type: ignore[arg-type]
        bias=old.bias is not None,
    )
    nn.init.kaiming_normal_(new.weight, mode="fan_out", nonlinearity="relu")
    network.set_submodule(name, new)


def published(*, model: str, num_classes: int, in_channels: int, dropout: float, **options: Any) -> Published:
    """One of torchvision's classifiers with new weights.

    Args:
        model: Its name in torchvision.models.
        num_classes: K.
        in_channels: Channels of the images.
        dropout: See `Published`.
        options: Of torchvision's own.
    """
    network = getattr(torchvision.models, model)(weights=None, num_classes=num_classes, **options)
    if model == "inception_v3":  # its auxiliary head is made for the maps of 299 pixels: smaller ones are stretched
        network.AuxLogits.register_forward_pre_hook(lambda _, maps: F.adaptive_avg_pool2d(maps[0], 17))
    return Published(network, in_channels, dropout)


def efficientnet_lite0(*, num_classes: int, in_channels: int, dropout: float) -> Published:
    """EfficientNet-Lite0 with new weights; see `published`."""
    return Published(EfficientNetLite0(num_classes, in_channels), 3, dropout)


class Reweighted(nn.Module):
    """A stage's end where its map is re-weighted: F + F * M(F).

    Args:
        mask: M, (N, C, H, W) -> (N, C, H, W) in [0, 1].
    """

    def __init__(self, mask: nn.Module) -> None:
        super().__init__()
        self.mask = mask

    def forward(self, features: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, H, W)."""
        weighted: Tensor = features + features * self.mask(features)
        return weighted


class NormThenCBAM(nn.BatchNorm2d):
    """A batch norm and CBAM after it, under the batch norm's own name, so that published weights still fit."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.attention = CBAM(channels)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (the name that torch gives it)
        """(N, C, H, W) -> (N, C, H, W)."""
        weighted: Tensor = self.attention(super().forward(input))
        return weighted


def attended_resnet50(*, attention: str, num_classes: int, in_channels: int, dropout: float) -> Published:
    """ResNet-50 with BAM after each of its first three stages, or with CBAM in every block (Park et al.; Woo et al.).

    Args:
        attention: `bam` or `cbam`.
        num_classes: K.
        in_channels: Channels of the images.
        dropout: See `Published`.
    """
    network: ResNet = torchvision.models.resnet50(weights=None, num_classes=num_classes)
    if attention == "bam":
        for stage in (network.layer1, network.layer2, network.layer3):
            stage.append(Reweighted(BAM(stage[-1].bn3.num_features)))
    else:
        for block in [part for part in network.modules() if isinstance(part, Bottleneck)]:
            block.bn3 = NormThenCBAM(block.bn3.num_features)
    return Published(network, in_channels, dropout)
