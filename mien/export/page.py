"""The browser page as a static folder that any host can serve, with the models beside it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mien.detection import face_check, yunet
from mien.errors import ConfigError, shortened, shortened_path
from mien.files import check_folder, is_replaceable, replaced, write_text
from mien.labels import class_colours
from mien.models.onnx_model import OnnxModel
from mien.models.zoo import DEFAULT_MODEL, find_model, shipped_models

PAGE = Path(__file__).parents[1] / "page"
"""The folder of the page's own files. Served as it is, the page asks `v1/models` of the service for the models."""

_SERVICE_LIST = '<meta name="mien-models" content="v1/models">'
_INDEX = Path("index.html")
_FOLDER_LIST = '<meta name="mien-models" content="models.json">'


def describe_models(models: Mapping[str, Path]) -> dict[str, Any]:
    """Describes models for the page.

    Args:
        models: Name -> .onnx file; the page starts with the first.

    Returns:
        `default`, the name of the first model, and `models`, a list of dictionaries with name, network, classes,
        colours, preprocessing, calibration, and file, the path below the page.

    Raises:
        WeightsError: One of the files is missing or is not a model.
    """
    return {"default": next(iter(models)), "models": [_describe(name, path) for name, path in models.items()]}


def _describe(name: str, path: Path) -> dict[str, Any]:
    model = OnnxModel(path, threads=1)
    return {
        "name": name,
        "network": model.title,
        "classes": list(model.classes),
        "colours": class_colours(model.classes),
        "preprocessing": model.preprocessing.to_dict(),
        "calibration": model.calibration.to_dict(),
        "file": f"models/{quote(name)}.onnx",
    }


def find_models(models: Sequence[str]) -> dict[str, Path]:
    """Finds the files of models and names them after their files.

    Args:
        models: Names of shipped models or paths of .onnx files, the one that the page starts with first. An empty
            sequence means all shipped models.

    Returns:
        Name -> .onnx file.

    Raises:
        WeightsError: A model does not exist.
        ConfigError: Two models have the same name.
    """
    paths: dict[str, Path] = {}
    if not models:
        return {DEFAULT_MODEL: shipped_models()[DEFAULT_MODEL]} | shipped_models()
    for model in models:
        name = Path(model).stem
        if name in paths:
            raise ConfigError(
                f"each model on the page needs a different name, got {shortened(name)} twice; rename one file"
            )
        paths[name] = find_model(model)
    return paths


def write(folder: Path, models: Mapping[str, Path], overwrite: bool = False) -> int:
    """Writes the page, the models and the detector. The page works in any folder of any host, offline once loaded.

    Args:
        folder: The folder to write; created if it does not exist. Files of an earlier page are replaced.
        models: Name -> .onnx file; the page starts with the first.
        overwrite: Whether files of the same names may be replaced in a folder with another page.

    Returns:
        The number of bytes written.

    Raises:
        WeightsError: One of the models is missing or is not a model; nothing is written then.
        ConfigError: The folder cannot be written, or holds files of the same names that `write` has not written.
        OSError: The folder cannot be written.
    """
    check_folder(folder)
    model_list = describe_models(models)
    files = {path.relative_to(PAGE): path for path in PAGE.rglob("*") if path.is_file()}
    for path in (yunet.MODEL, face_check.MODEL):
        for file in (path, path.with_name(f"LICENSE-{path.stem}")):
            files[Path("models") / file.name] = file
    files |= {Path("models") / f"{name}.onnx": path for name, path in models.items()}
    if not overwrite:
        _check_files(folder, (*files, Path("models.json")))
    folder.mkdir(parents=True, exist_ok=True)
    index = files.pop(_INDEX).read_text(encoding="utf-8")
    write_text(folder / _INDEX, index.replace(_SERVICE_LIST, _FOLDER_LIST))  # first, for it marks the folder as mien's
    for name, path in sorted(files.items()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with replaced(folder / name) as part:
            shutil.copyfile(path, part)
    write_text(folder / "models.json", json.dumps(model_list, indent=2) + "\n")
    return sum((folder / name).stat().st_size for name in (*files, _INDEX, Path("models.json")))


def _check_files(folder: Path, names: Sequence[Path]) -> None:
    """Checks that no file would be replaced, unless the folder holds a page that `write` has written.

    Raises:
        ConfigError: One would be.
    """
    is_page = is_replaceable(folder / _INDEX, mark=_FOLDER_LIST) and (folder / _INDEX).exists()
    for name in names:
        if (folder / name).is_symlink() or ((folder / name).exists() and not is_page):
            raise ConfigError(
                f"the folder {shortened_path(folder)} holds {name} and mien has not written it: choose another folder, "
                "or add --overwrite to replace files of the same names"
            )
