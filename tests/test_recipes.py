"""The recipes of CONTRIBUTING.md, each carried out once on a copy of the package.

A recipe is a set of new files and of insertions into existing ones. If a test here needs more of either, the code has
become harder to extend: change the code, or the recipe.
"""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ASTRONAUT = ROOT / "examples" / "astronaut.jpg"


class Copy:
    """A copy of the package that a recipe changes."""

    def __init__(self, folder):
        self.folder = folder
        shutil.copytree(ROOT / "mien", folder / "mien", copy_function=os.symlink)

    def write(self, name, text):
        path = self.folder / "mien" / name
        assert not path.exists()
        path.write_text(text, encoding="utf-8")

    def insert(self, name, text, *, before=None, after=None):
        path = self.folder / "mien" / name
        source = path.read_text(encoding="utf-8")
        anchor = before or after
        assert source.count(anchor) == 1, f"{anchor!r} must occur once in {name}"
        path.unlink()  # a link to the project's own file
        path.write_text(source.replace(anchor, text + anchor if before else anchor + text), encoding="utf-8")

    def mien(self, *arguments):
        """Runs the command line of the copy -> its output."""
        environment = os.environ | {"PYTHONPATH": str(self.folder), "XDG_CACHE_HOME": str(self.folder / "cache")}
        command = [sys.executable, "-m", "mien", *map(str, arguments)]
        done = subprocess.run(
            command, cwd=self.folder, env=environment, capture_output=True, text=True, encoding="utf-8", check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture
def copy(tmp_path):
    return Copy(tmp_path)


@pytest.fixture
def config(fer2013_csv):
    """A short training of a small network on the made-up faces."""
    path = fer2013_csv.with_name("short.toml")
    path.write_text(
        f'[data]\npath = "{fer2013_csv}"\n\n'
        '[network]\nname = "resnet18"\nvariant = "mini"\n\n'
        "[training]\nepochs = 1\nbatch_size = 14\nthreads = 1\n",
        encoding="utf-8",
    )
    return path


@pytest.mark.slow
@pytest.mark.training
def test_network_is_one_file_and_one_row(copy, config):
    copy.write(
        "networks/two_convolutions.py",
        '''"""Two convolutions."""

from torch import Tensor, nn

from mien.networks.outputs import Outputs


class TwoConvolutions(nn.Module):
    """A network without masks."""

    def __init__(self, num_classes: int, in_channels: int, dropout: float = 0.0, *, channels: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(in_channels, channels, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, 2 * channels, 3, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(2 * channels),
            nn.ReLU(),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(dropout),
        )
        self.classifier = nn.Linear(2 * channels, num_classes)

    def forward(self, images: Tensor) -> Outputs:
        """(N, C, H, W) -> outputs with logits only."""
        return Outputs(self.classifier(self.features(images)))
''',
    )
    copy.insert(
        "networks/registry.py",
        """    NetworkSpec(
        name="two_convolutions", source="an example",
        size=48, min_size=8, in_channels=1, parameters=1_391, multiply_adds=207_472,
        builder="two_convolutions:TwoConvolutions",
        arguments={"channels": 8},
    ),
""",
        after="NETWORKS = (\n",
    )
    assert json.loads(copy.mien("networks", "--json"))[0]["name"] == "two_convolutions"
    network = "--set", "network.name=two_convolutions", "--set", "network.variant="
    copy.mien("train", config, *network, "--run", "run")
    assert json.loads(copy.mien("evaluate", "run", "--json"))["network"] == "two_convolutions"


def test_detector_is_one_file_and_one_row(copy):
    copy.write(
        "detection/centre.py",
        '''"""A detector that always finds one face, in the centre."""

import numpy as np
from numpy.typing import NDArray

from mien.detection.base import Detection, check_rgb
from mien.types import Box


class Centre:
    """Returns the middle quarter of every image."""

    def __call__(self, image_rgb: NDArray[np.uint8]) -> tuple[Detection, ...]:
        """See `mien.detection.base.Detector`."""
        check_rgb(image_rgb)
        height, width, _ = image_rgb.shape
        return (Detection(Box(width / 4, height / 4, 3 * width / 4, 3 * height / 4), {}, 0.5),)
''',
    )
    copy.insert(
        "detection/registry.py",
        "from mien.detection.centre import Centre\n",
        after="from mien.detection.blazeface import BlazeFace\n",
    )
    copy.insert("detection/registry.py", '    "centre": lambda options: Centre(),\n', before='    "none": ')
    (picture,) = json.loads(copy.mien("recognize", ASTRONAUT, "--detector", "centre", "--json"))
    assert [face["box"] for face in picture["faces"]] == [[128, 128, 384, 384]]


def test_metric_is_one_function_and_one_row_of_one_file(copy, fer2013_csv):
    copy.insert(
        "evaluation/metrics.py",
        '''def _top2(predictions: Predictions) -> Statistic:
    """Fraction of the faces whose target is among the two highest logits."""
    top = np.argsort(-predictions.logits, axis=1)[:, :2]
    hits = (top == predictions.targets[:, None]).any(axis=1).astype(np.float64)
    return lambda weights: weights @ hits / weights.sum(axis=1)


''',
        before="METRICS: dict",
    )
    copy.insert("evaluation/metrics.py", '    "top2": _top2,\n', after='    "nll": _nll,\n')
    metrics = json.loads(copy.mien("evaluate", "tiny", "--data", fer2013_csv, "--json"))
    low, high = metrics["intervals"]["top2"]
    assert metrics["accuracy"] <= metrics["top2"] <= 1
    assert low <= metrics["top2"] <= high
    assert "top2" in copy.mien("evaluate", "tiny", "--data", fer2013_csv)


@pytest.mark.slow
@pytest.mark.training
def test_loss_is_one_function_with_a_field_and_a_weight(copy, config):
    losses = "training/losses.py"
    copy.insert(losses, "    entropy: Tensor\n", after="    distillation: Tensor\n")
    copy.insert(
        losses,
        """    probabilities = outputs.logits.softmax(dim=1)
    penalty = -(probabilities * outputs.logits.log_softmax(dim=1)).sum(dim=1).mean()
    total = total + config.entropy * penalty
""",
        before="    return LossParts(",
    )
    copy.insert(losses, ", penalty", after="LossParts(total, entropy, reconstruction, margin, distillation")
    copy.insert(
        "config.py",
        '''    entropy: float = Field(default=0.0, ge=0, le=1)
    """Weight of the entropy of the predictions."""
''',
        before="    distillation: float = ",
    )
    copy.mien("train", config, "--set", "loss.entropy=0.1", "--run", "run")
    with (copy.folder / "run" / "log.csv").open(encoding="utf-8", newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert 0 < float(row["train_entropy"]) < 2
    copy.mien("evaluate", "run")
    assert (copy.folder / "run" / "evaluation" / "public-single" / "entropy.png").exists()
