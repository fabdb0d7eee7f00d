"""Measures how FER2013's faces were cut, as a detector sees it: the margin and lift that make its boxes such squares.

    python tools/measure_margin.py fer2013.tar.gz blazeface
    python tools/measure_margin.py fer2013.tar.gz yunet_s_dynamic.onnx --faces 500 --border edge
    python tools/measure_margin.py fer2013.tar.gz blazeface --split public --model small --border reflect

Each face is enlarged and gets a border, so that the detector sees it as it would in a photograph. What is printed
first is what is left to be corrected of the boxes that the detector returns: margin and centre should be near 0. With a
model, its accuracy on the faces cut out again is printed for several further margins, beside that on them as they are.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.data import load
from mien.detection.base import Detection, Detector
from mien.detection.blazeface import BlazeFace
from mien.detection.boxes import to_fer2013_squares
from mien.detection.registry import create_detector
from mien.labels import SPLITS
from mien.models.onnx_model import OnnxModel
from mien.preprocess import crop
from mien.types import Box

ENLARGED = 4
"""How many times a face is enlarged."""

BORDERS = {
    "edge": {},
    "reflect": {},
    "black": {"mode": "constant"},
    "gray": {"mode": "constant", "constant_values": 128},
}
"""What surrounds the face: how numpy.pad is asked for it, where the name is not a mode of its own."""

MARGINS = (-0.2, -0.1, 0.0, 0.1, 0.2, 0.3)
"""Further margins that the model is tried with."""


def photograph(face: NDArray[np.uint8], border: str) -> NDArray[np.uint8]:
    """A face (h, w) -> a picture (8 h, 8 w, 3) with the enlarged face in its middle, values 0..255."""
    height, width = face.shape
    size = (width * ENLARGED, height * ENLARGED)
    enlarged = np.asarray(Image.fromarray(face).resize(size, Image.Resampling.BICUBIC))
    options = {"mode": border, **BORDERS[border]}
    padded = np.pad(enlarged, ((size[1] // 2,) * 2, (size[0] // 2,) * 2), **options)  # type: ignore[call-overload]
    return np.repeat(padded[:, :, None], 3, axis=2)


def boxes_of(found: dict[int, Detection]) -> NDArray[np.float64]:
    """(N, 4) x0, y0, x1, y1 of each face's first detection, pixels."""
    return np.array([detection.box.xyxy for detection in found.values()]).reshape(-1, 4)


def print_framing(found: dict[int, Detection], side: int) -> None:
    """Prints where the boxes lie about FER2013's squares, whose side is given in pixels of the photograph."""
    x0, y0, x1, y1 = (boxes_of(found) - side / 2).T / side  # shares of FER2013's square, from its corner
    longer = np.maximum(x1 - x0, y1 - y0)
    measures = {
        "box width / side": x1 - x0,
        "box height / side": y1 - y0,
        "centre dx / longer side": ((x0 + x1) / 2 - 0.5) / longer,
        "centre dy / longer side": ((y0 + y1) / 2 - 0.5) / longer,
        "margin": 1 / longer - 1,
    }
    for name, values in measures.items():
        low, middle, high = np.percentile(values, [25, 50, 75])
        print(f"{name:24} median {middle:+.3f}, quartiles {low:+.3f} to {high:+.3f}")


def print_accuracies(
    classifier: OnnxModel,
    found: dict[int, Detection],
    faces: NDArray[np.uint8],
    targets: NDArray[np.int64],
    border: str,
) -> None:
    """Prints the accuracy on the detected faces as they are, and cut out again with several further margins."""
    rows = np.array(list(found))

    def accuracy(images: list[NDArray[np.uint8]]) -> float:
        return float((classifier.logits(images).argmax(axis=1) == targets[rows]).mean())

    print(f"accuracy on the {len(rows)} faces found, as they are: {accuracy(list(faces[rows])):.4f}")
    for margin in MARGINS:
        boxes = to_fer2013_squares(boxes_of(found), margin, 0)
        cut = [
            crop(photograph(faces[row], border)[:, :, 0], Box(*box))
            for row, box in zip(rows, boxes.tolist(), strict=True)
        ]
        print(f"cut out again, further margin {margin:+.1f}: {accuracy(cut):.4f}")


def main() -> None:
    """Detects the faces and prints what their boxes are like."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="FER2013, in any form that mien reads")
    parser.add_argument("detector", help="blazeface, yunet, or the path of a YuNet .onnx file")
    parser.add_argument("--split", choices=SPLITS, default="training", help="which faces")
    parser.add_argument("--faces", type=int, default=2000, help="how many of them")
    parser.add_argument("--border", choices=BORDERS, default="black", help="what surrounds an enlarged face")
    parser.add_argument("--model", help="a classifier to try further margins with")
    parser.add_argument("--seed", type=int, default=0, help="which faces are drawn")
    parser.add_argument("--threads", type=int, default=1, help="processor threads")
    arguments = parser.parse_args()
    split = load(arguments.data).split(arguments.split)
    count = min(arguments.faces, len(split))
    rows = np.sort(np.random.default_rng(arguments.seed).choice(len(split), count, replace=False))
    detector: Detector = (
        BlazeFace(arguments.threads, small_faces=False)  # each face fills its picture
        if arguments.detector == "blazeface"
        else create_detector(arguments.detector, arguments.threads)
    )
    found = {}
    for row in rows.tolist():
        if detections := detector(photograph(split.images[row], arguments.border)):
            found[row] = detections[0]
    print(
        f"{arguments.detector}, border {arguments.border}, seed {arguments.seed}: {len(found)} of {count} "
        f"{arguments.split} faces found"
    )
    print_framing(found, split.size * ENLARGED)
    if arguments.model:
        classifier = OnnxModel(arguments.model, arguments.threads)
        print_accuracies(classifier, found, split.images, split.targets, arguments.border)


if __name__ == "__main__":
    main()
