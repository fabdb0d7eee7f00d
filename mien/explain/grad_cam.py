"""Grad-CAM: which positions of a face raise the score of an expression, computed with captum."""

from __future__ import annotations

import numpy as np
import torch
from captum.attr import LayerGradCam
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.errors import WeightsError
from mien.models.torch_model import TorchModel


def grad_cam(model: TorchModel, image: NDArray[np.uint8], target: int) -> NDArray[np.float32]:
    """Computes Grad-CAM of the last convolutional stage (Selvaraju et al., ICCV 2017, Eq. 1 and 2).

    Args:
        model: The network.
        image: (h, w), values 0..255, a gray face.
        target: The index of the class to explain.

    Returns:
        (h', w') in [0, 1], with the size of the stage: how much each position raises the score of the class, divided by
        the largest value. 0 does not raise it. All values are 0 if no position raises it.

    Raises:
        WeightsError: The network has no feature map with more than one position.
    """
    images = torch.from_numpy(model.preprocessing(image[None]))
    layer = last_feature_layer(model.network, images)
    explainer = LayerGradCam(lambda inputs: model.network(inputs).logits, layer)
    heatmap = explainer.attribute(images, target=target, relu_attributions=True)[0, 0].detach()
    return np.asarray((heatmap / heatmap.max().clamp(min=torch.finfo(heatmap.dtype).tiny)).numpy())


def last_feature_layer(network: nn.Module, images: Tensor) -> nn.Module:
    """Returns the module with weights whose output is the network's last feature map of more than one position.

    Modules that compute masks are left out: they run after the features of their stage.

    Args:
        network: (N, C, H, W) -> Outputs, in evaluation mode.
        images: (N, C, H, W) input; the order of the modules is only known when they run.

    Raises:
        WeightsError: There is no such module.
    """
    mask_modules = {module for mask in getattr(network, "masks", ()) for module in mask.modules()}
    last: list[nn.Module] = []

    def remember(module: nn.Module, _: tuple[Tensor, ...], output: object) -> None:
        if isinstance(output, Tensor) and output.ndim == 4 and output[0, 0].numel() > 1:
            last[:] = [module]

    modules = [
        module for module in network.modules() if module not in mask_modules and any(True for _ in module.parameters())
    ]
    hooks = [module.register_forward_hook(remember) for module in modules]
    try:
        with torch.inference_mode():
            network(images)
    finally:
        for hook in hooks:
            hook.remove()
    if not last:
        raise WeightsError("Grad-CAM needs a feature map of more than one position, and this network has none")
    return last[0]
