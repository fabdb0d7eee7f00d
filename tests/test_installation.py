"""The command that adds an extra to this copy of mien, by how it was installed."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import mien
from mien.installation import _command_for_origin

CODE = "from mien.errors import require; require('no_such_package', 'video')"
REQUIREMENTS = ["numpy>=1.26", "av>=16; extra == 'video'", "pillow>=13; (python_version >= '3') and extra == 'video'"]


def message(package: Path, folder: Path) -> str:
    """Returns the last line of `require`'s error, with mien imported from a folder."""
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        cwd=folder,
        env={"PYTHONPATH": str(package)},
        capture_output=True,
        text=True,
        check=False,
    )
    return done.stderr.splitlines()[-1]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A clone, in a folder whose name has a space."""
    clone = tmp_path / "my clone"
    shutil.copytree(
        Path(mien.__file__).parent, clone / "mien", ignore=shutil.ignore_patterns("*.onnx", "vendor", "__pycache__")
    )
    (clone / "pyproject.toml").write_text("[project]\nname = 'mien'\n")
    return clone


def test_clone_is_named_by_its_folder(clone: Path) -> None:
    sentence = "mien.errors.MissingExtraError: this needs the package no_such_package, which is not installed: "
    assert message(clone, Path("/")) == f"{sentence}pip install -e '{clone}[video]'"
    assert message(clone, clone) == f"{sentence}pip install -e '.[video]'"


def test_copy_without_metadata_is_named_like_on_the_index(clone: Path) -> None:
    (clone / "pyproject.toml").unlink()
    code = f"import sys; sys.path[:] = [{str(clone)!r}] + [p for p in sys.path if 'site-packages' not in p]\n{CODE}"
    done = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1].endswith("pip install 'mien[video]'")


@pytest.mark.parametrize(
    ("origin", "command"),
    [
        ({}, "pip install 'mien[video]'"),
        ({"url": "https://example.com/mien.whl"}, "pip install 'mien[video] @ https://example.com/mien.whl'"),
        (
            {"url": "https://example.com/m.git", "vcs_info": {"vcs": "git"}},
            "pip install 'mien[video] @ git+https://example.com/m.git'",
        ),
        ({"url": "file:///gone/mien.whl"}, "pip install 'av>=16' 'pillow>=13'"),
    ],
)
def test_command_follows_the_origin(origin: dict[str, Any], command: str) -> None:
    assert _command_for_origin(origin, "video", REQUIREMENTS) == command


def test_wheel_that_is_still_there_is_named(tmp_path: Path) -> None:
    wheel = tmp_path / "mien-0.1.0 (1).whl"
    wheel.write_bytes(b"")
    assert _command_for_origin({"url": wheel.as_uri()}, "video", []) == f"pip install '{wheel}[video]'"
