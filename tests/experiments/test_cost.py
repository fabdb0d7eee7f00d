"""The cost of networks, and the figures of accuracy against cost."""

import csv
import dataclasses
import json
import math
import os
import sys
from pathlib import Path

import pytest
from matplotlib.text import Text
from PIL import Image

from mien import cli
from mien.data import load
from mien.errors import DataError, MienError
from mien.evaluation import tables
from mien.evaluation.results import Result
from mien.experiments import cost, cost_figures, cost_process
from mien.experiments.cost import Conditions, Cost
from mien.experiments.literature import PEERS, TABLE_2
from mien.networks import registry

pytestmark = pytest.mark.training  # the row that most tests share measures a short training

MINI = registry.find("resnet18", "mini")
BAM = registry.find("bam_resnet18", "mini")
CONDITIONS = Conditions(threads=1, batch=4, seconds=0.1, train_seconds=0)


@pytest.fixture(scope="module")
def progress():
    """The steps that `measure` reported while it measured the row."""
    return []


@pytest.fixture(scope="module")
def row(tmp_path_factory, rows, write_rows, progress):
    """The row of the cheapest network, really measured."""
    folder = tmp_path_factory.mktemp("cost")
    faces = load(write_rows(folder / "fer2013.csv", rows * 8), cache=False)  # a tenth of them is still a batch
    return cost.measure(MINI, CONDITIONS, cost.every_tenth(faces), progress.append)


def test_measure_fills_every_column(row, progress):
    assert progress == ["torch", "ONNX Runtime", "training"]
    assert (row.network, row.variant, row.parameters, row.size) == ("resnet18", "mini", MINI.parameters, 48)
    assert 2 * MINI.parameters < row.file_mb * 1e6 < 2.2 * MINI.parameters  # half precision, and little else
    for kind in ("torch", "onnx"):
        p50, p95, runs, faces_per_s = (
            getattr(row, f"{kind}_{name}") for name in ("p50_ms", "p95_ms", "runs", "faces_per_s")
        )
        assert 0 < p50 <= p95
        assert runs >= cost_process.MIN_RUNS
        assert getattr(row, f"{kind}_batches") >= cost_process.MIN_BATCHES
        assert faces_per_s > 0
    assert 30 < row.onnx_peak_mib < row.torch_peak_mib - 50  # the libraries of torch alone are larger
    assert row.torch_peak_mib < row.train_peak_mib < 4000
    assert (row.train_size, row.train_steps) == (48, cost_process.MIN_STEPS)
    assert row.train_images_per_s > 0
    assert row.loss_first == pytest.approx(math.log(7), abs=1)
    assert 0 < row.loss_last < math.log(7) + 1
    assert row.loss_first != row.loss_last
    assert str(os.cpu_count()) in row.machine


def test_command_repeats_all_options(row):
    assert row.command == (
        "mien cost resnet18:mini --threads 1 --batch 4 --seconds 0.1 --train fer2013.csv --train-seconds 0"
    )
    bare = cost._command(registry.find("resnet34"), CONDITIONS, None)
    assert bare == "mien cost resnet34 --threads 1 --batch 4 --seconds 0.1"


@pytest.fixture
def clock(monkeypatch):
    """Returns a function that sets the measured duration of each run, so that no test depends on the machine."""
    return lambda seconds: monkeypatch.setattr(cost_process, "_once", lambda action: (action(), seconds)[1])


@pytest.mark.parametrize("budget", [0, 0.1])
def test_slow_network_runs_the_minimum_number_of_times(clock, budget):
    clock(0.06)
    calls = []
    assert cost_process._seconds(lambda: calls.append(1), budget, 3) == [0.06] * 3
    assert len(calls) == 4  # one to warm up


