"""Makes a trained network one that mien ships, with every published figure from one measurement.

    mien export runs/tiny && mien quantize runs/tiny/tiny.onnx --data fer2013.tar.gz -o tiny8.onnx
    python tools/release.py tiny tiny8.onnx runs/tiny --data fer2013.tar.gz
    make results

It measures the file on PublicTest and PrivateTest; this is the one reading of PrivateTest. Then it writes

    mien/models/zoo/classifiers/  the file with its metrics in it, and the config and log of the run
    results/                      a row for each split and view in fer2013.csv; a row for each view in unseen.csv; the
                                  predictions of the single view; figures of the confidence on PrivateTest

`make results` then writes the tables of the model card and of the documentation. The origin of the network in the card
is written by hand.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

from mien import plotting as style
from mien import predictions as prediction_files
from mien.data import audit, load
from mien.evaluation import figures, metrics, results, tables, unseen
from mien.evaluation.metrics import Metrics
from mien.evaluation.predict import predict
from mien.files import replaced
from mien.models import onnx_file
from mien.models.onnx_model import METADATA_KEY, OnnxModel
from mien.types import Predictions

ROOT = Path(__file__).parents[1]
ZOO, RESULTS = ROOT / "mien" / "models" / "zoo" / "classifiers", ROOT / "results"
IN_FILE = ("n", *metrics.HEADLINES)
"""Metrics of the single view that the model file contains."""


@dataclass(frozen=True)
class UnseenResult:
    """A row of results/unseen.csv; see results/README.md."""

    config: str
    split: str
    view: str
    n: int
    accuracy: float
    accuracy_low: float
    accuracy_high: float
    command: str

    @property
    def key(self) -> tuple[str, str, str]:
        """The table has one row for each key."""
        return self.config, self.split, self.view


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

    predictions = {
        (split, view): predict(model, dataset.split(split), view)
        for split in ("public", "private")
        for view in ("single", "flip")
    }
    measured = {key: metrics.evaluate(each) for key, each in predictions.items()}
    in_file = {f"{split}-single": _in_file(measured[split, "single"]) for split in ("public", "private")}
    with replaced(ZOO / f"{name}.onnx") as part:
        metadata = json.dumps(model.metadata | {"metrics": in_file})
        onnx_file.replace_metadata(arguments.file, part, {METADATA_KEY: metadata})
    shutil.copyfile(arguments.run / "config.toml", ZOO / f"{name}.toml")
    shutil.copyfile(arguments.run / "log.csv", ZOO / f"{name}.csv")
    for (split, view), each in measured.items():
        command = f"mien evaluate {name} --data {arguments.data.name} --split {split} --view {view}"
        tables.add(RESULTS / "fer2013.csv", results.row(each, model.config, name, split, view, command))
        if view == "single":
            about = {"model": name, "network": model.title, "data": arguments.data.name, "split": split}
            about |= {"view": view, "weights": model.digest}
            prediction_files.save(predictions[split, view], RESULTS / "predictions" / f"{name}-{split}.parquet", about)
    in_training = audit.audit(dataset).in_training()
    command = f"python tools/release.py {name} {arguments.file.name} runs/{arguments.run.name}"
    for (split, view), each in predictions.items():
        new = unseen.measure(name, each, in_training)
        row = UnseenResult(name, split, view, new.n_unseen, new.accuracy_unseen, new.low, new.high, command)
        tables.add(RESULTS / "unseen.csv", row)
    draw(name, predictions["private", "single"], model)
    print("measured; now run make results")


def draw(name: str, private: Predictions, model: OnnxModel) -> None:
    """Draws reliability, and risk against coverage."""
    reliability = figures.reliability_figure(private, name, "private")
    style.save(reliability, RESULTS / f"{name}-reliability.png")
    risk = figures.risk_coverage_figure(private, name, "private", model.calibration.uncertain_below)
    style.save(risk, RESULTS / f"{name}-risk-coverage.png")


def _in_file(measured: Metrics) -> dict[str, float]:
    return {name: getattr(measured, name) for name in IN_FILE}


if __name__ == "__main__":
    main()
