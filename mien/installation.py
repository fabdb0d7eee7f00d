"""How this copy of mien was installed, and the command that adds an extra to it."""

from __future__ import annotations

import json
import re
import shlex
from importlib import metadata
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit


def install_command(extra: str) -> str:
    """Returns the command that installs the packages of an extra for this copy of mien.

    It works for a clone, installed or not, for a wheel or folder that may have gone, for a repository at an address,
    and for a copy from the package index.

    Args:
        extra: The extra, such as "video".
    """
    clone = Path(__file__).resolve().parents[1]
    if (clone / "pyproject.toml").is_file():
        place = "." if clone == Path.cwd() else str(clone)
        return f"pip install -e {shlex.quote(f'{place}[{extra}]')}"
    try:
        distribution = metadata.distribution("mien")
        origin = json.loads(distribution.read_text("direct_url.json") or "{}")
    except (metadata.PackageNotFoundError, OSError, ValueError):
        return f"pip install {shlex.quote(f'mien[{extra}]')}"
    return _command_for_origin(origin, extra, distribution.requires or [])


def _command_for_origin(origin: dict[str, Any], extra: str, requirements: list[str]) -> str:
    """Returns the command for a copy that was installed from somewhere.

    Args:
        origin: The content of direct_url.json (PEP 610); empty if mien came from the package index.
        extra: The extra.
        requirements: All requirements of mien (PEP 508), with the extra of each in its marker.
    """
    url = str(origin.get("url", ""))
    if not url:
        return f"pip install {shlex.quote(f'mien[{extra}]')}"
    if "vcs_info" in origin:
        return f"pip install {shlex.quote(f'mien[{extra}] @ git+{url}')}"
    if not url.startswith("file:"):
        return f"pip install {shlex.quote(f'mien[{extra}] @ {url}')}"
    path = Path(unquote(urlsplit(url).path))
    if path.exists():
        return f"pip install {shlex.quote(f'{path}[{extra}]')}"
    packages = [re.split(r"\s*;", each)[0] for each in requirements if re.search(rf"extra == ['\"]{extra}['\"]", each)]
    return f"pip install {shlex.join(packages or [f'mien[{extra}]'])}"
