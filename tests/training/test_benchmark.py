"""The benchmark counts what it says; how fast this machine is, is no test."""

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mien.networks import registry
from mien.training import benchmark
from tests.training.test_loop import CONFIG, made_up_faces

SMALL = replace(CONFIG, training=replace(CONFIG.training, batch_size=7))


def test_figures_belong_together(tmp_path, monkeypatch):
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
    assert list(tmp_path.iterdir()) == []  # nothing is written


def test_forward_and_backward_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "MATRIX_SIDE", 64)
    speed = benchmark.measure(SMALL, made_up_faces(), steps=1)
    forward = registry.find("resnet18_masking_reconstruction", "tiny").multiply_adds / 4  # at 24 of 48 pixels
    # Two products back for one forward, and the decoder; maps of 1.5 pixels count as 2.
    assert 2.8 * forward < speed.multiply_adds < 4 * forward


@pytest.mark.parametrize("groups", [1, 2, 8])
@pytest.mark.parametrize("kind", [torch.nn.Conv2d, torch.nn.ConvTranspose2d])
def test_a_convolution_costs_twice_as_much_backward_as_forward(kind, groups):
    convolution = kind(8, 16, 4, stride=2, padding=1, groups=groups, bias=False)
    with FlopCounterMode(display=False, custom_mapping=benchmark.COUNTED_ANEW) as counter:
        mapped = convolution(torch.rand(3, 8, 12, 12, requires_grad=True))
        forward = counter.get_total_flops()
        mapped.sum().backward()
    places = min(12, mapped.shape[-1]) ** 2
    assert forward == 2 * 3 * places * 8 * 16 * 4 * 4 / groups
    assert counter.get_total_flops() == 3 * forward


def test_the_profile_names_convolutions(monkeypatch):
    assert "convolution" in benchmark.profile(SMALL, made_up_faces())


def test_the_table_shows_every_figure():
    speed = benchmark.TrainingSpeed(2, "32-true", 700, 720, 0.972, 360, 2.0, 280_000_000, 4e11, 8e11, 2e11, 0.5, 2.0)
    assert benchmark.table(speed).row_count == 11
