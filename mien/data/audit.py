"""Finds what can distort results on a data set: repeated faces, disputed labels, pictures without a face."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from rich.table import Table
from rich.text import Text

from mien.data.dataset import FaceDataset
from mien.data.ferplus import agreement
from mien.errors import require
from mien.labels import SPLITS

HASH_BITS = 64
"""Bits of a face's perceptual hash."""
MAX_DISTANCE = 10
"""Bits in which the hashes of two copies may differ; most of FER2013's copies differ in at most 6."""
MIN_CORRELATION = 0.91
"""Least correlation of two copies. By eye, all of 24 FER2013 pairs just above it show one picture, and half of 12
mirrored pairs just below it show two."""
MAX_SHIFT_PX = 3
"""Largest shift between two copies along each axis, pixels."""
BATCH_ROWS = 2048
"""Faces compared at once."""


@dataclass(frozen=True)
class Pairs:
    """Pairs of faces that are copies of one picture, exact or nearly.

    Attributes:
        first: (P,) rows of the data set.
        second: (P,) rows of the data set, each after the one in `first`.
        bits: (P,) number of bits in which the hashes differ.
        correlation: (P,) correlation of the pixels at the best small shift, at most 1.
        mirrored: (P,) whether one face is the mirror image of the other.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    bits: NDArray[np.int64]
    correlation: NDArray[np.float32]
    mirrored: NDArray[np.bool_]


@dataclass(frozen=True)
class Votes:
    """FER+ votes over a split.

    Attributes:
        voted: Number of faces with a vote for at least one class.
        agreed: Number of these whose label has the most votes, alone or in a tie.
        not_faces: Number of pictures in which most taggers saw no face.
    """

    voted: int
    agreed: int
    not_faces: int


@dataclass(frozen=True)
class Audit:
    """The result of `audit`.

    Attributes:
        dataset: The audited data set.
        pairs: All pairs of copies.
        repeated: Split -> other split -> number of faces of the first with a copy in the other; for a split with
            itself, number of faces that repeat an earlier one.
        contradicting: Number of pairs whose labels differ.
        votes: Split -> its FER+ votes; None without FER+.
        confusion: (K, K) number of faces, by label (row) and by FER+'s most voted class (column); None without FER+.
    """

    dataset: FaceDataset
    pairs: Pairs
    repeated: dict[str, dict[str, int]]
    contradicting: int
    votes: dict[str, Votes] | None
    confusion: NDArray[np.int64] | None

    def in_training(self) -> NDArray[np.int64]:
        """Returns `index` of the faces of other splits that have a copy in the training split."""
        first, second = self.pairs.first, self.pairs.second
        training = self.dataset.splits == SPLITS.index("training")
        rows = np.concatenate([second[training[first] & ~training[second]], first[training[second] & ~training[first]]])
        return np.asarray(self.dataset.index[np.unique(rows)])

    def to_dict(self) -> dict[str, Any]:
        """Returns the counts as plain values, for JSON."""
        classes, confusion = self.dataset.classes, None
        if self.confusion is not None:
            rows = zip(classes, self.confusion.tolist(), strict=True)
            confusion = {name: dict(zip(classes, row, strict=True)) for name, row in rows}
        return {
            "faces": {name: int((self.dataset.splits == i).sum()) for i, name in enumerate(SPLITS)},
            "pairs": len(self.pairs.first),
            "mirrored": int(self.pairs.mirrored.sum()),
            "repeated": self.repeated,
            "contradicting": self.contradicting,
            "votes": self.votes and {split: vars(votes) for split, votes in self.votes.items()},
            "said": confusion,
        }


def audit(dataset: FaceDataset, not_faces: NDArray[np.bool_] | None = None) -> Audit:
    """Audits a data set; takes about a minute for FER2013.

    Args:
        dataset: The faces, with FER+'s votes to count these too.
        not_faces: (N,) result of `mien.data.ferplus.not_a_face`; needed with votes.

    Raises:
        MissingExtraError: ImageHash is not installed.
    """
    pairs = near_duplicates(dataset.images)
    votes = confusion = None
    if dataset.votes is not None and not_faces is not None:
        voted, agreed = agreement(dataset.votes, dataset.targets)
        votes = {
            split: Votes(*(int(each[dataset.splits == i].sum()) for each in (voted, agreed, not_faces)))
            for i, split in _present(dataset)
        }
        cells = dataset.targets[voted] * len(dataset.classes) + dataset.votes[voted].argmax(axis=1)
        confusion = np.bincount(cells, minlength=len(dataset.classes) ** 2).reshape(len(dataset.classes), -1)
    contradicting = int((dataset.targets[pairs.first] != dataset.targets[pairs.second]).sum())
    return Audit(dataset, pairs, _repeated(dataset, pairs), contradicting, votes, confusion)


def near_duplicates(images: NDArray[np.uint8]) -> Pairs:
    """Finds copies of one picture, including mirrored ones.

    Candidates are faces whose perceptual hashes differ in few bits (ImageHash's `phash`, from the lowest frequencies
    of the cosine transform). Different aligned faces often have similar hashes, so the correlation of the pixels
    decides, at the best small shift: copies were often cropped a pixel or two apart.

    Args:
        images: (N, H, W), values 0..255.

    Raises:
        MissingExtraError: ImageHash is not installed.
    """
    hashes, mirrored_hashes = _signs(images), _signs(images[:, :, ::-1])
    candidates = np.concatenate(
        [
            np.insert(_similar(hashes, hashes), 3, 0, axis=1),
            np.insert(_similar(hashes, mirrored_hashes), 3, 1, axis=1),
        ]
    )
    correlation = np.empty(len(candidates), np.float32)
    for start in range(0, len(candidates), BATCH_ROWS):
        batch = candidates[start : start + BATCH_ROWS]
        others = images[batch[:, 1]]
        others = np.where(batch[:, 3, None, None] == 1, others[:, :, ::-1], others)
        firsts = images[batch[:, 0]]
        different = (firsts != others).any(axis=(1, 2))
        of_batch = np.ones(len(batch), np.float32)  # equal faces, even those of one gray value without a correlation
        of_batch[different] = _correlation(firsts[different], others[different])
        correlation[start : start + BATCH_ROWS] = of_batch
    is_copy = correlation >= MIN_CORRELATION
    # A symmetrical face can be both a plain and a mirrored copy: keep one of the two.
    _, once = np.unique(candidates[is_copy, :2], axis=0, return_index=True)
    copies = candidates[is_copy][once]
    return Pairs(copies[:, 0], copies[:, 1], copies[:, 2], correlation[is_copy][once], copies[:, 3] == 1)


def _signs(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Hashes each face -> (N, HASH_BITS) of -1 and 1; the product of two hashes is equal bits minus different bits."""
    imagehash = require("imagehash", "train")
    hashes = [imagehash.phash(Image.fromarray(image)).hash.ravel() for image in images]
    return np.where(np.array(hashes, bool).reshape(len(images), HASH_BITS), np.float32(1), np.float32(-1))


