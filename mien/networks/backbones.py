"""Residual backbones: the feature maps that masks re-weight."""

from __future__ import annotations

from torch import Tensor, nn


def convolution(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> nn.Conv2d:
    """A convolution that keeps the map's size at stride 1, without bias because a batch norm follows."""
    return nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al., CVPR 2016, Fig. 2).

    (N, in_channels, H, W) -> (N, out_channels, H / stride, W / stride).

    `attention` re-weights the second convolution's map; here it is the identity.

    Args:
        final_relu: False leaves the sum as it is, so that the block can end in negative numbers.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, *, final_relu: bool = True) -> None:
        super().__init__()
        self.conv1 = convolution(in_channels, out_channels, 3, stride)
        self.bn1 = nn.BatchNorm2d(out_channels)
        self.conv2 = convolution(out_channels, out_channels, 3)
        self.bn2 = nn.BatchNorm2d(out_channels)
        self.attention: nn.Module = nn.Identity()
        self.relu = nn.ReLU(inplace=True)
        self.final_relu = final_relu
        self.downsample: nn.Module | None = None
        if stride != 1 or in_channels != out_channels:
            self.downsample = nn.Sequential(
                convolution(in_channels, out_channels, 1, stride), nn.BatchNorm2d(out_channels)
            )

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, out_channels, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.attention(self.bn2(self.conv2(x))) + shortcut
        return self.relu(x) if self.final_relu else x


class ResNet(nn.Module):
    """A residual network without its head: a stem and four stages.

    Attribute names follow torchvision's ResNet, so that its weights load key by key.

    Args:
        blocks: Residual blocks in each of the four stages: (2, 2, 2, 2) is ResNet-18, (3, 4, 6, 3) ResNet-34.
        channels: Output channels of each stage; each stage after the first halves height and width.
        in_channels: Channels of the images.
        stem_stride: The image's height over the first stage's: 4 is torchvision's 7x7 convolution and 3x3 max pooling,
            2 leaves out the pooling.
        block: Of what the stages are made.
    """

    def __init__(
        self,
        blocks: tuple[int, ...],
        channels: tuple[int, ...],
        in_channels: int,
        stem_stride: int = 4,
        block: type[BasicBlock] = BasicBlock,
    ) -> None:
        super().__init__()
        self.channels = channels
        self.stem_stride = stem_stride
        self.conv1 = convolution(in_channels, channels[0], 7, stride=2)
        self.bn1 = nn.BatchNorm2d(channels[0])
        self.relu = nn.ReLU(inplace=True)
        self.maxpool = nn.MaxPool2d(3, stride=2, padding=1) if stem_stride == 4 else nn.Identity()
        widths = (channels[0], *channels)
        self.layer1: nn.Sequential
        self.layer2: nn.Sequential
        self.layer3: nn.Sequential
        self.layer4: nn.Sequential
        for i in range(4):
            stride = 1 if i == 0 else 2
            stage = [block(widths[i], widths[i + 1], stride)]
            stage += [block(widths[i + 1], widths[i + 1]) for _ in range(blocks[i] - 1)]
            setattr(self, f"layer{i + 1}", nn.Sequential(*stage))
        initialise(self)

    @property
    def stages(self) -> tuple[nn.Sequential, ...]:
        """The four stages, first to last."""
        return self.layer1, self.layer2, self.layer3, self.layer4

    def stem(self, images: Tensor) -> Tensor:
        """(N, C, H, W) -> the first stage's input."""
        x: Tensor = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        return x


def initialise(module: nn.Module) -> None:
    """He initialisation of every convolution, ones and zeros for every batch norm (He et al., ICCV 2015)."""
    for part in module.modules():
        if isinstance(part, nn.Conv2d):
            nn.init.kaiming_normal_(part.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(part, nn.BatchNorm2d):
            nn.init.ones_(part.weight)
            nn.init.zeros_(part.bias)
