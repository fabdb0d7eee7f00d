"""YuNet small (Wu, Peng and Yu, Machine Intelligence Research 2023): images of any size, five landmarks."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from mien.detection.base import Detection, check_rgb
from mien.detection.boxes import to_detections, to_fer2013_squares, weighted_nms
from mien.errors import WeightsError
from mien.models.download import download
from mien.models.session import open_session

URL = (
    "https://raw.githubusercontent.com/ShiqiYu/libfacedetection.train/"
    "02246e79b1e976c83d1e135a85e0628120c93769/onnx/yunet_s_dynamic.onnx"
)
"""The address of the model file (Apache-2.0); the environment variable MIEN_YUNET_URL replaces it."""

SHA256 = "daede24002cc8590f457998cc5e6c9e8b82f45f6bd969506a8913cd4ed10a2d3"

LANDMARKS = ("right_eye", "left_eye", "nose", "mouth_right", "mouth_left")
"""The landmarks in the network's order; left and right are the person's own."""

STRIDES = (8, 16, 32)
"""Pixels per grid cell of the three outputs; the sides of the input are multiples of the largest stride."""

MAX_INPUT_SIDE = 1280
"""The longer side of the largest input, in pixels. Larger images are downscaled, which bounds time and memory."""

MARGIN, LIFT = -0.03, 0.0
"""See `to_fer2013_squares`; measured on 2,000 training faces, of which YuNet finds 98 %."""

MIN_SCORE = 0.6
"""The lowest score of a face, in [0, 1]."""

NMS_IOU = 0.3
"""Candidates with a larger intersection over union are the same face."""


def downloaded_yunet() -> Path:
    """Returns the model file in the user's cache, downloading it on first use.

    Raises:
        WeightsError: The file is not in the cache and cannot be downloaded.
    """
    return download(os.environ.get("MIEN_YUNET_URL", URL), SHA256, "yunet_s_dynamic.onnx")


class YuNet:
    """The YuNet detector.

    Args:
        path: The .onnx file; None uses the file in the user's cache, which is downloaded on first use.
        threads: CPU threads; None lets ONNX Runtime use every core.

    Raises:
        WeightsError: The file is missing, damaged, not YuNet with inputs of any size, or cannot be downloaded.
    """

    def __init__(self, path: Path | None = None, threads: int | None = None) -> None:
        path = path or downloaded_yunet()
        self._session = open_session(path, threads)
        self._output_names = [f"{kind}_{stride}" for stride in STRIDES for kind in ("cls", "obj", "bbox", "kps")]
        input_shape = self._session.get_inputs()[0].shape
        output_names = {output.name for output in self._session.get_outputs()}
        has_fixed_size = any(isinstance(side, int) for side in input_shape[2:])
        if not output_names >= set(self._output_names) or has_fixed_size:
            raise WeightsError(
                f"{path} is not YuNet for images of any size: expected the outputs {', '.join(self._output_names)} "
                f"and an input of variable height and width, got {', '.join(sorted(output_names))} and "
                f"{input_shape}; use yunet_s_dynamic.onnx or yunet_n_dynamic.onnx"
            )
        self._input_name = self._session.get_inputs()[0].name

    def __call__(self, image_rgb: NDArray[np.uint8]) -> tuple[Detection, ...]:
        """See `mien.detection.base.Detector`."""
        check_rgb(image_rgb)
        height, width, _ = image_rgb.shape
        scale = min(1.0, MAX_INPUT_SIDE / max(height, width))
        rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
        if scale < 1:
            image_rgb = np.asarray(Image.fromarray(image_rgb).resize((columns, rows), Image.Resampling.BILINEAR))
        padded = np.zeros((_padded(rows), _padded(columns), 3), np.uint8)
        padded[:rows, :columns] = image_rgb[:, :, ::-1]  # YuNet was trained on BGR
        images = padded.transpose(2, 0, 1)[None].astype(np.float32)

        outputs = self._session.run(self._output_names, {self._input_name: images})
        candidates = []
        for i, stride in enumerate(STRIDES):
            classes, objects, boxes, points = (output[0] for output in outputs[4 * i : 4 * i + 4])
            candidates.append(_decode(classes, objects, boxes, points, stride, padded.shape[1] // stride))
        values = np.concatenate([values for values, _ in candidates])
        scores = np.concatenate([scores for _, scores in candidates])

        faces, face_scores = weighted_nms(values, scores, NMS_IOU)
        faces *= np.tile([width / columns, height / rows], faces.shape[1] // 2)
        faces[:, :4] = to_fer2013_squares(faces[:, :4], MARGIN, LIFT)
        return to_detections(faces, face_scores, LANDMARKS)


def _padded(length: int) -> int:
    """Rounds a length up to a multiple of the largest stride."""
    return -(-length // STRIDES[-1]) * STRIDES[-1]


def _decode(
    classes: NDArray[np.float32],
    objects: NDArray[np.float32],
    boxes: NDArray[np.float32],
    points: NDArray[np.float32],
    stride: int,
    columns: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Decodes the cells of one output, row by row, into candidates.

    Args:
        classes: (N, 1) probability of a face, in [0, 1].
        objects: (N, 1) probability of any object, in [0, 1]; the score is the geometric mean of both.
        boxes: (N, 4) offset of the box's centre from the cell's corner, in cells, and the logarithm of its width and
            height, in cells.
        points: (N, 10) offsets of the landmarks from the cell's corner, in cells.
        stride: Pixels per cell.
        columns: Cells per row.

    Returns:
        (M, 14) x0, y0, x1, y1 and five landmarks x, y in pixels of the input, and (M,) scores.
    """
    scores = np.sqrt(np.clip(classes, 0, 1) * np.clip(objects, 0, 1))[:, 0].astype(np.float64)
    kept = np.flatnonzero(scores >= MIN_SCORE)
    corner = np.stack([kept % columns, kept // columns], axis=1).astype(np.float64)
    centre = corner + boxes[kept, :2]
    half = np.exp(boxes[kept, 2:].astype(np.float64)) / 2
    landmarks = points[kept] + np.tile(corner, len(LANDMARKS))
    return np.concatenate([centre - half, centre + half, landmarks], axis=1) * stride, scores[kept]
