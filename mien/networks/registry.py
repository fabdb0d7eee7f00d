"""All networks: one row each, with its size, its cost and the function that builds it. Importing it needs no torch.

To add a network, write a file in mien/networks with a function or class that takes the keyword arguments
`num_classes`, `in_channels` and `dropout`, and those of the row, and returns a module (N, C, H, W) -> `Outputs`. Then
add a row to NETWORKS. The tests count the row's parameters and multiply-adds and check every network of the table.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mien.errors import ConfigError, near, shortened

if TYPE_CHECKING:
    from torch import nn

NUM_CLASSES = 7
"""FER2013's number of classes, at which the table counts parameters and multiply-adds."""


@dataclass(frozen=True, kw_only=True)
class NetworkSpec:
    """A row of the table.

    Attributes:
        name: The paper's name in snake case.
        variant: Tells apart rows of the same name; empty for a network without variants.
        size: Height and width of the images that the network was designed for, pixels.
        min_size: Smallest height and width that the network accepts, pixels.
        in_channels: Channels of the images.
        parameters: Number of parameters at NUM_CLASSES, without those that only training uses.
        multiply_adds: Multiply-adds of one forward pass at `size` and NUM_CLASSES, in evaluation mode.
        source: The publication.
        builder: What builds the network, as `module:function` below mien.networks.
        arguments: Keyword arguments of the builder, besides num_classes, in_channels and dropout.
        imagenet: The published ImageNet weights that fit the backbone: a model of torchvision, or efficientnet_lite0;
            empty if there are none.
    """

    name: str
    variant: str = ""
    size: int
    min_size: int
    in_channels: int
    parameters: int
    multiply_adds: int
    source: str
    builder: str
    arguments: dict[str, Any] = field(default_factory=dict, repr=False)
    imagenet: str = ""

    @property
    def title(self) -> str:
        """Name and variant."""
        return f"{self.name} {self.variant}".strip()

    @property
    def has_u_nets(self) -> bool:
        """Whether the masks are U-Nets, whose activation and depth a config can choose."""
        return any(mask["kind"] == "u-net" for mask in self.arguments.get("masks", ()))

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, without builder and arguments."""
        return {name: value for name, value in vars(self).items() if name not in ("builder", "arguments")}


RESNET18 = (2, 2, 2, 2)
"""Blocks of each stage."""
RESNET34 = (3, 4, 6, 3)
FULL_CHANNELS = (64, 128, 256, 512)
"""Channels of each stage of torchvision's ResNet-18 and ResNet-34."""
MINI_RESNET18 = {"blocks": RESNET18, "channels": (24, 48, 96, 160), "stem_stride": 2}
MINI_WIDE_CHANNELS = (26, 52, 104, 176)
"""Without masks as many multiply-adds as MINI_RESNET18 with MINI_U_NETS."""
TINY_CHANNELS = (16, 32, 64, 96)

U_NETS = (
    {"kind": "u-net", "depth": 4},
    {"kind": "u-net", "depth": 3},
    {"kind": "u-net", "depth": 2},
    {"kind": "u-net", "depth": 1},
)
"""The base network's masks. Each is as deep as the stage's map allows: 56, 28, 14 and 7 pixels for images of 224."""
SMALL_U_NETS = (
    {"kind": "u-net", "depth": 2, "width": 24, "stride": 2},
    {"kind": "u-net", "depth": 2, "width": 32, "stride": 2},
    {"kind": "u-net", "depth": 1, "width": 64, "stride": 2},
    {"kind": "u-net", "depth": 1, "width": 64, "stride": 2},
)
"""Masks for maps of 24, 12, 6 and 3 pixels. They work at half that size: fewer and wider operations than U_NETS."""
MINI_U_NETS = (
    {"kind": "u-net", "depth": 2, "width": 20, "stride": 2},
    {"kind": "u-net", "depth": 2, "width": 28, "stride": 2},
    {"kind": "u-net", "depth": 1, "width": 48, "stride": 2},
    {"kind": "u-net", "depth": 1, "width": 48, "stride": 2},
)
TINY_U_NETS = (
    {"kind": "u-net", "depth": 2, "width": 8, "stride": 2},
    {"kind": "u-net", "depth": 2, "width": 16, "stride": 2},
    {"kind": "u-net", "depth": 1, "width": 24, "stride": 2},
    {"kind": "u-net", "depth": 1, "width": 24, "stride": 2},
)
MOBILEFACENET_U_NETS = (
    {"kind": "u-net", "depth": 2, "width": 12, "stride": 2},
    {"kind": "u-net", "depth": 2, "width": 16, "stride": 2},
    {"kind": "u-net", "depth": 1, "width": 24, "stride": 2},
)
"""Masks for MobileFaceNet's maps of 18, 9 and 5 pixels for images of 72."""
BAM_MASKS = ({"kind": "bam"}, {"kind": "bam"}, {"kind": "bam"})
"""After the first three stages, as in the paper."""
SOFT_MASKS = ({"kind": "soft", "depth": 3}, {"kind": "soft", "depth": 2}, {"kind": "soft", "depth": 1})
"""In the first three stages, as deep as in Attention-56."""

