"""What every network returns."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Outputs(NamedTuple):
    """The one return type of all networks.

    Attributes:
        logits: (N, K) class scores before softmax.
        masks: One (N, C, h, w) tensor a masked stage, values in [0, 1]; empty where the network has no masks.
        reconstruction: (N, C, H, W) image in [0, 1], or None where there is no decoder or the network is in
            evaluation mode.
        auxiliary_logits: (N, K) scores of auxiliary heads, training mode only; empty elsewhere.
    """

    logits: Tensor
    masks: tuple[Tensor, ...] = ()
    reconstruction: Tensor | None = None
    auxiliary_logits: tuple[Tensor, ...] = ()
