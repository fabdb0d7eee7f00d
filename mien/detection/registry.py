"""The detectors by name: a new detector is one file and one row of `DETECTORS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from mien.detection import blazeface, yunet
from mien.detection.base import Detector
from mien.detection.blazeface import BlazeFace
from mien.detection.whole_image import WholeImage, WholeImageIfNoFace
from mien.detection.yunet import YuNet
from mien.errors import ConfigError, WeightsError, near, shortened


@dataclass(frozen=True)
class DetectorOptions:
    """What a user chooses about a detector.

    Attributes:
        threads: CPU threads; None lets ONNX Runtime use every core.
        min_score: The lowest score of a face, in [0, 1]; None uses the detector's own.
        thorough: Whether to search longer for small and turned faces.
        device: See `mien.models.devices.candidates`.

    Raises:
        ConfigError: `min_score` is outside [0, 1].
    """

    threads: int | None = None
    min_score: float | None = None
    thorough: bool = False
    device: str | None = None

    def __post_init__(self) -> None:
        if self.min_score is not None and not 0 <= self.min_score <= 1:
            raise ConfigError(f"the lowest score of a face must be 0 to 1, got {self.min_score:g}")


DetectorFactory: TypeAlias = Callable[[DetectorOptions], Detector]


def _yunet(options: DetectorOptions, path: Path | None = None) -> YuNet:
    min_score = yunet.MIN_SCORE if options.min_score is None else options.min_score
    return YuNet(path, options.threads, min_score, options.thorough, options.device)


def _blazeface(options: DetectorOptions) -> BlazeFace:
    min_score = blazeface.MIN_SCORE if options.min_score is None else options.min_score
    return BlazeFace(options.threads, min_score=min_score, device=options.device)


DETECTORS: Mapping[str, DetectorFactory] = {
    "yunet": _yunet,
    "blazeface": _blazeface,
    "auto": lambda options: WholeImageIfNoFace(_yunet(options), WholeImage(options.threads)),
    "none": lambda options: WholeImage(options.threads),
}
"""The factory of each detector. `auto` is YuNet, and takes a small square image without a detected face as one cropped
face; `none` takes each image as one cropped face."""


def create_detector(name_or_path: str, options: DetectorOptions = DetectorOptions()) -> Detector:
    """Creates a detector.

    Args:
        name_or_path: A name in `DETECTORS`, or the path of a YuNet .onnx file.
        options: Threads, the lowest score, how long to search, and the device.

    Raises:
        ConfigError: There is no detector of that name, or the device cannot be used.
        WeightsError: The model file is missing, damaged or of another kind.
    """
    if name_or_path in DETECTORS:
        return DETECTORS[name_or_path](options)
    path = Path(name_or_path)
    if path.is_file():
        return _yunet(options, path)
    if path.suffix == ".onnx":
        raise WeightsError(f"expected a YuNet model file at {path}, but there is no such file; check the path")
    raise ConfigError(
        f"unknown detector {shortened(name_or_path)}: {near(name_or_path, DETECTORS)}; you can also give the path of a "
        "YuNet .onnx file"
    )