MASKED_RESNET = "masked_resnet:masked_resnet"
MOBILEFACENET = "mobilefacenet:mobilefacenet"
TORCHVISION = "torchvision_networks:torchvision_network"
ATTENTION_RESNET50 = "torchvision_networks:attention_resnet50"

SIMONYAN = "Simonyan and Zisserman, ICLR 2015"
CHEN = "Chen et al., CCBR 2018"
TAN = "Tan and Le, ICML 2019"
SZEGEDY_1 = "Szegedy et al., CVPR 2015"
SZEGEDY_3 = "Szegedy et al., CVPR 2016"
HUANG = "Huang et al., CVPR 2017"
HE = "He et al., CVPR 2016"
PARK = "Park et al., BMVC 2018"
WOO = "Woo et al., ECCV 2018"
WANG = "Wang et al., CVPR 2017"
PHAM = "Pham, Vu and Tran, ICPR 2020"
SHEN = "Shen and Li, 2023"

NETWORKS = (
    NetworkSpec(
        name="vgg19", source=SIMONYAN,
        size=224, min_size=32, in_channels=3, parameters=139_598_919, multiply_adds=19_627_995_136,
        builder=TORCHVISION, imagenet="vgg19",
        arguments={"model": "vgg19"},
    ),
    NetworkSpec(
        name="efficientnet_b2", source=TAN,
        size=224, min_size=32, in_channels=3, parameters=7_710_857, multiply_adds=657_565_296,
        builder=TORCHVISION, imagenet="efficientnet_b2",
        arguments={"model": "efficientnet_b2"},
    ),
    NetworkSpec(
        name="efficientnet_lite0", source=TAN,
        size=96, min_size=32, in_channels=3, parameters=3_379_975, multiply_adds=70_522_592,
        builder="torchvision_networks:efficientnet_lite0", imagenet="efficientnet_lite0",
    ),
    NetworkSpec(
        name="googlenet", source=SZEGEDY_1,
        size=224, min_size=32, in_channels=3, parameters=5_607_079, multiply_adds=1_497_359_360,
        builder=TORCHVISION, imagenet="googlenet",
        arguments={"model": "googlenet", "init_weights": False},
    ),
    NetworkSpec(
        name="resnet34", source=HE,
        size=224, min_size=32, in_channels=3, parameters=21_288_263, multiply_adds=3_663_252_992,
        builder=TORCHVISION, imagenet="resnet34",
        arguments={"model": "resnet34"},
    ),
    NetworkSpec(
        name="inception_v3", source=SZEGEDY_3,
        size=224, min_size=75, in_channels=3, parameters=21_799_911, multiply_adds=2_835_887_456,
        builder=TORCHVISION, imagenet="inception_v3",
        arguments={"model": "inception_v3", "init_weights": False},
    ),
    NetworkSpec(
        name="resattnet56", source=WANG,
        size=224, min_size=32, in_channels=3, parameters=29_777_863, multiply_adds=6_268_803_072,
        builder="residual_attention:ResidualAttentionNetwork",
    ),
    NetworkSpec(
        name="bam_resnet50", source=PARK,
        size=224, min_size=32, in_channels=3, parameters=23_884_032, multiply_adds=4_169_297_664,
        builder=ATTENTION_RESNET50, imagenet="resnet50",
        arguments={"attention": "bam"},
    ),
    NetworkSpec(
        name="densenet121", source=HUANG,
        size=224, min_size=32, in_channels=3, parameters=6_961_031, multiply_adds=2_833_144_832,
        builder=TORCHVISION, imagenet="densenet121",
        arguments={"model": "densenet121"},
    ),
    NetworkSpec(
        name="resnet152", source=HE,
        size=224, min_size=32, in_channels=3, parameters=58_158_151, multiply_adds=11_511_592_960,
        builder=TORCHVISION, imagenet="resnet152",
        arguments={"model": "resnet152"},
    ),
    NetworkSpec(
        name="cbam_resnet50", source=WOO,
        size=224, min_size=32, in_channels=3, parameters=26_054_967, multiply_adds=4_093_539_446,
        builder=ATTENTION_RESNET50, imagenet="resnet50",
        arguments={"attention": "cbam"},
    ),
    NetworkSpec(
        name="mobilefacenet", source=CHEN,
        size=72, min_size=32, in_channels=1, parameters=944_007, multiply_adds=96_387_840,
        builder=MOBILEFACENET,
    ),
    NetworkSpec(
        name="mobilefacenet_masking_reconstruction", source=SHEN,
        size=72, min_size=32, in_channels=1, parameters=1_073_643, multiply_adds=99_473_568,
        builder=MOBILEFACENET,
        arguments={"masks": MOBILEFACENET_U_NETS, "reconstruct": True},
    ),
    NetworkSpec(
        name="resmasking", source=PHAM,
        size=224, min_size=32, in_channels=3, parameters=137_796_423, multiply_adds=21_903_232_512,
        builder=MASKED_RESNET, imagenet="resnet34",
        arguments={"blocks": RESNET34, "channels": FULL_CHANNELS, "stem_stride": 4, "masks": U_NETS,
                   "mask_activation": "softmax"},
    ),
    NetworkSpec(
        name="resnet18_masking_reconstruction", variant="paper", source=SHEN,
        size=224, min_size=32, in_channels=3, parameters=127_688_263, multiply_adds=79_860_125_184,
        builder=MASKED_RESNET, imagenet="resnet18",
        arguments={"blocks": RESNET18, "channels": FULL_CHANNELS, "stem_stride": 2, "masks": U_NETS,
                   "reconstruct": True},
    ),
    NetworkSpec(
        name="resnet18_masking_reconstruction", variant="rmn", source=SHEN,
        size=224, min_size=32, in_channels=3, parameters=127_688_263, multiply_adds=20_053_544_448,
        builder=MASKED_RESNET, imagenet="resnet18",
        arguments={"blocks": RESNET18, "channels": FULL_CHANNELS, "stem_stride": 4, "masks": U_NETS,
                   "reconstruct": True},
    ),
    NetworkSpec(
        name="resnet18_masking_reconstruction", variant="small", source=SHEN,
        size=48, min_size=16, in_channels=1, parameters=3_420_719, multiply_adds=90_240_768,
        builder=MASKED_RESNET,
        arguments={"blocks": RESNET18, "channels": (32, 64, 128, 256), "stem_stride": 2, "masks": SMALL_U_NETS,
                   "reconstruct": True},
    ),
    NetworkSpec(
        name="resnet34_masking_reconstruction", variant="paper", source=SHEN,
        size=224, min_size=32, in_channels=3, parameters=137_796_423, multiply_adds=87_258_877_440,
        builder=MASKED_RESNET, imagenet="resnet34",
        arguments={"blocks": RESNET34, "channels": FULL_CHANNELS, "stem_stride": 2, "masks": U_NETS,
                   "reconstruct": True},
    ),
    NetworkSpec(
        name="resnet34_masking_reconstruction", variant="rmn", source=SHEN,
        size=224, min_size=32, in_channels=3, parameters=137_796_423, multiply_adds=21_903_232_512,
        builder=MASKED_RESNET, imagenet="resnet34",
        arguments={"blocks": RESNET34, "channels": FULL_CHANNELS, "stem_stride": 4, "masks": U_NETS,
                   "reconstruct": True},
    ),
    NetworkSpec(
        name="resnet34_masking_reconstruction", variant="small", source=SHEN,
        size=48, min_size=16, in_channels=1, parameters=2_193_263, multiply_adds=97_992_576,
        builder=MASKED_RESNET,
        arguments={"blocks": RESNET34, "channels": (32, 48, 80, 128), "stem_stride": 2, "masks": SMALL_U_NETS,
                   "reconstruct": True},
    ),
    NetworkSpec(
        name="resnet18", variant="mini", source=HE,
        size=48, min_size=16, in_channels=1, parameters=1_239_759, multiply_adds=41_459_296,
        builder=MASKED_RESNET,
        arguments=MINI_RESNET18,
    ),
    NetworkSpec(
        name="resnet18", variant="mini-wide", source=HE,
        size=48, min_size=16, in_channels=1, parameters=1_482_461, multiply_adds=48_847_184,
        builder=MASKED_RESNET,
        arguments={"blocks": RESNET18, "channels": MINI_WIDE_CHANNELS, "stem_stride": 2},
    ),
    NetworkSpec(
        name="bam_resnet18", variant="mini", source=PARK,
        size=48, min_size=16, in_channels=1, parameters=1_248_072, multiply_adds=42_532_480,
        builder=MASKED_RESNET,
        arguments=MINI_RESNET18 | {"masks": BAM_MASKS},
    ),
    NetworkSpec(
        name="cbam_resnet18", variant="mini", source=WOO,
        size=48, min_size=16, in_channels=1, parameters=1_253_059, multiply_adds=41_632_788,
        builder=MASKED_RESNET,
        arguments=MINI_RESNET18 | {"block": "cbam"},
    ),
    NetworkSpec(
        name="resattnet18", variant="mini", source=WANG,
        size=48, min_size=16, in_channels=1, parameters=1_889_367, multiply_adds=57_446_752,
        builder=MASKED_RESNET,
        arguments=MINI_RESNET18 | {"masks": SOFT_MASKS},
    ),
    NetworkSpec(
        name="resmasking18", variant="mini", source=PHAM,
        size=48, min_size=16, in_channels=1, parameters=1_601_767, multiply_adds=49_019_104,
        builder=MASKED_RESNET,
        arguments=MINI_RESNET18 | {"masks": MINI_U_NETS},
    ),
    NetworkSpec(
        name="resnet18_masking_reconstruction", variant="mini", source=SHEN,
        size=48, min_size=16, in_channels=1, parameters=1_601_767, multiply_adds=49_019_104,
        builder=MASKED_RESNET,
        arguments=MINI_RESNET18 | {"masks": MINI_U_NETS, "reconstruct": True},
    ),
    NetworkSpec(
        name="resnet18_masking_reconstruction", variant="tiny", source=SHEN,
        size=48, min_size=16, in_channels=1, parameters=593_743, multiply_adds=19_891_680,
        builder=MASKED_RESNET,
        arguments={"blocks": RESNET18, "channels": TINY_CHANNELS, "stem_stride": 2, "masks": TINY_U_NETS,
                   "reconstruct": True},
    ),
)  # fmt: skip


