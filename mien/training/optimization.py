"""Optimizer, learning-rate schedule and moving average of the weights."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mien.config import TrainingConfig


def make_optimizer(network: nn.Module, training: TrainingConfig) -> torch.optim.Optimizer:
    """Returns the optimizer; only parameters with two or more dimensions have weight decay, no bias or batch norm."""
    weights = [parameter for parameter in network.parameters() if parameter.ndim > 1]
    others = [parameter for parameter in network.parameters() if parameter.ndim <= 1]
    groups = [{"params": weights, "weight_decay": training.weight_decay}, {"params": others, "weight_decay": 0.0}]
    if training.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=training.learning_rate)
    if training.optimizer == "radam":
        # Decoupled as in the base project: RAdam would normalise a weight decay that is part of the gradient.
        return torch.optim.RAdam(groups, lr=training.learning_rate, decoupled_weight_decay=True)
    return torch.optim.SGD(groups, lr=training.learning_rate, momentum=0.9, nesterov=True)


def make_scheduler(optimizer: torch.optim.Optimizer, training: TrainingConfig, steps: int) -> Any:
    """Returns the learning-rate schedule.

    Args:
        optimizer: The optimizer whose learning rate it sets.
        training: The settings.
        steps: Steps per epoch.

    Returns:
        A OneCycleLR, stepped after every step, or a ReduceLROnPlateau, stepped after every epoch.
    """
    if training.schedule == "plateau":
        return torch.optim.lr_scheduler.ReduceLROnPlateau(
            optimizer, mode="max", factor=0.1, patience=training.plateau_patience
        )
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer,
        max_lr=training.learning_rate,
        total_steps=training.epochs * steps + 1,  # the state before the first step counts, too
        # torch divides by the length of the warm-up minus one step, so a warm-up of exactly one step would fail.
        pct_start=training.warmup * (1 - 1e-9),
        cycle_momentum=False,
        final_div_factor=1e3,
    )


def moving_average(decay: float) -> Callable[[Sequence[Tensor], Sequence[Tensor], Tensor | int], None]:
    """Returns the update of an exponential moving average, for `AveragedModel`.

    The decay rises to `decay` over the first steps, so that the average soon forgets the initial weights.
    """

    @torch.no_grad()
    def update(averaged: Sequence[Tensor], current: Sequence[Tensor], count: Tensor | int) -> None:
        n = int(count)
        if averaged[0].is_floating_point():
            torch._foreach_lerp_(list(averaged), list(current), 1 - min(decay, (1 + n) / (10 + n)))
        else:
            torch._foreach_copy_(list(averaged), list(current))

    return update
