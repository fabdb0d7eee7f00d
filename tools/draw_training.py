"""Draws accuracy on PublicTest against the arithmetic spent on training, for the fully trained networks.

    python tools/draw_training.py

It reads results/fer2013.csv, results/logs/ and the logs beside the shipped networks, and writes results/training.png.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from mien import plotting
from mien.evaluation import tables
from mien.evaluation.results import Result

ROOT = Path(__file__).parents[1]
LOGS, ZOO = ROOT / "results" / "logs", ROOT / "mien" / "models" / "zoo" / "classifiers"
TRAINING_FACES = 28_709
PASSES = 3
"""Forward pass, gradient of the feature maps and gradient of the weights."""
UNPUBLISHED = {"resnet18-wide": 313_236_992}
"""Multiply-adds of networks without a row of results."""
CONTINUES = {"small": "small-taught", "small-taught": "small-labels"}
"""Network -> the network whose weights it started from; the arithmetic of both counts."""


def main() -> None:
    """Draws the figure."""
    logs = {path.stem: path for path in (*sorted(LOGS.glob("*.csv")), *sorted(ZOO.glob("*.csv")))}
    rows = tables.load(ROOT / "results" / "fer2013.csv", Result)
    rows_by_config = {(row.config, row.split): row for row in rows if row.view == "single" and row.config in logs}
    figure, axes = plotting.new_figure(
        (8.4, 5.2),
        "Accuracy against the arithmetic of training",
        "FER2013, PublicTest n = 3,589, single view, each n = 1 seed",
        "x axis: multiply-adds of all steps so far, forward and backward, without those of the teachers. y axis: "
        "accuracy on PublicTest after each epoch, with the averaged weights in float32. In brackets: accuracy on "
        "PrivateTest of the kept weights. Dashed line: the target of 71.0 %. `small` continued from `small-taught`, "
        "with that network, its teacher and FER+'s votes as teacher. `small-taught` continued from `small-labels`, "
        "with that network and EfficientNet-Lite0 as teacher. `small-labels` was the teacher of `tiny`; together with "
        "EfficientNet-Lite0 it was the teacher of the wide network.",
    )
    spent: dict[str, float] = {}
    for k, (name, path) in enumerate(sorted(logs.items(), key=lambda log: _depth(log[0]))):
        with path.open(encoding="utf-8", newline="") as stream:
            accuracy = np.array([float(row["public_accuracy"]) for row in csv.DictReader(stream)])
        private = rows_by_config.get((name, "private"))
        multiply_adds = private.multiply_adds if private else UNPUBLISHED[name]
        per_epoch = PASSES * multiply_adds * TRAINING_FACES
        multiply_adds_so_far = spent.get(CONTINUES.get(name, ""), 0) + per_epoch * np.arange(1, len(accuracy) + 1)
        spent[name] = float(multiply_adds_so_far[-1])
        label = f"{name}, {multiply_adds / 1e6:.0f} M, {len(accuracy)} epochs"
        label += f" ({private.accuracy:.2%})" if private else ""
        axes.plot(multiply_adds_so_far / 1e15, accuracy * 100, color=f"C{k}", linewidth=1.6, label=label)
    axes.set(
        xlabel="multiply-adds of training, 10$^{15}$",
        ylabel="PublicTest, %",
        xscale="log",
        xlim=(0.01, None),
        ylim=(45, 73),
    )
    axes.axhline(71.0, color=plotting.GRAY, linewidth=1, linestyle="--", zorder=1)
    plotting.legend(axes, "lower right")
    print(plotting.save(figure, ROOT / "results" / "training.png"))


def _depth(name: str) -> int:
    """Number of trainings that a network builds on."""
    return 1 + _depth(CONTINUES[name]) if name in CONTINUES else 0


if __name__ == "__main__":
    main()
