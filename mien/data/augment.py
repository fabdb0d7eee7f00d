"""Random changes of training images, as operations on whole batches; each image draws its own parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from mien.config import AugmentConfig

ALL = slice(None)


def augment(
    images: Tensor, targets: Tensor, config: AugmentConfig, generator: torch.Generator, rows: slice = ALL
) -> tuple[Tensor, Tensor]:
    """Augments a batch, or the part of it that one of several processes trains on.

    Args:
        images: (N, 1, H, W), values in [0, 1].
        targets: (N, K) target distributions; mixup and cutmix mix them in the same way as the images.
        config: Strengths and probabilities of the changes.
        generator: Only source of randomness, on the CPU, so that a batch can be drawn again.
        rows: The part to return, n of the N images; the changes of an image are the same whatever the part.

    Returns:
        Images (n, 1, H, W), values in [0, 1], and targets (n, K).
    """
    mixes = bool(config.mixup or config.cutmix)
    draws = _Draws(generator, len(images), ALL if mixes else rows)  # an image can be mixed with any other of the batch
    images, targets = images[draws.rows], targets[draws.rows]
    images = _transform(images, config, draws)
    if config.coarse:
        images = _lower_resolution(images, config.coarse, draws)
    images = _change_light(images, config, draws)
    if config.darken:
        images = images * (1 - config.darken * _per_image(draws.rand(), images))
    if config.noise:
        images = _add_noise(images, config.noise, draws)
    if config.erase:
        images = _erase(images, config, draws)
    if config.mixup:
        weight = draws.beta(config.mixup).to(images.device)
        other = torch.randperm(len(images), generator=generator).to(images.device)
        images = torch.lerp(images[other], images, weight.view(-1, 1, 1, 1))
        targets = torch.lerp(targets[other], targets, weight.view(-1, 1))
    if config.cutmix:
        images, targets = _cutmix(images, targets, config.cutmix, draws)
    return (images[rows], targets[rows]) if mixes else (images, targets)


@dataclass(frozen=True)
class _Draws:
    """Random numbers for some images of a batch.

    They are drawn for the whole batch, so that the numbers of an image do not depend on the choice of rows.

    Attributes:
        generator: The source, on the CPU.
        batch_size: N, number of images of the batch.
        rows: The n images.
    """

    generator: torch.Generator
    batch_size: int
    rows: slice

    def rand(self, *shape: int) -> Tensor:
        """Draws (n, *shape) values uniformly from 0..1."""
        return torch.rand(self.batch_size, *shape, generator=self.generator)[self.rows]

    def randn(self, *shape: int) -> Tensor:
        """Draws (n, *shape) values from the normal distribution."""
        return torch.randn(self.batch_size, *shape, generator=self.generator)[self.rows]

    def uniform(self, limit: float) -> Tensor:
        """Draws (n,) values uniformly from -limit..limit."""
        return (self.rand() * 2 - 1) * limit

    def beta(self, alpha: float) -> Tensor:
        """Draws (n,) values from Beta(alpha, alpha), by gamma draws: torch's Beta takes no generator."""
        concentration = torch.full((2, self.batch_size), alpha, dtype=torch.float64)
        a, b = torch._standard_gamma(concentration, generator=self.generator)
        fraction: Tensor = a / (a + b)
        return fraction.float()[self.rows]


def _per_image(values: Tensor, images: Tensor) -> Tensor:
    """Shapes one value for each image to multiply images: (N,) -> (N, 1, 1, 1), on their device."""
    return values.view(-1, 1, 1, 1).to(images.device)


def _transform(images: Tensor, config: AugmentConfig, draws: _Draws) -> Tensor:
    """Flips, rotates, scales, shears and shifts in one affine sampling; the edge is repeated outside the image."""
    flip = 1 - 2 * (draws.rand() < config.flip).float()
    angle = draws.uniform(math.radians(config.rotation_deg))
    scale = 1 + draws.uniform(config.scale)
    shear = draws.uniform(config.shear)
    shift_x, shift_y = draws.uniform(2 * config.shift), draws.uniform(2 * config.shift)
    cos, sin = angle.cos() * scale, angle.sin() * scale
    theta = torch.stack(
        [torch.stack([flip * cos, shear - sin, shift_x], dim=1), torch.stack([flip * sin, cos, shift_y], dim=1)], dim=1
    )
    grid = F.affine_grid(theta.to(images.device), list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)


