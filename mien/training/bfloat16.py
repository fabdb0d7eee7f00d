"""bf16-mixed on CPUs: faster replacements for operations that torch computes slowly in bfloat16."""

from __future__ import annotations

import functools
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

from mien.config import TrainingConfig

_PRODUCTS = {
    torch.ops.aten.convolution.default,
    torch.ops.aten.convolution_backward.default,
    torch.ops.aten.addmm.default,
    torch.ops.aten.mm.default,
    torch.ops.aten.bmm.default,
}


def product_mode(training: TrainingConfig, network: nn.Module, device: torch.device) -> AbstractContextManager[object]:
    """Returns the context in which a training step computes its products fastest."""
    # A compiled network does not see what a dispatch mode puts in place of an operation.
    if training.precision == "bf16-mixed" and device.type == "cpu" and not training.compile:
        if not has_bfloat16_instructions():
            return Float32Products()  # type: ignore[no-untyped-call]
        if any(map(is_depthwise, network.modules())):
            return FastDepthwiseGradients()  # type: ignore[no-untyped-call]
    return nullcontext()


def has_bfloat16_instructions() -> bool:
    """Whether the CPU has instructions for bfloat16 products; True if torch is too old to know."""
    if not hasattr(torch.cpu, "get_capabilities"):
        return True
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


