"""The HTTP service: a FastAPI application that recognises pictures for other programs.

    from mien.service import Settings, create_app
    app = create_app(Settings(workers=4))

Nothing is imported until a name is used. Every name needs the `serve` extra.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from mien.errors import require

if TYPE_CHECKING:
    from mien.service.app import create_app as create_app
    from mien.service.server import serve as serve
    from mien.service.settings import Limits as Limits
    from mien.service.settings import Settings as Settings

__all__ = ["Limits", "Settings", "create_app", "serve"]

_HOME = {
    "create_app": "mien.service.app",
    "serve": "mien.service.server",
    "Limits": "mien.service.settings",
    "Settings": "mien.service.settings",
}
_PACKAGES = ("fastapi", "fastapi_offline", "uvicorn", "websockets", "python_multipart", "prometheus_client")
"""The modules that the `serve` extra installs. uvicorn and FastAPI import the last three only when they need them."""


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module 'mien.service' has no attribute {name!r}")
    for package in _PACKAGES:
        require(package, "serve")
    return getattr(importlib.import_module(_HOME[name]), name)
