"""Summarises a data set: counts against the published ones, repeated faces, pixel statistics, a contact sheet."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from rich.table import Table
from rich.text import Text

from mien.data.dataset import FaceDataset
from mien.data.fer2013 import PUBLISHED_COUNTS
from mien.data.ferplus import agreement
from mien.labels import EXPRESSIONS, SPLITS, class_colours

PUBLISHED_SIZE = sum(map(sum, PUBLISHED_COUNTS.values()))
"""Number of faces in FER2013."""

SIZE_TOLERANCE = 0.05
"""Largest difference from FER2013's number of faces, as a fraction, at which counts are compared with the published."""

BATCH_ROWS = 1024
"""Faces counted at once: all of them as 64-bit numbers would take eight times the memory of the data."""


@dataclass(frozen=True)
class FerPlusSummary:
    """FER+ votes over the data set.

    Attributes:
        voted: Number of faces with a vote for at least one class.
        unvoted: Number of other faces.
        agreement: Fraction of the voted faces whose label has the most votes, alone or in a tie, 0..1.
    """

    voted: int
    unvoted: int
    agreement: float


@dataclass(frozen=True)
class Duplicates:
    """Faces that are exactly equal, pixel by pixel.

    Attributes:
        within: Split -> number of faces that repeat an earlier one of that split.
        across: Split -> number of its faces that another split has too. Those of public and private are not unseen.
        contradicting: Number of faces that also exist with another class.
    """

    within: dict[str, int]
    across: dict[str, int]
    contradicting: int


@dataclass(frozen=True)
class Inspection:
    """The summary of a data set.

    Attributes:
        path: File or folder that it was read from.
        format: "archive", "csv", "folders" or "parquet".
        n: Number of faces.
        size: Height and width of the faces, pixels.
        classes: K class names.
        counts: Split -> class -> number of faces, for each split that has any.
        published: Whether the counts equal those published with FER2013; None if the data is not FER2013 by its size
            and classes.
        differences: Sentences about the counts that differ.
        pixel_mean: Mean of the training split's pixels, values in [0, 1]; None without a training split.
        pixel_std: Their standard deviation; None likewise.
        ferplus: Summary of the FER+ votes; None without FER+.
        duplicates: Repeated faces.
        notes: Sentences about how labels became classes.
    """

    path: str
    format: str
    n: int
    size: int
    classes: tuple[str, ...]
    counts: dict[str, dict[str, int]]
    published: bool | None
    differences: tuple[str, ...]
    pixel_mean: float | None
    pixel_std: float | None
    ferplus: FerPlusSummary | None
    duplicates: Duplicates
    notes: tuple[str, ...] = ()

    @property
    def totals(self) -> dict[str, int]:
        """Split -> number of faces."""
        return {split: sum(row.values()) for split, row in self.counts.items()}

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields and the totals as plain values, for JSON.

        Two keys differ from the fields: `form` is the format, and `matches_published` is `published`.
        """
        fields = {("form" if name == "format" else name): value for name, value in asdict(self).items()}
        published = fields.pop("published")
        lists = {name: list(fields[name]) for name in ("classes", "differences", "notes")}
        return fields | lists | {"totals": self.totals, "matches_published": published}


def inspect(dataset: FaceDataset) -> Inspection:
    """Summarises a data set; takes 0.3 s for FER2013."""
    counts = dataset.counts()
    comparable = (
        abs(len(dataset) - PUBLISHED_SIZE) <= SIZE_TOLERANCE * PUBLISHED_SIZE and dataset.classes == EXPRESSIONS
    )
    differences = _differences(counts) if comparable else ()
    mean, std = _pixel_statistics(dataset.images[dataset.splits == SPLITS.index("training")])
    return Inspection(
        path=dataset.path,
        format=dataset.format,
        n=len(dataset),
        size=dataset.size,
        classes=dataset.classes,
        counts=counts,
        published=not differences if comparable else None,
        differences=differences,
        pixel_mean=mean,
        pixel_std=std,
        ferplus=_ferplus(dataset),
        duplicates=_duplicates(dataset),
        notes=dataset.notes,
    )


def _differences(counts: dict[str, dict[str, int]]) -> tuple[str, ...]:
    sentences = []
    for split, published in PUBLISHED_COUNTS.items():
        if split not in counts:
            sentences.append(f"there is no {split} split; {sum(published):,} faces are published")
            continue
        for expression, expected in zip(EXPRESSIONS, published, strict=True):
            got = counts[split][expression]
            if got != expected:
                sentences.append(f"{split} has {got:,} {expression} faces; {expected:,} are published")
    return tuple(sentences)


def _pixel_statistics(images: NDArray[np.uint8]) -> tuple[float | None, float | None]:
    """Returns the mean and the standard deviation of all pixels, values in [0, 1]."""
    if not images.size:
        return None, None
    histogram = np.zeros(256, np.int64)
    for start in range(0, len(images), BATCH_ROWS):
        histogram += np.bincount(images[start : start + BATCH_ROWS].ravel(), minlength=256)
    values = np.arange(256) / 255
    mean = float(np.average(values, weights=histogram))
    return mean, float(np.sqrt(np.average((values - mean) ** 2, weights=histogram)))


def _ferplus(dataset: FaceDataset) -> FerPlusSummary | None:
    if dataset.votes is None:
        return None
    voted, agreed = agreement(dataset.votes, dataset.targets)
    n = int(voted.sum())
    return FerPlusSummary(voted=n, unvoted=len(dataset) - n, agreement=int(agreed.sum()) / max(n, 1))


def _duplicates(dataset: FaceDataset) -> Duplicates:
    digests = [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in dataset.images]
    in_splits = Counter(zip(digests, dataset.splits.tolist(), strict=True))
    splits_of = Counter(digest for digest, _ in in_splits)
    classes_of = Counter(digest for digest, _ in set(zip(digests, dataset.targets.tolist(), strict=True)))
    within = dict.fromkeys(dataset.counts(), 0)
    across = within.copy()
    for (digest, split), times in in_splits.items():
        within[SPLITS[split]] += times - 1
        across[SPLITS[split]] += times if splits_of[digest] > 1 else 0
    return Duplicates(
        within=within,
        across=across,
        contradicting=sum(classes_of[digest] > 1 for digest in digests),
    )


def table(inspection: Inspection) -> Table:
    """Returns the summary for the terminal: the counts with one column for each split, and sentences below."""
    result = Table(show_footer=True)
    result.add_column("class", footer="all")
    for split, total in inspection.totals.items():
        result.add_column(split, justify="right", footer=f"{total:,}")
    result.add_column("all", justify="right", footer=f"{inspection.n:,}")
    colours = class_colours(inspection.classes)
    for name in inspection.classes:
        numbers = [row[name] for row in inspection.counts.values()]
        cells = [f"{number:,}" for number in (*numbers, sum(numbers))]
        result.add_row(Text(name, style=colours[name]), *cells)
    page = Table.grid()
    page.add_row(Text(f"{inspection.path} ({inspection.format})", style="bold"))
    page.add_row(result)
    page.add_row(Text("\n".join(_sentences(inspection))))
    return page


def _sentences(inspection: Inspection) -> list[str]:
    lines = list(inspection.notes)
    if inspection.published is None:
        lines.append(
            f"The counts are not compared with FER2013's, which has {PUBLISHED_SIZE:,} faces of {len(EXPRESSIONS)} "
            "classes."
        )
    elif inspection.published:
        lines.append("The counts equal those published with FER2013.")
    else:
        lines += ["The counts are NOT those published with FER2013:", *(f"  {line}" for line in inspection.differences)]
    size, mean, std = inspection.size, inspection.pixel_mean, inspection.pixel_std
    statistics = (
        f"; training pixels, scaled to [0, 1]: mean {mean:.4f}, standard deviation {std:.4f}"
        if mean is not None
        else ""
    )
    lines.append(f"Faces are {size} x {size} pixels{statistics}.")
    if inspection.ferplus:
        votes = inspection.ferplus
        lines.append(
            f"FER+ has votes for {votes.voted:,} faces and none for {votes.unvoted:,}; "
            f"the label has the most votes for {votes.agreement:.1%}."
        )
    repeated = inspection.duplicates
    lines.append(f"Faces that repeat an earlier one of their split: {_listed(repeated.within)}.")
    lines.append(f"Faces that also occur in another split: {_listed(repeated.across)}.")
    lines.append(f"Faces that also occur with another label: {repeated.contradicting:,}.")
    return lines


def _listed(numbers: dict[str, int]) -> str:
    return ", ".join(f"{number:,} in {split}" for split, number in numbers.items())


FACE_PX = 96
"""Height and width of a face on the contact sheet, pixels: twice FER2013's."""

