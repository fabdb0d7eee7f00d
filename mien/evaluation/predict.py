"""What a trained network says of labelled faces, each looked at once or several times."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mien.data.dataset import FaceDataset
from mien.errors import ConfigError, DataError, WeightsError, near
from mien.evaluation.ensemble import ensemble
from mien.models.model import Model
from mien.types import Predictions

CROP = 44 / 48
"""Side of a ten-crop's square over the face's."""


def predict(model: Model, dataset: FaceDataset, view: str = "single", calibrated: bool = True) -> Predictions:
    """Classifies every face, in order.

    Args:
        model: What `mien.models.open_model.open_model` gives.
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
    check_same_classes(model, dataset)
    if view not in VIEWS:
        raise ConfigError(f"there is no view {view}: {near(view, VIEWS)}")
    images = model.preprocessing.resize(dataset.images)
    logits = [model.logits(seen) for seen in VIEWS[view](images)]
    if not all(np.isfinite(each).all() for each in logits):
        raise WeightsError(f"{model.title} gives logits that are not finite: its training diverged, train it again")
    if calibrated:
        logits = [model.calibration.scale_logits(each) for each in logits]
    predictions = [Predictions(dataset.index, each, dataset.targets, dataset.classes) for each in logits]
    return predictions[0] if len(predictions) == 1 else ensemble(predictions)


def check_same_classes(model: Model, dataset: FaceDataset) -> None:
    """Refuses faces that the model has other classes for.

    Raises:
        DataError: The data set's classes are not the model's.
    """
    if dataset.classes != model.classes:
        raise DataError(
            f"the data has the classes {', '.join(dataset.classes)} and the model {', '.join(model.classes)}"
        )


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