class Float32Products(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A context in which products of bfloat16 tensors are computed in float32 and rounded, forward and backward.

    The bfloat16 instructions of CPUs accumulate in float32 as well. On a CPU without them, torch emulates bfloat16
    products, which takes two to three times as long (see results/LOG.md).
    """

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Replaces an operation; called by torch."""
        if func not in _PRODUCTS or args[0].dtype is not torch.bfloat16:
            return func(*args, **(kwargs or {}))
        result = func(*map(_to_float32, args), **(kwargs or {}))
        return tuple(map(_to_bfloat16, result)) if isinstance(result, tuple) else _to_bfloat16(result)


def is_depthwise(layer: nn.Module) -> bool:
    """Whether a layer is a depthwise convolution."""
    return isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels == layer.out_channels > 1


class FastDepthwiseGradients(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """A context in which the gradients of depthwise bfloat16 convolutions are computed in a faster way on a CPU.

    torch is fast at the gradient of 3x3 filters and at the gradient of inputs with stride 1. It computes all others one
    value at a time, which takes more than half of EfficientNet-Lite0's step (see results/LOG.md). Here, the gradient of
    a larger filter is assembled from tiles of at most 3x3, and the gradient of an input with a larger stride is
    computed in float32.
    """

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Replaces an operation; called by torch."""
        if not _is_depthwise_backward(func, args) or args[0].dtype is not torch.bfloat16:
            return func(*args, **(kwargs or {}))
        gradient, inputs, weight, _, stride, padding, *_, (needs_inputs, needs_weight, needs_bias) = args
        inputs_gradient = weight_gradient = None
        if needs_inputs:
            inputs_gradient = _inputs_gradient(gradient, inputs, weight, stride, padding)
        if needs_weight:
            weight_gradient = _filter_gradient(gradient, inputs, weight, stride, padding)
        return inputs_gradient, weight_gradient, gradient.sum((0, 2, 3)) if needs_bias else None


@torch.library.custom_op("mien::depthwise", mutates_args=())
def depthwise(inputs: Tensor, weight: Tensor, stride: list[int], padding: list[int]) -> Tensor:
    """Computes a depthwise bfloat16 convolution whose gradients are fast, as one operation for torch.compile.

    torch.compile does not see a TorchDispatchMode such as `FastDepthwiseGradients`.

    Args:
        inputs: (N, C, H, W).
        weight: (C, 1, h, w).
        stride: Of the rows and of the columns.
        padding: Of the rows and of the columns.

    Returns:
        (N, C, H', W'), channels last.
    """
    result: Tensor = torch.ops.aten.convolution.default(
        inputs, weight, None, stride, padding, [1, 1], False, [0, 0], len(weight)
    )
    return result.contiguous(memory_format=torch.channels_last)


@torch.library.custom_op("mien::depthwise_gradients", mutates_args=())
def _depthwise_gradients(
    gradient: Tensor, inputs: Tensor, weight: Tensor, stride: list[int], padding: list[int]
) -> tuple[Tensor, Tensor]:
    gradient = gradient.contiguous(memory_format=torch.channels_last)
    return (
        _inputs_gradient(gradient, inputs, weight, stride, padding).contiguous(memory_format=torch.channels_last),
        _filter_gradient(gradient, inputs, weight, stride, padding),
    )


@depthwise.register_fake
def _(inputs: Tensor, weight: Tensor, stride: list[int], padding: list[int]) -> Tensor:
    lengths = [
        (inputs.shape[axis] + 2 * padding[axis - 2] - weight.shape[axis]) // stride[axis - 2] + 1 for axis in (2, 3)
    ]
    return inputs.new_empty(*inputs.shape[:2], *lengths).to(memory_format=torch.channels_last)


@_depthwise_gradients.register_fake
def _(gradient: Tensor, inputs: Tensor, weight: Tensor, stride: list[int], padding: list[int]) -> tuple[Tensor, Tensor]:
    return torch.empty_like(inputs, memory_format=torch.channels_last), torch.empty_like(weight)


def _save_operands(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    values, weight, ctx.stride, ctx.padding = inputs
    ctx.save_for_backward(values, weight)


def _depthwise_backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
    values, weight = ctx.saved_tensors
    return *_depthwise_gradients(gradient, values, weight, ctx.stride, ctx.padding), None, None


depthwise.register_autograd(_depthwise_backward, setup_context=_save_operands)


def use_depthwise_operation(network: nn.Module) -> None:
    """Makes the depthwise convolutions without bias of a network use `depthwise` in training mode.

    Only for bf16-mixed on a CPU. The parameters and their names do not change.
    """
    for layer in network.modules():
        if isinstance(layer, nn.Conv2d) and is_depthwise(layer) and layer.bias is None and max(layer.dilation) == 1:
            layer._conv_forward = functools.partial(_training_forward, layer, layer._conv_forward)  # type: ignore[method-assign]


def _training_forward(
    layer: nn.Conv2d, forward: Callable[..., Tensor], inputs: Tensor, weight: Tensor, bias: Tensor | None
) -> Tensor:
    if not layer.training:
        return forward(inputs, weight, bias)
    channels_last = inputs.bfloat16().contiguous(memory_format=torch.channels_last)
    result: Tensor = depthwise(channels_last, weight.bfloat16(), list(layer.stride), list(layer.padding))
    return result


def _inputs_gradient(gradient: Tensor, inputs: Tensor, weight: Tensor, stride: list[int], padding: list[int]) -> Tensor:
    """Returns the gradient of a depthwise convolution's inputs, computed in float32 if the stride is larger than 1."""
    operands = gradient, inputs, weight
    if max(stride) > 1:
        operands = gradient.float(), inputs.float(), weight.float()
    inputs_gradient: Tensor = torch.ops.aten.convolution_backward.default(
        *operands, None, stride, padding, [1, 1], False, [0, 0], len(weight), (True, False, False)
    )[0]
    return inputs_gradient.bfloat16()


def _is_depthwise_backward(func: Callable[..., Any], args: tuple[Any, ...]) -> bool:
    if func is not torch.ops.aten.convolution_backward.default:
        return False
    _, inputs, weight, _, _, _, dilation, transposed, *_ = args
    one_per_channel = weight.ndim == 4 and weight.shape[:2] == (inputs.shape[1], 1)
    return one_per_channel and len(weight) > 1 and max(dilation) == 1 and not transposed


def _filter_gradient(gradient: Tensor, inputs: Tensor, weight: Tensor, stride: list[int], padding: list[int]) -> Tensor:
    """Returns the gradient of a depthwise convolution's filters, computed in tiles of at most 3x3.

    A tile is a smaller filter whose inputs begin at the tile's offset.
    """
    filter_gradient = torch.empty_like(weight)
    padded = F.pad(inputs, (padding[1], padding[1], padding[0], padding[0]))
    for top, height in _tiles(weight.shape[2]):
        bottom = top + (gradient.shape[2] - 1) * stride[0] + height
        for left, width in _tiles(weight.shape[3]):
            right = left + (gradient.shape[3] - 1) * stride[1] + width
            rows, columns = slice(top, top + height), slice(left, left + width)
            filter_gradient[:, :, rows, columns] = torch.ops.aten.convolution_backward(
                gradient,
                padded[:, :, top:bottom, left:right].contiguous(memory_format=torch.channels_last),
                weight[:, :, rows, columns].contiguous(),
                None,
                stride,
                [0, 0],
                [1, 1],
                False,
                [0, 0],
                len(weight),
                (False, True, False),
            )[1]
    return filter_gradient


def _tiles(length: int) -> list[tuple[int, int]]:
    """Returns offset and length of tiles that cover `length`: all at most 3 long and equally long, so some overlap."""
    tile = min(length, 3)
    return [(offset, tile) for offset in sorted({*range(0, length - tile, tile), length - tile})]


def _to_float32(argument: Any) -> Any:
    return argument.float() if isinstance(argument, Tensor) else argument


def _to_bfloat16(result: Tensor | None) -> Tensor | None:
    return None if result is None else result.bfloat16()
