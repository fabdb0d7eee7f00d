"""The detectors by name: a new detector is one file and one row of `DETECTORS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeAlias

from mien.detection.base import Detector
from mien.detection.blazeface import BlazeFace
from mien.detection.whole_image import WholeImage
from mien.detection.yunet import YuNet
from mien.errors import ConfigError, WeightsError, near, shortened

DetectorFactory: TypeAlias = Callable[[int | None], Detector]
"""Makes a detector that uses the given number of CPU threads; None lets ONNX Runtime use every core."""

DETECTORS: Mapping[str, DetectorFactory] = {
    "blazeface": BlazeFace,
    "yunet": lambda threads: YuNet(threads=threads),
    "none": lambda threads: WholeImage(),
}
"""The factory of each detector: `blazeface` is part of mien, `yunet` is downloaded on first use, and `none` takes each
image as one cropped face."""


def create_detector(name_or_path: str, threads: int | None = None) -> Detector:
    """Creates a detector.

    Args:
        name_or_path: A name in `DETECTORS`, or the path of a YuNet .onnx file.
        threads: CPU threads; None lets ONNX Runtime use every core.

    Raises:
        ConfigError: There is no detector of that name.
        WeightsError: The model file is missing, damaged, of another kind, or could not be downloaded.
    """
    if name_or_path in DETECTORS:
        return DETECTORS[name_or_path](threads)
    path = Path(name_or_path)
    if path.is_file():
        return YuNet(path, threads)
    if path.suffix == ".onnx":
        raise WeightsError(f"expected a YuNet model file at {path}, but there is no such file; check the path")
    raise ConfigError(
        f"unknown detector {shortened(name_or_path)}: {near(name_or_path, DETECTORS)}; you can also give the path of a "
        "YuNet .onnx file"
    )
