"""Imports ONNX Runtime, and says in one sentence what is wrong where its packages have damaged each other."""

from __future__ import annotations

import importlib
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

from mien.errors import MissingExtraError, error_text

NAME = "onnxruntime"


def import_runtime() -> Any:
    """Imports ONNX Runtime.

    Raises:
        MissingExtraError: It is not installed, or its files are damaged.
    """
    try:
        module = importlib.import_module(NAME)
    except Exception as error:  # files of two versions fail in many ways
        raise MissingExtraError(f"ONNX Runtime cannot be imported ({error_text(error)}): {advice()}") from None
    if not hasattr(module, "InferenceSession"):  # a package that was removed took files of the other along
        raise MissingExtraError(f"ONNX Runtime lacks its main files: {advice(module)}")
    return module


def installed_packages(module: ModuleType | None = None) -> list[str]:
    """Returns the names of the installed packages of ONNX Runtime that share the folder of the imported one.

    Args:
        module: The imported ONNX Runtime; None takes packages of any folder.
    """
    folders = {Path(path).resolve() for path in getattr(module, "__path__", ())}
    names = set()
    for distribution in metadata.distributions():
        name = str(distribution.metadata["Name"] or "").lower().replace("_", "-")
        is_runtime = name == NAME or name.startswith(f"{NAME}-")
        if is_runtime and any(file.parts[:1] == (NAME,) for file in distribution.files or ()):
            folder = Path(str(distribution.locate_file(NAME))).resolve()
            if not folders or folder in folders:
                names.add(name)
    return sorted(names)


def advice(module: ModuleType | None = None, package: str = NAME) -> str:
    """Returns the end of a message: how to have a sound installation of one package of ONNX Runtime.

    Args:
        module: The imported ONNX Runtime, if it can be imported.
        package: The package to install.
    """
    names = installed_packages(module)
    if len(names) > 1:
        return (
            f"{' and '.join(names)} are installed together and overwrite each other's files; run pip uninstall -y "
            f"{' '.join(names)}, then pip install {package}"
        )
    if names == [package]:
        return f"run pip install --force-reinstall {package}"
    return (
        f"run pip uninstall -y {' '.join(names)}, then pip install {package}" if names else f"run pip install {package}"
    )
