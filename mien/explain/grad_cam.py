"""Which places of a face speak for an expression, by gradients: Grad-CAM, as captum computes it."""

from __future__ import annotations

import numpy as np
import torch
from captum.attr import LayerGradCam
from numpy.typing import NDArray
from torch import Tensor, nn

from mien.errors import WeightsError
from mien.models.torch_model import TorchModel


def grad_cam(trained: TorchModel, image: NDArray[np.uint8], said: int) -> NDArray[np.float32]:
    """Grad-CAM of the last convolutional stage (Selvaraju et al., ICCV 2017, Eq. 1 and 2), over its largest value.

    Args:
        trained: The network.
        image: (h, w), values 0..255, a gray face.
        said: Id of the class that is to be explained.

    Returns:
        (h', w') in [0, 1], of the stage's size: how much each place raises the class's score. 0 does not raise it, 1
        is the place that raises it most; all are 0 where none does.

    Raises:
        WeightsError: The network has no maps of more than one place.
    """
    images = torch.from_numpy(trained.preprocessing(image[None]))
    explained = LayerGradCam(lambda given: trained.network(given).logits, last_stage(trained.network, images))
    found = explained.attribute(images, target=said, relu_attributions=True)[0, 0].detach()
    return np.asarray((found / found.max().clamp(min=torch.finfo(found.dtype).tiny)).numpy())


def last_stage(network: nn.Module, images: Tensor) -> nn.Module:
    """The part of a network whose result is its last feature map: it has weights, and gives more than one place.

    The masks of a stage are run after it but are no feature maps; they are left out.

    Args:
        network: (N, C, H, W) -> Outputs, in evaluation mode.
        images: What to run it on, since the order of its parts shows only there.

    Raises:
        WeightsError: There is none.
    """
    masks = {part for mask in getattr(network, "masks", ()) for part in mask.modules()}
    last: list[nn.Module] = []

    def note(part: nn.Module, _: tuple[Tensor, ...], result: object) -> None:
        if isinstance(result, Tensor) and result.ndim == 4 and result[0, 0].numel() > 1:
            last[:] = [part]

    parts = [part for part in network.modules() if part not in masks and any(True for _ in part.parameters())]
    hooks = [part.register_forward_hook(note) for part in parts]
    try:
        with torch.inference_mode():
            network(images)
    finally:
        for hook in hooks:
            hook.remove()
    if not last:
        raise WeightsError("Grad-CAM needs feature maps of more than one place, and this network has none")
    return last[0]
