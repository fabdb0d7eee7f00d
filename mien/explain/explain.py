"""Where a network looked on each face of a photograph: its masks, or Grad-CAM for a network without masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from mien.detection.base import Detector
from mien.errors import ConfigError, require
from mien.explain.sheet import HEAT, draw_probabilities, overlay, telling
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
        network: Its name and variant.
        face: What was recognised.
        image: (size, size), values 0..255: the face as the network was given it.
        method: masks or grad-cam.
        heats: (h, w) each, in [0, 1]. `masks`: each stage's mask M, first stage first, the mean over its channels; the
            network multiplies its features by 1 + M, so that 0 leaves them as they are and 1 doubles them. `grad-cam`:
            one, of the last convolutional stage, for the expression that was said; see
            `mien.explain.grad_cam.grad_cam`.
    """

    network: str
    face: Face
    image: NDArray[np.uint8]
    method: Method
    heats: tuple[NDArray[np.floating], ...]


def explain(
    picture: photo.Picture,
    model: str | Path | Model = DEFAULT_MODEL,
    detector: str | Detector = "blazeface",
    method: Method | None = None,
    threads: int | None = None,
) -> list[Explanation]:
    """Recognises the faces of a picture and says where the network looked on each.

    Args:
        picture: What `Recognizer` takes.
        model: A shipped model's name, an .onnx file, a run folder or a checkpoint, of which the first two work without
            torch as long as masks are drawn; or what `mien.models.open_model.open_model` gives for it.
        detector: See `Recognizer`.
        method: None takes the masks of a network whose masks differ from place to place, else Grad-CAM. Those of
            `resmasking` do not: its softmax over channels has the same mean everywhere.
        threads: CPU threads; None takes all cores.

    Returns:
        One a face, in the order of `Recognizer`, from left to right.

    Raises:
        ImageError: It is no picture that can be read.
        WeightsError: The model cannot be had, or Grad-CAM is to be drawn of an .onnx file that mien did not export.
        ConfigError: Masks are asked for, and the network has none that show anything.
        MissingExtraError: It needs torch or captum, which are not installed.
    """
    opened = open_model(str(model), threads) if isinstance(model, str | Path) else model
    image_rgb = photo.read(picture)
    faces = Recognizer(opened, detector, threads)(image_rgb)
    images = opened.preprocessing.resize(crop_faces(image_rgb, faces))
    heats = [] if method == "grad-cam" else [_masks(opened, image) for image in images]
    if method is None:
        method = "masks" if any(heats) else "grad-cam"
    elif method == "masks" and faces and not any(heats):
        raise ConfigError(f"{opened.title} gives no masks that differ from place to place: leave the method out")
    if method == "grad-cam" and faces:
        heats = _grad_cams(opened, images, faces, threads)
    return [
        Explanation(opened.title, face, image, method, heat)
        for face, image, heat in zip(faces, images, heats, strict=True)
    ]


def write(explanations: Sequence[Explanation], folder: Path, name: str) -> list[Path]:
    """Draws each face's explanation as STEM-face1.png, STEM-face2.png and so on, from left to right.

    Args:
        explanations: Of the faces of one photograph.
        folder: Exists.
        name: The photograph's file name; STEM is that without its suffix.

    Returns:
        The files.

    Raises:
        OSError: The folder cannot be written.
        MissingExtraError: matplotlib is not installed.
    """
    heats = [heat for each in explanations for heat in each.heats]
    masks = any(each.method == "masks" for each in explanations)
    span = (float(min(map(np.min, heats))), float(max(map(np.max, heats)))) if masks else (0.0, 1.0)
    return [
        save(
            figure(each, f"{name}, face {number} of {len(explanations)}", span),
            folder / f"{Path(name).stem}-face{number}.png",
        )
        for number, each in enumerate(explanations, start=1)
    ]


def figure(explanation: Explanation, title: str, span: tuple[float, float]) -> Figure:
    """One face as the network was given it, what was said of it, and where the network looked, one picture a stage.

    Args:
        explanation: Of the face.
        title: Of which face and photograph.
        span: The values with the coldest and the hottest colour, the same for all stages.

    Raises:
        MissingExtraError: matplotlib is not installed.
    """
    colours = require("matplotlib.cm", "figures").ScalarMappable(cmap=HEAT)
    colours.set_clim(*span)
    said = explanation.face.expression
    masks = explanation.method == "masks"
    stages = [f"stage {number}" for number in range(1, len(explanation.heats) + 1)]
    cells = [*stages, *["."] * (len(stages) % 2)] if len(stages) > 1 else 4 * stages
    half = len(cells) // 2
    size_px = explanation.image.shape[0]
    drawn, axes = new_figure(
        (1.8 * (1 + half) + 0.9, 3.9),
        "Where the network looked",
        f"{explanation.network}; {title}",
        f"The face as the network was given it, gray, {size_px} x {size_px} pixels, and over it "
        + (
            "the mask of each stage, the mean of its channels. The network multiplies the features of a stage by "
            "1 + mask: 0 leaves a feature as it is, 1 doubles it."
            if masks
            else f"Grad-CAM of the last convolutional stage: how much each place raises the score of {said.name}. "
            "0 does not raise it; 1 is the place that raises it most."
        ),
        mosaic=[["face", *cells[:half]], ["said", *cells[half:]]],
    )
    axes["face"].set_title("face", size=SMALL_PT, color=INK)
    axes["face"].imshow(explanation.image, cmap="gray", vmin=0, vmax=255, interpolation="bicubic")
    axes["face"].set_axis_off()
    classes = tuple(said.probabilities)
    best = classes.index(said.name)
    draw_probabilities(axes["said"], classes, list(said.probabilities.values()), best)
    axes["said"].set_title(
        f"{said.name} {said.confidence:.0%}{', uncertain' if said.uncertain else ''}",
        size=LABEL_PT,
        weight="bold",
        color=class_colours(classes)[said.name],
    )
    axes["said"].set_xlabel("probability, %", size=SMALL_PT)
    for name, heat in zip(stages, explanation.heats, strict=True):
        axes[name].imshow(overlay(explanation.image, heat, span))
        axes[name].set_axis_off()
        where = name if masks else "last convolutional stage"
        axes[name].set_title(f"{where}, {heat.shape[0]} x {heat.shape[1]}", size=SMALL_PT, color=INK)
    bar = drawn.colorbar(colours, ax=[axes[name] for name in stages], shrink=0.85, pad=0.03)
    bar.set_label("mask: features x (1 + mask)" if masks else f"Grad-CAM for {said.name}", size=SMALL_PT, color=INK)
    bar.ax.tick_params(labelsize=SMALL_PT - 1, colors=INK)
    return drawn


def _masks(model: Model, image: NDArray[np.uint8]) -> tuple[NDArray[np.floating], ...]:
    """Each stage's mask on one face; empty where there are none, or where each is the same everywhere."""
    return telling([mask[0] for mask in model.masks(image[None])])


def _grad_cams(
    model: Model, images: NDArray[np.uint8], faces: Sequence[Face], threads: int | None
) -> list[tuple[NDArray[np.floating], ...]]:
    require("captum", "train")
    import torch

    from mien.explain.grad_cam import grad_cam
    from mien.models.torch_model import TorchModel

    if threads:
        torch.set_num_threads(threads)
    trained = TorchModel.from_onnx(model.path) if isinstance(model, OnnxModel) else model
    assert isinstance(trained, TorchModel)
    said = [trained.classes.index(face.expression.name) for face in faces]
    return [(grad_cam(trained, image, expression),) for image, expression in zip(images, said, strict=True)]
