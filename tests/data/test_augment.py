"""Augmentation: no change by default, never above the configured strength, and repeatable from a seed."""

from __future__ import annotations

import math

import pytest

torch = pytest.importorskip("torch")

from mien.config import AugmentConfig  # noqa: E402
from mien.data.augment import augment  # noqa: E402

OFF = AugmentConfig(flip=0.0)
N, SIDE = 256, 32


def augmented(images: torch.Tensor, config: AugmentConfig, seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    targets = torch.eye(7)[torch.arange(len(images)) % 7]
    return augment(images, targets, config, torch.Generator().manual_seed(seed))


@pytest.fixture
def noise() -> torch.Tensor:
    return torch.rand(N, 1, SIDE, SIDE, generator=torch.Generator().manual_seed(3))


@pytest.fixture
def ramp() -> torch.Tensor:
    """Brighter from left to right, by 0.5 over the width, so that a pixel's value tells its original position."""
    row = 0.25 + 0.5 * (torch.arange(SIDE) + 0.5) / SIDE
    return row.expand(N, 1, SIDE, SIDE).clone()


def test_default_without_flip_changes_nothing(noise: torch.Tensor) -> None:
    images, targets = augmented(noise, OFF)
    torch.testing.assert_close(images, noise)
    assert torch.equal(targets, torch.eye(7)[torch.arange(N) % 7])


def test_flip_mirrors_images_with_its_probability(noise: torch.Tensor) -> None:
    torch.testing.assert_close(augmented(noise, AugmentConfig(flip=1.0))[0], noise.flip(-1))
    half = augmented(noise, AugmentConfig(flip=0.5))[0]
    flipped = (half - noise.flip(-1)).abs().amax(dim=(1, 2, 3)) < 1e-4
    kept = (half - noise).abs().amax(dim=(1, 2, 3)) < 1e-4
    assert bool((flipped ^ kept).all())
    assert 0.4 < flipped.float().mean() < 0.6


def source_x(images: torch.Tensor) -> torch.Tensor:
    """Returns the original position of each pixel of the ramp, as a fraction of the width."""
    return (images[:, 0] - 0.25) / 0.5


def check_limit(drawn: torch.Tensor, limit: float) -> None:
    """Checks that draws fill -limit..limit and stay inside."""
    assert drawn.abs().max() <= limit * 1.02 + 1e-5
    assert drawn.max() > 0.9 * limit
    assert drawn.min() < -0.9 * limit


def test_shift_is_a_fraction_of_the_side(ramp: torch.Tensor) -> None:
    came = source_x(augmented(ramp, AugmentConfig(flip=0.0, shift=0.2))[0])
    middle = SIDE // 2
    check_limit(came[:, middle, middle] - source_x(ramp)[:, middle, middle], 0.2)


def test_scale_is_a_fraction(ramp: torch.Tensor) -> None:
    came = source_x(augmented(ramp, AugmentConfig(flip=0.0, scale=0.3))[0])
    middle = SIDE // 2
    check_limit((came[:, middle, middle + 4] - came[:, middle, middle - 4]) * SIDE / 8 - 1, 0.3)


def test_shear_shifts_upper_edge_against_lower(ramp: torch.Tensor) -> None:
    came = source_x(augmented(ramp, AugmentConfig(flip=0.0, shear=0.25))[0])
    middle = SIDE // 2
    check_limit((came[:, -1, middle] - came[:, 0, middle]) * SIDE / (SIDE - 1), 0.25)


def test_rotation_is_in_degrees(ramp: torch.Tensor) -> None:
    came = source_x(augmented(ramp, AugmentConfig(flip=0.0, rotation_deg=20.0))[0])
    middle = SIDE // 2
    along_x = came[:, middle, middle + 4] - came[:, middle, middle - 4]
    along_y = came[:, middle + 4, middle] - came[:, middle - 4, middle]
    check_limit(torch.atan2(along_y, along_x) * 180 / math.pi, 20.0)


def test_brightness_and_contrast_stay_within_limits(ramp: torch.Tensor) -> None:
    bright = augmented(ramp, AugmentConfig(flip=0.0, brightness=0.2))[0]
    check_limit((bright - ramp).mean(dim=(1, 2, 3)), 0.2)
    contrast = augmented(ramp, AugmentConfig(flip=0.0, contrast=0.4))[0]
    torch.testing.assert_close(contrast.mean(dim=(1, 2, 3)), ramp.mean(dim=(1, 2, 3)))
    check_limit(contrast.std(dim=(1, 2, 3)) / ramp.std(dim=(1, 2, 3)) - 1, 0.4)


def test_erased_area_stays_below_limit(noise: torch.Tensor) -> None:
    images = augmented(noise, AugmentConfig(flip=0.0, erase=0.5, erase_area=0.3))[0]
    fraction = ((images - noise).abs() > 1e-4).float().mean(dim=(1, 2, 3))
    assert 0.35 < (fraction > 0).float().mean() < 0.65
    assert fraction.max() < 0.36  # a side may gain one whole pixel
    assert fraction.max() > 0.2


def test_mixup_mixes_targets_like_images() -> None:
    """Image i has the single value i / 10, so a mixed value tells the weights, which the targets must share."""
    k = torch.arange(7)
    images = (k / 10).view(7, 1, 1, 1).expand(7, 1, 8, 8).clone()
    mixed, targets = augmented(images, AugmentConfig(flip=0.0, mixup=1.0))
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(7))
    torch.testing.assert_close(mixed[:, 0, 0, 0], targets @ (k / 10))
    assert ((targets > 0.01).sum(dim=1) == 2).any()


