"""Deprecated: the old place of the service. `from mien.deploy.serve import create_app` works until mien 0.3."""

from __future__ import annotations

import sys
import warnings

from mien.service import app

warnings.warn(
    "mien.deploy.serve is deprecated and will be removed in mien 0.3: import from mien.service.app",
    DeprecationWarning,
    stacklevel=2,
)
__path__: list[str] = []  # makes this module a package, so that `mien.deploy.serve` can be imported
sys.modules[f"{__name__}.serve"] = app
