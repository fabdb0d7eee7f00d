"""A backbone's weights arrive unchanged, and nothing arrives where they do not fit."""

import urllib.error
import urllib.request

import pytest
import torch
import torchvision

from mien.errors import ConfigError, WeightsError
from mien.networks import registry
from mien.training import checkpoint
from mien.training.start import start_from


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """A torch hub folder with made-up weights where the published ones of three networks would be."""
    folder = tmp_path_factory.mktemp("hub")
    before = torch.hub.get_dir()
    torch.hub.set_dir(str(folder))
    (folder / "checkpoints").mkdir()
    for name in ("resnet18", "resnet34", "resnet50"):
        torch.manual_seed(1)
        weights = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"]
        network = torchvision.models.get_model(name)
        torch.save(network.state_dict(), folder / "checkpoints" / weights.url.rpartition("/")[2])
    yield folder
    torch.hub.set_dir(before)


def published(hub, name: str) -> dict[str, torch.Tensor]:
    url = torchvision.models.get_model_weights(name)["IMAGENET1K_V1"].url
    return torch.load(hub / "checkpoints" / url.rpartition("/")[2])


@pytest.mark.parametrize(
    ("name", "variant", "model"),
    [
        ("resnet34", "", "resnet34"),
        ("resmasking", "", "resnet34"),
        ("resnet34_masking_reconstruction", "rmn", "resnet34"),
        ("resnet18_masking_reconstruction", "paper", "resnet18"),
        ("bam_resnet50", "", "resnet50"),
        ("cbam_resnet50", "", "resnet50"),
    ],
)
def test_published_weights_arrive_and_all_else_is_new(hub, name, variant, model):
    spec = registry.find(name, variant)
    torch.manual_seed(0)
    network = registry.create(spec)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    start_from(network, spec, "imagenet")
    given = {key: tensor for key, tensor in published(hub, model).items() if not key.startswith("fc.")}
    prefix = "backbone." if hasattr(network, "backbone") else "network."
    after = network.state_dict()
    assert all(torch.equal(after[prefix + key], tensor) for key, tensor in given.items())
    others = after.keys() - {prefix + key for key in given}
    assert others
    assert all(torch.equal(after[key], before[key]) for key in others)


@torch.inference_mode()
def test_gray_images_give_what_repeated_ones_gave(hub):
    spec = registry.find("resnet34")
    rgb, gray = registry.create(spec), registry.create(spec, in_channels=1)
    start_from(rgb, spec, "imagenet")
    start_from(gray, spec, "imagenet")
    gray.network.fc.load_state_dict(rgb.network.fc.state_dict())
    images = torch.randn(2, 1, 64, 64)
    expected = rgb.eval()(images.repeat(1, 3, 1, 1)).logits
    torch.testing.assert_close(gray.eval()(images).logits, expected, rtol=1e-3, atol=1e-3)


def test_a_backbone_trained_here(tmp_path):
    plain, masked = registry.find("resnet18", "mini"), registry.find("resnet18_masking_reconstruction", "mini")
    torch.manual_seed(0)
    source = registry.create(plain)
    checkpoint.save(tmp_path / "plain.safetensors", source.state_dict(), {})
    network = registry.create(masked)
    masks = {key: tensor.clone() for key, tensor in network.masks.state_dict().items()}
    start_from(network, masked, str(tmp_path / "plain.safetensors"))
    expected = source.backbone.state_dict()
    assert all(torch.equal(tensor, expected[key]) for key, tensor in network.backbone.state_dict().items())
    assert all(torch.equal(tensor, masks[key]) for key, tensor in network.masks.state_dict().items())


def test_another_networks_backbone_is_refused_and_nothing_loaded(tmp_path, hub):
    spec = registry.find("resnet18", "mini")
    checkpoint.save(tmp_path / "mini.safetensors", registry.create(spec).state_dict(), {})
    network = registry.create(registry.find("resnet34"))
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    with pytest.raises(WeightsError, match=r"nothing was loaded: 96 missing \(layer1\.2\.conv1\.weight, .*, \.\.\.\)"):
        start_from(network, registry.find("resnet34"), str(tmp_path / "mini.safetensors"))
    wide = registry.create(registry.find("resnet18", "mini-wide"))
    with pytest.raises(WeightsError, match=r"nothing was loaded: \d+ of other size \(conv1\.weight, "):
        start_from(wide, registry.find("resnet18", "mini-wide"), str(tmp_path / "mini.safetensors"))
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())


def test_a_network_without_published_weights_says_so():
    spec = registry.find("resnet18", "mini")
    with pytest.raises(ConfigError, match=r"no weights to start from for resnet18 mini: leave network\.weights empty"):
        start_from(registry.create(spec), spec, "imagenet")


def test_offline_the_file_and_its_place_are_named(tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path))

    def refuse(*_, **__):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    monkeypatch.setattr(torch.hub, "urlopen", refuse)
    spec = registry.find("resnet34")
    sentence = (
        rf"no route to host.*: get the file resnet34-b627a593\.pth elsewhere and put it into {tmp_path}/checkpoints"
    )
    with pytest.raises(WeightsError, match=sentence):
        start_from(registry.create(spec), spec, "imagenet")
