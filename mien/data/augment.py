"""Random changes of training images, as operations on whole batches; each image draws its own parameters."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from mien.config import AugmentConfig


def augment(
    images: Tensor, targets: Tensor, config: AugmentConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Augments a batch.

    Args:
        images: (N, 1, H, W), values in [0, 1].
        targets: (N, K) target distributions; mixup and cutmix mix them in the same way as the images.
        config: Strengths and probabilities of the changes.
        generator: Only source of randomness, on the CPU, so that a batch can be drawn again.

    Returns:
        Images (N, 1, H, W), values in [0, 1], and targets (N, K).
    """
    images = _transform(images, config, generator)
    if config.coarse:
        images = _lower_resolution(images, config.coarse, generator)
    images = _change_light(images, config, generator)
    if config.darken:
        images = images * (1 - config.darken * _per_image(torch.rand(len(images), generator=generator), images))
    if config.noise:
        images = _add_noise(images, config.noise, generator)
    if config.erase:
        images = _erase(images, config, generator)
    if config.mixup:
        weight = _beta(len(images), config.mixup, generator).to(images.device)
        other = torch.randperm(len(images), generator=generator).to(images.device)
        images = torch.lerp(images[other], images, weight.view(-1, 1, 1, 1))
        targets = torch.lerp(targets[other], targets, weight.view(-1, 1))
    if config.cutmix:
        images, targets = _cutmix(images, targets, config.cutmix, generator)
    return images, targets


def _per_image(values: Tensor, images: Tensor) -> Tensor:
    """Shapes one value for each image to multiply images: (N,) -> (N, 1, 1, 1), on their device."""
    return values.view(-1, 1, 1, 1).to(images.device)


def _uniform(n: int, limit: float, generator: torch.Generator) -> Tensor:
    """Draws n values uniformly from -limit..limit."""
    return (torch.rand(n, generator=generator) * 2 - 1) * limit


def _transform(images: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Flips, rotates, scales, shears and shifts in one affine sampling; the edge is repeated outside the image."""
    n = len(images)
    flip = 1 - 2 * (torch.rand(n, generator=generator) < config.flip).float()
    angle = _uniform(n, math.radians(config.rotation_deg), generator)
    scale = 1 + _uniform(n, config.scale, generator)
    shear = _uniform(n, config.shear, generator)
    shift_x, shift_y = _uniform(n, 2 * config.shift, generator), _uniform(n, 2 * config.shift, generator)
    cos, sin = angle.cos() * scale, angle.sin() * scale
    theta = torch.stack(
        [torch.stack([flip * cos, shear - sin, shift_x], dim=1), torch.stack([flip * sin, cos, shift_y], dim=1)], dim=1
    )
    grid = F.affine_grid(theta.to(images.device), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _change_light(images: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Changes contrast around each image's mean, and brightness."""
    n = len(images)
    gain = (1 + _uniform(n, config.contrast, generator)).view(n, 1, 1, 1).to(images.device)
    offset = _uniform(n, config.brightness, generator).view(n, 1, 1, 1).to(images.device)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return torch.addcmul(mean * (1 - gain) + offset, images, gain).clamp_(0, 1)


def _erase(images: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Fills rectangles with noise (random erasing, Zhong et al., AAAI 2020): area from 0.02 up, aspect 0.3 to 3.3."""
    n, _, height, width = images.shape
    selected = torch.rand(n, generator=generator) < config.erase
    area = 0.02 + torch.rand(n, generator=generator) * (config.erase_area - 0.02)
    ratio = torch.exp(_uniform(n, math.log(3.3), generator))
    rows = _intervals((area * ratio).sqrt(), height, selected, generator).to(images.device)
    columns = _intervals((area / ratio).sqrt(), width, selected, generator).to(images.device)
    noise = torch.rand(images.shape, generator=generator).to(images.device)
    return torch.where((rows[:, None, :, None] & columns[:, None, None, :]), noise, images)


def _lower_resolution(images: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Halves the resolution of some images and restores their size, as for faces further away."""
    selected = _per_image(torch.rand(len(images), generator=generator) < probability, images)
    size = (images.shape[-2], images.shape[-1])
    half = F.avg_pool2d(images, 2, ceil_mode=True, count_include_pad=False)
    return torch.where(selected, F.interpolate(half, size, mode="bilinear", align_corners=False), images)


def _add_noise(images: Tensor, limit: float, generator: torch.Generator) -> Tensor:
    """Adds Gaussian noise; each image draws its standard deviation from 0..limit."""
    deviation = _per_image(torch.rand(len(images), generator=generator) * limit, images)
    return (images + deviation * torch.randn(images.shape, generator=generator).to(images.device)).clamp_(0, 1)


def _cutmix(images: Tensor, targets: Tensor, alpha: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Pastes a rectangle of another image and mixes the targets by its area (CutMix, Yun et al., ICCV 2019)."""
    n, _, height, width = images.shape
    side = (1 - _beta(n, alpha, generator)).sqrt()
    all_images = torch.ones(n, dtype=torch.bool)
    rows, columns = (_intervals(side, length, all_images, generator) for length in (height, width))
    pasted = (rows[:, None, :, None] & columns[:, None, None, :]).to(images.device)
    other = torch.randperm(n, generator=generator).to(images.device)
    area = pasted.float().mean(dim=(2, 3))
    return torch.where(pasted, images[other], images), torch.lerp(targets, targets[other], area)


def _intervals(fraction: Tensor, length: int, selected: Tensor, generator: torch.Generator) -> Tensor:
    """Draws an interval of rows (or columns) for each selected image.

    Args:
        fraction: (N,) length of the interval, as a fraction of `length`.
        length: Number of rows or columns.
        selected: (N,) images that get an interval; the others get none.
        generator: Draws where the interval starts.

    Returns:
        (N, length) whether each row or column is inside.
    """
    extent = (fraction.clamp(max=1) * length).view(-1, 1)
    start = torch.rand(len(fraction), 1, generator=generator) * (length - extent)
    centre = torch.arange(length).view(1, -1) + 0.5
    return (centre >= start) & (centre < start + extent) & selected.view(-1, 1)


def _beta(n: int, alpha: float, generator: torch.Generator) -> Tensor:
    """Draws n values from Beta(alpha, alpha), by gamma draws: torch's Beta takes no generator."""
    a, b = torch._standard_gamma(torch.full((2, n), alpha, dtype=torch.float64), generator=generator)
    fraction: Tensor = a / (a + b)
    return fraction.float()