def test_cutmix_mixes_targets_by_area() -> None:
    k = torch.arange(7)
    images = (k / 10).view(7, 1, 1, 1).expand(7, 1, 24, 24).clone()
    mixed, targets = augmented(images, AugmentConfig(flip=0.0, cutmix=1.0))
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(7))
    torch.testing.assert_close(mixed.mean(dim=(1, 2, 3)), targets @ (k / 10))
    values = (10 * mixed).round()
    assert all(len(image.unique()) <= 2 for image in values)
    assert any(len(image.unique()) == 2 for image in values)


def test_darken_scales_all_pixels_of_an_image_alike(noise: torch.Tensor) -> None:
    left = augmented(noise, AugmentConfig(flip=0.0, darken=0.8))[0] / noise
    assert float((left.amax(dim=(1, 2, 3)) - left.amin(dim=(1, 2, 3))).max()) < 1e-4
    darkened = 1 - left[:, 0, 0, 0]
    assert darkened.min() < 0.05
    assert 0.75 < darkened.max() <= 0.8 + 1e-5


def test_noise_stays_below_its_standard_deviation() -> None:
    gray = torch.full((N, 1, SIDE, SIDE), 0.5)
    deviation = augmented(gray, AugmentConfig(flip=0.0, noise=0.1))[0].std(dim=(1, 2, 3))
    assert deviation.min() < 0.01
    assert 0.09 < deviation.max() < 0.11


def test_coarse_halves_resolution(noise: torch.Tensor) -> None:
    images = augmented(noise, AugmentConfig(flip=0.0, coarse=0.5))[0]
    kept = (images - noise).abs().amax(dim=(1, 2, 3)) < 1e-6
    assert 0.4 < kept.float().mean() < 0.6
    means = torch.nn.functional.avg_pool2d(noise, SIDE)
    torch.testing.assert_close(torch.nn.functional.avg_pool2d(images, SIDE), means, atol=0.02, rtol=0)
    assert images[~kept].std() < 0.6 * noise.std()


def test_images_differ_and_same_seed_repeats_them(noise: torch.Tensor) -> None:
    config = AugmentConfig(
        flip=0.5,
        rotation_deg=15,
        scale=0.1,
        shift=0.1,
        shear=0.1,
        brightness=0.2,
        contrast=0.2,
        erase=0.5,
        mixup=0.2,
        darken=0.5,
        noise=0.1,
        coarse=0.5,
    )
    same = noise[:1].expand_as(noise).clone()
    images, targets = augmented(same, config)
    assert len({image.numpy().tobytes() for image in images}) == N
    again, targets_again = augmented(same, config)
    assert torch.equal(images, again)
    assert torch.equal(targets, targets_again)
    assert not torch.equal(augmented(same, config, seed=1)[0], images)
    assert images.min() >= 0
    assert images.max() <= 1
    assert images.shape == noise.shape
