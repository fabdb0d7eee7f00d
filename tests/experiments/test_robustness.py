"""Robustness: the rows of every corruption and strength, the checks, the table and the figure."""

from dataclasses import replace

import numpy as np
import pytest

from mien import plotting
from mien.calibration import Calibration
from mien.data.dataset import FaceDataset
from mien.errors import DataError
from mien.evaluation import tables
from mien.experiments import robustness
from mien.experiments.corruptions import CORRUPTIONS, corrupt
from mien.preprocess import Preprocessing

pytestmark = pytest.mark.figure


class ByBrightness:
    """A model that predicts the second class for bright faces; it records the images."""

    title, classes, digest = "bright", ("dark", "bright"), "c0ffee"
    preprocessing, calibration = Preprocessing(size=48), Calibration()

    def __init__(self):
        self.seen = []

    def logits(self, images):
        self.seen.append(images)
        brightness = images.mean(axis=(1, 2)) / 255 - 0.5
        return np.stack([-brightness, brightness], axis=1).astype(np.float32)


@pytest.fixture(scope="module")
def measured():
    targets = np.arange(20) % 2
    images = np.random.default_rng(0).integers(0, 100, (20, 48, 48)) + 110 * targets[:, None, None]
    faces = FaceDataset(
        images.astype(np.uint8), targets, np.ones(20, np.int8), np.arange(20), classes=ByBrightness.classes
    )
    model = ByBrightness()
    return robustness.measure("mine", model, faces, "public", "a command", lambda step: None), model, faces


def test_measure_makes_a_row_for_every_corruption_and_strength(measured):
    rows, model, faces = measured
    assert {row.weights for row in rows} == {model.digest}
    assert [(row.corruption, row.strength) for row in rows] == [("none", 0)] + [
        (name, strength) for name in CORRUPTIONS for strength in range(1, 6)
    ]
    assert len({row.key for row in rows}) == len(rows) == len(model.seen)
    assert np.array_equal(model.seen[0], faces.images)
    assert np.array_equal(model.seen[1], corrupt(faces.images, "blur", 1))
    accuracies = {(row.corruption, row.strength): row.accuracy for row in rows}
    assert accuracies["none", 0] == 1
    assert accuracies["low light", 5] == 0.5  # all faces are dark
    assert all(row.accuracy_low <= row.accuracy <= row.accuracy_high and row.n == 20 for row in rows)


def test_check_table_rejects_other_weights_faces_and_classes(measured, tmp_path):
    rows, model, faces = measured
    file = tmp_path / "robustness.csv"
    tables.add(file, *rows)
    robustness.check_table(file, "mine", model, faces, "public")
    other = ByBrightness()
    other.digest = "other"
    robustness.check_table(file, "yours", other, faces, "public")
    with pytest.raises(
        DataError, match=r"another network named mine, with the weights c0ffee instead of other: rename"
    ):
        robustness.check_table(file, "mine", other, faces, "public")
    with pytest.raises(DataError, match="has a row for 20 faces of the split public, and this data has 10"):
        robustness.check_table(file, "mine", model, faces.take(slice(0, 10)), "public")
    other.classes = ("dim", "bright")
    with pytest.raises(DataError, match="must have the same classes"):
        robustness.check_table(file, "yours", other, faces, "public")


def test_draw_makes_a_figure_for_each_split(measured, tmp_path):
    file = tmp_path / "robustness.csv"
    tables.add(file, *measured[0], *(replace(row, split="private") for row in measured[0]))
    figures = [robustness.draw(file, split)[1] for split in ("public", "private")]
    assert [figure.name for figure in figures] == ["robustness-public.png", "robustness-private.png"]
    assert all(figure.is_file() for figure in figures)


def test_table_has_a_row_per_corruption(measured):
    rows, *_ = measured
    assert robustness.table(rows).row_count == len(CORRUPTIONS)
    assert robustness.table(rows[:3]).row_count == len(CORRUPTIONS)  # missing accuracies are dashes


def test_figure_draws_each_network_in_each_panel(measured, tmp_path):
    rows, *_ = measured
    figure = robustness.figure(rows)
    assert [axes.get_title() for axes in figure.axes] == list(CORRUPTIONS)
    for axes, name in zip(figure.axes, CORRUPTIONS, strict=True):
        assert axes.get_xticklabels()[0].get_text() == "none"  # 0 would be the strongest value of some corruptions
        (line,) = axes.lines
        expected = [rows[0].accuracy, *(row.accuracy for row in rows if row.corruption == name)]
        assert line.get_ydata().tolist() == pytest.approx([100 * value for value in expected])
    plotting.save(figure, tmp_path / "robustness.png")
    with pytest.raises(DataError, match="needs results of at least one network"):
        robustness.figure([])
