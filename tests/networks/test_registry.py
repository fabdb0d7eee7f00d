"""Tests of every network of the registry: parameters, cost, shapes, gradients and masks."""

import csv
from pathlib import Path

import pytest
import torch
import torchvision
from torch.utils.flop_counter import FlopCounterMode

from mien.errors import ConfigError
from mien.networks import registry
from mien.networks.attention import BAM, CBAM, SoftMask
from mien.networks.masking import UNetMask
from mien.networks.registry import NETWORKS, NetworkSpec


def name_of(spec: NetworkSpec) -> str:
    return f"{spec.name}-{spec.variant}".strip("-")


REDUNDANT_NETWORKS = {
    "resnet152",
    *(f"resnet{depth}_masking_reconstruction {variant}" for depth in (18, 34) for variant in ("paper", "rmn")),
    "resnet34_masking_reconstruction small",
    "resnet18_masking_reconstruction mini",
    "resmasking18 mini",
    "resnet18 mini",
    "resnet18 mini-wide",
}
DISTINCT_NETWORKS = [spec for spec in NETWORKS if spec.title not in REDUNDANT_NETWORKS]
"""The networks for slow tests, among them the shipped ones. The others consist of the same modules as these."""


def test_redundant_networks_are_in_the_registry():
    assert {spec.title for spec in NETWORKS} >= REDUNDANT_NETWORKS


def build_constant_network(spec: NetworkSpec, **changes) -> torch.nn.Module:
    """Builds a network whose weights are all 0.01, since random weights would take most of a test's time."""
    with torch.device("meta"):
        network = registry.create(spec, **changes)
    for tensor in network.to_empty(device="cpu").state_dict().values():
        tensor.fill_(0.01)
    return network


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(spec, id=name_of(spec), marks=pytest.mark.full_size if spec.size >= 224 else ())
        for spec in NETWORKS
    ],
)
def spec(request) -> NetworkSpec:
    return request.param


@pytest.fixture(scope="module")
def network(spec) -> torch.nn.Module:
    """A network of the row, shared by the tests of this module, since large networks take seconds to build."""
    torch.manual_seed(0)
    return registry.create(spec)


def small_images(spec: NetworkSpec, n: int = 2, channels: int | None = None) -> torch.Tensor:
    size = spec.size if spec.size < 64 else max(64, spec.min_size)
    return torch.randn(n, channels or spec.in_channels, size, size)


def test_parameters_and_multiply_adds_equal_those_of_the_row(spec):
    with torch.device("meta"):
        network = registry.create(spec).eval()
        with FlopCounterMode(display=False) as counter:
            network(torch.empty(1, spec.in_channels, spec.size, spec.size))
    counted = sum(p.numel() for name, p in network.named_parameters() if not registry.is_training_only(name))
    assert counted == spec.parameters
    assert counter.get_total_flops() == 2 * spec.multiply_adds


def test_training_outputs_have_the_documented_shapes_and_ranges(spec, network):
    images = small_images(spec)
    outputs = network.train()(images)
    assert outputs.logits.shape == (2, registry.NUM_CLASSES)
    assert torch.isfinite(outputs.logits).all()
    assert len(outputs.masks) == (3 if spec.name == "resattnet56" else len(spec.arguments.get("masks", ())))
    assert len(outputs.auxiliary_logits) == {"googlenet": 2, "inception_v3": 1}.get(spec.name, 0)
    assert all(mask.min() >= 0 and mask.max() <= 1 for mask in outputs.masks)
    if not spec.arguments.get("reconstruct"):
        assert outputs.reconstruction is None
    else:
        assert outputs.reconstruction.shape == images.shape
        assert outputs.reconstruction.min() >= 0
        assert outputs.reconstruction.max() <= 1


def test_evaluation_outputs_have_no_reconstruction_and_auxiliary_logits(spec, network):
    with torch.inference_mode():
        outputs = network.eval()(small_images(spec))
    assert torch.isfinite(outputs.logits).all()
    assert outputs.reconstruction is None
    assert outputs.auxiliary_logits == ()


def test_training_forward_accepts_the_smallest_images(spec, network):
    images = torch.randn(2, spec.in_channels, spec.min_size, spec.min_size)
    assert torch.isfinite(network.train()(images).logits).all()


@torch.inference_mode()
def test_state_dict_restores_the_logits(spec, network):
    other = build_constant_network(spec)
    images = small_images(spec)
    assert not torch.equal(other.eval()(images).logits, network.eval()(images).logits)
    other.load_state_dict(network.state_dict())
    assert torch.equal(other(images).logits, network(images).logits)


@torch.inference_mode()
def test_network_with_five_classes_and_one_channel(spec):
    images = small_images(spec, channels=1)
    outputs = build_constant_network(spec, num_classes=5, in_channels=1).train()(images)
    for logits in (outputs.logits, *outputs.auxiliary_logits):
        assert logits.shape == (2, 5)
        assert torch.isfinite(logits).all()
    assert outputs.reconstruction is None or outputs.reconstruction.shape == images.shape


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"num_classes": 1}, "a network needs 2 classes or more, got 1"),
        ({"num_classes": 0}, "a network needs 2 classes or more, got 0"),
        ({"in_channels": 2}, "images of 1 or 3 channels, got 2"),
        ({"in_channels": 0}, "images of 1 or 3 channels, got 0"),
    ],
)
def test_classes_and_channels_out_of_range_are_named(change, sentence):
    for name in ("vgg19", "resattnet56", "resmasking"):
        with pytest.raises(ConfigError, match=sentence):
            registry.create(registry.find(name), **change)


