"""All networks by name: one literal table, readable without torch."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mien.errors import ConfigError, near

if TYPE_CHECKING:
    from rich.table import Table
    from torch import nn


@dataclass(frozen=True)
class NetworkSpec:
    """A row of the table.

    Attributes:
        name: The paper's name in snake case.
        variant: Which reading of the paper, where there are several; empty where there is one.
        size: Height and width of the images it is made for, pixels.
        min_size: Smallest height and width that it can bear.
        in_channels: Channels of the images.
        parameters: At 7 classes, without parts that only training uses. Counted by a test.
        multiply_adds: Of one forward pass at `size`, evaluation mode. Counted by a test.
        source: Where it is published.
        builder: What builds it, `module:function` in mien.networks.
        arguments: What that builds it from.
        imagenet: The model whose published ImageNet weights fit its backbone, by torchvision's name, or
            efficientnet_lite0; empty where there is none.
    """

    name: str
    variant: str
    size: int
    min_size: int
    in_channels: int
    parameters: int
    multiply_adds: int
    source: str
    builder: str
    arguments: dict[str, Any] = field(repr=False)
    imagenet: str = ""

    @property
    def title(self) -> str:
        """Name and variant."""
        return f"{self.name} {self.variant}".strip()

    @property
    def has_u_nets(self) -> bool:
        """Whether its masks are U-Nets, whose activation can be chosen."""
        return any(mask.get("kind", "u-net") == "u-net" for mask in self.arguments.get("masks", ()))

    def to_dict(self) -> dict[str, Any]:
        """The fields by name, without what it is built from."""
        return {name: value for name, value in vars(self).items() if name not in ("builder", "arguments")}


RESNET18 = (2, 2, 2, 2)
RESNET34 = (3, 4, 6, 3)
IMAGENET_CHANNELS = (64, 128, 256, 512)
U_NET = ({"depth": 4}, {"depth": 3}, {"depth": 2}, {"depth": 1})
"""The base network's masks: as deep as each stage's map of 56, 28, 14 and 7 pixels at 224 allows."""
SMALL_U_NET = (
    {"depth": 2, "width": 24, "stride": 2},
    {"depth": 2, "width": 32, "stride": 2},
    {"depth": 1, "width": 64, "stride": 2},
    {"depth": 1, "width": 64, "stride": 2},
)
"""Masks for maps of 24, 12, 6 and 3 pixels, at half of that size: fewer and wider operations than the base's."""

MINI_CHANNELS = (24, 48, 96, 160)
MINI_WIDE_CHANNELS = (26, 52, 104, 176)
"""As costly without masks as MINI_CHANNELS with MINI_U_NET."""
MINI_U_NET = (
    {"depth": 2, "width": 20, "stride": 2},
    {"depth": 2, "width": 28, "stride": 2},
    {"depth": 1, "width": 48, "stride": 2},
    {"depth": 1, "width": 48, "stride": 2},
)
TINY_CHANNELS = (16, 32, 64, 96)
TINY_U_NET = (
    {"depth": 2, "width": 8, "stride": 2},
    {"depth": 2, "width": 16, "stride": 2},
    {"depth": 1, "width": 24, "stride": 2},
    {"depth": 1, "width": 24, "stride": 2},
)

BAM = ({"kind": "bam"},) * 3
"""After the first three stages, as in the paper."""
SOFT = ({"kind": "soft", "depth": 3}, {"kind": "soft", "depth": 2}, {"kind": "soft", "depth": 1})
"""In the first three stages, as deep as in Attention-56."""

RESIDUAL = "masked_resnet:masked_resnet"
PUBLISHED = "torchvision_networks:published"
ATTENDED = "torchvision_networks:attended_resnet50"

