"""The documentation: commands and Python code run, links lead somewhere, and generated blocks are current."""

import contextlib
import functools
import importlib
import io
import itertools
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien.labels import EXPRESSIONS
from tests.video import samples

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "results" / "README.md", *sorted(ROOT.glob("docs/*.md"))]
MARKERS = {"mien.training": pytest.mark.training, "film.mp4": pytest.mark.film}
"""Text in a block of Python -> marker of its test."""
SLOW_BLOCKS = ("fer2013", "ideas-private", "ideas-public")


with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(ROOT / "tools")
    write_docs = importlib.import_module("write_docs")


def code_blocks(page):
    """Yields language and text of the fenced blocks of a page; the language of an indented block is empty."""
    text = page.read_text(encoding="utf-8")
    yield from re.findall(r"^```([\w{}-]*)\n(.*?)^```$", text, flags=re.DOTALL | re.MULTILINE)
    yield from (("", block) for block in re.findall(r"(?:^    .*\n)+", text, flags=re.MULTILINE))


def commands():
    for page in PAGES:
        for language, block in code_blocks(page):
            if language in ("", "sh"):
                for line in dedented(block).splitlines():
                    if line.startswith("mien "):
                        yield pytest.param(line, id=f"{page.name}: {line}")


def dedented(block):
    return re.sub(r"^    ", "", block, flags=re.MULTILINE)


def python_blocks():
    for page in PAGES:
        for number, (language, block) in enumerate(code_blocks(page), start=1):
            if language == "python":
                marks = [mark for word, mark in MARKERS.items() if word in block]
                yield pytest.param(block, id=f"{page.name} {number}", marks=marks)


def generated_blocks():
    for page in write_docs.PAGES:
        for match in write_docs.BLOCK.finditer(page.read_text(encoding="utf-8")):
            marks = pytest.mark.slow if match[2] in SLOW_BLOCKS else ()
            yield pytest.param(match, id=f"{page.name} {match[2]}", marks=marks)


@pytest.mark.parametrize("command", list(commands()))
def test_command_parses(command):
    from typer.main import get_command

    from mien.cli import app

    words = shlex.split(command.partition(" > ")[0], comments=True)[1:]
    group = get_command(app)
    while hasattr(group, "commands"):
        assert words[0] in group.commands, command
        group = group.commands[words.pop(0)]
    group.make_context(command, words)  # fails on an unknown option, and on missing or surplus arguments


@pytest.fixture(scope="module")
def persons_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("person")
    shutil.copytree(ROOT / "examples", folder / "examples")
    shutil.copyfile(ROOT / "examples" / "astronaut.jpg", folder / "photo.jpg")
    samples.write(folder / "film.mp4", [samples.face_at((60, 40))] * 15)
    random = np.random.default_rng(7)
    for split, name, number in itertools.product(("train", "val", "test"), EXPRESSIONS, range(3)):
        (folder / "faces" / split / name).mkdir(parents=True, exist_ok=True)
        pixels = random.integers(0, 256, (48, 48), np.uint8)
        Image.fromarray(pixels).save(folder / "faces" / split / name / f"{number}.png")
    return folder


@pytest.mark.parametrize("code", list(python_blocks()))
def test_python_code_runs_and_prints(code, persons_folder, monkeypatch):
    monkeypatch.chdir(persons_folder)
    output = io.StringIO()
    with contextlib.redirect_stdout(output):
        exec(compile(code, "documentation", "exec"), {"__name__": "__main__"})
    assert output.getvalue() or "print" not in code


@pytest.mark.parametrize("page", sorted({*PAGES, *write_docs.PAGES}), ids=lambda page: page.name)
def test_links_lead_to_files_and_headings(page):
    text = page.read_text(encoding="utf-8")
    targets = re.findall(r"\]\((?!https?:)([^)\s]+)\)", text) + re.findall(r'src="(?!https?:)([^"]+)"', text)
    for target in targets:
        path, _, heading = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        assert not heading or heading in headings(file), target


@functools.cache
def headings(page):
    """The anchors of a page, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("block", list(generated_blocks()))
def test_generated_block_is_current(block):
    assert block[0] == f"{block[1]}{write_docs.generate(block[2])}\n{block[3]}", "run make results"


def test_every_generator_is_used():
    used = {match[2] for page in write_docs.PAGES for match in write_docs.BLOCK.finditer(page.read_text("utf-8"))}
    assert used == write_docs.BLOCKS.keys()


def test_changed_table_makes_block_stale(tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text("<!-- begin generated: literature -->\nold\n<!-- end generated -->\n", encoding="utf-8")
    assert "75.98" in write_docs.render(page)
    monkeypatch.setattr(write_docs, "BLOCKS", {"literature": lambda: "new"})
    write_docs.generate.cache_clear()
    assert write_docs.render(page) == "<!-- begin generated: literature -->\nnew\n<!-- end generated -->\n"
    write_docs.generate.cache_clear()


def test_readme_has_at_most_150_lines():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.slow
def test_site_is_built_without_warnings(tmp_path):
    docs = ROOT / "docs"
    command = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "--keep-going", docs, tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for page in docs.glob("*.md"):
        assert (tmp_path / page.with_suffix(".html").name).exists()
    home = (tmp_path / "index.html").read_text(encoding="utf-8")
    links = set(re.findall(r'href="(?!https?:|#|mailto:)([^"#?]+)', home))
    assert links
    assert all((tmp_path / link).exists() for link in links)
