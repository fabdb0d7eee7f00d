"""Times what a person waits for: help, one photograph, and FER2013 from its cache.

    python benchmarks/startup.py fer2013.tar.gz

Each command is a process of its own, from its start to its exit.
"""

from __future__ import annotations

import argparse
import resource
import subprocess
import sys
import time
from pathlib import Path

from summary import summary

PHOTOGRAPH = Path(__file__).parents[1] / "examples" / "astronaut.jpg"
LOAD = "import sys; from mien.data import load; load(sys.argv[1])"


def main() -> None:
    """Runs each command, and prints median, half the quartiles' distance and the largest memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="FER2013 in any form")
    parser.add_argument("--times", type=int, default=11, help="repetitions, after one that is not counted")
    arguments = parser.parse_args()
    commands = {
        "mien --help": ["-m", "mien", "--help"],
        "mien recognize, one photograph": ["-m", "mien", "recognize", str(PHOTOGRAPH)],
        "load FER2013 from the cache": ["-c", LOAD, str(arguments.data)],
    }
    for name, command in commands.items():
        seconds = []
        for _ in range(arguments.times + 1):
            started = time.perf_counter()
            subprocess.run([sys.executable, *command], check=True, stdout=subprocess.DEVNULL)
            seconds.append(time.perf_counter() - started)
        largest = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024  # the largest child so far, in MiB
        print(f"{name}: {summary(seconds[1:], 's', 3)}; at most {largest:.0f} MiB resident so far")


if __name__ == "__main__":
    main()
