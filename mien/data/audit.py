"""What may make figures of a data set wrong: repeated pictures, disputed labels, pictures without a face."""

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

BITS = 64
"""Of a face's perceptual hash."""
MOST_BITS = 10
"""Bits in which the hashes of two copies of one picture may differ; of FER2013's copies most differ in 6 or fewer."""
LEAST_CORRELATION = 0.91
"""Least correlation of two copies. Of 24 of FER2013's pairs just above it all are one picture, by eye; of 12 mirrored
pairs just below it half are two."""
SHIFT_PX = 3
"""How far one copy may be shifted against the other along each axis, pixels."""
ROWS_AT_ONCE = 2048


@dataclass(frozen=True)
class Pairs:
    """Faces that are copies of one picture, to the last pixel or nearly.

    Attributes:
        first: (P,) rows of the data set.
        second: (P,) rows after those.
        bits: (P,) in which their hashes differ.
        correlation: (P,) of their pixels, the best over small shifts, at most 1.
        mirrored: (P,) whether one is the other's mirror image.
    """

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    bits: NDArray[np.int64]
    correlation: NDArray[np.float32]
    mirrored: NDArray[np.bool_]


@dataclass(frozen=True)
class Votes:
    """What FER+'s taggers say of a split.

    Attributes:
        voted: Faces with a vote for one of the classes at least.
        agreed: Of these, faces whose label has the most votes, alone or with others.
        not_faces: Pictures in which most taggers found no face.
    """

    voted: int
    agreed: int
    not_faces: int


@dataclass(frozen=True)
class Audit:
    """What was found.

    Attributes:
        dataset: What was audited.
        pairs: Copies.
        repeated: Split -> other split -> faces of the first that also stand in the other; with a split itself, faces
            that repeat an earlier one of it.
        contradicting: Pairs whose labels differ.
        votes: Split -> what FER+ says; None where no votes were joined.
        said: (K, K) faces, row by label, column by FER+'s most voted class; None likewise.
    """

    dataset: FaceDataset
    pairs: Pairs
    repeated: dict[str, dict[str, int]]
    contradicting: int
    votes: dict[str, Votes] | None
    said: NDArray[np.int64] | None

    def in_training(self) -> NDArray[np.int64]:
        """`index` of the faces of other splits that also stand in the training split."""
        first, second = self.pairs.first, self.pairs.second
        training = self.dataset.splits == SPLITS.index("training")
        rows = np.concatenate([second[training[first] & ~training[second]], first[training[second] & ~training[first]]])
        return np.asarray(self.dataset.index[np.unique(rows)])

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        classes, said = self.dataset.classes, None
        if self.said is not None:
            rows = zip(classes, self.said.tolist(), strict=True)
            said = {name: dict(zip(classes, row, strict=True)) for name, row in rows}
        return {
            "faces": {name: int((self.dataset.splits == i).sum()) for i, name in enumerate(SPLITS)},
            "pairs": len(self.pairs.first),
            "mirrored": int(self.pairs.mirrored.sum()),
            "repeated": self.repeated,
            "contradicting": self.contradicting,
            "votes": self.votes and {split: vars(votes) for split, votes in self.votes.items()},
            "said": said,
        }


def audit(dataset: FaceDataset, not_faces: NDArray[np.bool_] | None = None) -> Audit:
    """Looks for all of it; about a minute for FER2013.

    Args:
        dataset: With FER+'s votes, if they are to be counted.
        not_faces: (N,) as `mien.data.ferplus.not_a_face` gives it; needed with votes.

    Raises:
        MissingExtraError: ImageHash is not installed.
    """
    pairs = near_duplicates(dataset.images)
    votes = said = None
    if dataset.votes is not None and not_faces is not None:
        voted, agreed = agreement(dataset.votes, dataset.targets)
        votes = {
            split: Votes(*(int(which[dataset.splits == i].sum()) for which in (voted, agreed, not_faces)))
            for i, split in _present(dataset)
        }
        cells = dataset.targets[voted] * len(dataset.classes) + dataset.votes[voted].argmax(axis=1)
        said = np.bincount(cells, minlength=len(dataset.classes) ** 2).reshape(len(dataset.classes), -1)
    contradicting = int((dataset.targets[pairs.first] != dataset.targets[pairs.second]).sum())
    return Audit(dataset, pairs, _repeated(dataset, pairs), contradicting, votes, said)


