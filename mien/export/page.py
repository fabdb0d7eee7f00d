"""The page as a folder that any host can serve: with the models beside it, and no service behind it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mien.detection import blazeface
from mien.errors import ConfigError
from mien.files import replaced, write_text
from mien.labels import class_colours
from mien.models.onnx_model import OnnxModel
from mien.models.zoo import DEFAULT_MODEL, find_model, shipped_models

PAGE = Path(__file__).parents[1] / "page"
"""The page's own files, as a service gives them out. They find the models through `v1/models` then."""

_SERVICE_LIST = '<meta name="mien-models" content="v1/models">'
_FOLDER_LIST = '<meta name="mien-models" content="models.json">'


def listed(models: Mapping[str, Path]) -> dict[str, Any]:
    """What the page is told of the models: all of it is read from their files, but the colours of `mien.labels`.

    Args:
        models: Name -> .onnx file; the first is the one that the page begins with.

    Returns:
        `default`, a name, and `models`, each with name, network, classes, colours, preprocessing, calibration, and
        file, its path below the page.

    Raises:
        WeightsError: One of the files cannot be used.
    """
    described = []
    for name, path in models.items():
        opened = OnnxModel(path, threads=1)
        described.append(
            {
                "name": name,
                "network": opened.title,
                "classes": list(opened.classes),
                "colours": class_colours(opened.classes),
                "preprocessing": opened.preprocessing.to_dict(),
                "calibration": opened.calibration.to_dict(),
                "file": f"models/{quote(name)}.onnx",
            }
        )
    return {"default": next(iter(models)), "models": described}


def named(models: list[str]) -> dict[str, Path]:
    """The files of models by the names that the page gives them; all shipped ones where none is asked for.

    Args:
        models: Shipped models' names or paths of .onnx files, the one that the page begins with first.

    Raises:
        WeightsError: There is no such model.
        ConfigError: Two have the same name.
    """
    if not models:
        shipped = shipped_models()
        return {DEFAULT_MODEL: shipped.pop(DEFAULT_MODEL), **shipped}
    paths = {Path(model).stem: find_model(model) for model in models}
    if len(paths) < len(models):
        raise ConfigError(f"each model needs a name of its own on the page, got {', '.join(models)}; rename a file")
    return paths


def write(folder: Path, models: Mapping[str, Path]) -> int:
    """Writes the page, the models and the detector; it works in any folder of any host, offline once it is loaded.

    Args:
        folder: Is made where it is missing; files of the same names are replaced.
        models: See `listed`.

    Returns:
        How many bytes were written.

    Raises:
        WeightsError: One of the models cannot be used; nothing is written then.
        OSError: The folder cannot be written.
    """
    found = listed(models)
    files = {path.relative_to(PAGE): path for path in PAGE.rglob("*") if path.is_file()}
    for path in (blazeface.MODEL, blazeface.MODEL.with_name("LICENSE-blazeface")):
        files[Path("models") / path.name] = path
    files |= {Path("models") / f"{name}.onnx": path for name, path in models.items()}
    for name, path in sorted(files.items()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with replaced(folder / name) as part:
            shutil.copyfile(path, part)
    write_text(folder / "models.json", json.dumps(found, indent=2) + "\n")
    index = (PAGE / "index.html").read_text(encoding="utf-8")
    write_text(folder / "index.html", index.replace(_SERVICE_LIST, _FOLDER_LIST))
    return sum((folder / name).stat().st_size for name in (*files, Path("models.json")))
