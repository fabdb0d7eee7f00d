"""The blocks about archives: what was measured, and what a cluster costs according to that."""

from __future__ import annotations

from docs_blocks.results import read
from docs_blocks.text import table

PREFIX = "mien recognize to Parquet, "
MEASURES = (
    "one process",
    "two processes over one",
    "Ray, one worker",
    "Ray, two workers over one",
    "Ray, one worker over one process",
    "memory of one process",
)
"""The rows of results/speed.csv that benchmarks/cluster.py prints, without PREFIX."""
STAGED = ("photograph of 640 x 480", "photograph of 4000 x 3000", "frame of a film of 640 x 480")
STAGES = ("decode", "detect", "crop", "classify")
MACHINES = (1, 10, 100)
CORES = 16
"""Cores of each machine of the computed cluster."""
PICTURES = (10**6, 10**8)
NOT_MEASURED = "not measured yet"


def speed() -> str:
    """The rows of results/speed.csv about archives."""
    measured = _measured()
    rows = []
    for name in MEASURES:
        row = measured.get(name)
        value = f"{float(row['value']):,g} {row['unit']}".strip() if row else NOT_MEASURED
        rows.append([name, value, *((row["spread"], row["n"], row["machine"]) if row else ("", "", ""))])
    return table(["measure", "value", "spread", "n", "machine"], rows, right=range(1, 4))


def cost() -> str:
    """The computed duration of large jobs on clusters of several sizes."""
    measured = _measured()
    of_worker, efficiency = measured.get("Ray, one worker"), measured.get("Ray, two workers over one")
    rows = []
    for pictures in PICTURES:
        for machines in MACHINES:
            cells = [NOT_MEASURED] * 2
            if of_worker and efficiency:
                cores = machines * CORES
                rate = float(of_worker["value"]) * cores * min(1.0, float(efficiency["value"]) / 2)
                hours = pictures / rate / 3600
                cells = [f"{hours:,.2g}" if hours < 1 else f"{hours:,.1f}", f"{hours * cores:,.0f}"]
            rows.append([f"{pictures:,}", str(machines), *cells])
    return table(["pictures", f"machines of {CORES} cores", "hours", "core-hours"], rows, right=range(4))


def stages() -> str:
    """The rows of results/speed.csv that benchmarks/stages.py prints: a column for each stage."""
    measured = {row["measure"]: f"{float(row['value']):,.1f}" for row in read("speed.csv")}
    rows = [[f"a {what}", *(measured.get(f"{what}, {stage}", NOT_MEASURED) for stage in STAGES)] for what in STAGED]
    return table(["milliseconds, one thread", *STAGES], rows, right=range(1, len(STAGES) + 1))


def _measured() -> dict[str, dict[str, str]]:
    rows = {row["measure"]: row for row in read("speed.csv")}
    return {name: rows[PREFIX + name] for name in MEASURES if PREFIX + name in rows}