def _similar(hashes: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.int64]:
    """Finds pairs of similar hashes -> (P, 3): a row, a later row, and the number of different bits."""
    pairs = []
    for start in range(0, len(hashes), BATCH_ROWS):
        agreement = hashes[start : start + BATCH_ROWS] @ others[start:].T
        first, second = np.nonzero(agreement >= HASH_BITS - 2 * MAX_DISTANCE)
        later = second > first
        bits = (HASH_BITS - agreement[first[later], second[later]]) / 2
        pairs.append(np.stack([first[later] + start, second[later] + start, bits.astype(np.int64)], axis=1))
    return np.concatenate(pairs) if pairs else np.zeros((0, 3), np.int64)


def _correlation(images: NDArray[np.uint8], others: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Correlates the pixels of pairs of images (N, H, W) -> (N,), each at the best shift up to MAX_SHIFT_PX."""
    height, width = (side - 2 * MAX_SHIFT_PX for side in images.shape[1:])
    middle = _normalised(images[:, MAX_SHIFT_PX : MAX_SHIFT_PX + height, MAX_SHIFT_PX : MAX_SHIFT_PX + width])
    best = np.full(len(images), -1, np.float32)
    for dy in range(2 * MAX_SHIFT_PX + 1):
        for dx in range(2 * MAX_SHIFT_PX + 1):
            shifted = _normalised(others[:, dy : dy + height, dx : dx + width])
            best = np.maximum(best, np.einsum("np,np->n", middle, shifted))
    return best


def _normalised(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Normalises images (N, h, w) -> (N, h * w) to mean 0 and length 1; an image of one gray value becomes all 0."""
    rows = images.reshape(len(images), -1).astype(np.float32)
    rows -= rows.mean(axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.float32(1e-6)))


def _present(dataset: FaceDataset) -> list[tuple[int, str]]:
    """Returns the number and the name of each split with faces."""
    return [(i, split) for i, split in enumerate(SPLITS) if (dataset.splits == i).any()]


