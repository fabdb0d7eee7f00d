"""Several predictions of the same faces as one."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from mien.errors import ConfigError
from mien.predictions import check_same_faces
from mien.types import Predictions, mean_logits


def ensemble(members: Sequence[Predictions], weights: Sequence[float] | None = None) -> Predictions:
    """The mean of the members' probabilities; its logits are that mean's logarithm.

    Args:
        members: At least one: of several networks, or of several views of the faces.
        weights: What each member counts for, above 0; None counts all alike.

    Raises:
        DataError: They are not of the same faces in the same order.
        ConfigError: There is not one weight a member, or one is not above 0.
    """
    check_same_faces(members)
    if weights is not None and (len(weights) != len(members) or not all(0 < weight < math.inf for weight in weights)):
        said = ", ".join(f"{weight:g}" for weight in weights)
        raise ConfigError(f"an ensemble of {len(members)} takes as many weights, each above 0, got {said or 'none'}")
    return replace(members[0], logits=mean_logits([member.probabilities for member in members], weights))
