"""Measures detectors on labelled photographs: people found, false faces and time, each in turn on every picture.

    git clone https://github.com/EliSchwartz/imagenet-sample-images
    python benchmarks/detection.py imagenet-sample-images --labels labels.csv --results results/detection.csv
    python benchmarks/detection.py imagenet-sample-images --labels labels.csv --detectors yunet blazeface haar mediapipe

The labels are a CSV file with the columns picture, x0, y0, x1, y1 (pixels) and what, which is `person`, `other` (an
animal, a drawing, an object) or `unsure`. `haar` is the detector of OpenCV as `fer` and `deepface` use it, and needs
opencv-python; `mediapipe` is the full range of MediaPipe's face detection, and needs mediapipe 0.10, since later
versions have none. The time is that of a whole recognition with one thread, from the file on disk to the expressions.
"""

from __future__ import annotations

import argparse
import csv
import shlex
import statistics
import sys
import time
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mien.data.pictures import find_pictures
from mien.detection.base import Detection, Detector
from mien.detection.boxes import iou
from mien.evaluation import tables
from mien.recognition.recognizer import Recognizer
from mien.types import Box, Face

MATCH_IOU = 0.3
"""A face is found if a box overlaps its label by this intersection over union."""

LARGE_PX = 24
"""People are also counted from this width of their label, in pixels."""


@dataclass(frozen=True)
class DetectionRow:
    """What one detector finds in one collection.

    Attributes:
        collection: The folder's name.
        detector: The detector's name.
        min_score: The lowest score, or nothing for the detector's own.
        pictures: Number of pictures.
        people: Labelled people, and how many of them are found.
        people_24px: The same from `LARGE_PX` pixels on.
        others: Labelled animals, drawings and objects that are found.
        unlabelled: Faces without a label.
        ms_mean: Mean time of a picture; `ms_median` is the median.
        threads: CPU threads.
        command: What measured it.
    """

    collection: str
    detector: str
    min_score: float | None
    pictures: int
    people: int
    people_found: int
    people_24px: int
    people_24px_found: int
    others: int
    unlabelled: int
    ms_mean: float
    ms_median: float
    threads: int
    command: str

    @property
    def key(self) -> tuple[object, ...]:
        """See `mien.evaluation.tables.Row`."""
        return self.collection, self.detector, self.min_score


class Haar:
    """OpenCV's Haar cascade with the settings of `fer`: what a user of `fer` or of `deepface` gets by default."""

    def __init__(self) -> None:
        import cv2

        self._cv2 = cv2
        self._cascade: Any = cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_frontalface_default.xml")

    def __call__(self, image_rgb: NDArray[np.uint8]) -> tuple[Detection, ...]:
        """See `mien.detection.base.Detector`."""
        gray = self._cv2.cvtColor(image_rgb, self._cv2.COLOR_RGB2GRAY)
        boxes = self._cascade.detectMultiScale(gray, scaleFactor=1.1, minNeighbors=5, minSize=(20, 20))
        return tuple(Detection(Box(x, y, x + w, y + h), {}, 1.0) for x, y, w, h in np.asarray(boxes).tolist())


class MediaPipe:
    """MediaPipe's face detection, full range, with its own threshold."""

    def __init__(self) -> None:
        import mediapipe

        self._network: Any = mediapipe.solutions.face_detection.FaceDetection(model_selection=1)

    def __call__(self, image_rgb: NDArray[np.uint8]) -> tuple[Detection, ...]:
        """See `mien.detection.base.Detector`."""
        height, width, _ = image_rgb.shape
        detections = []
        for found in self._network.process(image_rgb).detections or ():
            box = found.location_data.relative_bounding_box
            x0, y0 = box.xmin * width, box.ymin * height
            square = Box(x0, y0, x0 + box.width * width, y0 + box.height * height)
            detections.append(Detection(square, {}, found.score[0]))
        return tuple(detections)


PEERS = {"haar": Haar, "mediapipe": MediaPipe}


class Counts:
    """Counts what one detector finds."""

    def __init__(self) -> None:
        self.found: set[int] = set()
        self.others = self.unlabelled = 0
        self.seconds: list[float] = []

    def add(self, faces: tuple[Face, ...], labels: list[tuple[int, Box, str]]) -> None:
        """Matches the faces in one picture with its labels, each (number, box, what)."""
        boxes = np.array([box.xyxy for _, box, _ in labels]).reshape(-1, 4)
        for face in faces:
            overlaps = iou(boxes, np.array(face.box.xyxy))
            if overlaps.max(initial=0) < MATCH_IOU:
                self.unlabelled += 1
                continue
            number, _, what = labels[int(overlaps.argmax())]
            self.others += what == "other" and number not in self.found
            self.found.add(number)


def read_labels(path: Path) -> dict[str, list[tuple[int, Box, str]]]:
    """Reads the labels of each picture, by its file name: (number of the label, box, what)."""
    labels = defaultdict(list)
    with path.open(newline="", encoding="utf-8") as file:
        for number, row in enumerate(csv.DictReader(file)):
            box = Box(*(float(row[edge]) for edge in ("x0", "y0", "x1", "y1")))
            labels[row["picture"]].append((number, box, row["what"]))
    return labels


def main() -> None:
    """Measures all detectors and prints or stores a row for each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="the pictures")
    parser.add_argument("--labels", type=Path, required=True)
    parser.add_argument("--detectors", nargs="+", default=["yunet", "blazeface"], metavar="NAME|FILE.onnx")
    parser.add_argument("--min-score", type=float, help="the lowest score of a face, for mien's own detectors")
    parser.add_argument("--results", type=Path, help="CSV table to add the rows to")
    arguments = parser.parse_args()
    labels = read_labels(arguments.labels)
    pictures = find_pictures([arguments.folder])
    recognizers = {}
    for name in arguments.detectors:
        detector: str | Detector = PEERS[name]() if name in PEERS else name
        recognizers[Path(name).stem] = Recognizer(detector=detector, threads=1, min_score=arguments.min_score)
    counts = {name: Counts() for name in recognizers}
    for i, path in enumerate(pictures):
        names = list(recognizers)
        for name in names[i % len(names) :] + names[: i % len(names)]:  # each detector comes first in turn
            started = time.perf_counter()
            faces = recognizers[name](path)
            counts[name].seconds.append(time.perf_counter() - started)
            counts[name].add(faces, labels[path.name])
    people = {number: box for each in labels.values() for number, box, what in each if what == "person"}
    large = {number for number, box in people.items() if box.width >= LARGE_PX}
    for name, count in counts.items():
        row = DetectionRow(
            arguments.folder.name,
            name,
            arguments.min_score,
            len(pictures),
            len(people),
            len(count.found & set(people)),
            len(large),
            len(count.found & large),
            count.others,
            count.unlabelled,
            round(statistics.mean(count.seconds) * 1e3, 1),
            round(statistics.median(count.seconds) * 1e3, 1),
            1,
            shlex.join(["python", "benchmarks/detection.py", *sys.argv[1:]]),
        )
        print(row)
        if arguments.results:
            tables.add(arguments.results, row)


if __name__ == "__main__":
    main()
