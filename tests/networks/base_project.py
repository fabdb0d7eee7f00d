"""Maps our parameter names to those of the base project (phamquiluan/ResidualMaskingNetwork, MIT); seeded weights.

This file contains no code of the base project. Its code computed the golden logits in `test_resmasking.py` once, from
the weights that `seeded_weights` returns.
"""

from __future__ import annotations

import re
import zlib

import numpy as np
import torch
from torch import Tensor


def base_name(key: str) -> str:
    """Our state dict key -> that of the base project."""
    if match := re.fullmatch(r"masks\.(\d)\.(down|up|enlarge|head)(?:\.(\d))?\.(.+)", key):
        stage, part, index, rest = match.groups()
        depth = 4 - int(stage)
        number = {
            "down": lambda i: f"conv{i + 1}",
            "up": lambda i: f"conv{depth + i + 1}",
            "enlarge": lambda i: f"up_pool{depth + i + 1}",
            "head": lambda _: f"conv{2 * depth}",
        }[part](int(index or 0))
        return f"mask{int(stage) + 1}.{number}.{rest}"
    return key.removeprefix("backbone.")


def seeded_weights(shapes: dict[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """Weights that depend on each parameter's name alone: He-scaled convolutions, batch norms near the identity."""
    weights = {}
    for name, shape in shapes.items():
        random = np.random.RandomState(zlib.crc32(name.encode()) % 2**31)
        if name.endswith("num_batches_tracked"):
            value = np.zeros(shape, np.int64)
        elif name.endswith("running_var"):
            value = random.uniform(0.5, 1.5, shape)
        elif len(shape) > 1:
            value = random.standard_normal(shape) * np.sqrt(1 / np.prod(shape[1:]))
        elif name.endswith("weight"):
            value = random.uniform(0.5, 1.0, shape)
        else:
            value = random.standard_normal(shape) * 0.1
        weights[name] = torch.from_numpy(np.asarray(value, np.int64 if value.dtype == np.int64 else np.float32))
    return weights


def seeded_images() -> Tensor:
    """Images (2, 3, 224, 224), standard normal."""
    return torch.from_numpy(np.random.RandomState(0).standard_normal((2, 3, 224, 224)).astype(np.float32))