@pytest.mark.parametrize(("seconds", "runs"), [(0.25, 8), (0.0, cost_process.MAX_RUNS)])
def test_fast_network_runs_as_often_as_the_budget_allows(clock, seconds, runs):
    clock(seconds)
    calls = []
    assert len(cost_process._seconds(lambda: calls.append(1), 2, 3)) == runs
    assert len(calls) == runs + (2 if seconds else cost_process.WARM_UPS)  # warming up takes a quarter of the budget


def test_time_gives_milliseconds_and_faces_per_second(clock):
    clock(0.5)
    batch_sizes = []
    measured = cost_process._time(lambda n: batch_sizes.append(n) or (lambda: None), 16, 10)
    assert batch_sizes == [1, 16]
    assert (measured["p50_ms"], measured["p95_ms"], measured["faces_per_s"]) == (500, 500, 32)
    assert (measured["runs"], measured["batches"]) == (20, 20)


def test_every_tenth_covers_every_split(rows, write_rows, tmp_path):
    faces = load(write_rows(tmp_path / "fer2013.csv", rows * 5), cache=False)
    subset = cost.every_tenth(faces)
    assert len(subset) == len(faces) / 10
    assert subset.counts().keys() == faces.counts().keys()


def test_row_survives_the_table(row, tmp_path):
    table = tmp_path / "cost.csv"
    other = dataclasses.replace(row, network="resnet34", variant="", train_steps=None, loss_first=None)
    for each in (other, dataclasses.replace(row, onnx_p50_ms=1.0), row):
        tables.add(table, each)
    first, second = tables.load(table, Cost)
    assert (first.key, first.train_steps, first.loss_first) == (("resnet34", ""), None, None)
    assert second.onnx_p50_ms == pytest.approx(row.onnx_p50_ms, abs=1e-4)


def failing(spec):
    raise RuntimeError("no such kernel\nand more details")


def ended(spec):
    os._exit(9)  # as the system does when memory runs out


@pytest.mark.parametrize(
    ("function", "words"),
    [(failing, "no such kernel$"), (ended, "its process was ended by the system, most likely because memory")],
)
def test_failure_names_the_network_in_one_sentence(function, words):
    with pytest.raises(MienError, match=f"^resnet18 mini could not be measured: {words}"):
        cost._in_new_process(function, MINI)


@pytest.fixture
def mien_cost(monkeypatch, capsys, tmp_path):
    """Returns a function that calls `mien cost` with temporary tables and returns exit code, output and errors."""

    def call(*arguments):
        files = ["-o", str(tmp_path / "cost.csv"), "--results", str(tmp_path / "fer2013.csv")]
        monkeypatch.setattr(sys, "argv", ["mien", "cost", *arguments, *files])
        monkeypatch.setenv("COLUMNS", "80")
        with pytest.raises(SystemExit) as end:
            cli.main()
        return int(end.value.code or 0), *capsys.readouterr()

    return call


def test_cost_measures_the_others_when_one_network_fails(row, mien_cost, monkeypatch, tmp_path):
    def measure(spec, conditions, faces, on_progress):
        on_progress("torch")
        if spec.name == "vgg19":
            raise MienError("vgg19 could not be measured: no memory")
        return dataclasses.replace(row, network=spec.name, variant=spec.variant, onnx_p50_ms=2.5)

    monkeypatch.setattr(cost, "measure", measure)
    tables.add(tmp_path / "cost.csv", dataclasses.replace(row, network="resnet152", variant=""))
    tables.add(tmp_path / "cost.csv", row)
    code, out, err = mien_cost("vgg19", "resnet18:mini", "--json")
    assert code == 2
    assert err.splitlines() == [
        "1/2 vgg19: torch",
        "mien: vgg19 could not be measured: no memory",
        "2/2 resnet18 mini: torch",
    ]
    assert [(each["network"], each["onnx_p50_ms"]) for each in json.loads(out)] == [("resnet18", 2.5)]
    with (tmp_path / "cost.csv").open(encoding="utf-8", newline="") as stream:
        assert [each["network"] for each in csv.DictReader(stream)] == ["resnet152", "resnet18"]


