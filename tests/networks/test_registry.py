"""The registry is the test matrix: every network, every property."""

import re
from pathlib import Path

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mien.errors import ConfigError
from mien.networks import registry
from mien.networks.attention import BAM, CBAM, SoftMask
from mien.networks.masking import Mask
from mien.networks.registry import NETWORKS, NetworkSpec


def name_of(spec: NetworkSpec) -> str:
    return f"{spec.name}-{spec.variant}".strip("-")


@pytest.fixture(scope="module", params=NETWORKS, ids=name_of)
def spec(request) -> NetworkSpec:
    return request.param


@pytest.fixture(scope="module")
def network(spec) -> torch.nn.Module:
    """One of each, shared by the tests of this module, since the large ones take seconds to make."""
    torch.manual_seed(0)
    return registry.create(spec)


def small_images(spec: NetworkSpec, n: int = 2, channels: int | None = None) -> torch.Tensor:
    size = spec.size if spec.size < 64 else max(64, spec.min_size)
    return torch.randn(n, channels or spec.in_channels, size, size)


def test_parameters_and_multiply_adds_are_those_of_the_table(spec):
    with torch.device("meta"):
        network = registry.create(spec).eval()
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, spec.in_channels, spec.size, spec.size))
    counted = sum(p.numel() for name, p in network.named_parameters() if not registry.used_in_training_only(name))
    assert counted == spec.parameters
    assert counter.get_total_flops() == 2 * spec.multiply_adds


def test_shapes_and_ranges(spec, network):
    images = small_images(spec)
    outputs = network.train()(images)
    assert outputs.logits.shape == (2, 7)
    assert torch.isfinite(outputs.logits).all()
    assert len(outputs.masks) == (3 if spec.name == "resattnet56" else len(spec.parts.get("masks", ())))
    assert len(outputs.auxiliary_logits) == {"googlenet": 2, "inception_v3": 1}.get(spec.name, 0)
    assert all(mask.min() >= 0 and mask.max() <= 1 for mask in outputs.masks)
    if "masking_reconstruction" not in spec.name:
        assert outputs.reconstruction is None
    else:
        assert outputs.reconstruction.shape == images.shape
        assert outputs.reconstruction.min() >= 0
        assert outputs.reconstruction.max() <= 1


def test_decoder_and_auxiliary_heads_are_for_training_only(spec, network):
    with torch.inference_mode():
        outputs = network.eval()(small_images(spec))
    assert outputs.reconstruction is None
    assert outputs.auxiliary_logits == ()


def test_the_smallest_images_are_borne_in_training_too(spec, network):
    images = torch.randn(2, spec.in_channels, spec.min_size, spec.min_size)
    assert torch.isfinite(network.train()(images).logits).all()


@torch.inference_mode()
def test_a_state_dict_holds_all_of_a_network(spec, network):
    other = registry.create(spec)
    images = small_images(spec)
    assert not torch.equal(other.eval()(images).logits, network.eval()(images).logits)
    other.load_state_dict(network.state_dict())
    assert torch.equal(other(images).logits, network(images).logits)


def test_five_classes_and_one_channel(spec):
    with torch.device("meta"):
        network = registry.create(spec, num_classes=5, in_channels=1).eval()
        assert network(small_images(spec, channels=1)).logits.shape == (2, 5)


def test_every_parameter_receives_a_gradient(spec, network):
    network.zero_grad()
    images = small_images(spec)
    outputs = network.train()(images)
    loss = outputs.logits.square().sum() + sum(logits.square().sum() for logits in outputs.auxiliary_logits)
    if outputs.reconstruction is not None:
        loss = loss + (outputs.reconstruction - images).abs().mean()
    loss.backward()
    assert [name for name, p in network.named_parameters() if p.grad is None] == []


@torch.inference_mode()
def test_masks_matter(spec, network, monkeypatch):
    """The logits change when a mask does: masks re-weight features rather than stand beside them."""
    masks = [part for part in network.modules() if isinstance(part, (Mask, BAM, CBAM, SoftMask))]
    assert bool(masks) == any(word in spec.name for word in ("mask", "bam", "att"))
    images = small_images(spec)
    before = network.eval()(images).logits
    for mask in masks:
        monkeypatch.setattr(mask, "forward", torch.zeros_like)
    if not masks:
        return
    assert not torch.allclose(before, network(images).logits)


def test_small_keeps_its_promise():
    """At most 100 million multiply-adds and 4 million parameters, for gray faces of 48 pixels."""
    for spec in NETWORKS:
        if spec.variant == "small":
            assert spec.multiply_adds <= 100e6
            assert spec.parameters <= 4e6
            assert (spec.size, spec.in_channels) == (48, 1)


def test_the_paper_variants_stages_are_as_published():
    network = registry.create(registry.find("resnet18_masking_reconstruction", "paper")).eval()
    with torch.inference_mode():
        masks = network(torch.randn(1, 3, 224, 224)).masks
    assert [tuple(mask.shape[1:]) for mask in masks] == [(64, 112, 112), (128, 56, 56), (256, 28, 28), (512, 14, 14)]


def test_an_unknown_network_names_the_near_ones():
    with pytest.raises(ConfigError, match="unknown network resmaskin: did you mean resmasking"):
        registry.find("resmaskin")


def test_a_wrong_variant_names_the_right_ones():
    with pytest.raises(ConfigError, match="variants paper, rmn, small, mini, got tiny"):
        registry.find("resnet18_masking_reconstruction", "tiny")
    with pytest.raises(ConfigError, match="resmasking has no variants, got small"):
        registry.find("resmasking", "small")


def test_the_table_is_readable_without_torch():
    import subprocess
    import sys

    code = "import sys, mien.networks.registry as r; assert r.NETWORKS; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_document_has_the_registrys_numbers():
    text = (Path(__file__).parents[2] / "docs" / "networks.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)`(?: (\w+))? \| ([\d,]+) \| ([\d.]+) G \|", text, flags=re.MULTILINE)
    assert len(rows) == 13
    for name, variant, parameters, multiply_adds in rows:
        spec = registry.find(name, variant)
        assert parameters == f"{spec.parameters:,}"
        assert multiply_adds == f"{spec.multiply_adds / 1e9:.2f}"
