"""Fits the numbers of `mien.detection.face_check.crop_probability`: whether a cropped picture is a face.

    python tools/fit_crop_check.py fer2013.tar.gz imagen cats_and_dogs

The faces are 2,000 of FER2013's training faces. What is no face are the detections of animals, drawings and objects in
the folders of tools/fit_face_check.py, cut out and scaled to 48 pixels. The intercept is shifted so that one training
face in a hundred has a probability below 0.5; about as many of FER2013's pictures show no face.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
from fit_face_check import LABELS
from numpy.typing import NDArray
from PIL import Image
from sklearn.linear_model import LogisticRegression

from mien.data.load import load
from mien.data.pictures import find_pictures
from mien.detection.face_check import FaceCheck, log_odds
from mien.recognition import photo

FACES, SEED = 2000, 0
SIDE_PX, MIN_SIDE_PX = 48, 24
LOST_FACES = 0.01


def main() -> None:
    """Prints the slope and the intercept."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, help="FER2013")
    parser.add_argument("folders", type=Path, nargs="+", help="folders of pictures, named like their labels")
    arguments = parser.parse_args()
    check = FaceCheck(threads=1)
    images = load(arguments.data).split("training").images
    rows = np.random.default_rng(SEED).choice(len(images), FACES, replace=False)
    faces = [check.crop_score(to_rgb(images[row].squeeze())) for row in rows]
    others = [check.crop_score(to_rgb(crop)) for folder in arguments.folders for crop in others_of(folder)]
    scores = np.array([*faces, *others])
    labels = np.arange(len(scores)) < len(faces)
    model = LogisticRegression(C=100, class_weight="balanced").fit(log_odds(scores)[:, None], labels)
    logits = model.decision_function(log_odds(scores)[:, None])
    threshold = np.quantile(logits[labels], LOST_FACES)
    print(f"{len(faces):,} faces and {len(others):,} others, {(logits[~labels] >= threshold).mean():.1%} of them kept")
    print(f"CROP_SLOPE, CROP_INTERCEPT = {model.coef_[0, 0]:.3f}, {model.intercept_[0] - threshold:.3f}")


def others_of(folder: Path) -> list[NDArray[np.uint8]]:
    """Returns the labelled detections that are no people, as gray squares (SIDE_PX, SIDE_PX)."""
    files = {path.name: path for path in find_pictures([folder])}
    with (LABELS / f"{folder.name}.csv").open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["what"] not in ("person", "unsure")]
    crops = []
    for row in rows:
        x0, y0, x1, y1 = (round(float(row[edge])) for edge in ("x0", "y0", "x1", "y1"))
        if x1 - x0 >= MIN_SIDE_PX:
            crop = Image.fromarray(photo.read(files[row["picture"]])).convert("L").crop((x0, y0, x1, y1))
            crops.append(np.asarray(crop.resize((SIDE_PX, SIDE_PX), Image.Resampling.BILINEAR)))
    return crops


def to_rgb(gray: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Repeats a gray image (H, W) as (H, W, 3)."""
    return np.repeat(gray[:, :, None], 3, axis=2)


if __name__ == "__main__":
    main()
