"""MobileFaceNet's parts compute what they are described to compute."""

import pytest
import torch
from torch.nn import functional as F

from mien.networks.mobilefacenet import Backbone, PReLU, SameConv2d, WeightedAverage


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("memory_format", [torch.channels_last, torch.contiguous_format])
def test_prelu_in_training_mode_equals_torchs(dtype, memory_format):
    torch.manual_seed(0)
    layer = PReLU(6)
    torch.nn.init.normal_(layer.weight)
    images = torch.randn(3, 6, 5, 4).to(dtype).contiguous(memory_format=memory_format)
    gradient = torch.randn_like(images)
    results = []
    for function in (layer.train(), lambda x: F.prelu(x, layer.weight.to(x.dtype))):
        x = images.clone().requires_grad_()
        layer.zero_grad()
        result = function(x)
        result.backward(gradient)
        results.append((result, x.grad, layer.weight.grad.clone()))
    for mine, torchs in zip(*results, strict=True):
        assert torch.allclose(mine.float(), torchs.float(), rtol=1e-2, atol=1e-5)


def test_prelu_gradient_is_the_derivative():
    layer = PReLU(3).double().train()
    x = torch.randn(2, 3, 2, 2, dtype=torch.float64, requires_grad=True)
    slopes = torch.tensor([0.3, -2.0, 5.0], dtype=torch.float64, requires_grad=True)

    def function(x, slopes):
        return torch.func.functional_call(layer, {"weight": slopes}, (x,))

    assert torch.autograd.gradcheck(function, (x, slopes))


@pytest.mark.parametrize("size", [7, 8])
@pytest.mark.parametrize("stride", [1, 2])
def test_same_convolution_pads_as_tensorflow_does(size, stride):
    layer = SameConv2d(1, 1, 3, stride)
    torch.nn.init.ones_(layer.weight)
    result = layer(torch.ones(1, 1, size, size))
    assert result.shape[-1] == -(-size // stride)
    padded_before = stride == 1 or size % 2
    assert result[0, 0, 0, 0] == (4 if padded_before else 9)
    assert result[0, 0, -1, -1] == 4


def test_weighted_average_of_other_sizes():
    pool = WeightedAverage(4)
    for size in (3, 5, 7):
        images = torch.randn(2, 4, size, size)
        assert torch.allclose(pool(images), images.mean(dim=(2, 3), keepdim=True), atol=1e-6)
    torch.nn.init.normal_(pool.weight)
    images = torch.randn(2, 4, 7, 7)
    assert torch.allclose(pool(images), F.conv2d(images, pool.weight, groups=4), atol=1e-5)


@torch.inference_mode()
def test_stages_have_the_documented_shapes():
    backbone = Backbone(1).eval()
    x = backbone.stem(torch.zeros(1, 1, 112, 112))
    shapes = [tuple(x.shape[1:])]
    for stage in backbone.stages:
        x = stage(x)
        shapes.append(tuple(x.shape[1:]))
    assert shapes == [(64, 56, 56), (64, 28, 28), (128, 14, 14), (128, 7, 7)]
    assert backbone.head(x).shape[1:] == (512, 7, 7)
