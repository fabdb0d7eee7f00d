"""Devices: unknown and missing names, the fallback of auto, and packages of ONNX Runtime that damage each other."""

import logging
import os
import pickle
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from mien.errors import ConfigError, WeightsError
from mien.models import devices, session
from mien.models.devices import AUTO, DEVICES, PROVIDERS_VARIABLE, available_devices, candidates
from mien.models.onnx_model import OnnxModel
from mien.models.zoo import find_model
from mien.recognition.batch import FaceRecognizer
from mien.recognition.recognizer import Recognizer
from mien.video.recognizer import VideoRecognizer

FACE = np.full((1, 48, 48), 128, np.uint8)
MISSING = sorted(DEVICES.keys() - available_devices().keys())


@pytest.fixture
def broken_cuda(monkeypatch):
    """ONNX Runtime says that it has CUDA, and leaves it out of sessions, as it does without NVIDIA's libraries."""
    monkeypatch.setattr(session, "_unusable", set())
    both = {"cuda": DEVICES["cuda"].provider, "cpu": DEVICES["cpu"].provider}
    monkeypatch.setattr(devices, "available_devices", lambda: both)


def test_cpu_is_the_default_and_what_auto_takes_where_nothing_else_is(caplog):
    assert available_devices()["cpu"] == "CPUExecutionProvider"
    assert "azure" not in available_devices()
    caplog.set_level(logging.INFO)
    assert OnnxModel("tiny", 1).device == OnnxModel("tiny", 1, "cpu").device == "cpu"
    assert Recognizer("tiny", "none", 1, device=AUTO).device == "cpu"
    assert "tiny.onnx runs on cpu" in caplog.messages


@pytest.mark.parametrize("name", MISSING)
def test_missing_device_is_an_error_with_the_package_to_install(name):
    with pytest.raises(ConfigError) as caught:
        OnnxModel("tiny", 1, name)
    message = str(caught.value)
    assert message.startswith(f"the device {name} is not there: the installed ONNX Runtime has cpu, and ")
    package = DEVICES[name].package
    if package != "onnxruntime":
        assert message.endswith(f"{package} has it; run pip uninstall -y onnxruntime, then pip install {package}")


@pytest.mark.parametrize(
    ("name", "words"), [("cudo", "did you mean cuda?"), ("", "known are"), ("gpu", "known are"), ("Auto", "mean auto?")]
)
def test_unknown_device_names_the_near_ones(name, words):
    with pytest.raises(ConfigError, match=f"^unknown device {name}: .*{words[:-1]}"):
        Recognizer(device=name)


def test_number_of_a_device_is_an_option_of_its_provider(monkeypatch):
    everything = {name: device.provider for name, device in DEVICES.items()}
    monkeypatch.setattr(devices, "available_devices", lambda: everything)
    (second,) = candidates("cuda:1", None)
    assert second.providers[0] == ("CUDAExecutionProvider", {"cudnn_conv_algo_search": "HEURISTIC", "device_id": "1"})
    (graphics,) = candidates("openvino:GPU", 3)
    assert graphics.providers[0] == ("OpenVINOExecutionProvider", {"device_type": "GPU", "num_of_threads": "3"})
    (compiled,) = candidates("tensorrt", None)
    assert [name.partition("Exec")[0] for name, _ in compiled.providers] == ["Tensorrt", "CUDA", "CPU"]
    assert [each.name for each in candidates(AUTO, None)] == [
        "cuda",
        "migraphx",
        "directml",
        "coreml",
        "openvino",
        "cpu",
    ]
    with pytest.raises(ConfigError, match="the device cpu has no number or kind, got cpu:1: write cpu"):
        candidates("cpu:1", None)


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_device_that_cannot_be_loaded_falls_back_under_auto_and_says_so(broken_cuda, caplog):
    model = OnnxModel("tiny", 1, AUTO)
    assert model.device == "cpu"
    assert np.array_equal(model.logits(FACE), OnnxModel("tiny", 1).logits(FACE))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "tiny.onnx does not run on cuda (CUDAExecutionProvider cannot be loaded: are its libraries" in caplog.text
    assert OnnxModel("tiny", 1, AUTO).device == "cpu"
    assert len(caplog.records) == 1  # it is not tried again


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_named_device_that_cannot_be_loaded_is_an_error(broken_cuda, tmp_path):
    with pytest.raises(ConfigError, match=r"^tiny.onnx does not run on cuda \(.*\): use --device auto or cpu$"):
        OnnxModel("tiny", 1, "cuda")
    damaged = tmp_path / "damaged.onnx"
    damaged.write_bytes(find_model("tiny").read_bytes()[:-1000])
    for device in ("cuda", AUTO, "cpu", None):
        with pytest.raises(WeightsError, match="damaged"):
            OnnxModel(damaged, 1, device)


@pytest.mark.filterwarnings("ignore:Specified provider")
def test_provider_of_the_environment_variable_falls_back_to_the_cpu(broken_cuda, monkeypatch, caplog):
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: list(devices.available_devices().values()))
    monkeypatch.setenv(PROVIDERS_VARIABLE, "CUDAExecutionProvider")
    assert OnnxModel("tiny", 1).device == "cpu"
    assert "does not run on cuda" in caplog.text


def test_device_reaches_photographs_videos_and_batches():
    for make in (Recognizer, VideoRecognizer):
        with pytest.raises(ConfigError, match="unknown device gpu"):
            make(device="gpu")
        assert make(model="tiny", device="cpu")
    faces = pickle.loads(pickle.dumps(FaceRecognizer("tiny", device="gpu")))
    with pytest.raises(ConfigError, match="unknown device gpu"):
        _ = faces.recognizer
    detector_alone = Recognizer(OnnxModel("tiny", 1), "blazeface", 1, device="cpu").detector
    assert detector_alone._session.device == "cpu"


def write_package(site, name, files=()):
    """Writes what pip records about a package of ONNX Runtime, and some of its files."""
    about = site / f"{name.replace('-', '_')}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "RECORD").write_text("onnxruntime/__init__.py,,\nonnxruntime/capi/left.py,,\n")
    for file, text in files:
        path = site / "onnxruntime" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


DAMAGE = {
    "removed": [("capi/left.py", "")],  # what pip uninstall of one of two packages leaves
    "mixed": [("__init__.py", "raise ImportError('undefined symbol: x')")],  # files of two versions
}


@pytest.mark.parametrize("files", DAMAGE.values(), ids=DAMAGE)
def test_two_packages_of_onnx_runtime_are_named_instead_of_a_missing_attribute(files, tmp_path):
    for entry in Path(sysconfig.get_path("purelib")).iterdir():
        if not entry.name.startswith("onnxruntime"):
            (tmp_path / entry.name).symlink_to(entry)
    write_package(tmp_path, "onnxruntime", files)
    write_package(tmp_path, "onnxruntime-gpu")
    root = Path(__file__).parents[2]
    command = [sys.executable, "-S", "-m", "mien", "recognize", root / "examples" / "astronaut.jpg"]
    environment = os.environ | {"PYTHONPATH": f"{root}{os.pathsep}{tmp_path}"}

    def message():
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        assert done.returncode == 2
        assert done.stderr.startswith("mien: ONNX Runtime ")
        return done.stderr

    assert message().endswith(
        "onnxruntime and onnxruntime-gpu are installed together and overwrite each other's files; run pip uninstall -y "
        "onnxruntime onnxruntime-gpu, then pip install onnxruntime\n"
    )
    shutil.rmtree(tmp_path / "onnxruntime_gpu-1.0.dist-info")
    assert message().endswith("run pip install --force-reinstall onnxruntime\n")