def _change_light(images: Tensor, config: AugmentConfig, draws: _Draws) -> Tensor:
    """Changes contrast around each image's mean, and brightness."""
    n = len(images)
    gain = (1 + draws.uniform(config.contrast)).view(n, 1, 1, 1).to(images.device)
    offset = draws.uniform(config.brightness).view(n, 1, 1, 1).to(images.device)
    mean = images.mean(dim=(1, 2, 3), keepdim=True)
    return torch.addcmul(mean * (1 - gain) + offset, images, gain).clamp_(0, 1)


def _erase(images: Tensor, config: AugmentConfig, draws: _Draws) -> Tensor:
    """Fills rectangles with noise (random erasing, Zhong et al., AAAI 2020): area from 0.02 up, aspect 0.3 to 3.3."""
    height, width = images.shape[-2:]
    selected = draws.rand() < config.erase
    area = 0.02 + draws.rand() * (config.erase_area - 0.02)
    ratio = torch.exp(draws.uniform(math.log(3.3)))
    rows = _intervals((area * ratio).sqrt(), height, selected, draws).to(images.device)
    columns = _intervals((area / ratio).sqrt(), width, selected, draws).to(images.device)
    noise = draws.rand(*images.shape[1:]).to(images.device)
    return torch.where((rows[:, None, :, None] & columns[:, None, None, :]), noise, images)


def _lower_resolution(images: Tensor, probability: float, draws: _Draws) -> Tensor:
    """Halves the resolution of some images and restores their size, as for faces further away."""
    selected = _per_image(draws.rand() < probability, images)
    size = (images.shape[-2], images.shape[-1])
    half = F.avg_pool2d(images, 2, ceil_mode=True, count_include_pad=False)
    return torch.where(selected, F.interpolate(half, size, mode="bilinear", align_corners=False), images)


def _add_noise(images: Tensor, limit: float, draws: _Draws) -> Tensor:
    """Adds Gaussian noise; each image draws its standard deviation from 0..limit."""
    deviation = _per_image(draws.rand() * limit, images)
    return (images + deviation * draws.randn(*images.shape[1:]).to(images.device)).clamp_(0, 1)


def _cutmix(images: Tensor, targets: Tensor, alpha: float, draws: _Draws) -> tuple[Tensor, Tensor]:
    """Pastes a rectangle of another image and mixes the targets by its area (CutMix, Yun et al., ICCV 2019)."""
    n, _, height, width = images.shape
    side = (1 - draws.beta(alpha)).sqrt()
    all_images = torch.ones(n, dtype=torch.bool)
    rows, columns = (_intervals(side, length, all_images, draws) for length in (height, width))
    pasted = (rows[:, None, :, None] & columns[:, None, None, :]).to(images.device)
    other = torch.randperm(n, generator=draws.generator).to(images.device)
    area = pasted.float().mean(dim=(2, 3))
    return torch.where(pasted, images[other], images), torch.lerp(targets, targets[other], area)


def _intervals(fraction: Tensor, length: int, selected: Tensor, draws: _Draws) -> Tensor:
    """Draws an interval of rows (or columns) for each selected image.

    Args:
        fraction: (N,) length of the interval, as a fraction of `length`.
        length: Number of rows or columns.
        selected: (N,) images that get an interval; the others get none.
        draws: Gives where the interval starts.

    Returns:
        (N, length) whether each row or column is inside.
    """
    extent = (fraction.clamp(max=1) * length).view(-1, 1)
    start = draws.rand(1) * (length - extent)
    centre = torch.arange(length).view(1, -1) + 0.5
    return (centre >= start) & (centre < start + extent) & selected.view(-1, 1)
