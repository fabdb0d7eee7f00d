"""Explains the prediction for each face in a picture: by the network's masks, or by Grad-CAM."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from mien import files
from mien.deprecation import warn_deprecated
from mien.detection import DEFAULT_DETECTOR
from mien.detection.base import Detector
from mien.errors import ConfigError, require, shortened_path
from mien.explain.overlay import COLOURMAP, draw_probabilities, informative_masks, overlay
from mien.labels import class_colours
from mien.models.model import Model
from mien.models.onnx_model import OnnxModel
from mien.models.open_model import open_model
from mien.models.zoo import DEFAULT_MODEL
from mien.plotting import INK, LABEL_PT, SMALL_PT, new_figure, save
from mien.recognition import photo
from mien.recognition.crops import crop_faces
from mien.recognition.recognizer import Recognizer
from mien.types import Face

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Method = Literal["masks", "grad-cam"]


@dataclass(frozen=True)
class Explanation:
    """Where a network looked on one face.

    Attributes:
        network: The network's name and variant.
        face: The recognised face.
        image: (size, size), values 0..255: the face as the network receives it.
        method: `masks` or `grad-cam`.
        heatmaps: Arrays (h, w) in [0, 1]. With `masks`, the mask M of each stage, the first first, averaged over its
            channels: the network multiplies its features by 1 + M, so 0 leaves them unchanged and 1 doubles them. With
            `grad-cam`, one array for the predicted expression; see `mien.explain.grad_cam.grad_cam`.
    """

    network: str
    face: Face
    image: NDArray[np.uint8]
    method: Method
    heatmaps: tuple[NDArray[np.floating], ...]

    @property
    def heats(self) -> tuple[NDArray[np.floating], ...]:
        """Deprecated: use `heatmaps`."""
        warn_deprecated("Explanation.heats", "Explanation.heatmaps")
        return self.heatmaps


def explain(
    picture: photo.Picture,
    model: str | Path | Model = DEFAULT_MODEL,
    detector: str | Path | Detector = DEFAULT_DETECTOR,
    method: Method | None = None,
    threads: int | None = None,
) -> list[Explanation]:
    """Recognises the faces in a picture and explains the prediction for each.

    Args:
        picture: See `Recognizer`.
        model: The name of a shipped model, an .onnx file, a run folder or a checkpoint, or a model that
            `mien.models.open_model.open_model` opened. With a shipped model or an .onnx file, masks do not need torch.
        detector: See `Recognizer`.
        method: None uses the masks if the network has any that are not uniform, and otherwise Grad-CAM. The masks of
            `resmasking` are uniform, because they are a softmax over channels.
        threads: CPU threads; None uses all cores.

    Returns:
        An explanation for each face, from left to right.

    Raises:
        ImageError: The picture cannot be read.
        WeightsError: The model is missing or damaged, or Grad-CAM is not possible because mien did not export it.
        ConfigError: `method` is `masks` and the network has none that are not uniform.
        MissingExtraError: torch or captum is needed and not installed.
    """
    opened = open_model(str(model), threads) if isinstance(model, str | Path) else model
    image_rgb = photo.read(picture)
    faces = Recognizer(opened, detector, threads)(image_rgb)
    images = opened.preprocessing.resize(crop_faces(image_rgb, faces))
    heatmaps = [] if method == "grad-cam" else [_masks(opened, image) for image in images]
    if method is None:
        method = "masks" if any(heatmaps) else "grad-cam"
    elif method == "masks" and faces and not any(heatmaps):
        raise ConfigError(f"{opened.title} has no masks that differ between positions; leave the method out")
    if method == "grad-cam" and faces:
        heatmaps = _grad_cams(opened, images, faces, threads)
    return [
        Explanation(opened.title, face, image, method, of_face)
        for face, image, of_face in zip(faces, images, heatmaps, strict=True)
    ]


def check_folder(folder: Path, name: str, overwrite: bool) -> None:
    """Checks, before the faces are explained, that `write` can write and replaces only files of mien.

    Args:
        folder: The folder, which may still have to be created.
        name: The file name of the picture.
        overwrite: Whether any file may be replaced.

    Raises:
        ConfigError: It cannot, would replace another file, or its name is that of a picture.
    """
    if folder.suffix.lower() in (".png", ".jpg", ".jpeg") and not folder.is_dir():
        raise ConfigError(
            f"{shortened_path(folder)} is the name of a picture, and every face gets its own: give the name of a folder"
        )
    files.check_folder(folder)
    for path in sorted(folder.glob(f"{glob.escape(Path(name).stem)}-face*.png")):
        files.check_output(path, overwrite)


def write(explanations: Sequence[Explanation], folder: Path, name: str) -> list[Path]:
    """Draws the explanation of each face to STEM-face1.png, STEM-face2.png and so on, from left to right.

    Args:
        explanations: The explanations of the faces in one picture.
        folder: An existing folder.
        name: The file name of the picture; STEM is this name without its suffix.

    Returns:
        The paths of the files.

    Raises:
        OSError: The folder is not writable.
        MissingExtraError: matplotlib is not installed.
    """
    heatmaps = [heatmap for explanation in explanations for heatmap in explanation.heatmaps]
    has_masks = any(explanation.method == "masks" for explanation in explanations)
    limits = (float(min(map(np.min, heatmaps))), float(max(map(np.max, heatmaps)))) if has_masks else (0.0, 1.0)
    return [
        save(
            figure(explanation, f"{name}, face {number} of {len(explanations)}", limits),
            folder / f"{Path(name).stem}-face{number}.png",
        )
        for number, explanation in enumerate(explanations, start=1)
    ]


def figure(explanation: Explanation, title: str, limits: tuple[float, float]) -> Figure:
    """Draws a face as the network receives it, its probabilities, and its heatmaps, one image per stage.

    Args:
        explanation: The explanation.
        title: The picture and the number of the face.
        limits: The values with the darkest and the brightest colour, for all stages.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    expression = explanation.face.expression
    is_masks = explanation.method == "masks"
    stages = [f"stage {number}" for number in range(1, len(explanation.heatmaps) + 1)]
    cells = [*stages, *["."] * (len(stages) % 2)] if len(stages) > 1 else 4 * stages
    half = len(cells) // 2
    size_px = explanation.image.shape[0]
    drawn, axes = new_figure(
        (1.8 * (1 + half) + 0.9, 3.9),
        "Where the network looked",
        f"{explanation.network}; {title}",
        f"The face as the network receives it, gray, {size_px} x {size_px} pixels, and over it "
        + (
            "the mask of each stage, averaged over channels. The network multiplies the features of a stage by "
            "1 + mask: 0 leaves a feature unchanged, 1 doubles it."
            if is_masks
            else f"Grad-CAM of the last convolutional stage: how much each position raises the score of "
            f"{expression.name}. 0 does not raise it, 1 marks the position that raises it most."
        ),
        mosaic=[["face", *cells[:half]], ["probabilities", *cells[half:]]],
    )
    axes["face"].set_title("face", size=SMALL_PT, color=INK)
    axes["face"].imshow(explanation.image, cmap="gray", vmin=0, vmax=255, interpolation="bicubic")
    axes["face"].set_axis_off()
    _draw_expression(axes["probabilities"], explanation.face)
    for stage, heatmap in zip(stages, explanation.heatmaps, strict=True):
        axes[stage].imshow(overlay(explanation.image, heatmap, limits))
        axes[stage].set_axis_off()
        layer = stage if is_masks else "last convolutional stage"
        axes[stage].set_title(f"{layer}, {heatmap.shape[0]} x {heatmap.shape[1]}", size=SMALL_PT, color=INK)
    scale = require("matplotlib.cm", "figures").ScalarMappable(cmap=COLOURMAP)
    scale.set_clim(*limits)
    bar = drawn.colorbar(scale, ax=[axes[stage] for stage in stages], shrink=0.85, pad=0.03)
    label = "mask: features x (1 + mask)" if is_masks else f"Grad-CAM for {expression.name}"
    bar.set_label(label, size=SMALL_PT, color=INK)
    bar.ax.tick_params(labelsize=SMALL_PT - 1, colors=INK)
    return drawn