@pytest.mark.parametrize(
    ("name", "words"), [("resnet19", "did you mean resnet18"), ("resnet18:tiny", "the variants mini, mini-wide")]
)
def test_cost_of_an_unknown_network_measures_nothing(mien_cost, monkeypatch, tmp_path, name, words):
    monkeypatch.setattr(cost, "measure", lambda *_: pytest.fail("it measured"))
    code, out, err = mien_cost("vgg19", name)
    assert (code, out) == (2, "")
    assert err.startswith("mien: ")
    assert words in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_cost_checks_the_table_before_measuring(mien_cost, monkeypatch, tmp_path):
    monkeypatch.setattr(cost, "measure", lambda *_: pytest.fail("it measured"))
    (tmp_path / "cost.csv").write_text("network\nvgg19\n")
    code, _, err = mien_cost("vgg19")
    assert code == 2
    assert "row 2 of" in err


def test_cost_draw_measures_nothing(row, mien_cost, monkeypatch, tmp_path):
    monkeypatch.setattr(cost, "measure", lambda *_: pytest.fail("it measured"))
    other = dataclasses.replace(row, network="resnet34_masking_reconstruction", variant="small", train_steps=None)
    tables.add(tmp_path / "cost.csv", row)
    tables.add(tmp_path / "cost.csv", other)
    code, out, err = mien_cost("--draw")
    assert (code, err) == (0, "")
    assert "…" not in out  # the table fits 80 columns
    assert "reconstruction small" in out
    assert f"{row.onnx_p50_ms:.1f}" in out
    assert out.count("resnet18 mini") == 2  # in the table of inference and in that of trainings
    assert out.count("reconstruction small") == 1
    written = {"cost-multiply-adds.png", "cost-latency.png"}
    assert {path.name for path in tmp_path.iterdir()} == {"cost.csv", *written}
    assert all(name in out for name in written)


def test_cost_draw_without_rows_fails(mien_cost, tmp_path):
    code, _, err = mien_cost("--draw")
    assert code == 2
    assert "has no row to draw" in err
    with pytest.raises(DataError):
        cost_figures.write(tmp_path / "cost.csv", [], [])


def result(config, seed, accuracy, **other):
    values = {field.name: 0.5 for field in dataclasses.fields(Result)}
    values |= {
        "network": "resnet18",
        "variant": "mini",
        "multiply_adds": MINI.multiply_adds,
        "config": config,
        "seed": seed,
        "accuracy": accuracy,
    }
    return Result(**values | {"split": "private", "view": "single", "n": 3589, "command": ""} | other)


