"""Tests that every kind of network can learn: it memorises 28 faces."""

import pytest
import torch
import torchvision
from torch.nn import functional as F

from mien.networks import registry
from mien.networks.registry import NetworkSpec
from tests.networks.test_registry import DISTINCT_NETWORKS, name_of

pytestmark = pytest.mark.training

CLASSES = 7
FACES = 4 * CLASSES
MAX_STEPS = 60
LEARNERS = [*DISTINCT_NETWORKS, registry.find("resnet18_masking_reconstruction", "rmn")]
"""With the paper's own network, the only one with masks of depth 4 that end in a sigmoid."""


def create_faces(channels: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (28, channels, size, size) with mean 0 and standard deviation 1, and their classes (28,)."""
    generator = torch.Generator().manual_seed(0)
    gray = F.interpolate(torch.randn(FACES, 1, 12, 12, generator=generator), size=48, mode="bicubic")
    images = F.interpolate(gray, size=size, mode="bilinear").expand(-1, channels, -1, -1)
    return (images - images.mean()) / images.std(), torch.arange(FACES) % CLASSES


def count_steps(spec: NetworkSpec, learning_rate: float) -> int | None:
    """Counts optimiser steps until every face is right; None if MAX_STEPS do not suffice.

    Batch norms use the statistics of the batch, since running statistics need more steps. Dropout and stochastic depth
    are off, so that the result does not depend on chance.
    """
    torch.manual_seed(0)
    network = registry.create(spec).train()
    for module in network.modules():
        if isinstance(module, (torch.nn.Dropout, torchvision.ops.StochasticDepth)):
            module.eval()
    images, targets = create_faces(spec.in_channels, max(32, spec.min_size))
    optimiser = torch.optim.AdamW(network.parameters(), learning_rate, fused=True)
    for step in range(MAX_STEPS):
        outputs = network(images)
        if bool((outputs.logits.argmax(dim=1) == targets).all()):
            return step
        loss = sum(
            (0.3 * F.cross_entropy(logits, targets) for logits in outputs.auxiliary_logits),
            F.cross_entropy(outputs.logits, targets),
        )
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return None


@pytest.mark.slow
@pytest.mark.parametrize("spec", LEARNERS, ids=name_of)
def test_network_memorises_28_faces(spec):
    steps = count_steps(spec, 5e-5 if spec.name == "vgg19" else 1e-3)  # VGG-19 has no batch norm
    assert steps is not None
    assert steps > 0, "every face was right before the first step, so that the test shows nothing"


def test_learning_rate_0_memorises_nothing():
    assert count_steps(registry.find("resnet18", "mini"), 0) is None
