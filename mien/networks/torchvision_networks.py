"""Published classifiers, mostly torchvision's, that return `Outputs`."""

from __future__ import annotations

from typing import Any

import torchvision
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models.resnet import Bottleneck, ResNet

from mien.networks.attention import BAM, CBAM
from mien.networks.efficientnet_lite import EfficientNetLite0
from mien.networks.outputs import Outputs


class PublishedNetwork(nn.Module):
    """Wraps a classifier so that it returns `Outputs`.

    Args:
        network: (N, 3, H, W) -> logits (N, K), or a tuple of logits and auxiliary logits.
        in_channels: C; unless it is 3, a new first convolution for C channels replaces the network's.
        dropout: Fraction of the features dropped before the last layer, in addition to the network's own dropout.
    """

    def __init__(self, network: nn.Module, in_channels: int, dropout: float) -> None:
        super().__init__()
        if in_channels != 3:
            replace_first_convolution(network, in_channels)
        if dropout:
            linear_layers = [item for item in network.named_modules() if isinstance(item[1], nn.Linear)]
            name, head = linear_layers[-1]
            network.set_submodule(name, nn.Sequential(nn.Dropout(dropout), head))
        self.network = network

    def forward(self, images: Tensor) -> Outputs:
        """(N, C, H, W) normalised images -> Outputs."""
        result = self.network(images)
        if isinstance(result, Tensor):
            return Outputs(result)
        logits, *auxiliary = result
        return Outputs(logits, auxiliary_logits=tuple(auxiliary))


def replace_first_convolution(network: nn.Module, in_channels: int) -> None:
    """Replaces the first convolution of a network by a new one that takes `in_channels` channels."""
    name, old = next(item for item in network.named_modules() if isinstance(item[1], nn.Conv2d))
    assert isinstance(old, nn.Conv2d)  # for mypy
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


def torchvision_network(
    *, model: str, num_classes: int, in_channels: int, dropout: float, **options: Any
) -> PublishedNetwork:
    """Builds a classifier of torchvision with new weights.

    Args:
        model: Its name in torchvision.models.
        num_classes: K.
        in_channels: Channels of the images.
        dropout: See `PublishedNetwork`.
        options: Further arguments of torchvision's function.
    """
    network = getattr(torchvision.models, model)(weights=None, num_classes=num_classes, **options)
    if model == "inception_v3":  # its auxiliary head needs the 17x17 maps of images of 299 pixels
        network.AuxLogits.register_forward_pre_hook(lambda _, maps: F.adaptive_avg_pool2d(maps[0], 17))
    return PublishedNetwork(network, in_channels, dropout)


def efficientnet_lite0(*, num_classes: int, in_channels: int, dropout: float) -> PublishedNetwork:
    """Builds EfficientNet-Lite0 with new weights; see `torchvision_network`."""
    return PublishedNetwork(EfficientNetLite0(num_classes, in_channels), 3, dropout)


class ResidualMask(nn.Module):
    """Re-weights a feature map F by a mask M: F + F * M(F).

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


class BatchNormCBAM(nn.BatchNorm2d):
    """A batch norm followed by CBAM. It replaces a batch norm under the same name, so that published weights fit."""

    def __init__(self, channels: int) -> None:
        super().__init__(channels)
        self.attention = CBAM(channels)

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (torch's name)
        """(N, C, H, W) -> (N, C, H, W)."""
        weighted: Tensor = self.attention(super().forward(input))
        return weighted


def attention_resnet50(*, attention: str, num_classes: int, in_channels: int, dropout: float) -> PublishedNetwork:
    """Builds ResNet-50 with BAM after its first three stages (Park et al.) or with CBAM in every block (Woo et al.).

    Args:
        attention: `bam` or `cbam`.
        num_classes: K.
        in_channels: Channels of the images.
        dropout: See `PublishedNetwork`.
    """
    network: ResNet = torchvision.models.resnet50(weights=None, num_classes=num_classes)
    if attention == "bam":
        for stage in (network.layer1, network.layer2, network.layer3):
            stage.append(ResidualMask(BAM(stage[-1].bn3.num_features)))
    else:
        for block in [module for module in network.modules() if isinstance(module, Bottleneck)]:
            block.bn3 = BatchNormCBAM(block.bn3.num_features)
    return PublishedNetwork(network, in_channels, dropout)
