"""Measures what limits a photograph and a film: the time of decoding, detecting, cropping and classifying.

    python benchmarks/stages.py

One thread. The photographs show one face: examples/astronaut.jpg on 640 x 480 and on 4000 x 3000 pixels. The film is
that of benchmarks/video.py, of which mien detects faces in every third frame. The last lines are rows of
results/speed.csv.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"

from PIL import Image
from summary import summary
from video import write_film

from mien.recognition import photo
from mien.recognition.crops import crop_faces
from mien.recognition.recognizer import Recognizer
from mien.video.source import VideoSource

PHOTOGRAPH = Path(__file__).parents[1] / "examples" / "astronaut.jpg"
SIZES = ((640, 480), (4000, 3000))
DETECT_EVERY = 3
FILM_S = 10


def main() -> None:
    """Prints the milliseconds of each stage, and the rows for the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=31, help="repetitions, after three of warm-up")
    parser.add_argument("--machine", default="", help="the machine, for the rows of the table")
    arguments = parser.parse_args()
    recognizer = Recognizer(threads=1)
    rows = []
    with tempfile.TemporaryDirectory() as name:
        for width, height in SIZES:
            picture = write_photograph(Path(name) / f"{width}.jpg", width, height)
            for stage, values in stages(recognizer, picture, arguments.times).items():
                rows.append((f"photograph of {width} x {height}, {stage}", values))
        film = write_film(Path(name) / "film.mp4", FILM_S)
        frames = stages(recognizer, picture_of(film), arguments.times)
        rows.append(("frame of a film of 640 x 480, decode", decoding(film)))
        rows.append(("frame of a film of 640 x 480, detect", [ms / DETECT_EVERY for ms in frames["detect"]]))
        rows += [(f"frame of a film of 640 x 480, {stage}", frames[stage]) for stage in ("crop", "classify")]
    for measure, values in rows:
        print(f"{measure}: {summary(values, 'ms', 2)}")
    writer = csv.writer(sys.stdout, lineterminator="\n")
    for measure, values in rows:
        low, middle, high = statistics.quantiles(values, n=4)
        spread = f"{(high - low) / 2:.2g}"
        writer.writerow((measure, f"{middle:.3g}", "ms", spread, len(values), 1, arguments.machine, command(arguments)))


def command(arguments: argparse.Namespace) -> str:
    """Returns the command for the table."""
    return f"python benchmarks/stages.py --times {arguments.times}"


def stages(recognizer: Recognizer, picture: Any, times: int) -> dict[str, list[float]]:
    """Measures each stage of a picture with one face, in milliseconds."""
    image_rgb = photo.read(picture)
    detections = recognizer.detector(image_rgb)
    crops = crop_faces(image_rgb, detections)
    assert len(crops) == 1, f"the picture must show one face, and {len(crops)} were found"
    work: dict[str, Callable[[], object]] = {
        "decode": lambda: photo.read(picture),
        "detect": lambda: recognizer.detector(image_rgb),
        "crop": lambda: crop_faces(image_rgb, detections),
        "classify": lambda: recognizer.classify_crops(crops),
    }
    measured: dict[str, list[float]] = {stage: [] for stage in work}
    for _ in range(times + 3):
        for stage, function in work.items():
            started = time.perf_counter()
            function()
            measured[stage].append(1000 * (time.perf_counter() - started))
    return {stage: values[3:] for stage, values in measured.items()}


def write_photograph(path: Path, width: int, height: int) -> Path:
    """Writes the photograph, as high as the picture, on a gray ground."""
    picture = Image.new("RGB", (width, height), "gray")
    with Image.open(PHOTOGRAPH) as astronaut:
        picture.paste(astronaut.resize((height, height)), ((width - height) // 2, 0))
    picture.save(path, quality=90)
    return path


def picture_of(film: Path) -> Any:
    """Returns the first frame of a film, (H, W, 3)."""
    with VideoSource(str(film)) as source:
        return next(iter(source)).image_rgb


def decoding(film: Path) -> list[float]:
    """Measures the milliseconds to decode a frame, once for each of five runs."""
    measured = []
    for _ in range(5):
        started = time.perf_counter()
        with VideoSource(str(film)) as source:
            frames = sum(1 for _ in source)
        measured.append(1000 * (time.perf_counter() - started) / frames)
    return measured


if __name__ == "__main__":
    main()
