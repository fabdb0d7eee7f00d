"""Measures how FER2013's faces were cut, as a detector sees it: the margin with which mien must cut faces as well.

    python tools/measure_margin.py fer2013.tar.gz blazeface
    python tools/measure_margin.py fer2013.tar.gz yunet_s_dynamic.onnx --faces 500 --border edge

Each face is enlarged and gets a border, so that the detector sees it as it would in a photograph. A crop of
(1 + margin) times the box's longer side, about the box's centre, then shows on the median what FER2013 shows.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.data import load
from mien.recognition.detect import create_detector

ENLARGED = 4
"""How many times a face is enlarged."""

BORDERS = {
    "edge": {},
    "reflect": {},
    "black": {"mode": "constant"},
    "gray": {"mode": "constant", "constant_values": 128},
}
"""What surrounds the face: how numpy.pad is asked for it, where the name is not a mode of its own."""


def photograph(face: NDArray[np.uint8], border: str) -> NDArray[np.uint8]:
    """A face (h, w) -> a picture (8 h, 8 w, 3) with the enlarged face in its middle, values 0..255."""
    height, width = face.shape
    size = (width * ENLARGED, height * ENLARGED)
    enlarged = np.asarray(Image.fromarray(face).resize(size, Image.Resampling.BICUBIC))
    options = {"mode": border, **BORDERS[border]}
    padded = np.pad(enlarged, ((size[1] // 2,) * 2, (size[0] // 2,) * 2), **options)  # type: ignore[call-overload]
    return np.repeat(padded[:, :, None], 3, axis=2)


def main() -> None:
    """Detects the faces and prints what their boxes are like."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="FER2013, in any form that mien reads")
    parser.add_argument("detector", help="blazeface, yunet, or the path of a YuNet .onnx file")
    parser.add_argument("--faces", type=int, default=2000, help="how many training faces to look at")
    parser.add_argument("--border", choices=BORDERS, default="black", help="what surrounds an enlarged face")
    parser.add_argument("--seed", type=int, default=0, help="which faces are drawn")
    parser.add_argument("--threads", type=int, default=1, help="processor threads")
    arguments = parser.parse_args()
    faces = load(arguments.data).split("training").images
    count = min(arguments.faces, len(faces))
    rows = np.random.default_rng(arguments.seed).choice(len(faces), count, replace=False)
    detector = create_detector(arguments.detector, threads=arguments.threads, small_faces=False)
    boxes = []
    for face in faces[np.sort(rows)]:
        found = detector(photograph(face, arguments.border))
        if found:
            boxes.append(found[0].box.xyxy)
    side = faces.shape[1] * ENLARGED
    x0, y0, x1, y1 = (np.array(boxes).reshape(-1, 4) - side / 2).T / side  # shares of FER2013's square, from its corner
    longer = np.maximum(x1 - x0, y1 - y0)
    print(
        f"{arguments.detector}, border {arguments.border}, seed {arguments.seed}: {len(boxes)} of {count} faces found"
    )
    measures = {
        "box width / side": x1 - x0,
        "box height / side": y1 - y0,
        "longer side / side": longer,
        "centre dx / longer side": ((x0 + x1) / 2 - 0.5) / longer,
        "centre dy / longer side": ((y0 + y1) / 2 - 0.5) / longer,
        "margin": 1 / longer - 1,
    }
    for name, values in measures.items():
        low, middle, high = np.percentile(values, [25, 50, 75])
        print(f"{name:24} median {middle:+.3f}, quartiles {low:+.3f} to {high:+.3f}")


if __name__ == "__main__":
    main()
