"""Labelled faces with the classes of a model."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.data import FaceDataset, LabelOptions, load
from mien.errors import MienError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mien.models.model import Model


def load_faces(model: Model, path: str | Path | None = None, settings: Mapping[str, Any] | None = None) -> FaceDataset:
    """Loads labelled faces for a model, with the classes and merges that it was trained with.

    Args:
        model: The model; its config says how labels became classes.
        path: Labelled faces in any format that `mien.data.load` reads; None is the data that the model was trained on.
        settings: Fields of a config's [data] table that replace those of the model's config. Labels come from FER+ only
            for the data that the model was trained on, or if these settings ask for it.

    Raises:
        DataError: The data cannot be read, or has a class that the model does not know.
        WeightsError: The path is None and the model does not hold its config.
    """
    trained: dict[str, Any] = {}
    try:
        trained = asdict(model.config.data)
    except MienError:  # an old file, or pydantic is not installed: the classes of the model are still checked
        if path is None:
            raise
    if path is not None:
        trained = {key: trained[key] for key in ("classes", "merge", "numbering") if key in trained}
    table = trained | dict(settings or {})
    options = LabelOptions.from_settings(table, model.classes)
    ferplus = table.get("ferplus") if options.labels else None
    return load(
        path or table["path"], ferplus, model.preprocessing.size, options=options, hold_out=table.get("hold_out", 0.0)
    )
