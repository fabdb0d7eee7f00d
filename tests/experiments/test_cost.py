"""What a network costs, and the figures that set it against accuracy."""

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

MINI = registry.find("resnet18", "mini")
BAM = registry.find("bam_resnet18", "mini")
CONDITIONS = Conditions(threads=1, batch=4, seconds=0.1, train_seconds=0)


@pytest.fixture(scope="module")
def told():
    """What `measure` said while it measured the row."""
    return []


@pytest.fixture(scope="module")
def row(tmp_path_factory, rows, write_rows, told):
    """The cheapest network, measured for real."""
    folder = tmp_path_factory.mktemp("cost")
    faces = load(write_rows(folder / "fer2013.csv", rows * 8), cache=False)  # a tenth of them still is a batch
    return cost.measure(MINI, CONDITIONS, cost.tenth(faces), told.append)


def test_every_number_is_measured(row, told):
    assert told == ["torch", "ONNX Runtime", "training"]
    assert (row.network, row.variant, row.parameters, row.size) == ("resnet18", "mini", MINI.parameters, 48)
    assert 2 * MINI.parameters < row.file_mb * 1e6 < 2.2 * MINI.parameters  # half precision, and little beside it
    for kind in ("torch", "onnx"):
        p50, p95, runs, pace = (getattr(row, f"{kind}_{name}") for name in ("p50_ms", "p95_ms", "runs", "faces_per_s"))
        assert 0 < p50 <= p95
        assert runs >= cost_process.LEAST_RUNS
        assert getattr(row, f"{kind}_batches") >= cost_process.LEAST_BATCHES
        assert pace > 0
    assert 30 < row.onnx_peak_mib < row.torch_peak_mib - 50  # torch's libraries alone are larger
    assert row.torch_peak_mib < row.train_peak_mib < 4000
    assert (row.train_size, row.train_steps) == (48, cost_process.LEAST_STEPS)
    assert row.train_images_per_s > 0
    assert row.loss_first == pytest.approx(math.log(7), abs=1)
    assert 0 < row.loss_last < math.log(7) + 1
    assert row.loss_first != row.loss_last
    assert str(os.cpu_count()) in row.machine


def test_the_command_says_all_that_was_asked(row):
    assert row.command == (
        "mien cost resnet18:mini --threads 1 --batch 4 --seconds 0.1 --train fer2013.csv --train-seconds 0"
    )
    bare = cost._command(registry.find("resnet34"), CONDITIONS, None)
    assert bare == "mien cost resnet34 --threads 1 --batch 4 --seconds 0.1"


@pytest.fixture
def clock(monkeypatch):
    """Sets how many seconds each run takes by the clock; no test here waits, or fails because the machine is busy."""
    return lambda seconds: monkeypatch.setattr(cost_process, "_once", lambda action: (action(), seconds)[1])


@pytest.mark.parametrize("budget", [0, 0.1])
def test_a_slow_network_runs_no_more_than_it_must(clock, budget):
    clock(0.06)
    calls = []
    assert cost_process._seconds(lambda: calls.append(1), budget, 3) == [0.06] * 3
    assert len(calls) == 4  # one to warm up


@pytest.mark.parametrize(("seconds", "runs"), [(0.25, 8), (0.0, cost_process.MOST_RUNS)])
def test_a_fast_network_runs_as_often_as_the_time_allows(clock, seconds, runs):
    clock(seconds)
    calls = []
    assert len(cost_process._seconds(lambda: calls.append(1), 2, 3)) == runs
    assert len(calls) == runs + (2 if seconds else cost_process.WARM_UPS)  # a quarter of the budget to warm up


def test_times_become_milliseconds_and_faces_a_second(clock):
    clock(0.5)
    asked = []
    found = cost_process._timed(lambda n: asked.append(n) or (lambda: None), 16, 10)
    assert asked == [1, 16]
    assert (found["p50_ms"], found["p95_ms"], found["faces_per_s"]) == (500, 500, 32)
    assert (found["runs"], found["batches"]) == (20, 20)