RESULTS = [
    result("plain", 0, 0.66),
    result("plain", 1, 0.68),
    result("plain", 0, 0.99, split="public"),
    result("plain", 0, 0.98, view="flip"),
    result("ideas:bam", 0, 0.65, network="bam_resnet18", multiply_adds=BAM.multiply_adds),
    result("ideas:shallow", 0, 0.64, multiply_adds=MINI.multiply_adds // 2),
]


KINDS = ("trained here", "trained here, in a sweep", "paper", "other packages")


def points(axes, label):
    (line,) = [line for line in axes.lines if line.get_label() == label]
    return sorted(zip(*line.get_data(), strict=True))


@pytest.fixture
def costs(row):
    """A row for every network, with a latency proportional to its multiply-adds."""
    return [
        dataclasses.replace(
            row,
            network=spec.name,
            variant=spec.variant,
            multiply_adds=spec.multiply_adds,
            onnx_p50_ms=spec.multiply_adds / 4e7,
        )
        for spec in registry.NETWORKS
    ]


def test_multiply_adds_figure_holds_every_point(costs):
    (axes,) = cost_figures.multiply_adds_figure(costs, RESULTS).axes
    assert points(axes, "trained here") == [(pytest.approx(MINI.multiply_adds / 1e6), pytest.approx(67))]
    assert points(axes, "trained here, in a sweep") == [
        (pytest.approx(MINI.multiply_adds // 2 / 1e6), pytest.approx(64)),
        (pytest.approx(BAM.multiply_adds / 1e6), pytest.approx(65)),
    ]
    assert len(points(axes, "paper")) == 13
    assert (pytest.approx(21903.2, abs=1), pytest.approx(74.14)) in points(axes, "paper")
    names = {text.get_text() for text in axes.texts}
    assert names >= {"plain", "resmasking", "resnet34 RMRN"}
    assert not names & {"bam", "ideas:bam", "ideas:shallow"}
    assert axes.get_xscale() == "log"


def test_multiply_adds_of_unmeasured_networks_come_from_the_registry(row):
    (axes,) = cost_figures.multiply_adds_figure([row], []).axes
    assert len(points(axes, "paper")) == 13


def test_latency_figure_holds_every_point(costs):
    (axes,) = cost_figures.latency_figure(costs, RESULTS).axes
    assert (pytest.approx(1000 / 151), pytest.approx(66.82)) in points(axes, "other packages")
    assert len(points(axes, "other packages")) == len(PEERS)
    assert points(axes, "trained here") == [(pytest.approx(MINI.multiply_adds / 4e7), pytest.approx(67))]
    # The latency of the other variant was not measured.
    assert points(axes, "trained here, in a sweep") == [(pytest.approx(BAM.multiply_adds / 4e7), pytest.approx(65))]
    names = {text.get_text() for text in axes.texts}
    assert names >= {"plain", "vgg19", "big_XCEPTION", "facex 1.1.0, 43.35%"}  # the last is below FLOOR
    assert len(names) == 1 + 13 + len(PEERS)
    assert axes.get_ylim()[0] == pytest.approx(100 * cost_figures.FLOOR)
    assert axes.get_xscale() == "log"


@pytest.mark.parametrize("draw", [cost_figures.multiply_adds_figure, cost_figures.latency_figure])
def test_results_on_other_faces_raise(costs, draw):
    with pytest.raises(DataError, match=r"must be of FER2013's 3,589 PrivateTest faces, got 60 for own"):
        draw(costs, [*RESULTS, result("own", 0, 0.9, n=60)])


def test_published_figures_show_the_published_tables():
    folder = Path(__file__).parents[2] / "results"
    rows = tables.load(folder / "cost.csv", Cost), tables.load(folder / "fer2013.csv", Result)
    for name in ("cost-multiply-adds.png", "cost-latency.png"):
        with Image.open(folder / name) as image:
            assert image.info[cost_figures.DIGEST_KEY] == cost_figures.digest(*rows), "run mien cost --draw"


@pytest.mark.parametrize("draw", [cost_figures.multiply_adds_figure, cost_figures.latency_figure])
def test_labels_overlap_neither_labels_nor_points(costs, draw):
    figure = draw(costs, RESULTS)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    boxes = [Text.get_window_extent(text) for text in axes.texts]  # an Annotation's extent would include its line
    assert len(boxes) >= 14
    assert not [1 for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]
    drawn = [label for label in KINDS if label in axes.get_legend_handles_labels()[1]]
    pixels = axes.transData.transform([point for label in drawn for point in points(axes, label)])
    assert len(pixels) >= 14
    assert not [1 for x, y in pixels for box in boxes if box.contains(x, y)]


def test_networks_of_table_2_are_in_the_registry():
    known = {(spec.name, spec.variant) for spec in registry.NETWORKS}
    assert len(TABLE_2) == 13
    assert {(paper.network, paper.variant) for paper in TABLE_2} <= known


def test_published_table_has_a_row_for_each_full_size_network():
    rows = tables.load(Path(__file__).parents[2] / "results" / "cost.csv", Cost)
    assert {row.key for row in rows} >= {(spec.name, spec.variant) for spec in registry.NETWORKS if spec.size == 224}
