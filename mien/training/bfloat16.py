"""bf16-mixed on processors that cannot multiply bfloat16 themselves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
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


def _widened(argument: Any) -> Any:
    return argument.float() if isinstance(argument, Tensor) else argument


def _rounded(result: Tensor | None) -> Tensor | None:
    return None if result is None else result.bfloat16()
