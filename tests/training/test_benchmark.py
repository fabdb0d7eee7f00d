"""The benchmark's figures are consistent; no test depends on the speed of the machine."""

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mien.networks import registry
from mien.training import benchmark
from tests.training.small_run import CONFIG, made_up_faces

pytestmark = pytest.mark.training

SMALL = replace(CONFIG, training=replace(CONFIG.training, batch_size=7))


def test_measure_gives_consistent_ratios_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(benchmark, "MATRIX_SIDE", 64)
    speed = benchmark.measure(SMALL, made_up_faces(), steps=2)
    assert speed.threads == 1
    assert speed.precision == "32-true"
    assert speed.data_ratio == pytest.approx(speed.images_per_s / speed.bare_images_per_s)
    assert speed.gain == pytest.approx(speed.bare_images_per_s / speed.plain_images_per_s)
    assert speed.flops_per_s == pytest.approx(2 * speed.multiply_adds * speed.bare_images_per_s)
    assert speed.efficiency == pytest.approx(speed.flops_per_s / speed.matrix_flops_per_s)
    assert speed.efficiency == speed.efficiency_32_bit
    assert list(tmp_path.iterdir()) == []


def test_multiply_adds_count_forward_and_backward(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "MATRIX_SIDE", 64)
    speed = benchmark.measure(SMALL, made_up_faces(), steps=1)
    forward = registry.find("resnet18_masking_reconstruction", "tiny").multiply_adds / 4  # 24 instead of 48 pixels
    # The backward pass needs two products per forward product; the decoder and rounded-up map sizes come on top.
    assert 2.8 * forward < speed.multiply_adds < 4 * forward


@pytest.mark.parametrize("groups", [1, 2, 8])
@pytest.mark.parametrize("kind", [torch.nn.Conv2d, torch.nn.ConvTranspose2d])
def test_convolution_backward_counts_twice_the_forward(kind, groups):
    convolution = kind(8, 16, 4, stride=2, padding=1, groups=groups, bias=False)
    with FlopCounterMode(display=False, custom_mapping=benchmark.FLOP_FORMULAS) as counter:
        mapped = convolution(torch.rand(3, 8, 12, 12, requires_grad=True))
        forward = counter.get_total_flops()
        mapped.sum().backward()
    positions = min(12, mapped.shape[-1]) ** 2
    assert forward == 2 * 3 * positions * 8 * 16 * 4 * 4 / groups
    assert counter.get_total_flops() == 3 * forward


def test_profile_lists_convolutions():
    assert "convolution" in benchmark.profile(SMALL, made_up_faces())


def test_table_has_a_row_per_figure():
    speed = benchmark.TrainingSpeed(2, "32-true", 700, 720, 0.972, 360, 2.0, 280_000_000, 4e11, 8e11, 2e11, 0.5, 2.0)
    assert benchmark.table(speed).row_count == 11