def near_duplicates(images: NDArray[np.uint8]) -> Pairs:
    """Finds copies of one picture, mirrored ones too.

    Candidates are faces whose perceptual hashes (ImageHash's `phash`, of the lowest frequencies of the cosine
    transform) differ in few bits. Aligned faces are much alike in these, so the pixels decide: their correlation, the
    best over small shifts, since copies were often cut out a pixel or two apart.

    Args:
        images: (N, H, W), values 0..255.

    Raises:
        MissingExtraError: ImageHash is not installed.
    """
    hashes, mirrored_hashes = _signs(images), _signs(images[:, :, ::-1])
    candidates = np.concatenate(
        [
            np.insert(_alike(hashes, hashes), 3, 0, axis=1),
            np.insert(_alike(hashes, mirrored_hashes), 3, 1, axis=1),
        ]
    )
    correlation = np.empty(len(candidates), np.float32)
    for start in range(0, len(candidates), ROWS_AT_ONCE):
        part = candidates[start : start + ROWS_AT_ONCE]
        others = images[part[:, 1]]
        others = np.where(part[:, 3, None, None] == 1, others[:, :, ::-1], others)
        firsts = images[part[:, 0]]
        differing = (firsts != others).any(axis=(1, 2))
        found = np.ones(len(part), np.float32)  # of pictures of one gray value too, whose pixels have no correlation
        found[differing] = _correlation(firsts[differing], others[differing])
        correlation[start : start + ROWS_AT_ONCE] = found
    same = correlation >= LEAST_CORRELATION
    # A symmetrical face may be a copy both ways.
    _, once = np.unique(candidates[same, :2], axis=0, return_index=True)
    copies = candidates[same][once]
    return Pairs(copies[:, 0], copies[:, 1], copies[:, 2], correlation[same][once], copies[:, 3] == 1)


