"""Several predictions of the same faces as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mien.predictions import refuse_other_faces
from mien.types import Predictions, mean_logits


def ensemble(members: Sequence[Predictions]) -> Predictions:
    """The mean of the members' probabilities; its logits are that mean's logarithm.

    Args:
        members: At least one: of several networks, or of several views of the faces.

    Raises:
        DataError: They are not of the same faces in the same order.
    """
    refuse_other_faces(members)
    return replace(members[0], logits=mean_logits([member.probabilities for member in members]))