def _repeated(dataset: FaceDataset, pairs: Pairs) -> dict[str, dict[str, int]]:
    """Returns split -> other split -> number of its faces with a copy in the other, or an earlier one in itself."""
    splits = dataset.splits
    both_ways = np.concatenate([[pairs.first, pairs.second], [pairs.second, pairs.first]], axis=1)
    table: dict[str, dict[str, int]] = {}
    for i, split in _present(dataset):
        table[split] = {}
        for j, other in _present(dataset):
            rows, copies = both_ways if i != j else (pairs.second, pairs.first)
            table[split][other] = len(np.unique(rows[(splits[rows] == i) & (splits[copies] == j)]))
    return table


def to_csv(result: Audit) -> str:
    """Returns one line for each pair of copies: rows counted from 0, splits, labels and similarity."""
    dataset, pairs, text = result.dataset, result.pairs, io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    names = ("row", "split", "label")
    writer.writerow([*names, *(f"{name}_of_copy" for name in names), "bits", "correlation", "mirrored"])
    for first, second, bits, correlation, mirrored in zip(
        pairs.first, pairs.second, pairs.bits, pairs.correlation, pairs.mirrored, strict=True
    ):
        sides = [
            (dataset.index[row], SPLITS[dataset.splits[row]], dataset.classes[dataset.targets[row]])
            for row in (first, second)
        ]
        writer.writerow([*sides[0], *sides[1], bits, f"{correlation:.4f}", str(bool(mirrored)).lower()])
    return text.getvalue()


def table(result: Audit) -> Table:
    """Returns the result as a table for the terminal."""
    repeated = Table("faces of", *(f"copy in {split}" for split in result.repeated))
    for split, row in result.repeated.items():
        repeated.add_row(split, *(f"{number:,}" for number in row.values()))
    for column in repeated.columns[1:]:
        column.justify = "right"
    mirrored = int(result.pairs.mirrored.sum())
    page = Table.grid()
    page.add_row(Text(f"{result.dataset.path}, {len(result.dataset):,} faces", style="bold"))
    page.add_row(repeated)
    page.add_row(
        f"{len(result.pairs.first):,} pairs of copies, {mirrored:,} of them mirrored; the labels of "
        f"{result.contradicting:,} pairs differ. A copy in the same split is a face that repeats an earlier one."
    )
    if result.votes is None:
        page.add_row("Add --ferplus fer2013new.csv to count disputed labels and pictures without a face.")
        return page
    votes = Table("FER+ votes on", "faces voted on", "label has most votes", "not a face")
    for split, each in result.votes.items():
        votes.add_row(split, f"{each.voted:,}", f"{each.agreed / max(each.voted, 1):.1%}", f"{each.not_faces:,}")
    for column in votes.columns[1:]:
        column.justify = "right"
    page.add_row(votes)
    return page


FACE_PX, GAP_PX, TEXT_PX = 96, 6, 18
"""Size of a face, gap between pairs and height of the text below on the sheet, pixels."""


def sheet(result: Audit, pairs: int = 40, columns: int = 5, seed: int = 0) -> Image.Image:
    """Draws some pairs of copies side by side, so that a person can check them.

    Args:
        result: The audit.
        pairs: Number of pairs, drawn at random from those that are not exactly equal.
        columns: Pairs in a row.
        seed: Seed of the random draw.
    """
    dataset = result.dataset
    first, second = result.pairs.first, result.pairs.second
    different = np.flatnonzero((dataset.images[first] != dataset.images[second]).any(axis=(1, 2)))
    chosen = np.random.default_rng(seed).permutation(different)[:pairs]
    width, height = 2 * FACE_PX + 2 * GAP_PX, FACE_PX + TEXT_PX + GAP_PX
    rows = max(1, -(-len(chosen) // columns))
    image = Image.new("RGB", (columns * width + GAP_PX, rows * height + GAP_PX), "white")
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(11)
    for number, pair in enumerate(chosen.tolist()):
        x, y = GAP_PX + number % columns * width, GAP_PX + number // columns * height
        for side, row in enumerate((first[pair], second[pair])):
            face = Image.fromarray(dataset.images[row]).resize((FACE_PX, FACE_PX), Image.Resampling.BICUBIC)
            image.paste(face, (x + side * FACE_PX, y))
            text = f"{SPLITS[dataset.splits[row]]} {dataset.classes[dataset.targets[row]]}"
            draw.text((x + side * FACE_PX, y + FACE_PX + 2), text, "#202020", font)
    return image
