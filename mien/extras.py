"""The packages of the extras: a module of mien that lacks one says in one sentence how to install it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

from mien.errors import missing_package

EXTRAS = {
    "torch": "train",
    "torchvision": "train",
    "lightning_fabric": "train",
    "safetensors": "train",
    "tensorboard": "train",
    "tomli_w": "train",
    "pydantic": "train",
    "onnx": "train",
    "onnxscript": "train",
    "captum": "train",
    "scipy": "train",
    "imagehash": "train",
    "filelock": "train",
    "matplotlib": "figures",
    "av": "video",
    "trackers": "video",
    "supervision": "video",
    "fastapi": "serve",
    "fastapi_offline": "serve",
    "starlette": "serve",
    "uvicorn": "serve",
    "websockets": "serve",
    "prometheus_client": "serve",
    "python_multipart": "serve",
    "anyio": "serve",
}
"""Package that a module of mien imports at its top -> the extra that installs it. Others are imported by
`mien.errors.require`, where they are used."""


class ExtraFinder(MetaPathFinder):
    """Finds the modules of mien as Python does, and explains a missing package when one of them is executed."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Returns the spec of a module of mien; None leaves other modules to the finders of Python."""
        spec = PathFinder.find_spec(fullname, path, target) if fullname.startswith("mien.") else None
        if spec is None or spec.loader is None:
            return spec
        execute = spec.loader.exec_module

        def execute_or_explain(module: ModuleType) -> None:
            try:
                execute(module)
            except ModuleNotFoundError as error:
                if error.name not in EXTRAS:
                    raise
                raise missing_package(error.name, EXTRAS[error.name]) from None

        spec.loader.exec_module = execute_or_explain  # type: ignore[method-assign]
        return spec


def install() -> None:
    """Installs the finder, once."""
    if not any(isinstance(finder, ExtraFinder) for finder in sys.meta_path):
        sys.meta_path.insert(0, ExtraFinder())
