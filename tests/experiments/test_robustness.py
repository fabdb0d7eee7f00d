"""The sheet has every corruption in every strength, of the faces that the network saw."""

from dataclasses import replace

import numpy as np
import pytest

from mien import plotting as style
from mien.calibration import Calibration
from mien.data.dataset import FaceDataset
from mien.errors import DataError
from mien.evaluation import tables
from mien.experiments import robustness
from mien.experiments.corruptions import CORRUPTIONS, corrupt
from mien.preprocess import Preprocessing


class ByBrightness:
    """Says the second class of faces brighter than half, and keeps what it saw."""

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
    return robustness.measure("mine", model, faces, "public", "a command", lambda what: None), model, faces


def test_every_corruption_in_every_strength(measured):
    rows, model, faces = measured
    assert {row.weights for row in rows} == {model.digest}
    assert [(row.corruption, row.strength) for row in rows] == [("none", 0)] + [
        (name, strength) for name in CORRUPTIONS for strength in range(1, 6)
    ]
    assert len({row.key for row in rows}) == len(rows) == len(model.seen)
    assert np.array_equal(model.seen[0], faces.images)
    assert np.array_equal(model.seen[1], corrupt(faces.images, "blur", 1))
    found = {(row.corruption, row.strength): row.accuracy for row in rows}
    assert found["none", 0] == 1
    assert found["low light", 5] == 0.5  # all are dark now
    assert all(row.accuracy_low <= row.accuracy <= row.accuracy_high and row.n == 20 for row in rows)


def test_another_network_of_that_name_is_refused(measured, tmp_path):
    rows, model, _ = measured
    tables.add(tmp_path / "robustness.csv", *rows)
    robustness.check_same_network(tmp_path / "robustness.csv", "mine", model.digest)
    robustness.check_same_network(tmp_path / "robustness.csv", "yours", "other")
    with pytest.raises(DataError, match=r"called mine \(weights c0ffee, these are other\): rename the run or file"):
        robustness.check_same_network(tmp_path / "robustness.csv", "mine", "other")


def test_each_split_has_its_picture(measured, tmp_path):
    file = tmp_path / "robustness.csv"
    tables.add(file, *measured[0], *(replace(row, split="private") for row in measured[0]))
    pictures = [robustness.draw(file, split)[1] for split in ("public", "private")]
    assert [picture.name for picture in pictures] == ["robustness-public.png", "robustness-private.png"]
    assert all(picture.is_file() for picture in pictures)


def test_the_table_has_a_row_a_corruption(measured):
    rows, *_ = measured
    assert robustness.table(rows).row_count == len(CORRUPTIONS)
    assert robustness.table(rows[:3]).row_count == len(CORRUPTIONS)  # what is missing is a dash


def test_the_figure_draws_each_network_in_each_panel(measured, tmp_path):
    rows, *_ = measured
    figure = robustness.figure(rows)
    assert [axes.get_title() for axes in figure.axes] == list(CORRUPTIONS)
    for axes, name in zip(figure.axes, CORRUPTIONS, strict=True):
        assert axes.get_xticklabels()[0].get_text() == "none"  # a 0 would be the worst of some
        (line,) = axes.lines
        expected = [rows[0].accuracy, *(row.accuracy for row in rows if row.corruption == name)]
        assert line.get_ydata().tolist() == pytest.approx([100 * value for value in expected])
    style.save(figure, tmp_path / "robustness.png")
    with pytest.raises(DataError, match="no row to draw"):
        robustness.figure([])
