"""Fits the logistic regression of `mien.detection.face_check` to labelled detections of YuNet.

    git clone https://github.com/ajschumacher/imagen
    git clone https://github.com/quoctrung163/keras-cnn-on-cats-and-dogs-dataset cats_and_dogs
    python tools/fit_face_check.py imagen cats_and_dogs

Each folder has its labels, by the folder's name, in benchmarks/detection_labels. The intercept is shifted so that a
probability of 0.5 leaves two false faces in a hundred pictures.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
from sklearn.linear_model import LogisticRegression

from mien.data.pictures import find_pictures
from mien.detection.face_check import FaceCheck, features
from mien.recognition import photo

LABELS = Path(__file__).parents[1] / "benchmarks" / "detection_labels"

FALSE_FACES_PER_PICTURE = 0.02


def main() -> None:
    """Prints the slopes and the intercept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs="+", help="folders of pictures, named like their labels")
    arguments = parser.parse_args()
    check = FaceCheck(threads=1)
    pictures, rows_of_features, persons = 0, [], []
    for folder in arguments.folders:
        files = {path.name: path for path in find_pictures([folder])}
        pictures += len(files)
        with (LABELS / f"{folder.name}.csv").open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["what"] != "unsure"]
        for row in rows:
            square = np.array([[float(row[edge]) for edge in ("x0", "y0", "x1", "y1")]])
            scores, _ = check.look(photo.read(files[row["picture"]]), square, np.zeros(1))
            rows_of_features.append(features(scores.mean(axis=1), square[:, 2] - square[:, 0])[0])
            persons.append(row["what"] == "person")
    labels = np.array(persons)
    model = LogisticRegression(C=100).fit(rows_of_features, labels)
    logits = model.decision_function(rows_of_features)
    others = np.sort(logits[~labels])[::-1]
    threshold = others[int(FALSE_FACES_PER_PICTURE * pictures) - 1]
    recall = float((logits[labels] >= threshold).mean())
    print(f"{pictures:,} pictures, {labels.sum()} people and {(~labels).sum()} others, {recall:.1%} of the people kept")
    print(f"SLOPE, SIZE_SLOPE, INTERCEPT = {model.coef_[0, 0]:.3f}, {model.coef_[0, 1]:.3f}, ", end="")
    print(f"{model.intercept_[0] - threshold:.3f}")


if __name__ == "__main__":
    main()