def test_a_tenth_is_of_every_split(rows, write_rows, tmp_path):
    faces = load(write_rows(tmp_path / "fer2013.csv", rows * 5), cache=False)
    part = cost.tenth(faces)
    assert len(part) == len(faces) / 10
    assert part.counts().keys() == faces.counts().keys()


def test_a_row_is_kept_in_the_table(row, tmp_path):
    table = tmp_path / "cost.csv"
    other = dataclasses.replace(row, network="resnet34", variant="", train_steps=None, loss_first=None)
    for each in (other, dataclasses.replace(row, onnx_p50_ms=1.0), row):
        tables.add(table, each)
    first, second = tables.load(table, Cost)
    assert (first.key, first.train_steps, first.loss_first) == (("resnet34", ""), None, None)
    assert second.onnx_p50_ms == pytest.approx(row.onnx_p50_ms, abs=1e-4)


def failing(spec):
    raise RuntimeError("no such kernel\nand more that nobody needs")


def ended(spec):
    os._exit(9)  # as the system does it where memory runs out


@pytest.mark.parametrize(
    ("function", "words"), [(failing, "no such kernel$"), (ended, "its process was ended, most likely because memory")]
)
def test_a_failure_is_one_sentence_that_names_the_network(function, words):
    with pytest.raises(MienError, match=f"^resnet18 mini could not be measured: {words}"):
        cost._apart(function, MINI)


@pytest.fixture
def mien_cost(monkeypatch, capsys, tmp_path):
    """Calls `mien cost` with a table of the test's own -> exit code, output, errors."""

    def call(*arguments):
        files = ["-o", str(tmp_path / "cost.csv"), "--results", str(tmp_path / "fer2013.csv")]
        monkeypatch.setattr(sys, "argv", ["mien", "cost", *arguments, *files])
        monkeypatch.setenv("COLUMNS", "80")
        with pytest.raises(SystemExit) as end:
            cli.main()
        return int(end.value.code or 0), *capsys.readouterr()

    return call


def test_one_network_fails_and_the_rest_go_on(row, mien_cost, monkeypatch, tmp_path):
    def measure(spec, conditions, faces, tell):
        tell("torch")
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
def test_an_unknown_network_is_one_sentence_and_nothing_is_measured(mien_cost, monkeypatch, tmp_path, name, words):
    monkeypatch.setattr(cost, "measure", lambda *_: pytest.fail("it measured"))
    code, out, err = mien_cost("vgg19", name)
    assert (code, out) == (2, "")
    assert err.startswith("mien: ")
    assert words in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_damaged_table_is_found_before_the_measuring(mien_cost, monkeypatch, tmp_path):
    monkeypatch.setattr(cost, "measure", lambda *_: pytest.fail("it measured"))
    (tmp_path / "cost.csv").write_text("network\nvgg19\n")
    code, _, err = mien_cost("vgg19")
    assert code == 2
    assert "row 2 of" in err


def test_drawing_again_measures_nothing(row, mien_cost, monkeypatch, tmp_path):
    monkeypatch.setattr(cost, "measure", lambda *_: pytest.fail("it measured"))
    other = dataclasses.replace(row, network="resnet34_masking_reconstruction", variant="small", train_steps=None)
    tables.add(tmp_path / "cost.csv", row)
    tables.add(tmp_path / "cost.csv", other)
    code, out, err = mien_cost("--draw")
    assert (code, err) == (0, "")
    assert "…" not in out  # 80 columns hold the sheet
    assert "reconstruction small" in out
    assert f"{row.onnx_p50_ms:.1f}" in out
    assert out.count("resnet18 mini") == 2  # in the sheet and in that of the trainings
    assert out.count("reconstruction small") == 1
    written = {"cost-multiply-adds.png", "cost-latency.png"}
    assert {path.name for path in tmp_path.iterdir()} == {"cost.csv", *written}
    assert all(name in out for name in written)


def test_nothing_to_draw_is_a_sentence(mien_cost, tmp_path):
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


KINDS = ("trained here", "trained here, in a sweep", "the paper's", "what others ship")


