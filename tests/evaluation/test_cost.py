"""What a network costs, and the figures that set it against accuracy."""

import dataclasses
import json
import math
import os

import pytest

from mien.errors import MienError
from mien.evaluation import cost, cost_figures, tables
from mien.evaluation.cost import Cost
from mien.evaluation.literature import PEERS, TABLE_2
from mien.evaluation.results import Result
from mien.networks import registry

MINI = registry.find("resnet18", "mini")


@pytest.fixture(scope="module")
def row(tmp_path_factory, rows, write_rows):
    """The cheapest network, measured for real."""
    folder = tmp_path_factory.mktemp("cost")
    data = write_rows(folder / "fer2013.csv", rows * 8)  # of which a tenth still is two batches
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        return cost.measure(MINI, 1, 4, 0.1, data, 0.1, "mien cost resnet18:mini")


def test_every_number_is_measured(row):
    assert (row.network, row.variant, row.parameters, row.size) == ("resnet18", "mini", MINI.parameters, 48)
    assert 2 * MINI.parameters < row.file_mb * 1e6 < 2.2 * MINI.parameters  # half precision, and little beside it
    for kind in ("torch", "onnx"):
        p50, p95, runs, pace = (getattr(row, f"{kind}_{name}") for name in ("p50_ms", "p95_ms", "runs", "faces_per_s"))
        assert 0 < p50 <= p95 < 1000
        assert runs >= cost.LEAST_RUNS
        assert pace > 1000 / p95 / 4
    assert 30 < row.onnx_peak_mib < row.torch_peak_mib < 4000  # torch's libraries alone are larger
    assert (row.train_size, row.train_steps) == (48, cost.LEAST_RUNS)
    assert row.train_images_per_s > 0
    assert row.train_loss_first == pytest.approx(math.log(7), abs=1)
    assert str(os.cpu_count()) in row.machine


def test_a_row_is_kept_in_the_table(row, tmp_path):
    table = tmp_path / "cost.csv"
    other = dataclasses.replace(row, network="resnet34", variant="", train_steps=None, train_loss_first=None)
    for each in (other, dataclasses.replace(row, onnx_p50_ms=1.0), row):
        tables.add(table, each)
    first, second = tables.load(table, Cost)
    assert (first.key, first.train_steps, first.train_loss_first) == (("resnet34", ""), None, None)
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


def result(config, seed, accuracy, **other):
    values = {field.name: 0.5 for field in dataclasses.fields(Result)}
    values |= {"network": "resnet18", "variant": "mini", "config": config, "seed": seed, "accuracy": accuracy}
    return Result(**values | {"split": "private", "view": "single", "n": 3589, "command": ""} | other)


def points(axes, label):
    (line,) = [line for line in axes.lines if line.get_label() == label]
    return sorted(zip(*line.get_data(), strict=True))


def test_figures_hold_every_point(row):
    costs = [
        dataclasses.replace(row, network=spec.name, variant=spec.variant, multiply_adds=spec.multiply_adds)
        for spec in registry.NETWORKS
    ]
    results = [
        result("ideas:plain", 0, 0.66),
        result("ideas:plain", 1, 0.68),
        result("ideas:plain", 0, 0.99, split="public"),
        result("ideas:plain", 0, 0.98, view="flip"),
    ]
    figure = cost_figures.multiply_adds_figure(costs, results)
    (axes,) = figure.axes
    assert points(axes, "trained here") == [(pytest.approx(MINI.multiply_adds / 1e6), pytest.approx(67))]
    assert len(points(axes, "the paper's")) == 13
    assert {text.get_text() for text in axes.texts} >= {"plain", "resmasking", "resnet34 RMRN"}
    assert axes.get_xscale() == "log"

    (axes,) = cost_figures.latency_figure(costs, results).axes
    assert (pytest.approx(1000 / 151), pytest.approx(66.82)) in points(axes, "others ship")
    assert len(points(axes, "others ship")) == len(PEERS)
    assert points(axes, "trained here") == [(pytest.approx(row.onnx_p50_ms), pytest.approx(67))]


def test_names_cover_each_other_nowhere(row):
    costs = [dataclasses.replace(row, network=paper.network, variant=paper.variant) for paper in TABLE_2[:6]]
    for number, each in enumerate(costs):
        costs[number] = dataclasses.replace(each, multiply_adds=int(1e9 * (1 + number / 5)))
    figure = cost_figures.multiply_adds_figure(costs, [])
    figure.draw_without_rendering()
    boxes = [text.get_window_extent() for text in figure.axes[0].texts]
    assert len(boxes) == 6
    assert not [1 for i, a in enumerate(boxes) for b in boxes[:i] if a.overlaps(b)]


def test_the_table_of_the_paper_is_that_of_the_registry():
    known = {(spec.name, spec.variant) for spec in registry.NETWORKS}
    assert len(TABLE_2) == 13
    assert {(paper.network, paper.variant) for paper in TABLE_2} <= known


def test_drawing_again_measures_nothing(row, tmp_path, monkeypatch, capsys):
    from mien import cli

    tables.add(tmp_path / "cost.csv", row)
    monkeypatch.setattr(cost, "measure", lambda *_: pytest.fail("it measured"))
    monkeypatch.setattr("sys.argv", ["mien", "cost", "--draw", "--json", "-o", str(tmp_path / "cost.csv")])
    with pytest.raises(SystemExit) as end:
        cli.main()
    assert end.value.code in (0, None)
    (shown,) = json.loads(capsys.readouterr().out)
    assert shown["network"] == "resnet18"
    assert {path.name for path in tmp_path.iterdir()} == {
        "cost.csv",
        "cost-multiply-adds.png",
        "cost-latency.png",
    }
