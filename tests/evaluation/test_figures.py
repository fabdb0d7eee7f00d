"""Figures of predictions, training curves and faces: text, values, and what invalid input does."""

import numpy as np
import pytest
from PIL import Image

from mien import plotting
from mien.errors import ConfigError, DataError
from mien.evaluation import figures, training_curves
from mien.evaluation.metrics import confusion_matrix
from mien.evaluation.reliability import reliability
from mien.evaluation.roc import roc_curves
from mien.explain import explain
from mien.explain.faces_figure import faces_figure
from mien.explain.overlay import overlay
from mien.labels import COLOURS, EXPRESSIONS
from mien.types import Box, Expression, Face, Predictions

pytestmark = pytest.mark.figure

NETWORK = "resnet34_masking_reconstruction"


def random_predictions(n=500, seed=0, classes=EXPRESSIONS):
    random = np.random.default_rng(seed)
    targets = random.integers(len(classes), size=n)
    logits = random.normal(size=(n, len(classes))) * 1.5
    logits[np.arange(n), targets] += 2
    return Predictions(np.arange(n), logits.astype(np.float32), targets, classes)


def no_predictions():
    return Predictions(np.zeros(0, np.int64), np.zeros((0, 7), np.float32), np.zeros(0, np.int64))


def log_rows(epochs=20):
    return [
        {
            "epoch": epoch,
            "train_loss": 1 + 1 / epoch,
            "train_cross_entropy": 0.9 + 1 / epoch,
            "train_reconstruction": 0.04 + 0.1 / epoch,
            "train_margin": 0.1 + 0.2 / epoch,
            "train_accuracy": 0.7 - 0.4 / epoch,
            "public_loss": 1 + 0.8 / epoch,
            "public_accuracy": 0.6 - 0.001 * (epoch - 12) ** 2,
        }
        for epoch in range(1, epochs + 1)
    ]


def sheet(n=3, stages=4):
    random = np.random.default_rng(0)
    images = random.integers(256, size=(n, 48, 48)).astype(np.uint8)
    masks = [0.4 + 0.2 * random.random((n, 48 >> stage, 48 >> stage)) for stage in range(stages)]
    return images, random_predictions(n), masks


def explanation(method, stages):
    images, predictions, masks = sheet(1, stages)
    probabilities = dict(zip(EXPRESSIONS, predictions.probabilities[0].tolist(), strict=True))
    face = Face(Box(0, 0, 48, 48), {}, 1.0, Expression(probabilities, uncertain=True))
    heats = tuple(mask[0] for mask in masks)
    return explain.figure(
        explain.Explanation(NETWORK, face, images[0], method, heats), "a.jpg, face 1 of 1", (0.4, 0.6)
    )


FIGURES = {
    "loss": lambda: training_curves.loss_figure(log_rows(), NETWORK),
    "loss of one epoch": lambda: training_curves.loss_figure(log_rows(1), NETWORK),
    "margin": lambda: training_curves.auxiliary_loss_figure(log_rows(), NETWORK, "margin"),
    "reconstruction": lambda: training_curves.auxiliary_loss_figure(log_rows(), NETWORK, "reconstruction"),
    "roc": lambda: figures.roc_figure(random_predictions(), NETWORK, "private"),
    "confusion": lambda: figures.confusion_figure(random_predictions(), NETWORK, "private"),
    "reliability": lambda: figures.reliability_figure(random_predictions(), NETWORK, "private"),
    "risk": lambda: figures.risk_coverage_figure(random_predictions(), NETWORK, "private"),
    "risk with a threshold": lambda: figures.risk_coverage_figure(random_predictions(), NETWORK, "private", 0.5),
    "risk of few faces": lambda: figures.risk_coverage_figure(random_predictions(3), NETWORK, "private", 0.99999),
    "faces": lambda: faces_figure(*sheet(), NETWORK, "private"),
    "an explanation by four masks": lambda: explanation("masks", 4),
    "an explanation by three masks": lambda: explanation("masks", 3),
    "an explanation by Grad-CAM": lambda: explanation("grad-cam", 1),
    "a face without masks": lambda: faces_figure(*sheet(1, 0), "resnet34", "private"),
}


