"""What the README says is so, and the commands of the documentation are commands."""

import csv
import re
import shlex
from pathlib import Path

import pytest

from mien import predictions

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAP = dict(re.findall(r"^(\S+/\S*) {2,}(\S.*)$", README.split("## What is where")[1], flags=re.MULTILINE))

PAGES = [README, *(path.read_text(encoding="utf-8") for path in sorted((ROOT / "docs").glob("*.md")))]
COMMANDS = [found for page in PAGES for found in re.findall(r"^    mien (.+?)(?: +#.*)?$", page, flags=re.MULTILINE)]


def test_the_map_names_every_file_and_folder():
    files = {str(path.relative_to(ROOT)) for path in (ROOT / "mien").rglob("*.py")}
    made = {"mien", "runs", "demo", "build", "dist", "site"}  # the package, and what git ignores
    folders = {path.name for path in ROOT.iterdir() if path.is_dir() and "." not in path.name} - made
    assert MAP.keys() == files | {f"{name}/" for name in folders} | {"mien/models/zoo/", "mien/deploy/page/"}


def test_the_map_is_no_longer_than_its_lines():
    assert all(len(line) <= 120 for line in README.split("```")[-2].splitlines())


def test_links_lead_somewhere():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", README):
        assert (ROOT / target).exists(), target


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_is_one(command):
    from typer.main import get_command

    from mien.cli import app

    words = shlex.split(command)
    group = get_command(app)
    while hasattr(group, "commands"):
        assert words[0] in group.commands, command
        group = group.commands[words.pop(0)]
    group.make_context(command, words)  # fails where an option is unknown, or an argument is missing or too much


def test_results_are_those_of_the_table():
    with (ROOT / "results" / "fer2013.csv").open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.DictReader(stream) if row["split"] == "private" and ":" not in row["config"]]
    assert rows
    said = re.findall(r"^\|[^|]*\| (\w+) \|[^|]*\| ([\d.]+) % \(([\d.]+) to ([\d.]+)\)", README, flags=re.MULTILINE)
    for row in rows:
        accuracy, *ends = (100 * float(row[name]) for name in ("accuracy", "accuracy_low", "accuracy_high"))
        of_it = [found for view, value, *found in said if (view, value) == (row["view"], f"{accuracy:.2f}")]
        # The table has four digits, of which a third is rounded again here.
        assert any(list(map(float, found)) == pytest.approx(ends, abs=0.051) for found in of_it), (row, of_it)


@pytest.mark.parametrize("split", ["public", "private"])
@pytest.mark.parametrize(
    ("name", "members"),
    [
        ("ensemble", "`small-taught` and `efficientnet_lite0`"),
        ("ensemble-of-four", "these two, `small` and a second seed of `efficientnet_lite0`"),
        ("ensemble-of-five", "`small-taught`, `small` and three seeds of `efficientnet_lite0`"),
    ],
)
def test_the_row_of_networks_together_is_that_of_their_predictions(split, name, members):
    path = ROOT / "results" / "predictions" / f"{name}-{split}-flip.parquet"
    assert predictions.load_metadata(path)["view"] == "flip"
    together = predictions.load(path)
    (row,) = [line for line in README.splitlines() if line.startswith(f"| {members} together")]
    accuracy = together.right.mean()
    assert f" {accuracy:.2%} ".replace("%", " %") in row


def test_what_is_uncertain_is_that_of_the_shipped_network():
    from mien.evaluation.metrics import reliability
    from mien.models.onnx_model import OnnxModel

    private = predictions.load(ROOT / "results" / "predictions" / "small-private.parquet")
    doubt = OnnxModel("small", threads=1).calibration
    certain = ~doubt.uncertain(private.probabilities)
    (said,) = re.findall(
        r"certain of ([\d.]+) %, and right about ([\d.]+) % of these, ([\d.]+) % of the rest; "
        r"confidence and accuracy differ there by ([\d.]+) points",
        README.replace("\n", " "),
    )
    measured = (certain.mean(), private.right[certain].mean(), private.right[~certain].mean(), reliability(private).ece)
    assert f"threshold, {100 * doubt.uncertain_below:.1f} % for `small`" in README
    assert said == tuple(f"{100 * value:.1f}" for value in measured)


def test_tiny_is_as_far_below_small_as_is_said():
    private, public = (
        100 * (small.right.mean() - tiny.right.mean())
        for small, tiny in (
            [
                predictions.load(ROOT / "results" / "predictions" / f"{name}-{split}.parquet")
                for name in ("small", "tiny")
            ]
            for split in ("private", "public")
        )
    )
    (said,) = re.findall(r"([\d.]+) points less on\n *# PrivateTest, ([\d.]+) on PublicTest", README)
    assert said == (f"{private:.1f}", f"{public:.1f}")


def test_the_table_of_ideas_is_what_its_sweep_prints():
    from mien.experiments import sweep

    ideas = sweep.load(ROOT / "configs" / "sweeps" / "ideas.toml")
    for line in sweep.comparison(ideas, ROOT / "results" / "fer2013.csv", "private").splitlines():
        assert line in README, "put what mien sweep configs/sweeps/ideas.toml --table prints of private there"


def test_the_demo_says_what_is_promised():
    from mien import Recognizer

    (face,) = Recognizer(threads=1)(ROOT / "examples" / "astronaut.jpg")
    first, second = sorted(face.expression.probabilities.items(), key=lambda item: -item[1])[:2]
    said = [f"{name} {probability:.0%}" for name, probability in (first, second)]
    corners = " ".join(f"{value:.0f}" for value in face.box.xyxy)
    (line,) = [line for line in README.splitlines() if line.startswith("     examples/astronaut.jpg")]
    assert all(words in line for words in (*said, corners))
