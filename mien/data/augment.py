"""Augmentation of whole batches of tensors: every image draws its own parameters, none is handled alone."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from mien.config import AugmentConfig


def augment(
    images: Tensor, targets: Tensor, config: AugmentConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Changes a batch at random, as the config says.

    Args:
        images: (N, 1, H, W), values in [0, 1].
        targets: (N, K) target distributions; mixup and cutmix mix them as they mix the images.
        config: Strengths and probabilities.
        generator: The only source of randomness, on the CPU, so that a batch can be drawn again.

    Returns:
        Images of the same shape, values in [0, 1], and targets (N, K).
    """
    images = _move(images, config, generator)
    if config.coarse:
        images = _coarse(images, config.coarse, generator)
    images = _light(images, config, generator)
    if config.darken:
        images = images * (1 - config.darken * _each(torch.rand(len(images), generator=generator), images))
    if config.noise:
        images = _noise(images, config.noise, generator)
    if config.erase:
        images = _erase(images, config, generator)
    if config.mixup:
        share = _beta(len(images), config.mixup, generator).to(images.device)
        other = torch.randperm(len(images), generator=generator).to(images.device)
        images = torch.lerp(images[other], images, share.view(-1, 1, 1, 1))
        targets = torch.lerp(targets[other], targets, share.view(-1, 1))
    if config.cutmix:
        images, targets = _cutmix(images, targets, config.cutmix, generator)
    return images, targets


def _each(values: Tensor, images: Tensor) -> Tensor:
    """(N,) -> (N, 1, 1, 1) where the images are."""
    return values.view(-1, 1, 1, 1).to(images.device)


def _uniform(n: int, limit: float, generator: torch.Generator) -> Tensor:
    """(n,) draws from -limit..limit."""
    return (torch.rand(n, generator=generator) * 2 - 1) * limit


def _move(images: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Flip, rotation, scale, shear and shift as one affine sampling; what comes from outside repeats the edge."""
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


def _light(images: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    n = len(images)
    gain = (1 + _uniform(n, config.contrast, generator)).view(n, 1, 1, 1).to(images.device)
    offset = _uniform(n, config.brightness, generator).view(n, 1, 1, 1).to(images.device)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return torch.addcmul(mean * (1 - gain) + offset, images, gain).clamp_(0, 1)


def _erase(images: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Random erasing (Zhong et al., AAAI 2020): area from 0.02 up, side ratio 0.3 to 3.3, filled with noise."""
    n, _, height, width = images.shape
    chosen = torch.rand(n, generator=generator) < config.erase
    area = 0.02 + torch.rand(n, generator=generator) * (config.erase_area - 0.02)
    ratio = torch.exp(_uniform(n, math.log(3.3), generator))
    rows = _inside((area * ratio).sqrt(), height, chosen, generator).to(images.device)
    columns = _inside((area / ratio).sqrt(), width, chosen, generator).to(images.device)
    noise = torch.rand(images.shape, generator=generator).to(images.device)
    return torch.where((rows[:, None, :, None] & columns[:, None, None, :]), noise, images)


def _coarse(images: Tensor, probability: float, generator: torch.Generator) -> Tensor:
    """Halves and doubles the size of some images: faces from further away."""
    chosen = _each(torch.rand(len(images), generator=generator) < probability, images)
    size = (images.shape[-2], images.shape[-1])
    half = F.avg_pool2d(images, 2, ceil_mode=True, count_include_pad=False)
    return torch.where(chosen, F.interpolate(half, size, mode="bilinear", align_corners=False), images)


def _noise(images: Tensor, limit: float, generator: torch.Generator) -> Tensor:
    """Adds Gaussian noise whose standard deviation each image draws from 0..limit."""
    deviation = _each(torch.rand(len(images), generator=generator) * limit, images)
    return (images + deviation * torch.randn(images.shape, generator=generator).to(images.device)).clamp_(0, 1)


def _cutmix(images: Tensor, targets: Tensor, alpha: float, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Fills a rectangle of each image with that of another, and mixes targets by its area (Yun et al., ICCV 2019)."""
    n, _, height, width = images.shape
    side = (1 - _beta(n, alpha, generator)).sqrt()
    everywhere = torch.ones(n, dtype=torch.bool)
    rows, columns = (_inside(side, length, everywhere, generator) for length in (height, width))
    filled = (rows[:, None, :, None] & columns[:, None, None, :]).to(images.device)
    other = torch.randperm(n, generator=generator).to(images.device)
    share = filled.float().mean(dim=(2, 3))
    return torch.where(filled, images[other], images), torch.lerp(targets, targets[other], share)


def _inside(share: Tensor, length: int, chosen: Tensor, generator: torch.Generator) -> Tensor:
    """(N, length) whether each row (or column) belongs to an interval of `share` of the length, at a random place."""
    extent = (share.clamp(max=1) * length).view(-1, 1)
    start = torch.rand(len(share), 1, generator=generator) * (length - extent)
    place = torch.arange(length).view(1, -1) + 0.5
    return (place >= start) & (place < start + extent) & chosen.view(-1, 1)


def _beta(n: int, alpha: float, generator: torch.Generator) -> Tensor:
    """(n,) draws from Beta(alpha, alpha): torch's own takes no generator, but its gamma draws do."""
    a, b = torch._standard_gamma(torch.full((2, n), alpha, dtype=torch.float64), generator=generator)
    share: Tensor = a / (a + b)
    return share.float()
