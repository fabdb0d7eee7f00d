"""Python environments with packages that must not be in the one that runs the tests, which it shares otherwise."""

import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def python_with(folder, *packages):
    """Makes an environment -> its Python. It searches its own packages first, then those that run the tests.

    Args:
        folder: A new folder.
        *packages: What pip installs.
    """
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    python = folder / "bin" / "python"
    site = Path(sysconfig.get_path("purelib", vars={"base": str(folder)}))
    (site / "shared.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    command = [python, "-m", "pip", "install", "--quiet", *packages]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1]
        (pytest.fail if "CI" in os.environ else pytest.skip)(f"{packages[-1]} cannot be installed: {last}")
    return python


def run(python, *words, **variables):
    """Runs Python with these words, for which mien is the one that is tested."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)} | variables
    return subprocess.run([python, *map(str, words)], capture_output=True, text=True, check=False, env=environment)
