"""From a trained network, in any of its forms, and labelled faces to predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mien.data.dataset import FaceDataset
from mien.errors import ConfigError, DataError, WeightsError, near, require
from mien.evaluation.ensemble import ensemble
from mien.recognition.classifier import Classifier, Model, shipped
from mien.types import Predictions

CROP = 44 / 48
"""Side of a ten-crop's square over the face's."""


def open_model(model: str, threads: int | None = None) -> Model:
    """Opens any form of a trained network.

    Args:
        model: A run folder, a checkpoint (.safetensors), an .onnx file, or a shipped model's name; the last two work
            without torch. A folder of a shipped model's name is ./NAME.
        threads: CPU threads; None takes all cores.

    Raises:
        WeightsError: It is none of these, or damaged.
        MissingExtraError: It needs torch, which is not installed.
    """
    path = Path(model)
    if model in shipped() or path.suffix == ".onnx":
        return Classifier(model, threads)
    if path.is_dir() or path.suffix == ".safetensors":
        require("torch", "train")
        import torch

        from mien.training.trained import TrainedNetwork

        if threads:
            torch.set_num_threads(threads)
        return TrainedNetwork.load(path)
    raise WeightsError(
        f"there is no model {model}: expected a run folder, a checkpoint, an .onnx file or a shipped model's name; "
        f"{near(model, shipped())}"
    )


def predict(model: Model, dataset: FaceDataset, view: str = "single", calibrated: bool = True) -> Predictions:
    """Classifies every face, in order.

    Args:
        model: What `open_model` gives.
        dataset: The faces.
        view: One of VIEWS. Where a face has several, its probabilities are their mean, and its logits the mean's
            logarithm. All views are deterministic.
        calibrated: Whether the softmax of the logits is to be what a recogniser would say, or they are to be as the
            network gives them.

    Raises:
        DataError: The data set's classes are not the model's.
        ConfigError: There is no such view.
        WeightsError: It gives logits that are not finite.
    """
    if dataset.classes != model.classes:
        raise DataError(
            f"the data has the classes {', '.join(dataset.classes)} and the model {', '.join(model.classes)}"
        )
    if view not in VIEWS:
        raise ConfigError(f"there is no view {view}: {near(view, VIEWS)}")
    images = model.preprocessing.resize(dataset.images)
    logits = [model.logits(seen) for seen in VIEWS[view](images)]
    if not all(np.isfinite(each).all() for each in logits):
        raise WeightsError(f"{model.title} gives logits that are not finite: its training diverged, train it again")
    if calibrated:
        logits = [model.calibration.scaled(each) for each in logits]
    predictions = [Predictions(dataset.index, each, dataset.targets, dataset.classes) for each in logits]
    return predictions[0] if len(predictions) == 1 else ensemble(predictions)


def _single(images: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    return [images]


def _flip(images: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    return [images, images[:, :, ::-1]]


def _ten_crop(images: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    size = images.shape[1]
    crop = round(size * CROP)
    end, centre = size - crop, (size - crop) // 2
    corners = [(0, 0), (0, end), (end, 0), (end, end), (centre, centre)]
    crops = [images[:, y : y + crop, x : x + crop] for y, x in corners]
    return crops + [seen[:, :, ::-1] for seen in crops]


VIEWS = {"single": _single, "flip": _flip, "ten-crop": _ten_crop}
"""single: each face as it is. flip: it and its mirror image. ten-crop: four corners and centre, and their mirrors."""