def find(name: str, variant: str = "") -> NetworkSpec:
    """Returns the row of a network.

    Args:
        name: The paper's name in snake case.
        variant: Empty for a network without variants.

    Raises:
        ConfigError: There is no such network or variant; the message suggests similar names.
    """
    rows = [spec for spec in NETWORKS if spec.name == name]
    if not rows:
        raise ConfigError(f"unknown network {shortened(name)}: {near(name, {spec.name for spec in NETWORKS})}")
    for spec in rows:
        if spec.variant == variant:
            return spec
    variants = ", ".join(spec.variant for spec in rows)
    expected = f"the variants {variants}" if variants else "no variants"
    raise ConfigError(f"{name} has {expected}, got {shortened(variant or 'none')}")


def create(
    spec: NetworkSpec,
    num_classes: int = NUM_CLASSES,
    in_channels: int | None = None,
    dropout: float = 0.0,
    **arguments: Any,
) -> nn.Module:
    """Builds a network with new weights from torch's global random state.

    Args:
        spec: A row of the table.
        num_classes: K, at least 2.
        in_channels: Channels of the images, 1 or 3; None uses those of the row.
        dropout: Fraction of the pooled features dropped in training, 0..1.
        arguments: Replace arguments of the row, such as `mask_activation`.

    Returns:
        A module (N, C, H, W) -> `mien.networks.outputs.Outputs`.

    Raises:
        ConfigError: num_classes or in_channels is out of range.
    """
    if num_classes < 2:
        raise ConfigError(f"a network needs 2 classes or more, got {num_classes}")
    if in_channels not in (None, 1, 3):
        raise ConfigError(f"a network takes images of 1 or 3 channels, got {in_channels}")
    module, _, name = spec.builder.partition(":")
    builder = getattr(importlib.import_module(f"mien.networks.{module}"), name)
    network: nn.Module = builder(
        num_classes=num_classes,
        in_channels=in_channels or spec.in_channels,
        dropout=dropout,
        **(spec.arguments | arguments),
    )
    return network


AUXILIARY_HEADS = frozenset({"aux1", "aux2", "AuxLogits"})
"""Modules of GoogLeNet and Inception v3 that classify in training only."""


def is_training_only(parameter: str) -> bool:
    """Whether a parameter, given by its name, belongs to a decoder or an auxiliary head, which are never exported."""
    return not (AUXILIARY_HEADS | {"decoder"}).isdisjoint(parameter.split("."))
