"""Every construction of a network can learn: it comes to know 28 faces by heart."""

import pytest
import torch
import torchvision
from torch.nn import functional as F

from mien.networks import registry
from mien.networks.registry import NetworkSpec
from tests.networks.test_registry import CONSTRUCTIONS, name_of

CLASSES = 7
FACES = 4 * CLASSES
MOST_STEPS = 60
LEARNERS = [*CONSTRUCTIONS, registry.find("resnet18_masking_reconstruction", "rmn")]
"""The paper's own too: nothing else learns through masks as deep with a sigmoid at their end."""


def faces(channels: int, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(28, channels, size, size), mean 0 and deviation 1, and their classes; drawn at 48 pixels, like FER2013's."""
    generator = torch.Generator().manual_seed(0)
    gray = F.interpolate(torch.randn(FACES, 1, 12, 12, generator=generator), size=48, mode="bicubic")
    images = F.interpolate(gray, size=size, mode="bilinear").expand(-1, channels, -1, -1)
    return (images - images.mean()) / images.std(), torch.arange(FACES) % CLASSES


def steps_to_know(spec: NetworkSpec, learning_rate: float) -> int | None:
    """Optimiser steps until every face is right, as training sees it; None where MOST_STEPS do not do.

    Batch norms use the batch, as in training, since a few steps are too few for running means. Nothing is left out at
    random: that would make the answer a matter of luck.
    """
    torch.manual_seed(0)
    network = registry.create(spec).train()
    for part in network.modules():
        if isinstance(part, (torch.nn.Dropout, torchvision.ops.StochasticDepth)):
            part.eval()
    images, targets = faces(spec.in_channels, max(32, spec.min_size))
    optimiser = torch.optim.AdamW(network.parameters(), learning_rate, fused=True)
    for step in range(MOST_STEPS):
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
def test_it_learns(spec):
    steps = steps_to_know(spec, 5e-5 if spec.name == "vgg19" else 1e-3)  # VGG-19 has no batch norm
    assert steps is not None
    assert steps > 0, "it knew them from the start: the test says nothing"


def test_it_does_not_know_them_without_learning():
    assert steps_to_know(registry.find("resnet18", "mini"), 0) is None
