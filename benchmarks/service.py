"""Measures the service against the offline batch: 32 clients on loopback, and the same pictures from a folder.

    python benchmarks/service.py                                   # the cropped face of examples/astronaut.jpg
    python benchmarks/service.py --picture examples/astronaut.jpg  # the whole photograph
    python benchmarks/service.py --compare                         # also compares batch sizes

The service runs in a process and its workers, the clients in another process. Each round measures both ways one after
the other, so that other load on the machine affects both. The work of the clients counts against the service.
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
from mien.detection import DEFAULT_DETECTOR
from mien.models.zoo import DEFAULT_MODEL
from mien.recognition import batch
from mien.recognition.parts import PictureList
from mien.recognition.recognizer import Recognizer
from mien.service.batching import Batcher
from mien.service.process import WorkerProcess
from mien.service.settings import Limits
from mien.service.worker import Picture, WorkerSetup, recognizer_factory

ASTRONAUT = Path(__file__).parents[1] / "examples" / "astronaut.jpg"
MARGIN = 0.25
"""Margin around the cropped face, as a fraction of the side of its box."""


@dataclass(frozen=True)
class Load:
    """The measurements of the clients.

    Attributes:
        seconds: Time from the first request to the last response.
        latencies_ms: Latency of each response with status 200.
        statuses: Statuses of all responses.
    """

    seconds: float
    latencies_ms: list[float]
    statuses: list[int]

    @property
    def rate(self) -> float:
        """Responses per second."""
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
    """Sends the same picture repeatedly; each client sends its next request as soon as it has its response."""
    return asyncio.run(_clients(port, encoded, clients, requests))


def offline(encoded: bytes, pictures: int, workers: int) -> float:
    """Measures the pictures per second of `mien recognize DIR -o faces.parquet`."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "pictures"
        folder.mkdir()
        for number in range(pictures):
            (folder / f"{number:06}.jpg").write_bytes(encoded)
        listed = PictureList(map(str, find_pictures([folder])), batch.PICTURES_PER_PART)
        output, faces = Path(name) / "faces.parquet", batch.FaceRecognizer()
        started = time.perf_counter()
        batch.recognize_to_file(listed, output, faces, workers, lambda counts: None)
        return pictures / (time.perf_counter() - started)


def compare(encoded: bytes, clients: int, pictures: int, rounds: int, cores: int) -> None:
    """Prints the pictures per second for several batch sizes, without HTTP."""
    rates: dict[int, list[float]] = {1: [], 4: [], 16: []}
    for _ in range(rounds):
        for most, measured in rates.items():
            measured.append(batched(encoded, clients, pictures, cores, most))
    for most, measured in rates.items():
        print(
            f"{cores} workers, batches up to {most}: median {statistics.median(measured):.1f} pictures/s, "
            f"{min(measured):.1f} to {max(measured):.1f}"
        )


def batched(encoded: bytes, clients: int, pictures: int, workers: int, most: int) -> float:
    """Measures the pictures per second of a batcher that always holds one picture per client."""
    limits = Limits()
    setup = WorkerSetup(recognizer_factory(DEFAULT_MODEL, DEFAULT_DETECTOR), limits.pixels, 2**30)
    batcher = Batcher(lambda: WorkerProcess(setup), limits, workers, 10**6, most, 2, lambda batch_size: None)
    left = iter(range(pictures))
    started = time.perf_counter()
    waiting = {batcher.submit([Picture("face", encoded)])[0] for _ in range(clients) if next(left, None) is not None}
    while waiting:
        done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
        waiting |= {batcher.submit([Picture("face", encoded)])[0] for _ in done if next(left, None) is not None}
    rate = pictures / (time.perf_counter() - started)
    batcher.close()
    return rate


def crop_face(path: Path) -> bytes:
    """Crops the first face of a photograph with a margin, and encodes it as JPEG."""
    box = Recognizer(threads=1)(path)[0].box
    margin = MARGIN * box.width
    with Image.open(path) as photograph:
        crop = photograph.convert("RGB").crop((box.x0 - margin, box.y0 - margin, box.x1 + margin, box.y1 + margin))
    stream = io.BytesIO()
    crop.save(stream, "JPEG", quality=92)
    return stream.getvalue()


def main() -> None:
    """Starts the service, runs the rounds, and prints throughputs, their ratio, latencies and errors."""
    cores = usable_cores()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--picture", type=Path, help="the picture to send; by default the cropped face")
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--requests", type=int, default=512, help="requests per round, at most 2,000")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=cores, help="workers of the service and of the offline batch")
    parser.add_argument("--compare", action="store_true", help="also compare batch sizes")
    arguments = parser.parse_args()
    requests = min(arguments.requests, 2000)
    encoded = arguments.picture.read_bytes() if arguments.picture else crop_face(ASTRONAUT)
    if arguments.compare:
        compare(encoded, arguments.clients, requests, arguments.rounds, cores)

    command = [sys.executable, "-m", "mien", "serve", "--port", "0", "--workers", str(arguments.workers)]
    service = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert service.stdout is not None
    try:
        port = int(service.stdout.readline().split(",")[0].rpartition(":")[2])
        with ProcessPoolExecutor(1, get_context("spawn")) as clients_process:
            clients_process.submit(load, port, encoded, arguments.clients, 2 * arguments.clients).result()  # warm-up
            loads, rates = [], []
            for number in range(1, arguments.rounds + 1):
                rates.append(offline(encoded, requests, arguments.workers))
                loads.append(clients_process.submit(load, port, encoded, arguments.clients, requests).result())
                print(f"round {number}: offline {rates[-1]:.1f}/s, service {loads[-1].rate:.1f}/s", flush=True)
    finally:
        service.send_signal(signal.SIGTERM)
        service.wait(60)
    ratios = [each.rate / rate for each, rate in zip(loads, rates, strict=True)]
    median_ms, p99_ms = np.percentile([ms for each in loads for ms in each.latencies_ms], [50, 99])
    statuses = [status for each in loads for status in each.statuses]
    print(
        f"{len(encoded):,} bytes per picture, {arguments.clients} clients, {arguments.workers} workers of one thread, "
        f"{cores} cores, n {len(statuses)} requests in {arguments.rounds} rounds"
    )
    print(f"offline  median {statistics.median(rates):.1f} pictures/s")
    rate = statistics.median(each.rate for each in loads)
    print(f"service  median {rate:.1f} pictures/s, p50 {median_ms:.0f} ms, p99 {p99_ms:.0f} ms")
    print(f"ratio    median {statistics.median(ratios):.2f}, {min(ratios):.2f} to {max(ratios):.2f}")
    print(f"errors   {sum(status != 200 for status in statuses)}")


if __name__ == "__main__":
    main()
