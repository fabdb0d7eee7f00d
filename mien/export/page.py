"""The browser page as a static folder that any host can serve, with the models beside it."""

from __future__ import annotations

import functools
import gzip
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from mien.detection import face_check, yunet
from mien.errors import ConfigError, shortened, shortened_path
from mien.files import check_folder, is_replaceable, replaced
from mien.labels import class_colours
from mien.models.onnx_model import OnnxModel
from mien.models.zoo import DEFAULT_MODEL, find_model, shipped_models

PAGE = Path(__file__).parents[1] / "page"
"""The folder of the page's own files, from which `index` and `assets` make those that a browser loads."""

SERVICE_LIST = "v1/models"
"""The path of the list of models on a service."""
FOLDER_LIST = "models.json"
"""The path of the list of models in a static folder."""

INDEX = "index.html"
"""The name of the page's index."""
_FOLDER_MARK = '<meta name="mien-models" content="models.json">'
"""What the index of a static folder contains."""

DETECTOR = (yunet.MODEL, face_check.MODEL)
"""The files of the face detector."""

BROTLI_SUFFIX, GZIP_SUFFIX = ".br", ".gz"
"""Endings of the compressed copies of a file."""


@functools.cache
def assets() -> dict[str, Path]:
    """Returns the page's files without its index: path below the page -> file.

    They lie in one folder whose name changes with the content of any of them, so that browsers may keep them for ever
    and never combine files of two versions. A file with the ending `.br` is the compressed copy of another one.
    """
    files = {path.relative_to(PAGE).as_posix(): path for path in sorted(PAGE.rglob("*")) if path.is_file()}
    del files[INDEX]
    digest = hashlib.sha256()
    for name, path in files.items():
        digest.update(f"{name}\n{_digest(path)}\n".encode())
    return {f"assets-{digest.hexdigest()[:12]}/{name}": path for name, path in files.items()}


def index(model_list: str) -> str:
    """Returns the index of the page, whose links lead to `assets`.

    Args:
        model_list: SERVICE_LIST or FOLDER_LIST.
    """
    text = (PAGE / INDEX).read_text(encoding="utf-8").replace(SERVICE_LIST, model_list)
    folder = next(iter(assets())).partition("/")[0]
    text = re.sub(r'\b(href|src)="([\w.-]+)"', rf'\1="{folder}/\2"', text)
    preloaded = "".join(f'<link rel="modulepreload" href="{folder}/{name}">\n    ' for name in _imported_by("app.js"))
    return text.replace('<script type="module"', f'{preloaded}<script type="module"')


def _imported_by(name: str) -> list[str]:
    """Returns the modules that a module imports, and those that they import, so that they load at the same time."""
    found: dict[str, None] = {}
    waiting = [name]
    while waiting:
        imported = re.findall(
            r'^import .* from "\./([\w.]+)";$', (PAGE / waiting.pop()).read_text("utf-8"), re.MULTILINE
        )
        waiting += [each for each in imported if each not in found]
        found |= dict.fromkeys(imported)
    return sorted(found)


def _digest(path: Path) -> str:
    """Returns the SHA-256 of a file, in hexadecimal digits."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def describe_models(models: Mapping[str, Path]) -> dict[str, Any]:
    """Describes models for the page.

    Args:
        models: Name -> .onnx file; the page starts with the first.

    Returns:
        `default`, the name of the first model; `models`, a list of dictionaries with name, network, classes, colours,
        preprocessing, calibration, file, the path below the page, and sha256 and bytes of that file; and `detector`, a
        list of dictionaries with file, sha256 and bytes.

    Raises:
        WeightsError: One of the files is missing or is not a model.
    """
    return {
        "default": next(iter(models)),
        "models": [_describe(name, path) for name, path in models.items()],
        "detector": [_describe_file(path.name, path) for path in DETECTOR],
    }


def _describe(name: str, path: Path) -> dict[str, Any]:
    model = OnnxModel(path, threads=1)
    return {
        "name": name,
        "network": model.title,
        "classes": list(model.classes),
        "colours": class_colours(model.classes),
        "preprocessing": model.preprocessing.to_dict(),
        "calibration": model.calibration.to_dict(),
        **_describe_file(f"{name}.onnx", path),
    }


def _describe_file(name: str, path: Path) -> dict[str, Any]:
    return {"file": f"models/{quote(name)}", "sha256": _digest(path), "bytes": path.stat().st_size}


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


def write(folder: Path, models: Mapping[str, Path], overwrite: bool = False) -> tuple[int, int]:
    """Writes the page, the models and the detector, and compressed copies of them for hosts that can send those.

    The page works in any folder of any host, offline once loaded.

    Args:
        folder: The folder to write; created if it does not exist. Files of an earlier page are replaced.
        models: Name -> .onnx file; the page starts with the first.
        overwrite: Whether files of the same names may be replaced in a folder with another page.

    Returns:
        The number of bytes of the files without the compressed copies, and the number of bytes that a browser loads
        from a host that sends the smallest copies, with the first model.

    Raises:
        WeightsError: One of the models is missing or is not a model; nothing is written then.
        ConfigError: The folder cannot be written, or holds files of the same names that `write` has not written.
        OSError: The folder cannot be written.
    """
    check_folder(folder)
    model_list = describe_models(models)
    files = {name: path.read_bytes() for name, path in assets().items()}
    for path in DETECTOR:
        for file in (path, path.with_name(f"LICENSE-{path.stem}")):
            files[f"models/{file.name}"] = file.read_bytes()
    files |= {f"models/{name}.onnx": path.read_bytes() for name, path in models.items()}
    files[FOLDER_LIST] = (json.dumps(model_list, indent=2) + "\n").encode()
    files[INDEX] = index(FOLDER_LIST).encode()
    originals = {name: content for name, content in files.items() if not name.endswith(BROTLI_SUFFIX)}
    copies = {f"{name}{GZIP_SUFFIX}": compressed(content) for name, content in originals.items()}
    if not overwrite:
        _check_files(folder, (*files, *copies))
    folder.mkdir(parents=True, exist_ok=True)
    # The index is written first, for it marks the folder as mien's.
    for name, content in sorted({**files, **copies}.items(), key=lambda item: item[0] != INDEX):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        with replaced(folder / name) as part:
            part.write_bytes(content)
    unused = {f"models/{name}.onnx" for name in list(models)[1:]}
    loaded = [name for name in originals if name not in unused and not Path(name).name.startswith("LICENSE")]
    sizes = {name: len(content) for name, content in {**files, **copies}.items()}
    smallest = [
        min(sizes.get(name + suffix, sizes[name]) for suffix in ("", BROTLI_SUFFIX, GZIP_SUFFIX)) for name in loaded
    ]
    return sum(sizes[name] for name in originals), sum(smallest)


def compressed(content: bytes) -> bytes:
    """Returns content compressed with gzip; the same content gives the same bytes."""
    return gzip.compress(content, compresslevel=9, mtime=0)


def _check_files(folder: Path, names: Iterable[str]) -> None:
    """Checks that no file would be replaced, unless the folder holds a page that `write` has written.

    Raises:
        ConfigError: One would be.
    """
    is_page = is_replaceable(folder / INDEX, mark=_FOLDER_MARK) and (folder / INDEX).exists()
    for name in names:
        if (folder / name).is_symlink() or ((folder / name).exists() and not is_page):
            raise ConfigError(
                f"the folder {shortened_path(folder)} holds {name} and mien has not written it: choose another folder, "
                "or add --overwrite to replace files of the same names"
            )
