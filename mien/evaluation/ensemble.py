"""Several predictions of the same faces as one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mien.predictions import refuse_other_faces
from mien.types import Predictions


def ensemble(members: Sequence[Predictions]) -> Predictions:
    """The mean of the members' probabilities; its logits are that mean's logarithm.

    Args:
        members: At least one: of several networks, or of several views of the faces.

    Raises:
        DataError: They are not of the same faces in the same order.
    """
    refuse_other_faces(members)
    mean = np.mean([member.probabilities for member in members], axis=0)
    smallest = np.finfo(np.float32).tiny  # a probability too small to be told from 0 still has a logarithm
    return replace(members[0], logits=np.log(np.maximum(mean, smallest)).astype(np.float32))
