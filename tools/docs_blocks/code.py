"""The blocks that describe the code: the output of the demo, the settings of a config, and the file map."""

from __future__ import annotations

import ast
import dataclasses
import itertools
import json
import os
import subprocess
import sys
import typing
from pathlib import Path

from docs_blocks.text import table

if typing.TYPE_CHECKING:
    from pydantic.fields import FieldInfo

ROOT = Path(__file__).resolve().parents[2]
LARGEST_SHOWN = 1e6
"""A setting whose upper end is larger has no practical limit."""
TYPES = {str: "text", bool: "true, false", tuple: "list of texts", dict: "table of texts"}
"""Type of a setting -> what the documentation calls it."""


def demo() -> str:
    """The command of `make demo` and its output."""
    command = ["recognize", "examples/astronaut.jpg"]
    environment = os.environ | {"COLUMNS": "80", "NO_COLOR": "1", "PYTHONIOENCODING": "utf-8"}
    done = subprocess.run(
        [sys.executable, "-m", "mien", *command], cwd=ROOT, env=environment, capture_output=True, check=True
    )
    lines = [line.strip("\n").rstrip() for line in done.stdout.decode("utf-8").splitlines()]
    output = "\n".join(line for line in lines if line)
    return f"```console\n$ mien {' '.join(command)}\n{output}\n```"


def settings() -> str:
    """The settings of a config: one table a section, from the fields, their types and their docstrings."""
    from mien import config

    tree = ast.parse((ROOT / "mien" / "config.py").read_text(encoding="utf-8"))
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    sections = []
    for section in dataclasses.fields(config.Config):
        kind = section.default_factory
        documented = classes[kind.__name__]
        meanings = {
            field.target.id: " ".join(text.value.value.split())
            for field, text in itertools.pairwise(documented.body)
            if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr)
        }
        rows = [
            [f"`{name}`", setting_default(kind(), name), setting_range(field), meanings[name].replace("|", "\\|")]
            for name, field in kind.__pydantic_fields__.items()
        ]
        heading = f"## `[{section.name}]`\n\n{ast.get_docstring(documented)}"
        sections.append(f"{heading}\n\n{table(['setting', 'default', 'values', 'meaning'], rows)}")
    return "\n\n".join(sections)


def setting_default(section: object, name: str) -> str:
    """The default of a setting, as TOML has it."""
    return f"`{json.dumps(getattr(section, name))}`"


def setting_range(field: FieldInfo) -> str:
    """The values that a setting may have: its type, choices, or the ends of its range."""
    if typing.get_origin(field.annotation) is typing.Literal:
        return ", ".join(f"`{json.dumps(choice)}`" for choice in typing.get_args(field.annotation))
    ends = {type(end).__name__: end for end in field.metadata}
    if low := ends.get("Ge"):
        high = ends["Le"].le
        return f"{low.ge:g} or more" if high > LARGEST_SHOWN else f"{low.ge:g} to {high:g}"
    return TYPES[typing.get_origin(field.annotation) or field.annotation]


def files() -> str:
    """The modules of the package, each with the first line of its docstring."""
    folders = sorted(path.parent for path in (ROOT / "mien").rglob("__init__.py"))
    return "\n\n".join(folder_map(folder) for folder in folders)


def folder_map(folder: Path) -> str:
    """One folder of the file map: the purpose of the folder, then its modules."""
    modules = [path for path in sorted(folder.glob("*.py")) if path.name != "__init__.py"]
    rows = [[f"`{path.name}`", purpose(path)] for path in modules]
    heading = f"### `{folder.relative_to(ROOT).as_posix()}/`\n\n{purpose(folder / '__init__.py')}."
    return f"{heading}\n\n{table(['file', 'purpose'], rows)}" if rows else heading


def purpose(path: Path) -> str:
    """The first line of the docstring of a module, without its full stop."""
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    if not docstring:
        sys.exit(f"{path.relative_to(ROOT)} has no docstring: its first line is its row of the file map")
    return docstring.splitlines()[0].removesuffix(".").replace("|", "\\|")
