"""The replacements of torch's bfloat16 operations compute what bfloat16 instructions compute."""

from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from mien.config import NetworkConfig
from mien.training import bfloat16
from mien.training.bfloat16 import (
    FastDepthwiseGradients,
    Float32Products,
    has_bfloat16_instructions,
    use_depthwise_operation,
)
from tests.training.small_run import CONFIG, trainer_in

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
def test_float32_products_round_once(layer, shape):
    assert_rounded_once(layer, shape, Float32Products())


@pytest.mark.skipif(not has_bfloat16_instructions(), reason="torch emulates bfloat16 on this CPU")
@pytest.mark.parametrize(("layer", "shape"), DEPTHWISE)
def test_fast_depthwise_gradients_round_once(layer, shape):
    assert_rounded_once(layer, shape, FastDepthwiseGradients())


@pytest.mark.parametrize(("layer", "shape"), [pair for pair in DEPTHWISE if pair[0].bias is None])
def test_depthwise_operation_equals_depthwise_convolution(layer, shape):
    layer = deepcopy(layer).bfloat16()
    replaced = nn.Sequential(deepcopy(layer))
    use_depthwise_operation(replaced)
    values = torch.randn(shape).bfloat16().contiguous(memory_format=torch.channels_last).requires_grad_()
    others = values.detach().clone().requires_grad_()
    with FastDepthwiseGradients():
        expected = layer(values)
        gradient = torch.randn_like(expected)
        expected.backward(gradient)
    result = replaced(others)
    result.backward(gradient)
    assert torch.equal(result, expected)
    assert torch.equal(others.grad, values.grad)
    assert torch.equal(replaced[0].weight.grad, layer.weight.grad)
    assert replaced.state_dict().keys() == {"0.weight"}


def test_depthwise_operation_is_for_training_mode_only():
    layer = nn.Conv2d(16, 16, 3, padding=1, groups=16, bias=False)
    use_depthwise_operation(layer)
    assert layer.eval()(torch.randn(2, 16, 8, 8)).dtype is torch.float32


def assert_rounded_once(layer, shape, mode):
    layer = deepcopy(layer).bfloat16()
    exact = deepcopy(layer).double()
    values = torch.randn(shape).bfloat16().requires_grad_()
    exact_values = values.detach().double().requires_grad_()
    with mode:
        result = layer(values)
        gradient = torch.randn_like(result)
        result.backward(gradient)
    exact_result = exact(exact_values)
    exact_result.backward(gradient.double())

    actual = [result, values.grad, *(parameter.grad for parameter in layer.parameters())]
    expected = [exact_result, exact_values.grad, *(parameter.grad for parameter in exact.parameters())]
    for rounded, exact_value in zip(actual, expected, strict=True):
        assert rounded.dtype is torch.bfloat16
        # An exact sum close to the middle of two bfloat16 numbers may be rounded either way.
        assert (rounded != exact_value.bfloat16()).sum() <= max(1, 0.005 * rounded.numel())
        assert torch.allclose(rounded.double(), exact_value, rtol=2**-8, atol=1e-4)


def test_float32_layers_are_unchanged():
    layer, values = nn.Linear(40, 7), torch.randn(32, 40)
    with Float32Products():
        assert torch.equal(layer(values), nn.functional.linear(values, layer.weight, layer.bias))


def test_gradients_of_grouped_convolutions_are_unchanged():
    layer, values = nn.Conv2d(16, 16, 5, groups=4).bfloat16(), torch.randn(4, 16, 8, 8).bfloat16()
    expected = torch.autograd.grad(layer(values).sum(), layer.weight)
    with FastDepthwiseGradients():
        actual = torch.autograd.grad(layer(values).sum(), layer.weight)
    assert torch.equal(actual[0], expected[0])


class RecordConvolutions(TorchDispatchMode):
    """Records the arguments of the convolutions and their gradients that reach torch."""

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
        with cls() as record:
            trainer.train_step(next(iter(trainer.batches.epoch(0, 0, trainer.fabric.device))))
        return record.calls


@pytest.mark.parametrize(("instructions", "expected"), [(True, torch.bfloat16), (False, torch.float32)])
def test_step_uses_bfloat16_only_if_the_cpu_has_instructions(tmp_path, monkeypatch, instructions, expected):
    monkeypatch.setattr(bfloat16, "has_bfloat16_instructions", lambda: instructions)
    calls = RecordConvolutions.in_a_step(trainer_in(tmp_path / "run", MIXED))
    formats = {name: {args[0].dtype for args in each} for name, each in calls.items()}
    assert formats == {"aten.convolution": {expected}, "aten.convolution_backward": {expected}}


def test_step_avoids_depthwise_gradients_that_torch_computes_slowly(tmp_path, monkeypatch):
    monkeypatch.setattr(bfloat16, "has_bfloat16_instructions", lambda: True)
    config = replace(MIXED, network=NetworkConfig(name="efficientnet_lite0", variant="", size=32))
    calls = RecordConvolutions.in_a_step(trainer_in(tmp_path / "run", config))
    depthwise = [args for args in calls["aten.convolution_backward"] if args[9] > 1 and args[0].dtype is torch.bfloat16]
    assert any(needs_inputs for *_, (needs_inputs, _, _) in depthwise)
    assert any(needs_weight for *_, (_, needs_weight, _) in depthwise)
    for _, _, weight, _, stride, *_, (needs_inputs, needs_weight, _) in depthwise:
        assert not needs_inputs or max(stride) == 1
        assert not needs_weight or max(weight.shape[2:]) <= 3


def test_other_precisions_have_no_product_mode(tmp_path, monkeypatch):
    monkeypatch.setattr(bfloat16, "has_bfloat16_instructions", lambda: False)
    assert not isinstance(trainer_in(tmp_path / "run", CONFIG).product_mode, TorchDispatchMode)
