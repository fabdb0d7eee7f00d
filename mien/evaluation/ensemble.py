"""Ensembles: several predictions of the same faces averaged into one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from mien.errors import ConfigError
from mien.predictions import check_same_faces
from mien.types import Predictions, mean_logits


def ensemble(members: Sequence[Predictions], weights: Sequence[float] | None = None) -> Predictions:
    """Averages the probabilities of the members; the logits of the result are the logarithm of the mean.

    Args:
        members: One or more predictions of the same faces, from several networks or several views.
        weights: The weight of each member, above 0; None weighs all equally.

    Raises:
        DataError: The members have different faces, or the same faces in another order.
        ConfigError: The number of weights is not that of the members, or a weight is not above 0.
    """
    check_same_faces(members)
    if weights is not None and (len(weights) != len(members) or not all(0 < weight < math.inf for weight in weights)):
        given = ", ".join(f"{weight:g}" for weight in weights)
        raise ConfigError(f"an ensemble of {len(members)} needs as many weights, each above 0, got {given or 'none'}")
    return replace(members[0], logits=mean_logits([member.probabilities for member in members], weights))