@pytest.mark.parametrize("name", FIGURES)
def test_figure_is_a_png_with_all_text_inside(tmp_path, name):
    figure = FIGURES[name]()
    path = plotting.save(figure, tmp_path / "figure.png")
    assert list(tmp_path.iterdir()) == [path]
    with Image.open(path) as image:
        image.load()
        assert image.format == "PNG"
        assert all(400 <= side <= 2000 for side in image.size)
        assert len(np.unique(np.asarray(image.convert("L")))) > 20
    width, height = figure.canvas.get_width_height(physical=True)
    for text in figure.texts:
        box = text.get_window_extent()
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= width
        assert box.y1 <= height
    for axes in figure.axes:
        box = axes.get_tightbbox()
        assert min(box.x0, box.y0) >= -1
        assert box.x1 <= width + 1
        assert box.y1 <= height + 1
        if not axes.axison or axes.get_xlabel():  # the lowest axes clear the caption, all of them the title
            assert box.y0 >= figure.texts[2].get_window_extent().y1
        assert box.y1 <= figure.texts[1].get_window_extent().y0


@pytest.mark.parametrize("name", FIGURES)
def test_title_names_network_and_split(name):
    title = FIGURES[name]().texts[1].get_text().replace("\n", " ")
    assert title.startswith("resnet34")
    if name in ("loss", "margin", "reconstruction"):
        assert title.endswith("Training and PublicTest" if name == "loss" else "Training")
    if name in ("roc", "confusion", "reliability"):
        assert "PrivateTest n = 500" in title


def test_long_title_wraps(tmp_path):
    figure = figures.reliability_figure(random_predictions(), NETWORK + " small " * 9, "private")
    plotting.save(figure, tmp_path / "figure.png")
    assert "\n" in figure.texts[1].get_text()
    assert figure.texts[1].get_window_extent().x1 <= figure.bbox.width


def lines_of(figure):
    return {line.get_label(): line for line in figure.axes[0].lines}


@pytest.mark.filterwarnings("error")
def test_class_whose_letters_the_font_lacks_is_drawn_without_a_warning(tmp_path):
    predictions = random_predictions(classes=("怒り", "幸せ", "\x1b[31m"))
    plotting.save(figures.roc_figure(predictions, NETWORK, "public"), tmp_path / "roc.png")


def test_loss_figure_draws_the_log():
    lines = lines_of(training_curves.loss_figure(log_rows(), NETWORK))
    np.testing.assert_array_equal(lines["Training, total"].get_ydata(), [row["train_loss"] for row in log_rows()])
    drawn = lines["PublicTest, cross-entropy"]
    np.testing.assert_array_equal(drawn.get_xdata(), range(1, 21))
    np.testing.assert_array_equal(drawn.get_ydata(), [row["public_loss"] for row in log_rows()])
    assert lines["best PublicTest accuracy, 60.00%, epoch 12"].get_xdata()[0] == 12


def test_log_values_may_be_text():
    rows = [{key: f"{value:.6g}" for key, value in row.items()} for row in log_rows()]
    (line,) = training_curves.auxiliary_loss_figure(rows, NETWORK, "margin").axes[0].lines
    np.testing.assert_allclose(line.get_ydata(), [row["train_margin"] for row in log_rows()], rtol=1e-5)


def test_a_loss_that_is_nan_in_one_epoch_leaves_a_gap(tmp_path):
    rows = log_rows()
    rows[-1]["train_reconstruction"] = float("nan")
    figure = training_curves.auxiliary_loss_figure(rows, NETWORK, "reconstruction")
    plotting.save(figure, tmp_path / "figure.png")
    assert np.isnan(figure.axes[0].lines[0].get_ydata()[-1])


def test_roc_figure_draws_classes_in_their_colours_and_both_means():
    predictions = random_predictions()
    lines = lines_of(figures.roc_figure(predictions, NETWORK, "private"))
    curves = roc_curves(predictions)
    assert len(lines) == 7 + 2 + 1  # and the diagonal
    for name, curve in curves.classes.items():
        (line,) = [line for label, line in lines.items() if label.startswith(f"{name}  {curve.auc:.3f}")]
        assert line.get_color() == COLOURS[name]
        np.testing.assert_array_equal(line.get_ydata(), curve.tpr)
    assert f"micro  {curves.micro.auc:.3f}" in lines
    assert f"macro  {curves.macro.auc:.3f}" in lines


