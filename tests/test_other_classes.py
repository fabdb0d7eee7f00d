"""Data sets with other classes than FER2013's seven, from inspection to the video report, without special code."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mien.data import FaceDataset, LabelOptions, load
from mien.labels import EIGHT_EXPRESSIONS, RESERVED_NAMES, SPLITS, USAGES, class_colours
from tests.conftest import Mien

pytestmark = pytest.mark.training

for package in ("torch", "onnx", "av", "fastapi", "matplotlib"):
    pytest.importorskip(package)

ASTRONAUT = Path(__file__).parents[1] / "examples" / "astronaut.jpg"
CONFIG = """
[data]
path = "{path}"

[network]
variant = "tiny"

[training]
epochs = 1
batch_size = {batch_size}
learning_rate = 0.01
threads = 1
"""


def succeed(mien: Mien, *arguments: object) -> str:
    code, output, errors = mien(*arguments)
    assert code == 0, errors
    return output


def parsed(mien: Mien, *arguments: object) -> Any:
    return json.loads(succeed(mien, *arguments, "--json"))


def check_commands(mien: Mien, config: Path, data: Path, classes: tuple[str, ...], *settings: object) -> Path:
    """Trains a network and uses it in every command; each must name exactly these classes, in this order.

    Returns:
        The network as an 8-bit .onnx file.
    """
    from mien.models.onnx_model import OnnxModel
    from mien.models.torch_model import TorchModel

    run, exported, calibrated, quantized = (config.with_name(name) for name in ("run", "a.onnx", "b.onnx", "c.onnx"))
    succeed(mien, "train", config, "--run", run)
    assert TorchModel.load(run).classes == classes
    assert tuple(parsed(mien, "evaluate", run)["classes"]) == classes
    assert (run / "evaluation" / "public-single" / "roc.png").is_file()
    succeed(mien, "export", run, "-o", exported)
    succeed(mien, "calibrate", exported, "-o", calibrated, "--data", data, *settings)
    succeed(mien, "quantize", calibrated, "-o", quantized, "--data", data, *settings)
    assert OnnxModel(quantized).classes == classes
    assert tuple(parsed(mien, "evaluate", quantized, "--data", data, *settings)["classes"]) == classes
    (picture,) = parsed(mien, "recognize", ASTRONAUT, "--model", quantized)
    assert tuple(picture["faces"][0]["probabilities"]) == classes
    assert picture["faces"][0]["expression"] in classes
    assert any(name in succeed(mien, "recognize", ASTRONAUT, "--model", quantized) for name in classes)
    return quantized


def check_service_page_and_video(mien: Mien, model: Path, classes: tuple[str, ...]) -> None:
    from tests.service.conftest import client_of, form
    from tests.video import samples

    colours = class_colours(classes)
    with client_of(model=str(model), workers=1) as client:
        answer = client.post("/v1/recognize", **form(("astronaut.jpg", ASTRONAUT.read_bytes()))).json()
        models = {each["name"]: each for each in client.get("/v1/models").json()["models"]}
    assert tuple(answer["pictures"][0]["faces"][0]["probabilities"]) == classes
    assert (models["c"]["classes"], models["c"]["colours"]) == (list(classes), colours)

    page = model.with_name("page")
    succeed(mien, "page", "-o", page, "--model", model)
    (listed,) = json.loads((page / "models.json").read_text())["models"]
    assert (listed["classes"], listed["colours"]) == (list(classes), colours)

    video = samples.write(model.with_name("film.mp4"), [samples.face_at((100, 60))] * 12)
    report, table = model.with_name("report.html"), model.with_name("faces.csv")
    succeed(mien, "video", video, "--model", model, "--report", report, "--csv", table)
    assert all(f"{colour}" in report.read_text() and name in report.read_text() for name, colour in colours.items())
    assert set(classes) <= set(next(csv.reader(io.StringIO(table.read_text()))))


def test_columns_of_tables_are_reserved_names() -> None:
    from mien.recognition.records import column_names
    from mien.video.records import frame_columns

    assert {*column_names(()), *frame_columns(())} <= RESERVED_NAMES


@pytest.mark.slow
def test_three_invented_classes_from_folders(mien: Mien, tmp_path: Path, user_cache: Path) -> None:
    """The training starts from shipped weights, whose last layer has seven classes."""
    classes = ("asleep", "bored", "engaged")
    data, random = tmp_path / "faces", np.random.default_rng(0)
    for split, n in (("train", 8), ("validation", 4)):
        for k, name in enumerate(classes):
            (data / split / name).mkdir(parents=True)
            for i in range(n):
                face = random.integers(80 * k, 80 * k + 90, (40, 40), dtype=np.uint8)
                Image.fromarray(face).save(data / split / name / f"{i}.png")
    config = tmp_path / "run.toml"
    config.write_text(CONFIG.format(path=data, batch_size=12).replace('"tiny"', '"tiny"\nweights = "tiny"'))
    report = parsed(mien, "data", "inspect", data)
    assert report["classes"] == list(classes)
    assert report["totals"] == {"training": 24, "public": 12}
    model = check_commands(mien, config, data, classes)
    check_service_page_and_video(mien, model, classes)


def write_part(dataset: FaceDataset, votes: Path, folder: Path) -> tuple[Path, Path]:
    """Writes some rows of FER2013 and their FER+ votes as files of their own."""
    faces, part_of_votes = folder / "fer2013.csv", folder / "fer2013new.csv"
    usages = list(USAGES)
    with faces.open("w", newline="") as stream:
        rows = csv.writer(stream)
        rows.writerow(("emotion", "pixels", "Usage"))
        for image, target, split in zip(dataset.images, dataset.targets, dataset.splits, strict=True):
            rows.writerow((target, " ".join(map(str, image.ravel())), usages[split]))
    lines = votes.read_text(encoding="utf-8-sig").splitlines()
    part_of_votes.write_text("\n".join([lines[0], *(lines[1 + row] for row in dataset.index)]))
    return faces, part_of_votes


@pytest.mark.slow
def test_eight_classes_from_real_ferplus_votes(
    mien: Mien,
    tmp_path: Path,
    fer2013_real: Path,
    ferplus_real: Path,
    real_cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(real_cache))
    labelled = load(fer2013_real, ferplus_real, options=LabelOptions(labels="ferplus"))
    rows = [
        row
        for split, n in (("training", 8), ("public", 4))
        for k in range(len(EIGHT_EXPRESSIONS))
        for row in labelled.index[(labelled.splits == SPLITS.index(split)) & (labelled.targets == k)][:n]
    ]
    part = load(fer2013_real).take(np.sort(np.array(rows)))
    data, votes = write_part(part, ferplus_real, tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))

    config = tmp_path / "run.toml"
    section = f'path = "{data}"\nferplus = "{votes}"\nlabels = "ferplus"\n\n[loss]\nferplus = 0.5'
    config.write_text(CONFIG.format(path="", batch_size=32).replace('path = ""', section))
    settings = ("--set", "data.labels=ferplus")
    report = parsed(mien, "data", "inspect", data, "--ferplus", votes, *settings)
    assert report["classes"] == list(EIGHT_EXPRESSIONS)
    assert report["counts"]["training"] == dict.fromkeys(EIGHT_EXPRESSIONS, 8)

    predictions = tmp_path / "votes.parquet"
    succeed(mien, "data", "votes", data, "--ferplus", votes, "-o", predictions, *settings)
    output = succeed(mien, "data", "votes", data, "--ferplus", votes, "-o", predictions, *settings)
    assert "contempt" in output

    settings = (*settings, "--set", f"data.ferplus={votes}")
    model = check_commands(mien, config, data, EIGHT_EXPRESSIONS, *settings)
    check_service_page_and_video(mien, model, EIGHT_EXPRESSIONS)
