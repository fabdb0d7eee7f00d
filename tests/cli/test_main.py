"""`mien --version` and what all commands share."""

import os
import subprocess
import sys

import pytest

import mien as package


def test_version_prints_name_and_number(mien):
    assert mien("--version")[1] == f"mien {package.__version__}\n"


@pytest.mark.parametrize(
    ("words", "expected"), [("mien recog", "recognize"), ("mien data in", "inspect"), ("mien serve --tok", "--token")]
)
def test_shell_completion_completes_commands_and_options(words, expected):
    position = len(words.split()) - 1
    environment = {"_MIEN_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(position)}
    command = [sys.executable, "-c", "from mien.cli import app; app(prog_name='mien')"]
    done = subprocess.run(command, env=os.environ | environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [expected]
