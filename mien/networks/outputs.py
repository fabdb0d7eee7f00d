"""The one return type of all networks."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Outputs(NamedTuple):
    """What a network's forward pass returns.

    Attributes:
        logits: (N, K) class scores before softmax.
        masks: One (N, C, h, w) tensor in [0, 1] for each masked stage; empty for a network without masks.
        reconstruction: (N, C, H, W) image in [0, 1]; None for a network without a decoder and in evaluation mode.
        auxiliary_logits: (N, K) scores of each auxiliary head; empty for a network without one and in evaluation mode.
    """

    logits: Tensor
    masks: tuple[Tensor, ...] = ()
    reconstruction: Tensor | None = None
    auxiliary_logits: tuple[Tensor, ...] = ()
