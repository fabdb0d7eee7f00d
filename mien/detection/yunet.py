"""YuNet (Wu, Peng and Yu, Machine Intelligence Research 2023), small: any picture size, five landmarks."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.detection.base import Detection, check_rgb, detections, framed, suppress_weighted
from mien.errors import WeightsError
from mien.models.download import fetched, open_session

URL = (
    "https://raw.githubusercontent.com/ShiqiYu/libfacedetection.train/"
    "02246e79b1e976c83d1e135a85e0628120c93769/onnx/yunet_s_dynamic.onnx"
)
"""Where the file comes from (Apache-2.0); the environment variable MIEN_YUNET_URL names another place."""

SHA256 = "daede24002cc8590f457998cc5e6c9e8b82f45f6bd969506a8913cd4ed10a2d3"

LANDMARKS = ("right_eye", "left_eye", "nose", "mouth_right", "mouth_left")
"""Its landmarks in the network's order; right and left are the person's own."""

STRIDES = (8, 16, 32)
"""Pixels between the cells of its three outputs; the input's sides must be multiples of the last."""

LONGEST_SIDE = 1280
"""Longer side of the largest input, pixels: larger pictures are made smaller first, which bounds time and memory."""

MARGIN, LIFT = -0.03, 0.0
"""How its boxes become FER2013's squares (see `framed`): measured on 2,000 training faces, of which it finds 98 %."""

MIN_SCORE = 0.6
OVERLAP = 0.3


def fetched_yunet() -> Path:
    """The model file in the user's cache, downloaded at first use.

    Raises:
        WeightsError: It is not there and cannot be downloaded.
    """
    return fetched(os.environ.get("MIEN_YUNET_URL", URL), SHA256, "yunet_s_dynamic.onnx")


class YuNet:
    """The YuNet detector.

    Args:
        path: The .onnx file.
        threads: Processor threads of one call; None leaves it to ONNX Runtime.

    Raises:
        WeightsError: The file is missing, damaged, or not YuNet with inputs of any size.
    """

    def __init__(self, path: Path, threads: int | None = None) -> None:
        self._session = open_session(path, threads)
        self._outputs = [f"{kind}_{stride}" for stride in STRIDES for kind in ("cls", "obj", "bbox", "kps")]
        shape = self._session.get_inputs()[0].shape
        found = {output.name for output in self._session.get_outputs()}
        if not found >= set(self._outputs) or any(isinstance(side, int) for side in shape[2:]):
            raise WeightsError(
                f"{path} is not YuNet for pictures of any size: its outputs must be {', '.join(self._outputs)} and "
                f"its input's sides open, got {', '.join(sorted(found))} and {shape}; take yunet_s_dynamic.onnx or "
                "yunet_n_dynamic.onnx"
            )
        self._input = self._session.get_inputs()[0].name

    def __call__(self, image_rgb: NDArray[np.uint8]) -> tuple[Detection, ...]:
        """See `mien.detection.base.Detector`."""
        check_rgb(image_rgb)
        height, width, _ = image_rgb.shape
        shrink = min(1.0, LONGEST_SIDE / max(height, width))
        rows, columns = max(1, round(height * shrink)), max(1, round(width * shrink))
        if shrink < 1:
            picture = Image.fromarray(image_rgb).resize((columns, rows), Image.Resampling.BILINEAR)
            image_rgb = np.asarray(picture)
        padded = np.zeros(
            (-(-rows // STRIDES[-1]) * STRIDES[-1], -(-columns // STRIDES[-1]) * STRIDES[-1], 3), np.uint8
        )
        padded[:rows, :columns] = image_rgb[:, :, ::-1]  # it was trained on BGR
        images = padded.transpose(2, 0, 1)[None].astype(np.float32)
        outputs = iter(self._session.run(self._outputs, {self._input: images}))
        parts = []
        for stride in STRIDES:
            classes, objects, boxes, points = (next(outputs)[0] for _ in range(4))
            parts.append(_decode(classes, objects, boxes, points, stride, padded.shape[1] // stride))
        values, scores = np.concatenate([part[0] for part in parts]), np.concatenate([part[1] for part in parts])
        faces, best = suppress_weighted(values, scores, OVERLAP)
        faces *= np.tile([width / columns, height / rows], faces.shape[1] // 2)
        faces[:, :4] = framed(faces[:, :4], MARGIN, LIFT)
        return detections(faces, best, LANDMARKS)


def _decode(
    classes: NDArray[np.float32],
    objects: NDArray[np.float32],
    boxes: NDArray[np.float32],
    points: NDArray[np.float32],
    stride: int,
    columns: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """One output's cells, row by row -> the candidates among them.

    Args:
        classes: (N, 1) whether it is a face, in [0, 1].
        objects: (N, 1) whether it is anything, in [0, 1]; the score is the geometric mean of both.
        boxes: (N, 4) centre's offset from the cell's corner in cells, and logarithm of width and height in cells.
        points: (N, 10) landmarks' offsets from the cell's corner, in cells.
        stride: Pixels from cell to cell.
        columns: Cells in a row.

    Returns:
        (M, 14) x0, y0, x1, y1 and five landmarks, pixels of the input, and (M,) scores.
    """
    scores = np.sqrt(np.clip(classes, 0, 1) * np.clip(objects, 0, 1))[:, 0].astype(np.float64)
    kept = np.flatnonzero(scores >= MIN_SCORE)
    corner = np.stack([kept % columns, kept // columns], axis=1).astype(np.float64)
    centre = corner + boxes[kept, :2]
    half = np.exp(boxes[kept, 2:].astype(np.float64)) / 2
    landmarks = points[kept] + np.tile(corner, len(LANDMARKS))
    return np.concatenate([centre - half, centre + half, landmarks], axis=1) * stride, scores[kept]
