"""Residual backbones, whose feature maps the masks re-weight."""

from __future__ import annotations

from torch import Tensor, nn


def convolution(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> nn.Conv2d:
    """Returns a convolution with same padding, and without bias since a batch norm follows."""
    return nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False)


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al., CVPR 2016, Fig. 2).

    (N, in_channels, H, W) -> (N, out_channels, H / stride, W / stride).

    Attributes:
        attention: Re-weights the output of the second batch norm; the identity, unless a subclass replaces it.

    Args:
        in_channels: Channels of the input.
        out_channels: Channels of the output.
        stride: Stride of the first convolution and of the shortcut.
        final_relu: Whether a ReLU follows the sum; without it the output can be negative.
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
        """(N, in_channels, H, W) -> (N, out_channels, H / stride, W / stride)."""
        shortcut = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.attention(self.bn2(self.conv2(x))) + shortcut
        return self.relu(x) if self.final_relu else x


class ResNet(nn.Module):
    """A residual network without a head: a stem and four stages.

    The attributes have the names of torchvision's ResNet, so that its weights load key by key.

    Args:
        blocks: Residual blocks of each of the four stages: (2, 2, 2, 2) is ResNet-18, (3, 4, 6, 3) is ResNet-34.
        channels: Output channels of each stage; each stage after the first halves height and width.
        in_channels: Channels of the images.
        stem_stride: 4 is the stem of torchvision, a 7x7 convolution and 3x3 max pooling; 2 leaves out the pooling.
        block: Block type of the stages.
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
        """(N, in_channels, H, W) -> (N, channels[0], H / stem_stride, W / stem_stride)."""
        x: Tensor = self.maxpool(self.relu(self.bn1(self.conv1(images))))
        return x


def initialise(module: nn.Module) -> None:
    """Initialises every convolution as in He et al. (ICCV 2015), and every batch norm as the identity."""
    for child in module.modules():
        if isinstance(child, nn.Conv2d):
            nn.init.kaiming_normal_(child.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(child, nn.BatchNorm2d):
            nn.init.ones_(child.weight)
            nn.init.zeros_(child.bias)