SIMONYAN = "Simonyan and Zisserman, ICLR 2015"
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
        "vgg19", "", 224, 32, 3, 139_598_919, 19_627_995_136, SIMONYAN, PUBLISHED,
        {"model": "vgg19"}, "vgg19",
    ),
    NetworkSpec(
        "efficientnet_b2", "", 224, 32, 3, 7_710_857, 657_565_296, TAN, PUBLISHED,
        {"model": "efficientnet_b2"}, "efficientnet_b2",
    ),
    NetworkSpec(
        "efficientnet_lite0", "", 96, 32, 3, 3_379_975, 70_522_592, TAN, "torchvision_networks:efficientnet_lite0",
        {}, "efficientnet_lite0",
    ),
    NetworkSpec(
        "googlenet", "", 224, 32, 3, 5_607_079, 1_497_359_360, SZEGEDY_1, PUBLISHED,
        {"model": "googlenet", "init_weights": False}, "googlenet",
    ),
    NetworkSpec(
        "resnet34", "", 224, 32, 3, 21_288_263, 3_663_252_992, HE, PUBLISHED,
        {"model": "resnet34"}, "resnet34",
    ),
    NetworkSpec(
        "inception_v3", "", 224, 75, 3, 21_799_911, 2_835_887_456, SZEGEDY_3, PUBLISHED,
        {"model": "inception_v3", "init_weights": False}, "inception_v3",
    ),
    NetworkSpec(
        "resattnet56", "", 224, 32, 3, 29_777_863, 6_268_803_072, WANG, "residual_attention:ResidualAttentionNetwork",
        {},
    ),
    NetworkSpec(
        "bam_resnet50", "", 224, 32, 3, 23_884_032, 4_169_297_664, PARK, ATTENDED,
        {"attention": "bam"}, "resnet50",
    ),
    NetworkSpec(
        "densenet121", "", 224, 32, 3, 6_961_031, 2_833_144_832, HUANG, PUBLISHED,
        {"model": "densenet121"}, "densenet121",
    ),
    NetworkSpec(
        "resnet152", "", 224, 32, 3, 58_158_151, 11_511_592_960, HE, PUBLISHED,
        {"model": "resnet152"}, "resnet152",
    ),
    NetworkSpec(
        "cbam_resnet50", "", 224, 32, 3, 26_054_967, 4_093_539_446, WOO, ATTENDED,
        {"attention": "cbam"}, "resnet50",
    ),
    NetworkSpec(
        "resmasking", "", 224, 32, 3, 137_796_423, 21_903_232_512, PHAM, RESIDUAL,
        {"blocks": RESNET34, "channels": IMAGENET_CHANNELS, "stem_stride": 4, "masks": U_NET,
         "mask_activation": "softmax"}, "resnet34",
    ),
    NetworkSpec(
        "resnet18_masking_reconstruction", "paper", 224, 32, 3, 127_688_263, 79_860_125_184, SHEN, RESIDUAL,
        {"blocks": RESNET18, "channels": IMAGENET_CHANNELS, "stem_stride": 2, "masks": U_NET, "reconstruct": True},
        "resnet18",
    ),
    NetworkSpec(
        "resnet18_masking_reconstruction", "rmn", 224, 32, 3, 127_688_263, 20_053_544_448, SHEN, RESIDUAL,
        {"blocks": RESNET18, "channels": IMAGENET_CHANNELS, "stem_stride": 4, "masks": U_NET, "reconstruct": True},
        "resnet18",
    ),
    NetworkSpec(
        "resnet18_masking_reconstruction", "small", 48, 16, 1, 3_420_719, 90_240_768, SHEN, RESIDUAL,
        {"blocks": RESNET18, "channels": (32, 64, 128, 256), "stem_stride": 2, "masks": SMALL_U_NET,
         "reconstruct": True},
    ),
    NetworkSpec(
        "resnet34_masking_reconstruction", "paper", 224, 32, 3, 137_796_423, 87_258_877_440, SHEN, RESIDUAL,
        {"blocks": RESNET34, "channels": IMAGENET_CHANNELS, "stem_stride": 2, "masks": U_NET, "reconstruct": True},
        "resnet34",
    ),
    NetworkSpec(
        "resnet34_masking_reconstruction", "rmn", 224, 32, 3, 137_796_423, 21_903_232_512, SHEN, RESIDUAL,
        {"blocks": RESNET34, "channels": IMAGENET_CHANNELS, "stem_stride": 4, "masks": U_NET, "reconstruct": True},
        "resnet34",
    ),
    NetworkSpec(
        "resnet34_masking_reconstruction", "small", 48, 16, 1, 2_193_263, 97_992_576, SHEN, RESIDUAL,
        {"blocks": RESNET34, "channels": (32, 48, 80, 128), "stem_stride": 2, "masks": SMALL_U_NET,
         "reconstruct": True},
    ),
    NetworkSpec(
        "resnet18", "mini", 48, 16, 1, 1_239_759, 41_459_296, HE, RESIDUAL,
        {"blocks": RESNET18, "channels": MINI_CHANNELS, "stem_stride": 2},
    ),
    NetworkSpec(
        "resnet18", "mini-wide", 48, 16, 1, 1_482_461, 48_847_184, HE, RESIDUAL,
        {"blocks": RESNET18, "channels": MINI_WIDE_CHANNELS, "stem_stride": 2},
    ),
    NetworkSpec(
        "bam_resnet18", "mini", 48, 16, 1, 1_248_072, 42_532_480, PARK, RESIDUAL,
        {"blocks": RESNET18, "channels": MINI_CHANNELS, "stem_stride": 2, "masks": BAM},
    ),
    NetworkSpec(
        "cbam_resnet18", "mini", 48, 16, 1, 1_253_059, 41_632_788, WOO, RESIDUAL,
        {"blocks": RESNET18, "channels": MINI_CHANNELS, "stem_stride": 2, "block": "cbam"},
    ),
    NetworkSpec(
        "resattnet18", "mini", 48, 16, 1, 1_889_367, 57_446_752, WANG, RESIDUAL,
        {"blocks": RESNET18, "channels": MINI_CHANNELS, "stem_stride": 2, "masks": SOFT},
    ),
    NetworkSpec(
        "resmasking18", "mini", 48, 16, 1, 1_601_767, 49_019_104, PHAM, RESIDUAL,
        {"blocks": RESNET18, "channels": MINI_CHANNELS, "stem_stride": 2, "masks": MINI_U_NET},
    ),
    NetworkSpec(
        "resnet18_masking_reconstruction", "mini", 48, 16, 1, 1_601_767, 49_019_104, SHEN, RESIDUAL,
        {"blocks": RESNET18, "channels": MINI_CHANNELS, "stem_stride": 2, "masks": MINI_U_NET, "reconstruct": True},
    ),
    NetworkSpec(
        "resnet18_masking_reconstruction", "tiny", 48, 16, 1, 593_743, 19_891_680, SHEN, RESIDUAL,
        {"blocks": RESNET18, "channels": TINY_CHANNELS, "stem_stride": 2, "masks": TINY_U_NET, "reconstruct": True},
    ),
)  # fmt: skip


