"""Summary of repeated measurements, for all benchmarks."""

from __future__ import annotations

import statistics
from collections.abc import Sequence


def summary(values: Sequence[float], unit: str, digits: int = 0) -> str:
    """Formats median, half the interquartile range and number of values: `median 2.30 s, spread 0.02, n 11`."""
    if len(values) == 1:  # one value has no quartiles
        return f"{values[0]:.{digits}f} {unit}, n 1"
    low, middle, high = statistics.quantiles(values, n=4)
    return f"median {middle:.{digits}f} {unit}, spread {(high - low) / 2:.{digits}f}, n {len(values)}"
