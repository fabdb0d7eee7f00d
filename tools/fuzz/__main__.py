"""Gives mien damaged and hostile files, and writes how many ended in something else than a result or one sentence.

    python tools/fuzz --inputs 10000 --seed 1               # hours; writes results/reliability.csv
    python tools/fuzz --inputs 200 --kinds models --dry     # prints the faults, and writes no table

Each input runs in a process of its own. Right is exit code 0 with a result, or 2 with a sentence on stderr.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path

SHARES = {"pictures": 0.4, "models": 0.2, "datasets": 0.2, "configs": 0.15, "videos": 0.05}
"""Kind of input, a module of this folder -> its fraction of all inputs."""


@dataclass(frozen=True)
class FuzzRow:
    """What came of the inputs of one kind.

    Attributes:
        kind: Kind of input.
        inputs: Number of inputs.
        read: Those that gave a result, with exit code 0.
        tracebacks: Those that ended in a traceback.
        crashes: Those that ended in a signal.
        wrong_exit_codes: Those with another exit code than 0 or 2, or with 2 and no sentence.
        over_memory: Those that took more than a gigabyte.
        over_time: Those that took more than 20 s of a processor, or hung.
        temporary_files: Those that left a temporary file.
        largest_mib: Memory of the largest, MiB; of this about 500 are the imported packages.
        slowest_s: Processor time of the slowest, seconds.
        seed: The seed.
        command: The command that measured it.
    """

    kind: str
    inputs: int
    read: int
    tracebacks: int
    crashes: int
    wrong_exit_codes: int
    over_memory: int
    over_time: int
    temporary_files: int
    largest_mib: int
    slowest_s: float
    seed: int
    command: str = ""

    @property
    def key(self) -> tuple[object, ...]:
        """One row per kind."""
        return (self.kind,)


def main() -> None:
    """Runs all kinds and writes the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--inputs", type=int, default=10_000, help="number of inputs of all kinds together")
    parser.add_argument("--minutes", type=float, default=1e9, help="time after which no further input is tried")
    parser.add_argument("--seed", type=int, default=1, help="seed of the damage")
    parser.add_argument("--kinds", nargs="+", choices=SHARES, default=list(SHARES), help="kinds of input")
    parser.add_argument("--results", type=Path, default=Path("results/reliability.csv"), help="the table")
    parser.add_argument("--faults", type=Path, help="JSON lines of every input that ended otherwise")
    parser.add_argument("--dry", action="store_true", help="write no table")
    options = parser.parse_args()
    root = Path(__file__).resolve().parents[2]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(root), os.environ.get("PYTHONPATH"))))
    sys.path.insert(0, str(root))
    with tempfile.TemporaryDirectory(prefix="mien-fuzz-") as work:
        os.environ |= {"XDG_CACHE_HOME": f"{work}/cache", "TERM": "dumb", "COLUMNS": "500", "OMP_NUM_THREADS": "1"}
        os.environ.pop("MIEN_MAX_PIXELS", None)
        total = sum(SHARES[kind] for kind in options.kinds)
        rows = []
        for kind in options.kinds:
            count = round(options.inputs * SHARES[kind] / total)
            limit_s = 60 * options.minutes * SHARES[kind] / total
            row = fuzz(kind, count, options.seed, Path(work), limit_s, options.faults)
            rows.append(replace(row, command=_command(options)))
            print(rows[-1], flush=True)
            if not options.dry:
                from mien.evaluation import tables

                tables.add(options.results, *rows)
    sys.exit(any(row.tracebacks + row.crashes + row.wrong_exit_codes + row.over_memory + row.over_time for row in rows))


def _command(options: argparse.Namespace) -> str:
    """Returns the command without the paths of this machine."""
    words = [f"--inputs {options.inputs}", f"--seed {options.seed}"]
    if options.minutes < 1e9:
        words.append(f"--minutes {options.minutes:g}")
    if options.kinds != list(SHARES):
        words.append(f"--kinds {' '.join(options.kinds)}")
    return " ".join(["python tools/fuzz", *words])


def fuzz(kind: str, count: int, seed: int, work: Path, limit_s: float, faults_file: Path | None) -> FuzzRow:
    """Runs the inputs of one kind, for a limited time after the first was made."""
    from harness import run

    folder = work / kind
    folder.mkdir()
    faults, read, largest, slowest, started = Counter[str](), 0, 0.0, 0.0, 0.0
    for number, case in enumerate(importlib.import_module(kind).cases(folder, count, random.Random(f"{kind} {seed}"))):
        started = started or time.monotonic()
        if time.monotonic() - started > limit_s:
            count = number
            break
        outcome = run(case, work)
        faults.update(outcome.faults)
        read += outcome.code == 0
        largest, slowest = max(largest, outcome.mib), max(slowest, outcome.seconds)
        if outcome.faults:
            last = (outcome.errors.strip() or outcome.output.strip() or "no output").splitlines()[-1]
            print(f"{kind} {number} {outcome.name}: {', '.join(outcome.faults)}: {last[:200]}", flush=True)
            if faults_file:
                with faults_file.open("a") as stream:
                    stream.write(json.dumps({"kind": kind, "number": number} | asdict(outcome)) + "\n")
    return FuzzRow(
        kind, count, read, faults["traceback"], faults["crash"], faults["exit code"] + faults["no sentence"],
        faults["memory"], faults["time"], faults["temporary file"], round(largest), slowest, seed,
    )  # fmt: skip


if __name__ == "__main__":
    main()
