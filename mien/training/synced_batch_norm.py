"""Batch norms whose statistics are those of the batches of all processes, so that a step is the same for any number."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm


class CpuSyncBatchNorm(_BatchNorm):
    """What `torch.nn.SyncBatchNorm` computes, which runs on GPUs only. All processes have batches of the same size."""

    def forward(self, input: Tensor) -> Tensor:  # noqa: A002  (torch's name)
        """(N, C, ...) -> (N, C, ...)."""
        if not self.training:
            return super().forward(input)
        values = input.to(torch.promote_types(input.dtype, torch.float32))
        dims = [0, *range(2, values.ndim)]
        shape = (1, -1, *[1] * (values.ndim - 2))
        world_size = torch.distributed.get_world_size()
        mean: Tensor = _Sum.apply(values.mean(dims)) / world_size
        centred = values - mean.view(shape)
        variance: Tensor = _Sum.apply(centred.square().mean(dims)) / world_size
        self._update_statistics(mean.detach(), variance.detach(), world_size * values.numel() // values.shape[1])
        scale = self.weight.to(values.dtype) / (variance + self.eps).sqrt()
        shift = self.bias.to(values.dtype).view(shape)
        return torch.addcmul(shift, centred, scale.view(shape)).to(input.dtype)

    def _update_statistics(self, mean: Tensor, variance: Tensor, n: int) -> None:
        """Updates the running statistics; n is the number of values of a channel in all processes."""
        assert self.running_mean is not None  # for mypy: all batch norms of mien track statistics
        assert self.running_var is not None
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        momentum = 1 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
        self.running_mean.lerp_(mean, momentum)
        self.running_var.lerp_(variance * (n / max(n - 1, 1)), momentum)


class _Sum(torch.autograd.Function):
    """The sum of a tensor over all processes; so is its gradient."""

    @staticmethod
    def forward(ctx: Any, values: Tensor) -> Tensor:
        """Returns the sum."""
        return _summed(values)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        """Returns the gradient, to which the losses of all processes contribute."""
        return _summed(gradients[0])


def _summed(values: Tensor) -> Tensor:
    total = values.contiguous().clone()
    torch.distributed.all_reduce(total)
    return total


def sync_batch_norms(network: nn.Module, device: torch.device) -> None:
    """Makes all batch norms of a network use the batches of all processes. They keep their names and weights."""
    synced: type[_BatchNorm] = nn.SyncBatchNorm if device.type == "cuda" else CpuSyncBatchNorm
    for module in network.modules():
        if isinstance(module, _BatchNorm):
            own = type(module)
            # Before the class of torch in the order of inheritance, and behind what a subclass adds to a batch norm.
            module.__class__ = type(f"Synced{own.__name__}", (own, synced), {"process_group": None})
