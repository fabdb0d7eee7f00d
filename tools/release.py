"""Makes a trained network one that mien ships, with every figure about it from one measurement.

    mien export runs/tiny && mien quantize runs/tiny/tiny.onnx --data fer2013.tar.gz -o tiny8.onnx
    python tools/release.py tiny tiny8.onnx runs/tiny --data fer2013.tar.gz

It measures the file on PublicTest and, which is the one reading of PrivateTest, there; then it writes

    mien/models/zoo/classifiers/  the file with its metrics in it, the run's config and log, and the figures of the
                                       model card: all from "What it reaches" up to "What to use it for"
    results/                           a row a split and view in fer2013.csv, and of the single view predictions, and
                                       figures of its confidence on PrivateTest: NAME-reliability and NAME-risk-coverage

What the card says of where the network comes from, and the README's row, are written by hand.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import textwrap
from pathlib import Path

import numpy as np

from mien import plotting as style
from mien import predictions as prediction_files
from mien.data import audit, load
from mien.data.dataset import FaceDataset
from mien.evaluation import figures, metrics, results, tables, unseen
from mien.evaluation.metrics import Metrics
from mien.evaluation.predict import predict
from mien.files import replaced, write_text
from mien.models import onnx_file
from mien.models.onnx_model import METADATA_KEY, OnnxModel
from mien.types import Predictions

ROOT = Path(__file__).parents[1]
ZOO, RESULTS = ROOT / "mien" / "models" / "zoo" / "classifiers", ROOT / "results"
IN_FILE = ("n", *metrics.HEADLINES)
"""Metrics that are kept in the file, of the single view."""
FIRST, AFTER = "## What it reaches\n", "## What to use it for"
MISTAKES = 4


def main() -> None:
    """Measures and writes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("name", help="the shipped model's, with a card in the zoo that has the two headings")
    parser.add_argument("file", type=Path, help="of mien export or mien quantize")
    parser.add_argument("run", type=Path, help="the run's folder, for its config and log")
    parser.add_argument("--data", type=Path, required=True, help="FER2013")
    arguments = parser.parse_args()
    name, classifier, dataset = arguments.name, OnnxModel(arguments.file), load(arguments.data)
    card = ZOO / f"{name}.md"
    if not all(heading in card.read_text(encoding="utf-8") for heading in (FIRST, AFTER)):
        sys.exit(f"{card} needs the headings {FIRST.strip()!r} and {AFTER!r}: write the rest of the card first")

    if missing := [name for name in ("config.toml", "log.csv") if not (arguments.run / name).is_file()]:
        sys.exit(f"{arguments.run} has no {missing[0]}: name the folder of the run")

    said = {
        (split, view): predict(classifier, dataset.split(split), view)
        for split in ("public", "private")
        for view in ("single", "flip")
    }
    found = {which: metrics.evaluate(predictions) for which, predictions in said.items()}
    reached = _reached(classifier, dataset, said, found)
    in_file = {f"{split}-single": _in_file(found[split, "single"]) for split in ("public", "private")}
    with replaced(ZOO / f"{name}.onnx") as part:
        metadata = classifier.metadata | {"metrics": in_file}
        onnx_file.replace_metadata(arguments.file, part, {METADATA_KEY: json.dumps(metadata)})
    shutil.copyfile(arguments.run / "config.toml", ZOO / f"{name}.toml")
    shutil.copyfile(arguments.run / "log.csv", ZOO / f"{name}.csv")
    for (split, view), measured in found.items():
        command = f"mien evaluate {name} --data {arguments.data.name} --split {split} --view {view}"
        row = results.row(measured, classifier.config, name, split, view, command)
        tables.add(RESULTS / "fer2013.csv", row)
        if view == "single":
            about = {"model": name, "network": classifier.title, "data": arguments.data.name, "split": split}
            about |= {"view": view, "weights": classifier.digest}
            prediction_files.save(said[split, view], RESULTS / "predictions" / f"{name}-{split}.parquet", about)
    draw(name, said["private", "single"], classifier)
    before, _, rest = card.read_text(encoding="utf-8").partition(FIRST)
    _, _, after = rest.partition(AFTER)
    write_text(card, before + FIRST + reached + AFTER + after)


