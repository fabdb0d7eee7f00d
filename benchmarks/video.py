"""Measures the throughput of `mien video` and of fer on a film of one face, and memory on a longer film.

    python benchmarks/video.py
    python benchmarks/video.py --fer fer/bin/python

The second command needs a separate environment, which omits the packages that fer's OpenCV detector does not use:

    pip install --no-deps fer==25.10.3
    pip install tensorflow-cpu 'opencv-contrib-python-headless<5' pandas requests tqdm pillow 'setuptools<81'

Each run is a new process with all cores, timed from start to exit. The film has 640 x 480 pixels and 25 frames per
second, and shows examples/astronaut.jpg moving left and right. mien detects faces in every third frame, its default;
fer detects them in every frame with its OpenCV detector, its default.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from summary import summary

PHOTOGRAPH = Path(__file__).parents[1] / "examples" / "astronaut.jpg"
SIZE, RATE = (640, 480), 25
FER = """
import sys, cv2
from fer.fer import FER
detector, film, faces = FER(mtcnn=False), cv2.VideoCapture(sys.argv[1]), 0
while (read := film.read())[0]:
    faces += len(detector.detect_emotions(read[1]))
print(faces)
"""


def main() -> None:
    """Writes the films, runs each command, and prints throughput and memory."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fer", type=Path, help="the Python interpreter of an environment with fer")
    parser.add_argument("--times", type=int, default=5, help="runs of the short film")
    parser.add_argument("--long", type=int, default=600, help="seconds of the long film; 0 skips it")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        short = write_film(Path(name) / "short.mp4", 60)
        table = str(Path(name) / "faces.csv")
        commands = {"mien video": [sys.executable, "-m", "mien", "video", "FILM", "--csv", table]}
        if arguments.fer:
            commands["fer, OpenCV's detector"] = [str(arguments.fer), "-c", FER, "FILM"]
        for what, command in commands.items():
            runs = [run(command, short) for _ in range(arguments.times)]
            rates = [60 * RATE / seconds for seconds, _ in runs]
            print(f"{what}: {summary(rates, 'frames/s', 1)}, {max(mib for _, mib in runs):.0f} MiB", flush=True)
        if arguments.long:
            _, mib = run(commands["mien video"], write_film(Path(name) / "long.mp4", arguments.long))
            print(f"mien video, {arguments.long} s of film: {mib:.0f} MiB")


def run(command: list[str], film: Path) -> tuple[float, float]:
    """Runs a command and returns its duration in seconds and its peak resident memory in MiB."""
    started = time.perf_counter()
    process = subprocess.Popen(
        [str(film) if word == "FILM" else word for word in command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)[:80]} ended with {process.returncode}")
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def write_film(path: Path, seconds: int) -> Path:
    """Writes a film of one face that moves left and right."""
    import av
    import numpy as np
    from PIL import Image

    with Image.open(PHOTOGRAPH) as image:
        photograph = np.asarray(image.resize((480, 480)))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"preset": "veryfast"})
        (stream.width, stream.height), stream.pix_fmt = SIZE, "yuv420p"
        for number in range(seconds * RATE):
            frame = np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)
            left = abs(number % 320 - 160)
            frame[:, left : left + 480] = photograph
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode(None))
    return path


if __name__ == "__main__":
    main()
