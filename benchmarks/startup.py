"""Measures startup times: the help text, one photograph, and loading FER2013 from its cache.

    python benchmarks/startup.py fer2013.tar.gz

Each command runs in a new process and is timed from start to exit.
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
    """Runs each command, and prints median, half the interquartile range and peak memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="FER2013 in any format")
    parser.add_argument("--times", type=int, default=11, help="repetitions, after one warm-up")
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
        peak_mib = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024  # of all children so far
        print(f"{name}: {summary(seconds[1:], 's', 3)}; peak of all commands so far {peak_mib:.0f} MiB")


if __name__ == "__main__":
    main()
