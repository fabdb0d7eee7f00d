"""Products of bfloat16 numbers by other ways than torch's are those that bfloat16 instructions give."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from mien.config import NetworkConfig
from mien.training import loop
from mien.training.bfloat16 import FastDepthwiseGradients, InSinglePrecision, multiplies_bfloat16
from tests.training.test_loop import CONFIG, trainer_in

MIXED = replace(CONFIG, training=replace(CONFIG.training, precision="bf16-mixed"))

LAYERS = [
    (nn.Conv2d(8, 16, 3, padding=1, groups=2), (4, 8, 12, 12)),
    (nn.Conv2d(8, 16, 3, stride=2, bias=False), (4, 8, 12, 12)),
    (nn.ConvTranspose2d(8, 16, 4, stride=2, padding=1), (4, 8, 6, 6)),
    (nn.Linear(40, 7), (32, 40)),
    (nn.Linear(40, 7, bias=False), (32, 40)),
]


DEPTHWISE = [
    (nn.Conv2d(16, 16, 3, padding=1, groups=16), (4, 16, 12, 12)),
    (nn.Conv2d(16, 16, 3, stride=2, padding=1, groups=16, bias=False), (4, 16, 12, 12)),
    (nn.Conv2d(16, 16, 5, padding=2, groups=16), (4, 16, 7, 9)),
    (nn.Conv2d(16, 16, 5, stride=2, groups=16), (4, 16, 12, 12)),
    (nn.Conv2d(16, 16, 7, padding=3, groups=16), (4, 16, 12, 12)),
    (nn.Conv2d(16, 16, (1, 6), stride=(2, 1), padding=(0, 2), groups=16), (4, 16, 12, 12)),
]


@pytest.mark.parametrize(("layer", "shape"), LAYERS)
def test_each_number_is_the_exact_sum_rounded_once(layer, shape):
    check_rounded_once(layer, shape, InSinglePrecision())


@pytest.mark.skipif(not multiplies_bfloat16(), reason="torch imitates bfloat16 here")
@pytest.mark.parametrize(("layer", "shape"), DEPTHWISE)
def test_so_are_the_gradients_of_depthwise_convolutions(layer, shape):
    check_rounded_once(layer, shape, FastDepthwiseGradients())


def check_rounded_once(layer, shape, products):
    layer = deepcopy(layer).bfloat16()
    exact = deepcopy(layer).double()
    values = torch.randn(shape).bfloat16().requires_grad_()
    exact_values = values.detach().double().requires_grad_()
    with products:
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


def test_gradients_of_other_convolutions_are_left_alone():
    layer, values = nn.Conv2d(16, 16, 5, groups=4).bfloat16(), torch.randn(4, 16, 8, 8).bfloat16()
    expected = torch.autograd.grad(layer(values).sum(), layer.weight)
    with FastDepthwiseGradients():
        found = torch.autograd.grad(layer(values).sum(), layer.weight)
    assert torch.equal(found[0], expected[0])


class Seen(TorchDispatchMode):
    """The convolutions and their gradients that reach torch, with their arguments."""

    def __init__(self):
        super().__init__()
        self.calls = {"aten.convolution": [], "aten.convolution_backward": []}

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if str(func.overloadpacket) in self.calls:
            self.calls[str(func.overloadpacket)].append(args)
        return func(*args, **(kwargs or {}))

    @classmethod
    def in_a_step(cls, trainer):
        trainer.network.train()
        with cls() as seen:
            trainer.train_step(next(iter(trainer.batches.epoch(0, 0, trainer.fabric.device))))
        return seen.calls


@pytest.mark.parametrize(("instructions", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_a_step_multiplies_in_what_the_processor_has(tmp_path, monkeypatch, instructions, expected):
    monkeypatch.setattr(loop, "multiplies_bfloat16", lambda: instructions)
    calls = Seen.in_a_step(trainer_in(tmp_path / "run", MIXED))
    formats = {name: {args[0].dtype for args in each} for name, each in calls.items()}
    assert formats == {"aten.convolution": {expected}, "aten.convolution_backward": {expected}}


def test_a_step_takes_no_depthwise_gradient_that_torch_is_slow_at(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "multiplies_bfloat16", lambda: True)
    config = replace(MIXED, network=NetworkConfig(name="efficientnet_lite0", variant="", size=32))
    calls = Seen.in_a_step(trainer_in(tmp_path / "run", config))
    depthwise = [args for args in calls["aten.convolution_backward"] if args[9] > 1 and args[0].dtype is torch.bfloat16]
    assert any(of_values for *_, (of_values, _, _) in depthwise)
    assert any(of_weight for *_, (_, of_weight, _) in depthwise)
    for _, _, weight, _, stride, *_, (of_values, of_weight, _) in depthwise:
        assert not of_values or max(stride) == 1
        assert not of_weight or max(weight.shape[2:]) <= 3


def test_other_precisions_are_left_alone(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "multiplies_bfloat16", lambda: False)
    assert not isinstance(trainer_in(tmp_path / "run", CONFIG).products, TorchDispatchMode)
