"""Measures how FER2013's faces were cropped: the margin and lift that turn a detector's boxes into FER2013's squares.

    python tools/measure_margin.py fer2013.tar.gz blazeface
    python tools/measure_margin.py fer2013.tar.gz yunet_s_dynamic.onnx --faces 500 --border edge
    python tools/measure_margin.py fer2013.tar.gz blazeface --split public --model small --border reflect

Each face is enlarged and gets a border, so that it looks like a face in a photograph. The first lines show how far the
boxes that the detector returns still differ from FER2013's squares: margin and centre should be near 0. With a model,
its accuracy on the original faces and on faces cropped again with several additional margins is printed, too.
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
from mien.detection.registry import DetectorOptions, create_detector
from mien.labels import SPLITS
from mien.models.onnx_model import OnnxModel
from mien.preprocess import crop
from mien.types import Box

SCALE = 4
"""Factor by which a face is enlarged."""

BORDERS = {
    "edge": {},
    "reflect": {},
    "black": {"mode": "constant"},
    "gray": {"mode": "constant", "constant_values": 128},
}
"""Border around the face -> arguments of numpy.pad; a name without a mode is itself the mode."""

MARGINS = (-0.2, -0.1, 0.0, 0.1, 0.2, 0.3)
"""Additional margins that are tried with the model."""


def photograph(face: NDArray[np.uint8], border: str) -> NDArray[np.uint8]:
    """Turns a face (h, w) into an image (8 h, 8 w, 3) with the enlarged face in its centre, values 0..255."""
    height, width = face.shape
    size = (width * SCALE, height * SCALE)
    enlarged = np.asarray(Image.fromarray(face).resize(size, Image.Resampling.BICUBIC))
    options = {"mode": border, **BORDERS[border]}
    padded = np.pad(enlarged, ((size[1] // 2,) * 2, (size[0] // 2,) * 2), **options)  # type: ignore[call-overload]
    return np.repeat(padded[:, :, None], 3, axis=2)


def boxes_of(detections: dict[int, Detection]) -> NDArray[np.float64]:
    """(N, 4) x0, y0, x1, y1 of each face's first detection, pixels."""
    return np.array([detection.box.xyxy for detection in detections.values()]).reshape(-1, 4)


def print_boxes(detections: dict[int, Detection], side: int) -> None:
    """Prints the position of the boxes relative to FER2013's squares, which have the given side in pixels."""
    x0, y0, x1, y1 = (boxes_of(detections) - side / 2).T / side  # fractions of FER2013's square, from its corner
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
    model: OnnxModel,
    detections: dict[int, Detection],
    faces: NDArray[np.uint8],
    targets: NDArray[np.int64],
    border: str,
) -> None:
    """Prints the accuracy on the detected faces, and on crops of them with several additional margins."""
    rows = np.array(list(detections))

    def accuracy(images: list[NDArray[np.uint8]]) -> float:
        return float((model.logits(images).argmax(axis=1) == targets[rows]).mean())

    print(f"accuracy on the {len(rows)} detected faces, original crop: {accuracy(list(faces[rows])):.4f}")
    for margin in MARGINS:
        boxes = to_fer2013_squares(boxes_of(detections), margin, 0)
        crops = [
            crop(photograph(faces[row], border)[:, :, 0], Box(*box))
            for row, box in zip(rows, boxes.tolist(), strict=True)
        ]
        print(f"cropped again, additional margin {margin:+.1f}: {accuracy(crops):.4f}")


def main() -> None:
    """Detects the faces, and prints the position of their boxes and the accuracies."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="FER2013 in any format")
    parser.add_argument("detector", help="blazeface, yunet, or the path of a YuNet .onnx file")
    parser.add_argument("--split", choices=SPLITS, default="training", help="split of the faces")
    parser.add_argument("--faces", type=int, default=2000, help="number of faces")
    parser.add_argument("--border", choices=BORDERS, default="black", help="border around an enlarged face")
    parser.add_argument("--model", help="a model to try additional margins with")
    parser.add_argument("--seed", type=int, default=0, help="seed of the random choice of faces")
    parser.add_argument("--threads", type=int, default=1, help="CPU threads")
    arguments = parser.parse_args()
    split = load(arguments.data).split(arguments.split)
    count = min(arguments.faces, len(split))
    rows = np.sort(np.random.default_rng(arguments.seed).choice(len(split), count, replace=False))
    detector: Detector = (
        BlazeFace(arguments.threads, small_faces=False)  # each face fills its image
        if arguments.detector == "blazeface"
        else create_detector(arguments.detector, DetectorOptions(arguments.threads))
    )
    detections = {}
    for row in rows.tolist():
        if faces := detector(photograph(split.images[row], arguments.border)):
            detections[row] = faces[0]
    print(
        f"{arguments.detector}, border {arguments.border}, seed {arguments.seed}: {len(detections)} of {count} "
        f"{arguments.split} faces detected"
    )
    print_boxes(detections, split.size * SCALE)
    if arguments.model:
        model = OnnxModel(arguments.model, arguments.threads)
        print_accuracies(model, detections, split.images, split.targets, arguments.border)


if __name__ == "__main__":
    main()
