"""What all commands share: `--version`, `--help`, shell completion and errors."""

import os
import subprocess
import sys

import pytest
import typer
from typer.main import get_command

import mien as package
from mien import cli
from tests.cli.conftest import assert_sentence


def test_version_prints_name_and_number(mien):
    assert mien("--version")[1] == f"mien {package.__version__}\n"


def test_help_lists_every_command(mien):
    code, out, _ = mien("--help")
    assert code == 0
    assert all(name in out for name in get_command(cli.app).commands)


def options(command, path=("mien",)):
    """Yields the options and arguments of a command and of all commands below it."""
    yield from ((" ".join((*path, each.name)), each) for each in command.params)
    for name, below in getattr(command, "commands", {}).items():
        yield from options(below, (*path, name))


def test_every_option_has_a_help_sentence():
    without = [name for name, each in options(get_command(cli.app)) if not (each.help or "").rstrip(")").endswith(".")]
    assert without == []


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("mien rec", "recognize"),
        ("mien data ", "inspect"),
        ("mien evaluate --split pu", "public"),
        ("mien serve --tok", "--token"),
    ],
)
def test_completion_suggests_commands_and_choices(words, expected):
    program = "import sys; sys.argv = ['mien']; from mien.cli import main; main()"
    count = len(words.split()) - (not words.endswith(" "))
    environment = {"_MIEN_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(count)}
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | environment, capture_output=True, text=True, check=False
    )
    assert expected in done.stdout.split()


def test_os_error_gives_one_sentence(mien, monkeypatch):
    def fail(*_, **__):
        raise PermissionError(13, "Permission denied", "/locked/file")

    monkeypatch.setattr(typer.Typer, "__call__", fail)
    code, _, err = mien("networks")
    assert code == 2
    assert_sentence(err, "/locked/file cannot be used: Permission denied")
