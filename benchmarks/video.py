"""Times `mien video` on a film of one face, says what memory it takes on a film ten times as long, and times fer's.

    python benchmarks/video.py
    python benchmarks/video.py --fer fer/bin/python

The second takes an environment of its own, without the half of fer's packages that its OpenCV detector does not use:

    pip install --no-deps fer==25.10.3
    pip install tensorflow-cpu 'opencv-contrib-python-headless<5' pandas requests tqdm pillow 'setuptools<81'

Each run is a process of its own, from its start to its exit, with all cores: 640 x 480 pixels, 25 pictures a second,
made of examples/astronaut.jpg, which goes to and fro. mien looks for faces in every third picture, as it does unless
told otherwise; fer looks at every picture with its OpenCV detector, as it does.
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
    """Makes the films, runs each command, and prints what it took."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fer", type=Path, help="python of an environment that has fer")
    parser.add_argument("--times", type=int, default=5, help="runs of the short film")
    parser.add_argument("--long", type=int, default=600, help="seconds of the long film; 0 leaves it out")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        short = write_film(Path(name) / "short.mp4", 60)
        table = str(Path(name) / "faces.csv")
        commands = {"mien video": [sys.executable, "-m", "mien", "video", "FILM", "--csv", table]}
        if arguments.fer:
            commands["fer, OpenCV's detector"] = [str(arguments.fer), "-c", FER, "FILM"]
        for what, command in commands.items():
            runs = [run(command, short) for _ in range(arguments.times)]
            paces = [60 * RATE / seconds for seconds, _ in runs]
            print(f"{what}: {summary(paces, 'pictures/s', 1)}, {max(mib for _, mib in runs):.0f} MiB", flush=True)
        if arguments.long:
            _, mib = run(commands["mien video"], write_film(Path(name) / "long.mp4", arguments.long))
            print(f"mien video, {arguments.long} s of film: {mib:.0f} MiB")


def run(command: list[str], film: Path) -> tuple[float, float]:
    """Seconds that a command takes, and the most MiB that it has resident."""
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
    """A film of one face that goes to and fro."""
    import av
    import numpy as np
    from PIL import Image

    with Image.open(PHOTOGRAPH) as opened:
        photograph = np.asarray(opened.resize((480, 480)))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE, options={"preset": "veryfast"})
        (stream.width, stream.height), stream.pix_fmt = SIZE, "yuv420p"
        for number in range(seconds * RATE):
            picture = np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)
            left = abs(number % 320 - 160)
            picture[:, left : left + 480] = photograph
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


if __name__ == "__main__":
    main()
