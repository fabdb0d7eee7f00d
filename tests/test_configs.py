"""Every shipped config can be read and trained, and its header documents it."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torchvision

from mien import config as configs
from mien.data.dataset import FaceDataset
from mien.networks import registry
from mien.shipped_configs import find_teacher
from mien.training.loop import Trainer

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "mien" / "configs"
ALL = sorted(FOLDER.rglob("*.toml"))
CONFIGS = [path for path in ALL if "sweep" not in configs.read_table(path)]
"""Configs of a single training; sweeps are tested elsewhere."""
FULL = [path for path in CONFIGS if path.parent.name == "full"]
BATCH = 2
TWO_STEPS = [pytest.param(path, id=path.stem, marks=pytest.mark.slow if path in FULL else ()) for path in CONFIGS]


def test_every_full_size_network_has_a_config():
    configured = [configs.load(path).network for path in FULL]
    assert {(network.name, network.variant) for network in configured} == {
        (spec.name, spec.variant) for spec in registry.NETWORKS if spec.size == 224
    }


@pytest.mark.parametrize("path", FULL, ids=lambda path: path.stem)
def test_full_size_config_has_the_recipe_of_the_base_paper(path):
    config = configs.load(path)
    training, augment = config.training, config.augment
    spec = registry.find(config.network.name, config.network.variant)
    assert path.stem == f"{spec.name}-{spec.variant}".strip("-")
    assert (config.network.size or spec.size, config.network.channels or spec.in_channels) == (224, 3)
    assert config.network.weights == ("imagenet" if spec.imagenet else "")
    assert (training.batch_size, training.learning_rate, training.weight_decay) == (48, 1e-4, 1e-3)
    assert (training.optimizer, training.schedule) == ("radam", "plateau")
    assert (training.plateau_patience, training.stop_after, training.epochs) == (2, 8, 50)
    assert augment == configs.AugmentConfig(flip=0.5, rotation_deg=30)


@pytest.mark.parametrize("path", TWO_STEPS)
def test_config_trains_every_weight_in_two_steps(path):
    """Initial weights and teachers are left out, and large networks get small images."""
    config = configs.load(path)
    if path in FULL:  # smaller images need the same operations
        spec = registry.find(config.network.name, config.network.variant)
        config = replace(config, network=replace(config.network, size=max(64, spec.min_size)))
    assert not config.data.teacher or find_teacher(config.data.teacher).exists()
    config = replace(
        config,
        data=replace(config.data, teacher=""),
        training=replace(config.training, batch_size=BATCH),
        loss=replace(config.loss, distillation=0),
    )
    training, public = 2 * BATCH, 7
    images = np.random.default_rng(0).integers(0, 256, (training + public, 48, 48), dtype=np.uint8)
    splits = np.array([0] * training + [1] * public, np.int8)
    faces = FaceDataset(images, np.arange(len(images)) % 7, splits, np.arange(len(images)))
    trainer = Trainer.for_single_steps(config, faces)
    for part in trainer.network.modules():
        if isinstance(part, torchvision.ops.StochasticDepth):  # with two faces, it may drop a block in every step
            part.eval()
    losses = [float(trainer.train_step(batch)[0].total.detach()) for batch in trainer.batches.epoch(0, 0, "cpu")]
    assert len(losses) == 2
    assert np.isfinite(losses).all()
    # Weight decay changes every weight, so only the optimizer's moments show whether there was a gradient.
    without_gradient = [
        name
        for name, parameter in trainer.network.named_parameters()
        if parameter.ndim > 1
        and not any(value.any() for value in trainer.optimizer.state[parameter].values() if value.ndim)
    ]
    assert without_gradient == []


@pytest.mark.full_size
@pytest.mark.parametrize("path", FULL, ids=lambda path: path.stem)
def test_estimates_in_the_header_are_current(path, full_size):
    config = configs.load(path)
    header = path.read_text(encoding="utf-8").splitlines()
    for line in full_size.estimate(config).lines(config):
        assert line in header, "run tools/estimate_full_size.py mien/configs/full/*.toml --write"


def test_estimate_tool_writes_both_lines_of_the_header(full_size, tmp_path, monkeypatch):
    path = tmp_path / "mini.toml"
    rest = '# result   none\n\n[network]\nname = "resnet18"\nvariant = "mini"\n\n[training]\nbatch_size = 4\n'
    path.write_text(f"# machine  ?\n# time     ?\n{rest}", encoding="utf-8")
    monkeypatch.setattr("sys.argv", ["estimate_full_size.py", str(path), "--write"])
    full_size.main()
    config = configs.load(path)
    machine, time = full_size.estimate(config).lines(config)
    assert "a step of 4 faces takes" in machine
    assert path.read_text(encoding="utf-8") == f"{machine}\n{time}\n{rest}"


@pytest.mark.parametrize("path", ALL, ids=lambda path: path.stem)
def test_header_has_command_machine_time_and_result(path):
    header = [line for line in path.read_text(encoding="utf-8").splitlines() if line.startswith("#")]
    text = "\n".join(header)
    for word in ("command", "machine", "time", "result"):
        assert f"# {word}" in text, f"the header of {path.name} must have a line # {word}"


@pytest.fixture(scope="module")
def full_size():
    spec = importlib.util.spec_from_file_location("full_size", ROOT / "tools" / "estimate_full_size.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look up their types here
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]