def test_roc_figure_leaves_out_a_class_without_faces():
    predictions = random_predictions()
    kept = predictions.targets != 1
    rest = Predictions(predictions.index[kept], predictions.logits[kept], predictions.targets[kept])
    assert not any(label.startswith("disgust") for label in lines_of(figures.roc_figure(rest, NETWORK, "private")))


def test_confusion_figure_shows_percentages_of_rows_and_counts():
    predictions = random_predictions()
    counts = confusion_matrix(predictions)
    axes = figures.confusion_figure(predictions, NETWORK, "private").axes[0]
    np.testing.assert_allclose(axes.images[0].get_array().sum(axis=1), 1)
    texts = [text.get_text() for text in axes.texts]
    assert texts[1::2] == [f"{count:,}" for count in counts.ravel()]
    assert texts[0] == f"{100 * counts[0, 0] / counts[0].sum():.1f}"


def test_two_other_classes_are_drawn(tmp_path):
    classes = ("contempt", "an expression with a long name")
    predictions = random_predictions(classes=classes)
    confusion = figures.confusion_figure(predictions, NETWORK, "of my own")
    roc = figures.roc_figure(predictions, NETWORK, "of my own")
    assert [label.get_text() for label in confusion.axes[0].get_xticklabels()] == list(classes)
    assert [sum(label.startswith(name) for label in lines_of(roc)) for name in classes] == [1, 1]
    for number, figure in enumerate((confusion, roc, figures.reliability_figure(predictions, NETWORK, "of my own"))):
        plotting.save(figure, tmp_path / f"{number}.png")
        with Image.open(tmp_path / f"{number}.png") as picture:
            assert np.ptp(np.asarray(picture.convert("L"))) > 100  # something is drawn


def test_reliability_figure_ends_its_bars_at_accuracy_or_confidence():
    predictions = random_predictions()
    table = reliability(predictions)
    figure = figures.reliability_figure(predictions, NETWORK, "private")
    common, under, over = figure.axes[0].containers
    filled = table.counts > 0
    tops = [bar.get_y() + bar.get_height() for bar in under]
    np.testing.assert_allclose(tops, table.accuracy[filled])
    assert all(bar.get_height() >= 0 for bar in common)
    np.testing.assert_allclose([bar.get_y() + bar.get_height() for bar in over], table.confidence[filled])
    percentages = [bar.get_height() for bar in figure.axes[1].containers[0]]
    np.testing.assert_allclose(percentages, 100 * table.counts / 500)
    assert f"ECE {table.ece:.2%}" in figure.texts[1].get_text()


def test_risk_figure_marks_the_certain_faces():
    predictions = random_predictions()
    (axes,) = figures.risk_coverage_figure(predictions, NETWORK, "private", 0.5).axes
    ((coverage, wrong),) = [line.get_xydata()[0] for line in axes.lines if line.get_marker() == "o"]
    certain = predictions.probabilities.max(axis=1) >= 0.5
    assert coverage == pytest.approx(100 * certain.mean())
    assert wrong == pytest.approx(100 * (1 - predictions.correct[certain].mean()))


def test_sheet_has_a_row_per_face_and_a_column_per_stage():
    images, predictions, masks = sheet()
    axes = faces_figure(images, predictions, masks, NETWORK, "private").axes
    assert len(axes) == 3 * (1 + 4 + 1)
    np.testing.assert_array_equal(axes[6].images[0].get_array(), images[1])
    predicted = EXPRESSIONS[int(predictions.logits[1].argmax())]
    texts = [text.get_text() for text in axes[6].texts]
    assert texts[1] == EXPRESSIONS[predictions.targets[1]]
    assert texts[3] == f"{predicted} {predictions.probabilities[1].max():.0%}"
    widths = [bar.get_width() for bar in axes[11].containers[0]]
    np.testing.assert_allclose(widths, 100 * predictions.probabilities[1])


def test_sheet_leaves_out_constant_masks():
    """The mean of a softmax over channels is constant except for its rounding to 8 bits."""
    images, predictions, masks = sheet()
    noise = [np.full_like(mask, 1 / 24) + np.random.default_rng(0).uniform(0, 1e-3, mask.shape) for mask in masks]
    assert len(faces_figure(images, predictions, noise, NETWORK, "private").axes) == 3 * (1 + 1)