def draw(name: str, private: Predictions, classifier: OnnxModel) -> None:
    """How far its confidence can be trusted, and what it is worth to leave out uncertain faces."""
    reliability = figures.reliability_figure(private, name, "private")
    style.save(reliability, RESULTS / f"{name}-reliability.png")
    risk = figures.risk_coverage_figure(private, name, "private", classifier.calibration.uncertain_below)
    style.save(risk, RESULTS / f"{name}-risk-coverage.png")


def _in_file(measured: Metrics) -> dict[str, float]:
    return {name: getattr(measured, name) for name in IN_FILE}


def _reached(
    classifier: OnnxModel,
    dataset: FaceDataset,
    said: dict[tuple[str, str], Predictions],
    found: dict[tuple[str, str], Metrics],
) -> str:
    """The card's figures, in Markdown."""
    in_training = audit.audit(dataset).in_training()
    rows = []
    for (split, view), measured in found.items():
        title = f"{'PublicTest, chosen on' if split == 'public' else 'PrivateTest, nothing chosen on it'} | {view}"
        cells = f"{_interval(measured, 'accuracy')} | {_interval(measured, 'macro_f1')} | {measured.macro_auc:.3f}"
        rows.append(f"| {title} | {measured.n:,} | {cells} | {measured.ece:.3f} |")
        if split == "private":
            apart = unseen.measure("", said[split, view], in_training)
            new = f"{apart.accuracy_unseen:.2%} ({100 * apart.low:.1f} to {100 * apart.high:.1f})".replace("%", " %")
            rows.append(f"| of it not in Training | {view} | {apart.n_unseen:,} | {new} | | | |")
    private = said["private", "single"]
    calibration = classifier.calibration
    probabilities = private.probabilities
    right = private.right
    certain = probabilities.max(axis=1) >= calibration.uncertain_below
    classes = [
        f"| {name} | {each.support} | {100 * each.precision:.1f} | {100 * each.recall:.1f} | {100 * each.f1:.1f} "
        f"| {each.auc:.3f} |"
        for name, each in found["private", "single"].classes.items()
    ]
    copies = int(np.isin(private.index, in_training).sum())
    lines = [
        "",
        "95 % bootstrap intervals of the faces:",
        "",
        "| split | view | n | accuracy | macro F1 | macro AUC | calibration error |",
        "|---|---|---|---|---|---|---|",
        *rows,
        "",
        _paragraph(
            f"A face is marked uncertain below a confidence of {100 * calibration.uncertain_below:.1f} %, which leaves "
            f"{100 * calibration.coverage:.0f} % of PublicTest's faces certain; of PrivateTest's it leaves "
            f"{100 * certain.mean():.1f} %, of which {100 * right[certain].mean():.1f} % are right, against "
            f"{100 * right[~certain].mean():.1f} % of the uncertain ones."
        ),
        "",
        "By expression, PrivateTest, single view, per cent:",
        "",
        "| expression | faces | precision | recall | F1 | AUC |",
        "|---|---|---|---|---|---|",
        *classes,
        "",
        _paragraph(
            f"Its most frequent mistakes: {_mistakes(private)}. "
            f"There are {found['private', 'single'].classes['disgust'].support} disgusted faces, so that row is rough."
        ),
        "",
        _paragraph(
            f"{copies} of PrivateTest's pictures also stand in Training, equal or nearly (see the data card): what to "
            "expect of new faces is the row without them."
        ),
        "",
        "",
    ]
    return "\n".join(lines)


def _paragraph(text: str) -> str:
    return textwrap.fill(text, 120, break_long_words=False, break_on_hyphens=False)


def _interval(measured: Metrics, name: str) -> str:
    low, high = measured.intervals[name]
    return f"{100 * getattr(measured, name):.2f} % ({100 * low:.1f} to {100 * high:.1f})"


def _mistakes(predictions: Predictions) -> str:
    counts = metrics.confusion_matrix(predictions)
    shares = counts / counts.sum(axis=1, keepdims=True)
    np.fill_diagonal(shares, 0)
    worst = [divmod(int(place), len(shares)) for place in np.argsort(-shares, axis=None)[:MISTAKES]]
    names = predictions.classes
    return "; ".join(f"{names[was]} taken for {names[told]} ({100 * shares[was, told]:.0f} %)" for was, told in worst)


if __name__ == "__main__":
    main()
