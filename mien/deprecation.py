"""Old names that keep working until mien 0.3, with a DeprecationWarning."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Callable, Mapping


def warn_deprecated(old: str, new: str, stacklevel: int = 3) -> None:
    """Warns that a name is deprecated.

    Args:
        old: The deprecated name, as users write it.
        new: The name to use instead.
        stacklevel: See `warnings.warn`; 3 is the caller of the function that calls this one.
    """
    message = f"{old} is deprecated and will be removed in mien 0.3: use {new}"
    warnings.warn(message, DeprecationWarning, stacklevel=stacklevel)


def moved_names(module: str, names: Mapping[str, str]) -> Callable[[str], object]:
    """Makes a module's `__getattr__`, which resolves the module's old names.

    Args:
        module: The full name of the module.
        names: Old name -> full name of its replacement, such as `mien.labels.EXPRESSIONS`.
    """

    def getattr_deprecated(name: str) -> object:
        if name not in names:
            raise AttributeError(f"module {module!r} has no attribute {name!r}")
        warn_deprecated(f"{module}.{name}", names[name])
        home, _, new_name = names[name].rpartition(".")
        return getattr(importlib.import_module(home), new_name)

    return getattr_deprecated