def _draw_expression(axes: Any, face: Face) -> None:
    """Draws the probabilities of a face under its predicted expression."""
    expression = face.expression
    classes = tuple(expression.probabilities)
    predicted = classes.index(expression.name)
    draw_probabilities(axes, classes, list(expression.probabilities.values()), predicted)
    axes.set_title(
        f"{expression.name} {expression.confidence:.0%}{', uncertain' if expression.uncertain else ''}",
        size=LABEL_PT,
        weight="bold",
        color=class_colours(classes)[expression.name],
    )
    axes.set_xlabel("probability, %", size=SMALL_PT)


def _masks(model: Model, image: NDArray[np.uint8]) -> tuple[NDArray[np.floating], ...]:
    """Returns the mask of each stage on one face; empty if there are none or all are uniform."""
    return informative_masks([mask[0] for mask in model.masks(image[None])])


def _grad_cams(
    model: Model, images: NDArray[np.uint8], faces: Sequence[Face], threads: int | None
) -> list[tuple[NDArray[np.floating], ...]]:
    """Returns the Grad-CAM of each face for its predicted expression."""
    require("captum", "train")
    import torch

    from mien.explain.grad_cam import grad_cam
    from mien.models.torch_model import TorchModel

    if threads:
        torch.set_num_threads(threads)
    torch_model = TorchModel.from_onnx(model.path) if isinstance(model, OnnxModel) else model
    assert isinstance(torch_model, TorchModel)
    targets = [torch_model.classes.index(face.expression.name) for face in faces]
    return [(grad_cam(torch_model, image, target),) for image, target in zip(images, targets, strict=True)]
