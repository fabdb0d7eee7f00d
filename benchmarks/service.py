"""Times the service beside the offline batch: 32 clients on loopback against the same pictures from a folder.

    python benchmarks/service.py                                   # the face of examples/astronaut.jpg, cut out
    python benchmarks/service.py --picture examples/astronaut.jpg  # the whole photograph
    python benchmarks/service.py --compare                         # also workers against threads, and sizes of batches

Service and clients are a process each. Each round has both ways one after the other, so that whatever else the machine
does meets both; the clients' own work is part of what the service has to bear.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
from PIL import Image

from mien.cores import usable_cores
from mien.data.pictures import find_pictures
from mien.recognition import batch
from mien.recognition.recognizer import Recognizer
from mien.service.batching import Batcher, Picture
from mien.service.settings import Limits

ASTRONAUT = Path(__file__).parents[1] / "examples" / "astronaut.jpg"
MARGIN = 0.25
"""What is left around the face that is cut out, as a share of its box's side."""


@dataclass(frozen=True)
class Load:
    """What the clients met.

    Attributes:
        seconds: From the first request to the last answer.
        latencies_ms: Of each answer of status 200.
        statuses: Of all answers.
    """

    seconds: float
    latencies_ms: list[float]
    statuses: list[int]

    @property
    def rate(self) -> float:
        """Answers a second."""
        return len(self.latencies_ms) / self.seconds


async def _clients(port: int, encoded: bytes, clients: int, requests: int) -> Load:
    form = b'--limit\r\nContent-Disposition: form-data; name="pictures"; filename="face.jpg"\r\n\r\n%b\r\n--limit--\r\n'
    body = form % encoded
    head = (
        "POST /v1/recognize HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=limit\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    request, left = head.encode() + body, iter(range(requests))
    latencies_ms: list[float] = []
    statuses: list[int] = []

    async def client() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for _ in left:
            started = time.perf_counter()
            writer.write(request)
            headers = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(headers.split(b"content-length: ")[1].split(b"\r\n")[0]))
            statuses.append(int(headers.split()[1]))
            if statuses[-1] == 200:
                latencies_ms.append((time.perf_counter() - started) * 1000)
        writer.close()

    started = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    return Load(time.perf_counter() - started, latencies_ms, statuses)


def load(port: int, encoded: bytes, clients: int, requests: int) -> Load:
    """Sends the same picture again and again, each client as soon as it has its answer."""
    return asyncio.run(_clients(port, encoded, clients, requests))


def offline(encoded: bytes, pictures: int, workers: int) -> float:
    """Pictures a second of `mien recognize DIR -o faces.parquet`."""
    recognizer = Recognizer(threads=1)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "pictures"
        folder.mkdir()
        for number in range(pictures):
            (folder / f"{number:06}.jpg").write_bytes(encoded)
        work = batch.BatchJob(find_pictures([folder]), Path(name) / "faces.parquet", {})
        started = time.perf_counter()
        batch.recognize(work, recognizer, workers, lambda done: None)
        return pictures / (time.perf_counter() - started)


def compare(encoded: bytes, clients: int, pictures: int, rounds: int, cores: int) -> None:
    """Prints pictures a second for ways of using the same cores, without HTTP."""
    ways = ((cores, 1, 1), (cores, 1, 4), (cores, 1, 16), (1, cores, 4), (1, cores, 16))
    rates: dict[tuple[int, int, int], list[float]] = {way: [] for way in ways}
    for _ in range(rounds):
        for way in ways:
            rates[way].append(batched(encoded, clients, pictures, *way))
    for (workers, threads, most), measured in rates.items():
        print(
            f"workers {workers}, threads of each {threads}, batches up to {most}: "
            f"median {statistics.median(measured):.1f} pictures/s, {min(measured):.1f} to {max(measured):.1f}"
        )


def batched(encoded: bytes, clients: int, pictures: int, workers: int, threads: int, most: int) -> float:
    """Pictures a second of a batcher with as many pictures in it as there are clients."""
    batcher = Batcher(Recognizer(threads=threads), Limits(), workers, most, 2, lambda taken: None)
    left = iter(range(pictures))
    started = time.perf_counter()
    waiting = {batcher.submit([Picture("face", encoded)])[0] for _ in range(clients) if next(left, None) is not None}
    while waiting:
        done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
        waiting |= {batcher.submit([Picture("face", encoded)])[0] for _ in done if next(left, None) is not None}
    rate = pictures / (time.perf_counter() - started)
    batcher.close()
    return rate


def face_cut_out(path: Path) -> bytes:
    """The first face of a photograph with a little around it, as a JPEG."""
    box = Recognizer(threads=1)(path)[0].box
    margin = MARGIN * box.width
    with Image.open(path) as photograph:
        cut = photograph.convert("RGB").crop((box.x0 - margin, box.y0 - margin, box.x1 + margin, box.y1 + margin))
    stream = io.BytesIO()
    cut.save(stream, "JPEG", quality=92)
    return stream.getvalue()


def main() -> None:
    """Starts the service, runs the rounds, and prints throughputs, their ratio, latencies and errors."""
    cores = usable_cores()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--picture", type=Path, help="what is sent; the cut-out face when left out")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--requests", type=int, default=512, help="of each round, at most 2,000")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=cores, help="threads of the service and of the offline batch")
    parser.add_argument("--compare", action="store_true", help="also compare workers with threads")
    arguments = parser.parse_args()
    requests = min(arguments.requests, 2000)
    encoded = arguments.picture.read_bytes() if arguments.picture else face_cut_out(ASTRONAUT)
    if arguments.compare:
        compare(encoded, arguments.clients, requests, arguments.rounds, cores)

    command = [sys.executable, "-m", "mien", "serve", "--port", "0", "--workers", str(arguments.workers)]
    service = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert service.stdout is not None
    try:
        port = int(service.stdout.readline().split(",")[0].rpartition(":")[2])
        with ProcessPoolExecutor(1, get_context("spawn")) as beside:
            beside.submit(load, port, encoded, arguments.clients, 2 * arguments.clients).result()  # not counted
            loads, rates = [], []
            for number in range(1, arguments.rounds + 1):
                rates.append(offline(encoded, requests, arguments.workers))
                loads.append(beside.submit(load, port, encoded, arguments.clients, requests).result())
                print(f"round {number}: offline {rates[-1]:.1f}/s, service {loads[-1].rate:.1f}/s", flush=True)
    finally:
        service.send_signal(signal.SIGTERM)
        service.wait(60)
    ratios = [each.rate / rate for each, rate in zip(loads, rates, strict=True)]
    median_ms, p99_ms = np.percentile([ms for each in loads for ms in each.latencies_ms], [50, 99])
    statuses = [status for each in loads for status in each.statuses]
    print(
        f"{len(encoded):,} bytes a picture, {arguments.clients} clients, {arguments.workers} workers of one thread, "
        f"{cores} cores, n {len(statuses)} requests in {arguments.rounds} rounds"
    )
    print(f"offline  median {statistics.median(rates):.1f} pictures/s")
    rate = statistics.median(each.rate for each in loads)
    print(f"service  median {rate:.1f} pictures/s, p50 {median_ms:.0f} ms, p99 {p99_ms:.0f} ms")
    print(f"ratio    median {statistics.median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f}")
    print(f"errors   {sum(status != 200 for status in statuses)}")


if __name__ == "__main__":
    main()
