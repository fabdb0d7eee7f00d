"""Measures `mien recognize` into Parquet: two workers against one, in processes and on a Ray cluster of this machine.

    python benchmarks/cluster.py
    python benchmarks/cluster.py --folder photos --times 3

Needs `pip install '.[cluster]'`. Each command runs from start to exit in a new process, on the same pictures, one after
the other in turn. The Ray cluster is started before. Without --folder, the pictures are copies of the photograph in
examples/, 512 x 512 pixels with one face each. The last lines are rows of results/speed.csv.
"""

from __future__ import annotations

import argparse
import csv
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from summary import summary

from mien.data.pictures import find_pictures

PHOTOGRAPH = Path(__file__).parents[1] / "examples" / "astronaut.jpg"
ONE, TWO, RAY_ONE, RAY_TWO = "one process", "two processes", "Ray, one worker", "Ray, two workers"
RATIOS = {
    "two processes over one": (TWO, ONE),
    "Ray, two workers over one": (RAY_TWO, RAY_ONE),
    "Ray, one worker over one process": (RAY_ONE, ONE),
}
"""Name of a ratio of two speeds in results/speed.csv -> their ways."""


def main() -> None:
    """Runs all ways in turn, and prints speeds, ratios, the memory of a worker and the rows for the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, help="pictures of your own")
    parser.add_argument("--pictures", type=int, default=2000, help="how many pictures to make otherwise")
    parser.add_argument("--times", type=int, default=3, help="rounds")
    parser.add_argument("--machine", default="", help="the machine, for the rows of the table")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="mien-", dir="/tmp") as name:  # Ray's sockets need a short path
        place = Path(name)
        folder = arguments.folder or make_pictures(place / "pictures", arguments.pictures)
        pictures = len(find_pictures([folder]))
        with ray_cluster(place / "ray") as address:
            ways = {ONE: ["--workers", "1"], TWO: ["--workers", "2"]}
            on_ray = ["--on", address, "--part", "100"]
            ways |= {RAY_ONE: [*on_ray, *ways[ONE]], RAY_TWO: [*on_ray, *ways[TWO]]}
            rates: dict[str, list[float]] = {way: [] for way in ways}
            mib = 0.0
            for _ in range(arguments.times):
                for way, options in ways.items():
                    seconds, of_worker = run(folder, place / ("faces" if "--on" in options else "o.parquet"), options)
                    rates[way].append(pictures / seconds)
                    mib = max(mib, of_worker)
                    print(f"{way}: {rates[way][-1]:.1f} pictures/s", flush=True)
    rows = [("mien recognize to Parquet, one process", rates[ONE], "pictures/s")]
    rows.append(("mien recognize to Parquet, Ray, one worker", rates[RAY_ONE], "pictures/s"))
    for ratio, (above, below) in RATIOS.items():
        ratios = [a / b for a, b in zip(rates[above], rates[below], strict=True)]
        rows.append((f"mien recognize to Parquet, {ratio}", ratios, ""))
    rows.append(("mien recognize to Parquet, memory of one process", [mib], "MiB"))
    for measure, values, unit in rows:
        print(f"{measure}: {summary(values, unit, 2)}")
    command = f"python benchmarks/cluster.py --times {arguments.times}"
    writer = csv.writer(sys.stdout, lineterminator="\n")
    for measure, values, unit in rows:
        low, middle, high = statistics.quantiles(values, n=4) if len(values) > 1 else values * 3
        row = (f"{middle:.3g}", unit, f"{(high - low) / 2:.2g}", len(values), 1, arguments.machine, command)
        writer.writerow((measure, *row))


def make_pictures(folder: Path, count: int) -> Path:
    """Makes a folder of equal pictures."""
    folder.mkdir()
    for number in range(count):
        shutil.copy(PHOTOGRAPH, folder / f"{number:06}.jpg")
    return folder


@contextmanager
def ray_cluster(folder: Path) -> Iterator[str]:
    """Starts a Ray cluster of two CPUs on this machine and yields its address."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        port = listening.getsockname()[1]
    os.environ["RAY_AUTH_MODE"] = "token"
    os.environ["RAY_AUTH_TOKEN"] = os.urandom(32).hex()
    os.environ["RAY_raylet_start_wait_time_s"] = "120"  # noqa: SIM112 - its name; Ray waits for 30 s
    words = ["start", "--head", "--block", "--num-cpus=2", "--include-dashboard=false", "--disable-usage-stats"]
    command = [sys.executable, "-m", "ray.scripts.scripts", *words, f"--port={port}", f"--temp-dir={folder}"]
    head = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        end_s = time.monotonic() + 180
        while not accepts(port):
            if head.poll() is not None or time.monotonic() > end_s:
                sys.exit("the Ray cluster did not start")
            time.sleep(0.2)
        yield f"127.0.0.1:{port}"
    finally:
        head.terminate()
        head.wait(60)


def accepts(port: int) -> bool:
    """Returns whether something listens at a port of this machine."""
    with socket.socket() as trying:
        return trying.connect_ex(("127.0.0.1", port)) == 0


def run(folder: Path, output: Path, options: Sequence[str]) -> tuple[float, float]:
    """Recognises a folder, and returns the seconds and the peak memory of the largest worker process in MiB."""
    command = [sys.executable, "-m", "mien", "recognize", str(folder), "-o", str(output), *options]
    started = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    peaks = [0.0]
    watcher = threading.Thread(target=watch_children, args=(process, peaks))
    watcher.start()
    _, errors = process.communicate()
    seconds = time.perf_counter() - started
    watcher.join()
    if process.returncode not in (0, 2):  # 2: some pictures cannot be read
        sys.exit(f"{' '.join(command)[:80]} ended with {process.returncode}: {errors.decode()[-500:]}")
    if output.is_dir():
        shutil.rmtree(output)
    else:
        output.unlink()
    return seconds, max(peaks)


def watch_children(process: subprocess.Popen[bytes], peaks: list[float]) -> None:
    """Records the peak resident memory of a process's children, MiB, until it ends."""
    while process.poll() is None:
        try:
            for child in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split():
                status = dict(line.split(":", 1) for line in Path(f"/proc/{child}/status").read_text().splitlines())
                peaks.append(int(status.get("VmHWM", "0 kB").split()[0]) / 1024)
        except (OSError, ValueError):  # it has just ended, or this is not Linux
            pass
        time.sleep(0.2)


if __name__ == "__main__":
    main()