def table() -> Table:
    """All networks, for the terminal."""
    from rich import box
    from rich.table import Table

    result = Table("network", "variant", "input", "params", "mult-adds", box=box.SIMPLE, pad_edge=False)
    result.columns[0].no_wrap = True
    for column in result.columns[2:]:
        column.justify = "right"
    for spec in NETWORKS:
        result.add_row(
            spec.name,
            spec.variant or "-",
            f"{spec.in_channels}x{spec.size}x{spec.size}",
            f"{spec.parameters / 1e6:.1f} M",
            f"{spec.multiply_adds / 1e9:.2f} G" if spec.multiply_adds >= 1e9 else f"{spec.multiply_adds / 1e6:.1f} M",
        )
    return result


def find(name: str, variant: str = "") -> NetworkSpec:
    """The row of a network.

    Args:
        name: The paper's name in snake case.
        variant: May be empty where there is only one.

    Raises:
        ConfigError: There is no such network or variant; names the near ones.
    """
    rows = [spec for spec in NETWORKS if spec.name == name]
    if not rows:
        raise ConfigError(f"unknown network {name}: {near(name, {spec.name for spec in NETWORKS})}")
    for spec in rows:
        if spec.variant == variant:
            return spec
    variants = ", ".join(spec.variant for spec in rows)
    raise ConfigError(
        f"{name} has {f'the variants {variants}' if variants else 'no variants'}, got {variant or 'none'}"
    )


def create(
    spec: NetworkSpec, num_classes: int = 7, in_channels: int | None = None, dropout: float = 0.0, **arguments: Any
) -> nn.Module:
    """Builds a network with new weights from torch's global random state.

    Args:
        spec: A row of the table.
        num_classes: K, 2 or more.
        in_channels: Channels of the images, 1 or 3, where they are not the row's.
        dropout: Share of the pooled features that is dropped in training.
        arguments: Replaces single parts of the row, such as `mask_activation`.

    Returns:
        A module (N, C, H, W) -> `mien.networks.outputs.Outputs`.

    Raises:
        ConfigError: Classes or channels are out of range.
    """
    if num_classes < 2:
        raise ConfigError(f"a network tells 2 classes or more apart, got {num_classes}")
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
"""GoogLeNet's and Inception's, which know the classes and serve training alone."""


def is_training_only(parameter: str) -> bool:
    """Whether a parameter of that name belongs to a decoder or an auxiliary head, which are never exported."""
    return not (AUXILIARY_HEADS | {"decoder"}).isdisjoint(parameter.split("."))