def points(axes, label):
    (line,) = [line for line in axes.lines if line.get_label() == label]
    return sorted(zip(*line.get_data(), strict=True))


@pytest.fixture
def costs(row):
    """Every network, at a time that goes with its multiply-adds."""
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
    assert len(points(axes, "the paper's")) == 13
    assert (pytest.approx(21903.2, abs=1), pytest.approx(74.14)) in points(axes, "the paper's")
    names = {text.get_text() for text in axes.texts}
    assert names >= {"plain", "resmasking", "resnet34 RMRN"}
    assert not names & {"bam", "ideas:bam", "ideas:shallow"}
    assert axes.get_xscale() == "log"


def test_multiply_adds_of_unmeasured_networks_are_the_registrys(row):
    (axes,) = cost_figures.multiply_adds_figure([row], []).axes
    assert len(points(axes, "the paper's")) == 13


def test_latency_figure_holds_every_point(costs):
    (axes,) = cost_figures.latency_figure(costs, RESULTS).axes
    assert (pytest.approx(1000 / 151), pytest.approx(66.82)) in points(axes, "what others ship")
    assert len(points(axes, "what others ship")) == len(PEERS)
    assert points(axes, "trained here") == [(pytest.approx(MINI.multiply_adds / 4e7), pytest.approx(67))]
    # The other of the sweep is no network that was measured.
    assert points(axes, "trained here, in a sweep") == [(pytest.approx(BAM.multiply_adds / 4e7), pytest.approx(65))]
    names = {text.get_text() for text in axes.texts}
    assert names >= {"plain", "vgg19", "big_XCEPTION", "facex 1.1.0, 43.35%"}  # the last is below the floor
    assert len(names) == 1 + 13 + len(PEERS)
    assert axes.get_ylim()[0] == pytest.approx(100 * cost_figures.FLOOR)
    assert axes.get_xscale() == "log"


@pytest.mark.parametrize("draw", [cost_figures.multiply_adds_figure, cost_figures.latency_figure])
def test_accuracies_of_other_faces_are_refused(costs, draw):
    with pytest.raises(DataError, match=r"are of 60 faces, .* PrivateTest's 3,589"):
        draw(costs, [*RESULTS, result("own", 0, 0.9, n=60)])


def test_the_published_figures_are_of_the_published_tables():
    folder = Path(__file__).parents[2] / "results"
    rows = tables.load(folder / "cost.csv", Cost), tables.load(folder / "fer2013.csv", Result)
    for name in ("cost-multiply-adds.png", "cost-latency.png"):
        with Image.open(folder / name) as picture:
            assert picture.info[cost_figures.ROWS] == cost_figures.digest(*rows), "run mien cost --draw"


@pytest.mark.parametrize("draw", [cost_figures.multiply_adds_figure, cost_figures.latency_figure])
def test_names_cover_neither_each_other_nor_a_point(costs, draw):
    figure = draw(costs, RESULTS)
    figure.draw_without_rendering()
    (axes,) = figure.axes
    boxes = [Text.get_window_extent(text) for text in axes.texts]  # an annotation's own has its line with it
    assert len(boxes) >= 14
    assert not [1 for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]
    drawn = [label for label in KINDS if label in axes.get_legend_handles_labels()[1]]
    pixels = axes.transData.transform([point for label in drawn for point in points(axes, label)])
    assert len(pixels) >= 14
    assert not [1 for x, y in pixels for box in boxes if box.contains(x, y)]


def test_the_table_of_the_paper_is_that_of_the_registry():
    known = {(spec.name, spec.variant) for spec in registry.NETWORKS}
    assert len(TABLE_2) == 13
    assert {(paper.network, paper.variant) for paper in TABLE_2} <= known


def test_published_table_has_a_row_for_each_full_size_network():
    rows = tables.load(Path(__file__).parents[2] / "results" / "cost.csv", Cost)
    assert {row.key for row in rows} >= {(spec.name, spec.variant) for spec in registry.NETWORKS if spec.size == 224}