def test_every_parameter_receives_a_gradient(spec, network):
    """Gradients of convolutions are also not zero, once the batch norms that start at 0 are set to 1."""
    network.zero_grad()
    norms = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    weights = [norm.weight.detach().clone() for norm in norms]
    for norm in norms:
        torch.nn.init.ones_(norm.weight)
    network.train()
    for module in network.modules():
        if isinstance(module, torchvision.ops.StochasticDepth):  # it drops blocks at random
            module.eval()
    images = small_images(spec, n=3)
    outputs = network(images)
    loss = outputs.logits.square().sum() + sum(logits.square().sum() for logits in outputs.auxiliary_logits)
    if outputs.reconstruction is not None:
        loss = loss + (outputs.reconstruction - images).abs().mean()
    loss.backward()
    gradients = {name: parameter.grad for name, parameter in network.named_parameters()}
    assert [name for name, gradient in gradients.items() if gradient is None] == []
    assert [name for name, gradient in gradients.items() if not torch.isfinite(gradient).all()] == []
    assert [name for name, gradient in gradients.items() if gradient.ndim > 1 and not gradient.any()] == []
    network.zero_grad()
    for norm, weight in zip(norms, weights, strict=True):
        norm.weight.data.copy_(weight)


@torch.inference_mode()
def test_logits_depend_on_the_masks(spec, network, monkeypatch):
    masks = [module for module in network.modules() if isinstance(module, (UNetMask, BAM, CBAM, SoftMask))]
    assert bool(masks) == any(word in spec.name for word in ("mask", "bam", "att"))
    if not masks:
        return
    images = small_images(spec)
    before = network.eval()(images).logits
    for mask in masks:
        monkeypatch.setattr(mask, "forward", torch.zeros_like)
    assert not torch.allclose(before, network(images).logits)


@pytest.mark.parametrize(("variant", "multiply_adds", "parameters"), [("small", 100e6, 4e6), ("tiny", 20e6, 0.6e6)])
def test_small_and_tiny_stay_below_their_limits(variant, multiply_adds, parameters):
    """Limits of multiply-adds and parameters, for gray faces of 48 pixels."""
    specs = [spec for spec in NETWORKS if spec.variant == variant]
    assert specs
    for spec in specs:
        assert spec.multiply_adds <= multiply_adds
        assert spec.parameters <= parameters
        assert (spec.size, spec.in_channels) == (48, 1)


def test_masks_of_the_paper_variant_have_the_published_shapes():
    with torch.device("meta"):
        network = registry.create(registry.find("resnet18_masking_reconstruction", "paper")).eval()
        masks = network(torch.empty(1, 3, 224, 224)).masks
    assert [tuple(mask.shape[1:]) for mask in masks] == [(64, 112, 112), (128, 56, 56), (256, 28, 28), (512, 14, 14)]


def test_unknown_network_lists_similar_names():
    with pytest.raises(ConfigError, match="unknown network resmaskin: did you mean resmasking"):
        registry.find("resmaskin")


def test_unknown_variant_lists_the_variants():
    with pytest.raises(ConfigError, match="variants paper, rmn, small, mini, tiny, got large"):
        registry.find("resnet18_masking_reconstruction", "large")
    with pytest.raises(ConfigError, match="resmasking has no variants, got small"):
        registry.find("resmasking", "small")


PUBLISHED = Path(__file__).parents[2] / "results" / "published-parameters.csv"
with PUBLISHED.open(encoding="utf-8", newline="") as stream:
    PUBLISHED_ROWS = list(csv.DictReader(stream))
INCEPTIONS_AUXILIARY_HEAD = 3_326_696


def test_published_parameters_have_a_row_for_each_network_of_table_2():
    assert len({row["network"] for row in PUBLISHED_ROWS}) == len(PUBLISHED_ROWS) == 13


@pytest.mark.parametrize(
    "row", [row for row in PUBLISHED_ROWS if row["published"]], ids=lambda row: f"{row['network']} {row['variant']}"
)
def test_published_parameters_at_7_classes_are_those_at_1000_without_993_rows(row):
    spec = registry.find(row["network"], row["variant"])
    with torch.device("meta"):
        linear = [part for part in registry.create(spec).modules() if isinstance(part, torch.nn.Linear)][-1]
    last_layer = 993 * (linear.in_features + 1)
    if row["published_by"] == "torchvision":
        meta = torchvision.models.get_model_weights(spec.imagenet)["IMAGENET1K_V1"].meta
        assert int(row["published"]) == meta["num_params"]
        seven = meta["num_params"] - last_layer - (INCEPTIONS_AUXILIARY_HEAD if spec.name == "inception_v3" else 0)
        assert int(row["published_at_7"]) == seven == spec.parameters
        if spec.name not in ("efficientnet_b2", "inception_v3"):  # published for other sizes
            operations = spec.multiply_adds + 993 * linear.in_features
            assert operations / 1e9 == pytest.approx(meta["_ops"], abs=6e-4)
    else:
        published, seven = (float(row[name].removesuffix(" M")) for name in ("published", "published_at_7"))
        assert seven == pytest.approx(published - last_layer / 1e6, abs=0.05)
        assert spec.parameters / 1e6 == pytest.approx(seven, rel=0.005)
