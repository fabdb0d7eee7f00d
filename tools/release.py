"""Makes a trained network one that mien ships, with every published number from one measurement.

    mien export runs/tiny && mien quantize runs/tiny/tiny.onnx --data fer2013.tar.gz -o tiny8.onnx
    python tools/release.py tiny tiny8.onnx runs/tiny --data fer2013.tar.gz
    make results

It measures the file on PublicTest and PrivateTest; this is the one reading of PrivateTest. Then it writes

    mien/models/zoo/classifiers/  the file with its metrics in it, and the config and log of the run
    results/                      a row for each split and view in fer2013.csv; a row for each view in unseen.csv; the
                                  predictions of the single view; figures about the confidence on PrivateTest

`make results` then writes the tables of the model card and of the documentation. The origin of the network in the card
is written by hand.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path

from mien import plotting
from mien.data import audit, load
from mien.evaluation import figures, tables, unseen
from mien.evaluation.evaluation import Evaluation
from mien.files import replaced
from mien.models import onnx_file
from mien.models.onnx_model import METADATA_KEY, OnnxModel
from mien.types import Predictions

ROOT = Path(__file__).parents[1]
ZOO, RESULTS = ROOT / "mien" / "models" / "zoo" / "classifiers", ROOT / "results"


def main() -> None:
    """Measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="name of the shipped model; its model card must exist")
    parser.add_argument("file", type=Path, help="an .onnx file from mien export or mien quantize")
    parser.add_argument("run", type=Path, help="folder of the run, for its config and log")
    parser.add_argument("--data", type=Path, required=True, help="FER2013")
    arguments = parser.parse_args()
    name, model, dataset = arguments.name, OnnxModel(arguments.file), load(arguments.data)
    if not (ZOO / f"{name}.md").exists():
        sys.exit(f"{ZOO / name}.md does not exist: write the model card first, with the block card-{name}")
    if missing := [name for name in ("config.toml", "log.csv") if not (arguments.run / name).is_file()]:
        sys.exit(f"{arguments.run} has no {missing[0]}: give the folder of the run")

    evaluations = {
        (split, view): Evaluation.run(model, name, arguments.data.name, dataset.split(split), split, view)
        for split in ("public", "private")
        for view in ("single", "flip")
    }
    in_file = {}
    for (split, view), evaluation in evaluations.items():
        command = f"mien evaluate {name} --data {arguments.data.name} --split {split} --view {view}"
        tables.add(RESULTS / "fer2013.csv", evaluation.row(name, command))
        if view == "single":
            evaluation.publish_predictions(RESULTS / "predictions" / f"{name}-{split}.parquet")
            in_file[f"{split}-single"] = {"n": evaluation.metrics.n, **evaluation.metrics.values}
    with replaced(ZOO / f"{name}.onnx") as part:
        metadata = json.dumps(model.metadata | {"metrics": in_file})
        onnx_file.replace_metadata(arguments.file, part, {METADATA_KEY: metadata})
    shutil.copyfile(arguments.run / "config.toml", ZOO / f"{name}.toml")
    shutil.copyfile(arguments.run / "log.csv", ZOO / f"{name}.csv")
    in_training = audit.audit(dataset).in_training()
    command = (
        f"python tools/release.py {name} {arguments.file.name} runs/{arguments.run.name} --data {arguments.data.name}"
    )
    for (split, view), evaluation in evaluations.items():
        accuracy = unseen.measure(name, evaluation.predictions, in_training)
        tables.add(RESULTS / "unseen.csv", unseen.row(accuracy, split, view, command))
    draw(name, evaluations["private", "single"].predictions, model)
    print("measured; now run make results")


def draw(name: str, private: Predictions, model: OnnxModel) -> None:
    """Draws the reliability diagram, and risk against coverage."""
    reliability = figures.reliability_figure(private, name, "private")
    plotting.save(reliability, RESULTS / f"{name}-reliability.png")
    risk = figures.risk_coverage_figure(private, name, "private", model.calibration.uncertain_below)
    plotting.save(risk, RESULTS / f"{name}-risk-coverage.png")


if __name__ == "__main__":
    main()