GAP_PX = 4
LABEL_PX = 150
HEADING_PX = 40
INK, FAINT, PAPER = "#202020", "#707070", "#ffffff"


def contact_sheet(dataset: FaceDataset, faces_per_class: int = 8, seed: int = 0) -> Image.Image:
    """Draws some faces of each class and split, so that a person can check the data before training.

    Args:
        dataset: Faces of any size.
        faces_per_class: Faces in a row.
        seed: Seed of the random draw.

    Returns:
        RGB image with a block for each split, and in it a row for each class with its name and number of faces.
    """
    random, colours = np.random.default_rng(seed), class_colours(dataset.classes)
    counts = dataset.counts()
    step = FACE_PX + GAP_PX
    block = HEADING_PX + step * len(dataset.classes)
    sheet = Image.new("RGB", (LABEL_PX + step * faces_per_class + GAP_PX, block * len(counts) + GAP_PX), PAPER)
    draw = ImageDraw.Draw(sheet)
    heading, label, small = (ImageFont.load_default(size) for size in (20, 18, 14))
    for i, (split, numbers) in enumerate(counts.items()):
        top = i * block
        draw.text((2 * GAP_PX, top + HEADING_PX / 2), f"{split}: {sum(numbers.values()):,} faces", INK, heading, "lm")
        for k, (name, number) in enumerate(numbers.items()):
            y = top + HEADING_PX + k * step
            draw.rectangle((0, y, GAP_PX, y + FACE_PX - 1), colours[name])
            draw.text((3 * GAP_PX, y + FACE_PX / 2), name, INK, label, "ld")
            draw.text((3 * GAP_PX, y + FACE_PX / 2 + GAP_PX), f"{number:,}" if number else "none", FAINT, small, "la")
            rows = np.flatnonzero((dataset.splits == SPLITS.index(split)) & (dataset.targets == k))
            for j, row in enumerate(random.permutation(rows)[:faces_per_class]):
                face = Image.fromarray(dataset.images[row]).resize((FACE_PX, FACE_PX), Image.Resampling.BICUBIC)
                sheet.paste(face, (LABEL_PX + j * step, y))
    return sheet