def test_overlay_is_brightest_where_the_mask_is_highest():
    image = np.full((48, 48), 90, np.uint8)
    mask = np.zeros((4, 4))
    mask[0, 3] = 1
    drawn = overlay(image, mask, (0.0, 1.0))
    assert drawn.shape == (192, 192, 3)
    assert drawn.min() >= 0
    assert drawn.max() <= 1
    assert drawn[:48, 144:].mean() > drawn[96:, :96].mean() + 0.2
    flat = overlay(image, np.full((4, 4), 0.5), (0.5, 0.5))
    assert np.ptp(flat, axis=(0, 1)).max() < 1e-6


def without(rows, name):
    return [{key: value for key, value in row.items() if key != name} for row in rows]


def sheet_with(**changed):
    images, predictions, masks = sheet()
    parts = {"images": images, "predictions": predictions, "masks": masks} | changed
    return faces_figure(**parts, network=NETWORK, split="private")


INVALID = {
    "no epochs": (lambda: training_curves.loss_figure([], NETWORK), "must have one epoch or more"),
    "a missing value": (
        lambda: training_curves.loss_figure(without(log_rows(), "public_loss"), NETWORK),
        "row 0 has no public_loss",
    ),
    "a word for a number": (
        lambda: training_curves.auxiliary_loss_figure([{"epoch": 1, "train_margin": "low"}], NETWORK, "margin"),
        "train_margin must be a number, got 'low' in row 0",
    ),
    "nothing finite": (
        lambda: training_curves.auxiliary_loss_figure([{"epoch": 1, "train_margin": "nan"}], NETWORK, "margin"),
        "train_margin must be finite in at least one row",
    ),
    "no predictions for roc": (
        lambda: figures.roc_figure(no_predictions(), NETWORK, "private"),
        "face or more, got none",
    ),
    "no predictions for confusion": (
        lambda: figures.confusion_figure(no_predictions(), NETWORK, "private"),
        "face or more, got none",
    ),
    "no predictions for reliability": (
        lambda: figures.reliability_figure(no_predictions(), NETWORK, "private"),
        "face or more, got none",
    ),
    "no predictions for risk": (
        lambda: figures.risk_coverage_figure(no_predictions(), NETWORK, "private"),
        "face or more, got none",
    ),
    "images of floats": (lambda: sheet_with(images=np.zeros((3, 48, 48))), "of type uint8, got .* float64"),
    "one image": (lambda: sheet_with(images=np.zeros((48, 48), np.uint8)), r"must be \(n, h, w\)"),
    "no face": (lambda: sheet_with(images=np.zeros((0, 48, 48), np.uint8)), "1 to 32 faces"),
    "too many faces": (lambda: sheet_with(images=np.zeros((33, 48, 48), np.uint8)), "1 to 32 faces"),
    "other predictions": (lambda: sheet_with(predictions=random_predictions(4)), "3 faces needs as many predictions"),
    "masks of other faces": (lambda: sheet_with(masks=[np.zeros((2, 6, 6))]), "mask of stage 1 must be"),
    "masks with channels": (lambda: sheet_with(masks=[np.zeros((3, 8, 6, 6))]), "mask of stage 1 must be"),
    "masks out of range": (lambda: sheet_with(masks=[np.full((3, 6, 6), 1.5)]), "must be in 0..1, got 1.5"),
    "masks of nan": (lambda: sheet_with(masks=[np.full((3, 6, 6), np.nan)]), "must be in 0..1, got nan"),
}


@pytest.mark.parametrize("name", INVALID)
def test_invalid_input_raises_and_writes_no_file(tmp_path, name):
    draw, sentence = INVALID[name]
    with pytest.raises(DataError, match=sentence):
        plotting.save(draw(), tmp_path / "figure.png")
    assert list(tmp_path.iterdir()) == []


def test_failed_write_keeps_the_existing_figure(tmp_path, monkeypatch):
    path = tmp_path / "figure.png"
    figure = FIGURES["margin"]()
    plotting.save(figure, path)
    before = path.read_bytes()

    def fail(part, **options):
        part.write_bytes(b"half")
        raise OSError("disk full")

    monkeypatch.setattr(figure, "savefig", fail)
    with pytest.raises(OSError, match="disk full"):
        plotting.save(figure, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_other_formats_than_png_raise(tmp_path):
    with pytest.raises(ConfigError, match=r"must end in .png, got figure.pdf"):
        plotting.save(FIGURES["margin"](), tmp_path / "figure.pdf")
    assert list(tmp_path.iterdir()) == []