def _signs(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(N, BITS) the hash of each face as -1 and 1, so that a product of two counts the bits in which they agree."""
    imagehash = require("imagehash", "train")
    hashes = [imagehash.phash(Image.fromarray(image)).hash.ravel() for image in images]
    return np.where(np.array(hashes, bool).reshape(len(images), BITS), np.float32(1), np.float32(-1))


def _alike(hashes: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.int64]:
    """(P, 3) pairs of a row and a later one whose hashes differ in MOST_BITS or fewer, and in how many."""
    found = []
    for start in range(0, len(hashes), ROWS_AT_ONCE):
        agreement = hashes[start : start + ROWS_AT_ONCE] @ others[start:].T
        first, second = np.nonzero(agreement >= BITS - 2 * MOST_BITS)
        later = second > first
        bits = (BITS - agreement[first[later], second[later]]) / 2
        found.append(np.stack([first[later] + start, second[later] + start, bits.astype(np.int64)], axis=1))
    return np.concatenate(found) if found else np.zeros((0, 3), np.int64)


def _correlation(images: NDArray[np.uint8], others: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(N, H, W) twice -> (N,) correlation of each pair's pixels, the best over shifts up to SHIFT_PX."""
    height, width = (side - 2 * SHIFT_PX for side in images.shape[1:])
    middle = _standardised(images[:, SHIFT_PX : SHIFT_PX + height, SHIFT_PX : SHIFT_PX + width])
    best = np.full(len(images), -1, np.float32)
    for dy in range(2 * SHIFT_PX + 1):
        for dx in range(2 * SHIFT_PX + 1):
            shifted = _standardised(others[:, dy : dy + height, dx : dx + width])
            best = np.maximum(best, np.einsum("np,np->n", middle, shifted))
    return best


def _standardised(images: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(N, h, w) -> (N, h * w) with mean 0 and length 1; an even gray image, which correlates with nothing, is all 0."""
    rows = images.reshape(len(images), -1).astype(np.float32)
    rows -= rows.mean(axis=1, keepdims=True)
    return np.asarray(rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.float32(1e-6)))


def _present(dataset: FaceDataset) -> list[tuple[int, str]]:
    return [(i, split) for i, split in enumerate(SPLITS) if (dataset.splits == i).any()]


def _repeated(dataset: FaceDataset, pairs: Pairs) -> dict[str, dict[str, int]]:
    splits = dataset.splits
    both_ways = np.concatenate([[pairs.first, pairs.second], [pairs.second, pairs.first]], axis=1)
    table: dict[str, dict[str, int]] = {}
    for i, split in _present(dataset):
        table[split] = {}
        for j, other in _present(dataset):
            rows, copies = both_ways if i != j else (pairs.second, pairs.first)
            table[split][other] = len(np.unique(rows[(splits[rows] == i) & (splits[copies] == j)]))
    return table


def to_csv(found: Audit) -> str:
    """One line a pair: both rows of the data set, counted from 0, their splits and labels, and how alike they are."""
    dataset, pairs, text = found.dataset, found.pairs, io.StringIO()
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


def table(found: Audit) -> Table:
    """What was found, for the terminal."""
    repeated = Table("faces of", *(f"also in {split}" for split in found.repeated))
    for split, row in found.repeated.items():
        repeated.add_row(split, *(f"{number:,}" for number in row.values()))
    for column in repeated.columns[1:]:
        column.justify = "right"
    mirrored = int(found.pairs.mirrored.sum())
    page = Table.grid()
    page.add_row(Text(f"{found.dataset.path}, {len(found.dataset):,} faces", style="bold"))
    page.add_row(repeated)
    page.add_row(
        f"{len(found.pairs.first):,} pairs of copies, {mirrored:,} of them mirrored; the labels of "
        f"{found.contradicting:,} pairs differ. A face also in its own split repeats an earlier one."
    )
    if found.votes is None:
        page.add_row("--ferplus fer2013new.csv counts disputed labels and pictures without a face.")
        return page
    votes = Table("FER+ says of", "voted on", "label most voted", "no face")
    for split, each in found.votes.items():
        votes.add_row(split, f"{each.voted:,}", f"{each.agreed / max(each.voted, 1):.1%}", f"{each.not_faces:,}")
    for column in votes.columns[1:]:
        column.justify = "right"
    page.add_row(votes)
    return page


FACE_PX, GAP_PX, WORDS_PX = 96, 6, 18


def sheet(found: Audit, pairs: int = 40, columns: int = 5, seed: int = 0) -> Image.Image:
    """Draws some pairs of copies side by side, to be looked at before they are believed.

    Args:
        found: The audit.
        pairs: How many, drawn by chance from those that are not equal to the last pixel.
        columns: Pairs in a row.
        seed: Of the draw.
    """
    dataset = found.dataset
    first, second = found.pairs.first, found.pairs.second
    differ = np.flatnonzero((dataset.images[first] != dataset.images[second]).any(axis=(1, 2)))
    chosen = np.random.default_rng(seed).permutation(differ)[:pairs]
    width, height = 2 * FACE_PX + 2 * GAP_PX, FACE_PX + WORDS_PX + GAP_PX
    rows = max(1, -(-len(chosen) // columns))
    picture = Image.new("RGB", (columns * width + GAP_PX, rows * height + GAP_PX), "white")
    draw, font = ImageDraw.Draw(picture), ImageFont.load_default(11)
    for number, pair in enumerate(chosen.tolist()):
        x, y = GAP_PX + number % columns * width, GAP_PX + number // columns * height
        for side, row in enumerate((first[pair], second[pair])):
            face = Image.fromarray(dataset.images[row]).resize((FACE_PX, FACE_PX), Image.Resampling.BICUBIC)
            picture.paste(face, (x + side * FACE_PX, y))
            words = f"{SPLITS[dataset.splits[row]]} {dataset.classes[dataset.targets[row]]}"
            draw.text((x + side * FACE_PX, y + FACE_PX + 2), words, "#202020", font)
    return picture
