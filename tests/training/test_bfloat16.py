"""Products of bfloat16 numbers in 32 bit are those that bfloat16 instructions give."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from mien.training import loop
from mien.training.bfloat16 import InSinglePrecision
from tests.training.test_loop import CONFIG, trainer_in

MIXED = replace(CONFIG, training=replace(CONFIG.training, precision="bf16-mixed"))

LAYERS = [
    (nn.Conv2d(8, 16, 3, padding=1, groups=2), (4, 8, 12, 12)),
    (nn.Conv2d(8, 16, 3, stride=2, bias=False), (4, 8, 12, 12)),
    (nn.ConvTranspose2d(8, 16, 4, stride=2, padding=1), (4, 8, 6, 6)),
    (nn.Linear(40, 7), (32, 40)),
    (nn.Linear(40, 7, bias=False), (32, 40)),
]


@pytest.mark.parametrize(("layer", "shape"), LAYERS)
def test_each_number_is_the_exact_sum_rounded_once(layer, shape):
    layer = layer.bfloat16()
    exact = deepcopy(layer).double()
    values = torch.randn(shape).bfloat16().requires_grad_()
    exact_values = values.detach().double().requires_grad_()
    with InSinglePrecision():
        result = layer(values)
        gradient = torch.randn_like(result)
        result.backward(gradient)
    exact_result = exact(exact_values)
    exact_result.backward(gradient.double())

    found = [result, values.grad, *(parameter.grad for parameter in layer.parameters())]
    expected = [exact_result, exact_values.grad, *(parameter.grad for parameter in exact.parameters())]
    for of_32_bit, of_64_bit in zip(found, expected, strict=True):
        assert of_32_bit.dtype is torch.bfloat16
        # Where the exact sum lies within 32 bit's own error of the middle of two numbers, either may come.
        assert (of_32_bit != of_64_bit.bfloat16()).sum() <= max(1, 0.005 * of_32_bit.numel())
        assert torch.allclose(of_32_bit.double(), of_64_bit, rtol=2**-8, atol=1e-4)


def test_single_precision_is_left_alone():
    layer, values = nn.Linear(40, 7), torch.randn(32, 40)
    with InSinglePrecision():
        assert torch.equal(layer(values), nn.functional.linear(values, layer.weight, layer.bias))


class Seen(TorchDispatchMode):
    """The number formats of convolutions and their gradients that reach torch."""

    def __init__(self):
        super().__init__()
        self.formats = {"aten.convolution": set(), "aten.convolution_backward": set()}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if str(func.overloadpacket) in self.formats:
            self.formats[str(func.overloadpacket)].add(args[0].dtype)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(("instructions", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_a_step_multiplies_in_what_the_processor_has(tmp_path, monkeypatch, instructions, expected):
    monkeypatch.setattr(loop, "multiplies_bfloat16", lambda: instructions)
    trainer = trainer_in(tmp_path / "run", MIXED)
    trainer.network.train()
    with Seen() as seen:
        trainer.train_step(next(iter(trainer.batches.epoch(0, 0, trainer.fabric.device))))
    assert seen.formats == {"aten.convolution": {expected}, "aten.convolution_backward": {expected}}


def test_other_precisions_are_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "multiplies_bfloat16", lambda: False)
    assert not isinstance(trainer_in(tmp_path / "run", CONFIG).products, InSinglePrecision)
