"""The blocks of published numbers, made from results/ and the shipped models."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path

from docs_blocks.text import count, difference, interval, millions, percent, table

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "results"
SHIPPED = ("small", "tiny")
ENSEMBLES: Mapping[str, tuple[str, ...]] = {
    "ensemble": ("small-taught", "efficientnet_lite0"),
    "ensemble-of-four": ("small-taught", "small", *("efficientnet_lite0",) * 2),
    "ensemble-of-five": ("small-taught", "small", *("efficientnet_lite0",) * 3),
}
"""File in results/predictions/ without split and view -> the configs of its members."""
MISTAKES = 4
"""How many of the most frequent mistakes a model card shows."""
SPEED_OF_PEERS = {"fer 25.10.3 (TFLite)": "fer 25.10.3 (LiteRT)"}
"""Name in the table of peers -> name in results/speed.csv. The other peers were not timed beside mien."""


def peers() -> str:
    """The shipped networks beside other classifiers that run offline, best first."""
    from mien.experiments.literature import PEERS

    speeds = {row["measure"]: f"{float(row['value']):,.0f}" for row in read("speed.csv")}
    rows = []
    for name in SHIPPED:
        row = single_view(name, "private")
        size = f"{model_file(name).stat().st_size / 1e6:.1f} MB"
        rows.append(
            [f"**mien `{name}`**", interval(row), size, speeds[f"{name}, classifier alone, one face at a time"]]
        )
    for peer in sorted(PEERS, key=lambda peer: -peer.accuracy):
        speed = speeds.get(f"{SPEED_OF_PEERS.get(peer.name)}, classifier alone, one face at a time", "")
        rows.append([peer.name, percent(peer.accuracy), "", speed])
    return table(["", "accuracy (95 % interval)", "model file", "faces/s, one thread"], rows, right=(1, 2, 3))


def fer2013() -> str:
    """All rows of results/fer2013.csv that have a reading of PrivateTest, but those of sweeps, and the ensembles."""
    unseen = {(row["config"], row["split"], row["view"]): interval(row) for row in read("unseen.csv")}
    results = {(row["config"], row["split"], row["view"]): row for row in fer2013_rows()}
    configs = dict.fromkeys((*SHIPPED, *(config for config, *_ in results)))
    cost = {config: int(row["multiply_adds"]) for (config, *_), row in results.items()}
    rows = []
    for config in configs:
        for view, views in (("single", 1), ("flip", 2)):
            private, public = results.get((config, "private", view)), results.get((config, "public", view))
            if private and public:
                accuracies = percent(public["accuracy"]), interval(private), unseen.get((config, "private", view), "")
                cells = f"`{config}`", view, *accuracies, percent(private["macro_f1"]), millions(views * cost[config])
                rows.append([*cells, f"{model_file(config).stat().st_size / 1e6:.2f} MB" if config in SHIPPED else ""])
    for name, members in ENSEMBLES.items():
        private, public = (ensemble_row(name, split) for split in ("private", "public"))
        accuracies = percent(public["accuracy"]), interval(private), unseen.get((name, "private", "flip"), "")
        total = millions(2 * sum(cost[member] for member in members))
        rows.append([f"`{name}`", "flip", *accuracies, percent(private["macro_f1"]), total, ""])
    header = [
        "network",
        "view",
        "PublicTest",
        "PrivateTest",
        "PrivateTest, faces not in Training",
        "macro F1",
        "multiply-adds",
    ]
    return table([*header, "model file"], rows, right=range(2, 8))


def detection() -> str:
    """What the detectors find in labelled photographs, and what a recognition with each of them takes."""
    rows = [
        [
            f"`{row['detector']}`" + (f" from {row['min_score']}" if row["min_score"] else ""),
            row["collection"],
            f"{row['people_found']} of {row['people']}",
            f"{row['people_24px_found']} of {row['people_24px']}",
            row["others"],
            row["unlabelled"],
            row["ms_mean"],
        ]
        for row in read("detection.csv")
    ]
    header = ["detector", "pictures", "people", "from 24 pixels", "animals, drawings, objects", "not labelled"]
    return table([*header, "ms a picture"], rows, right=range(2, 7))


def uncertain() -> str:
    """What the confidence of the shipped networks is worth on PrivateTest."""
    from mien import predictions
    from mien.evaluation.reliability import reliability
    from mien.models.onnx_model import OnnxModel

    rows = []
    for name in SHIPPED:
        calibration = OnnxModel(name, threads=1).calibration
        private = predictions.load(RESULTS / "predictions" / f"{name}-private.parquet")
        uncertain = calibration.is_uncertain(private.probabilities)
        certain_right, uncertain_right = private.correct[~uncertain].mean(), private.correct[uncertain].mean()
        error = 100 * reliability(private).ece
        cells = (calibration.uncertain_below, 1 - uncertain.mean(), certain_right, uncertain_right)
        rows.append([f"`{name}`", *(percent(value, 1) for value in cells), f"{error:.1f} points"])
    header = ["network", "uncertain below", "certain faces", "accuracy on those", "accuracy on uncertain faces"]
    return table([*header, "calibration error"], rows, right=range(1, 6))


def robustness() -> str:
    """Accuracy on PublicTest under each corruption, the mean over its five strengths."""
    rows = read("robustness.csv")
    models = list(dict.fromkeys(row["model"] for row in rows))
    models.sort(key=lambda model: SHIPPED.index(model) if model in SHIPPED else len(SHIPPED))
    body = []
    for corruption in dict.fromkeys(row["corruption"] for row in rows):
        cells = []
        for model in models:
            values = [
                float(row["accuracy"]) for row in rows if (row["model"], row["corruption"]) == (model, corruption)
            ]
            cells.append(percent(sum(values) / len(values), 1))
        body.append([corruption, *cells])
    titles = [f"`{model}`" if " " not in model else model for model in models]
    return table(["corruption", *titles], body, right=range(1, len(models) + 1))


def corruptions() -> str:
    """What the five strengths of each corruption mean."""
    from mien.experiments.corruptions import CORRUPTIONS

    rows = [[f"{each.name}: {each.unit}", *(f"{value:g}" for value in each.values)] for each in CORRUPTIONS.values()]
    return table(["corruption", *"12345"], rows, right=range(1, 6))


def reliability() -> str:
    """What came of damaged and hostile inputs, by kind."""
    faults = ("tracebacks", "crashes", "wrong_exit_codes", "over_memory", "over_time", "temporary_files")
    path = RESULTS / "reliability.csv"
    if not path.exists():
        return "Not measured yet."
    measured = list(read(path.name))
    rows = [[row["kind"], f"{int(row['inputs']):,}", *(row[fault] for fault in faults)] for row in measured]
    total = [sum(int(row[column]) for row in measured) for column in ("inputs", *faults)]
    head = ["kind", "inputs", *("tracebacks", "crashes", "wrong exit codes", "over 1 GiB", "over 20 s", "files left")]
    return table(head, [*rows, ["all", *(f"{number:,}" for number in total)]], right=range(1, 8))


def _format_order(row: Mapping[str, str]) -> tuple[object, ...]:
    return row["model"], row["format"] != "onnx", row["format"], row["runtime"], -int(row["bits"])


def formats() -> str:
    """The shipped networks in every format and on every device that was measured."""
    path = RESULTS / "formats.csv"
    if not path.exists():
        return "Not measured yet."
    rows = [
        [
            f"`{row['model']}`", f"`{row['format']}`", row["bits"], row["runtime"], f"{float(row['accuracy']):.2%}",
            f"{float(row['same']):.2%}", row["largest"], f"{float(row['size_mb']):.1f} MB",
            f"{float(row['latency_ratio']):.2f}",
        ]
        for row in sorted(read(path.name), key=_format_order)
    ]  # fmt: skip
    head = ["network", "format", "bits", "run by", "accuracy", "same name", "largest difference", "size", "time"]
    return table(head, rows, right=(2, *range(4, 9)))


def ideas(split: str) -> str:
    """The sweep of the ideas of the paper, compared with the plain network."""
    from mien.experiments import sweep

    return sweep.comparison(
        sweep.load(ROOT / "mien" / "configs" / "sweeps" / "ideas.toml"), RESULTS / "fer2013.csv", split
    )


def parameters() -> str:
    """The parameters of the networks of Table 2, beside what others have published."""
    from mien.networks import registry

    rows = []
    for row in read("published-parameters.csv"):
        spec = registry.find(row["network"], row["variant"])
        base = float(row["base_paper_m"]) if row["base_paper_m"] else None
        published, seven = (count(row[name]) for name in ("published", "published_at_7"))
        cells = [
            f"`{row['network']}` {row['variant']}".strip(),
            f"{spec.parameters:,}",
            f"{spec.multiply_adds / 1e9:.2f} G",
            f"{base} M" if base else "-",
            difference(spec.parameters, base) if base else "-",
            f"{published}, {row['published_by']}" if published else "-",
            seven or "-",
        ]
        if seven.endswith("M"):
            cells.append(difference(spec.parameters, float(seven.removesuffix(" M"))))
        else:
            cells.append(f"{spec.parameters - int(row['published_at_7']):,}" if seven else "-")
        rows.append([*cells, row["note"]])
    header = [
        "network",
        "parameters at 7 classes",
        "multiply-adds",
        "Table III",
        "difference",
        "published at 1,000 classes",
    ]
    return table([*header, "that at 7", "difference", "note"], rows, right=(1, 2, 3, 4, 6, 7))


def cost() -> str:
    """Size, memory and time of each network."""
    rows = [
        [
            f"`{row['network']}` {row['variant']}".strip(),
            f"{int(row['multiply_adds']) / 1e9:.2f} G",
            f"{float(row['file_mb']):.1f}",
            f"{float(row['onnx_p50_ms']):.1f}",
            f"{float(row['onnx_faces_per_s']):.1f}",
            f"{float(row['onnx_peak_mib']):.0f}",
            f"{float(row['torch_p50_ms']):.1f}",
            f"{float(row['torch_faces_per_s']):.1f}",
        ]
        for row in read("cost.csv")
    ]
    onnx = ["ONNX: ms a face", "faces/s", "MiB"]
    header = ["network", "multiply-adds", "file, MB", *onnx, "torch: ms a face", "faces/s"]
    return table(header, rows, right=range(1, 8))


def short_training() -> str:
    """What a short training of each network needs."""
    rows = [
        [
            f"`{row['network']}` {row['variant']}".strip(),
            row["train_size"],
            f"{float(row['train_images_per_s']):.0f}",
            f"{float(row['train_peak_mib']):.0f}",
            row["train_steps"],
            f"{float(row['loss_first']):.2f}",
            f"{float(row['loss_last']):.2f}",
        ]
        for row in read("cost.csv")
        if row["train_steps"]
    ]
    header = ["network", "image, px", "images/s", "MiB", "steps", "loss of the first steps", "of the last steps"]
    return table(header, rows, right=range(1, 7))


def speed() -> str:
    """All rows of results/speed.csv."""
    rows = [
        [
            row["measure"],
            f"{float(row['value']):,g} {row['unit']}".strip(),
            row["spread"],
            row["n"],
            row["threads"],
            f"`{row['command']}`",
        ]
        for row in read("speed.csv")
    ]
    return table(["measure", "value", "spread", "n", "threads", "command"], rows, right=range(1, 5))


def literature() -> str:
    """What the paper reports in its Table 2."""
    from mien.experiments.literature import TABLE_2

    rows = [[f"`{row.network}` {row.variant}".strip(), percent(row.accuracy)] for row in TABLE_2]
    return table(["network", "reported accuracy"], rows, right=(1,))


def card(name: str) -> str:
    """What the model card of a shipped network says about its accuracy."""
    from mien import predictions
    from mien.evaluation.metrics import confusion_matrix, evaluate

    unseen = {(row["split"], row["view"]): row for row in read("unseen.csv") if row["config"] == name}
    accuracies = []
    for row in fer2013_rows():
        if row["config"] == name:
            auc, error = (f"{float(row[key]):.3f}" for key in ("macro_auc", "ece"))
            split = "PublicTest, used for choosing" if row["split"] == "public" else "PrivateTest"
            cells = interval(row), interval(row, "macro_f1"), auc, error
            accuracies.append([split, row["view"], f"{int(row['n']):,}", *cells])
            if row["split"] == "private":
                new = unseen["private", row["view"]]
                cells = f"{int(new['n']):,}", interval(new), "", "", ""
                accuracies.append(["PrivateTest, faces not in Training", row["view"], *cells])
    private = predictions.load(RESULTS / "predictions" / f"{name}-private.parquet")
    classes = [
        [
            label,
            f"{each.support}",
            *(percent(value, 1) for value in (each.precision, each.recall, each.f1)),
            f"{each.auc:.3f}",
        ]
        for label, each in evaluate(private, resamples=0).classes.items()
    ]
    counts = confusion_matrix(private)
    fractions = counts / counts.sum(axis=1, keepdims=True)
    pairs = [(row, column) for row in range(len(counts)) for column in range(len(counts)) if row != column]
    pairs.sort(key=lambda pair: -fractions[pair])
    mistakes = [
        [private.classes[target], private.classes[predicted], percent(fractions[target, predicted], 0)]
        for target, predicted in pairs[:MISTAKES]
    ]
    header = ["split", "view", "faces", "accuracy", "macro F1", "macro AUC", "calibration error"]
    return "\n\n".join(
        [
            "With 95 % bootstrap intervals over the faces; *flip* averages the face and its mirror image:",
            table(header, accuracies, right=range(2, 7)),
            "By expression, on PrivateTest, single view:",
            table(["expression", "faces", "precision", "recall", "F1", "AUC"], classes, right=range(1, 6)),
            "The most frequent mistakes:",
            table(["expression", "predicted", "of its faces"], mistakes, right=(2,)),
        ]
    )


def read(name: str) -> list[dict[str, str]]:
    """Reads a table of results/."""
    with (RESULTS / name).open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def fer2013_rows() -> Iterator[dict[str, str]]:
    """The rows of results/fer2013.csv that no sweep has written."""
    return (row for row in read("fer2013.csv") if ":" not in row["config"])


def single_view(config: str, split: str) -> dict[str, str]:
    """The row of a config on a split, each face seen once."""
    key = config, split, "single"
    return next(row for row in fer2013_rows() if (row["config"], row["split"], row["view"]) == key)


@cache
def ensemble_row(name: str, split: str) -> dict[str, float]:
    """Accuracy and macro F1 of an ensemble, from its predictions."""
    from mien import predictions
    from mien.evaluation.metrics import evaluate

    metrics = evaluate(predictions.load(RESULTS / "predictions" / f"{name}-{split}-flip.parquet"))
    low, high = metrics.intervals["accuracy"]
    return {
        "accuracy": metrics["accuracy"],
        "accuracy_low": low,
        "accuracy_high": high,
        "macro_f1": metrics["macro_f1"],
    }


def model_file(name: str) -> Path:
    """The file of a shipped network."""
    from mien.models.zoo import shipped_models

    return shipped_models()[name]
