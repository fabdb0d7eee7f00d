"""Draws accuracy on PublicTest against the arithmetic spent on training, of the networks that were trained to an end.

    python tools/draw_training.py

It reads results/fer2013.csv, results/logs/ and the logs beside the shipped networks, and writes results/training.png.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from mien import plotting as style
from mien.evaluation import tables
from mien.evaluation.results import Result

ROOT = Path(__file__).parents[1]
LOGS, ZOO = ROOT / "results" / "logs", ROOT / "mien" / "models" / "zoo" / "classifiers"
TRAINING_FACES = 28_709
PASSES = 3
"""Forward, and backward to the maps and to the weights."""
UNPUBLISHED = {"resnet18-wide": 313_236_992}
"""Multiply-adds of networks that have no row, since PrivateTest was not read for them."""
AFTER = {"small": "small-taught", "small-taught": "small-labels"}
"""What began where another ended, which is counted too."""


def main() -> None:
    """Draws."""
    logs = {path.stem: path for path in (*sorted(LOGS.glob("*.csv")), *sorted(ZOO.glob("*.csv")))}
    rows = tables.load(ROOT / "results" / "fer2013.csv", Result)
    kept = {(row.config, row.split): row for row in rows if row.view == "single" and row.config in logs}
    figure, axes = style.new_figure(
        (8.4, 5.2),
        "Accuracy against the arithmetic of training",
        "FER2013, PublicTest n = 3,589, single view, each n = 1 seed",
        "Across: multiply-adds of all steps so far, forward and backward, without what teachers took. Up: share of "
        "PublicTest's faces that are right, after each epoch, with the averaged weights in single precision. In "
        "brackets: PrivateTest, of the weights that were kept; dashed: the 71.0 % that was hoped for. `small` went on "
        "from `small-taught`, taught by it, its teacher and FER+'s votes, and that from `small-labels`, taught by it "
        "and EfficientNet-Lite0. `small-labels` taught `tiny`, it and EfficientNet-Lite0 the wide one.",
    )
    spent: dict[str, float] = {}
    for k, (name, path) in enumerate(sorted(logs.items(), key=lambda log: _before(log[0]))):
        with path.open(encoding="utf-8", newline="") as stream:
            accuracy = np.array([float(row["public_accuracy"]) for row in csv.DictReader(stream)])
        private = kept.get((name, "private"))
        multiply_adds = private.multiply_adds if private else UNPUBLISHED[name]
        an_epoch = PASSES * multiply_adds * TRAINING_FACES
        across = spent.get(AFTER.get(name, ""), 0) + an_epoch * np.arange(1, len(accuracy) + 1)
        spent[name] = float(across[-1])
        label = f"{name}, {multiply_adds / 1e6:.0f} M, {len(accuracy)} epochs"
        label += f" ({private.accuracy:.2%})" if private else ""
        axes.plot(across / 1e15, accuracy * 100, color=f"C{k}", linewidth=1.6, label=label)
    axes.set(
        xlabel="multiply-adds of training, 10$^{15}$",
        ylabel="PublicTest, %",
        xscale="log",
        xlim=(0.01, None),
        ylim=(45, 73),
    )
    axes.axhline(71.0, color=style.GRAY, linewidth=1, linestyle="--", zorder=1)
    style.legend(axes, "lower right")
    print(style.save(figure, ROOT / "results" / "training.png"))


def _before(name: str) -> int:
    """How many trainings one went on from."""
    return 1 + _before(AFTER[name]) if name in AFTER else 0


if __name__ == "__main__":
    main()
