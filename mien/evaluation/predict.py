"""Predictions of a trained network for labelled faces, from one or several views of each face."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mien.data.dataset import FaceDataset
from mien.errors import ConfigError, DataError, WeightsError, near
from mien.evaluation.ensemble import ensemble
from mien.models.model import Model
from mien.types import Predictions

CROP = 44 / 48
"""Side of a ten-crop's square, as a fraction of the face's side."""


def predict(model: Model, dataset: FaceDataset, view: str = "single", calibrated: bool = True) -> Predictions:
    """Classifies every face of a data set, in order.

    Args:
        model: A model that `mien.models.open_model.open_model` returns.
        dataset: The faces.
        view: One of VIEWS. With several views of a face its probabilities are averaged, and its logits are the
            logarithm of the mean. All views are deterministic.
        calibrated: Whether the logits are divided by the calibration's temperatures, as in a recogniser.

    Raises:
        DataError: The data set and the model have different classes.
        ConfigError: There is no such view.
        WeightsError: The model returns logits that are not finite.
    """
    check_same_classes(model, dataset)
    if view not in VIEWS:
        raise ConfigError(f"there is no view {view[:80]}: {near(view, VIEWS)}")
    images = model.preprocessing.resize(dataset.images)
    logits = [model.logits(view_of_images) for view_of_images in VIEWS[view](images)]
    if not all(np.isfinite(each).all() for each in logits):
        raise WeightsError(f"{model.title} returns logits that are not finite: its training diverged, train it again")
    if calibrated:
        logits = [model.calibration.scale_logits(each) for each in logits]
    predictions = [Predictions(dataset.index, each, dataset.targets, dataset.classes) for each in logits]
    return predictions[0] if len(predictions) == 1 else ensemble(predictions)


def check_same_classes(model: Model, dataset: FaceDataset) -> None:
    """Checks that a model and a data set have the same classes in the same order.

    Raises:
        DataError: They differ.
    """
    if dataset.classes != model.classes:
        raise DataError(
            f"the data and the model must have the same classes in the same order, got {', '.join(dataset.classes)} "
            f"in the data and {', '.join(model.classes)} in the model"
        )


def _single(images: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    return [images]


def _flip(images: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    return [images, images[:, :, ::-1]]


def _ten_crop(images: NDArray[np.uint8]) -> list[NDArray[np.uint8]]:
    size = images.shape[1]
    side = round(size * CROP)
    end, centre = size - side, (size - side) // 2
    corners = [(0, 0), (0, end), (end, 0), (end, end), (centre, centre)]
    crops = [images[:, y : y + side, x : x + side] for y, x in corners]
    return crops + [crop[:, :, ::-1] for crop in crops]


VIEWS = {"single": _single, "flip": _flip, "ten-crop": _ten_crop}
"""Name -> images (N, H, W) to views (N, h, w).

single: the face; flip: the face and its mirror image; ten-crop: the four corners, the centre, and their mirror images.
"""
