"""bf16-mixed on processors: other ways to the products that torch is slow at there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode

_PRODUCTS = {
    torch.ops.aten.convolution.default,
    torch.ops.aten.convolution_backward.default,
    torch.ops.aten.addmm.default,
    torch.ops.aten.mm.default,
    torch.ops.aten.bmm.default,
}


def multiplies_bfloat16() -> bool:
    """Whether the processor has instructions for products in bfloat16; where torch cannot say, it is believed to."""
    if not hasattr(torch.cpu, "get_capabilities"):  # an older torch
        return True
    capabilities = torch.cpu.get_capabilities()
    return any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "bf16"))


class InSinglePrecision(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Products of bfloat16 numbers are taken in 32 bit and rounded to bfloat16, forward and backward, while entered.

    That is what a processor's bfloat16 instructions do too: they add up in 32 bit. Where there are none, torch imitates
    them by itself, two to three times as slowly (see results/LOG.md).
    """

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Called by torch in place of each operation."""
        if func not in _PRODUCTS or args[0].dtype is not torch.bfloat16:
            return func(*args, **(kwargs or {}))
        result = func(*map(_widened, args), **(kwargs or {}))
        return tuple(map(_rounded, result)) if isinstance(result, tuple) else _rounded(result)


def is_depthwise(layer: nn.Module) -> bool:
    """Whether a layer is a convolution of each channel alone."""
    return isinstance(layer, nn.Conv2d) and layer.groups == layer.in_channels == layer.out_channels > 1


class FastDepthwiseGradients(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Gradients of depthwise convolutions of bfloat16 numbers on a CPU, each by a way that is fast, while entered.

    torch is fast at the gradients of 3x3 filters, and at those of values that are read with stride 1. The others it
    takes one number at a time, more than half of EfficientNet-Lite0's step (see results/LOG.md). So the gradients of
    larger filters are put together from 3x3 parts, and those of values read with a larger stride are taken in 32 bit.
    """

    def __torch_dispatch__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Called by torch in place of each operation."""
        if not _is_depthwise_backward(func, args) or args[0].dtype is not torch.bfloat16:
            return func(*args, **(kwargs or {}))
        *operands, (of_values, of_weight, of_bias) = args
        gradient, values, weight, _, stride, padding, *_ = operands
        by_values = by_weight = None
        if of_values:
            exact = operands if max(stride) == 1 else map(_widened, operands)
            by_values = _rounded(func(*exact, (True, False, False))[0])
        if of_weight:
            by_weight = _filter_gradient(gradient, values, weight, stride, padding)
        return by_values, by_weight, gradient.sum((0, 2, 3)) if of_bias else None


def _is_depthwise_backward(func: Callable[..., Any], args: tuple[Any, ...]) -> bool:
    if func is not torch.ops.aten.convolution_backward.default:
        return False
    _, values, weight, _, _, _, dilation, transposed, *_ = args
    one_a_channel = weight.ndim == 4 and weight.shape[:2] == (values.shape[1], 1)
    return one_a_channel and len(weight) > 1 and max(dilation) == 1 and not transposed


def _filter_gradient(gradient: Tensor, values: Tensor, weight: Tensor, stride: list[int], padding: list[int]) -> Tensor:
    """The gradient of a depthwise convolution's filters, no part of which is larger than 3x3.

    A part of a filter is a smaller filter over values that begin further on.
    """
    by_weight = torch.empty_like(weight)
    padded = F.pad(values, (padding[1], padding[1], padding[0], padding[0]))
    for top, height in _parts(weight.shape[2]):
        bottom = top + (gradient.shape[2] - 1) * stride[0] + height
        for left, width in _parts(weight.shape[3]):
            right = left + (gradient.shape[3] - 1) * stride[1] + width
            rows, columns = slice(top, top + height), slice(left, left + width)
            by_weight[:, :, rows, columns] = torch.ops.aten.convolution_backward(
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
    return by_weight


def _parts(length: int) -> list[tuple[int, int]]:
    """Where parts of at most 3 begin, and how long they are; all are equally long, so that they may overlap."""
    part = min(length, 3)
    return [(start, part) for start in sorted({*range(0, length - part, part), length - part})]


def _widened(argument: Any) -> Any:
    return argument.float() if isinstance(argument, Tensor) else argument


def _rounded(result: Tensor | None) -> Tensor | None:
    return None if result is None else result.bfloat16()
