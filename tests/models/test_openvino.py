"""OpenVINO through ONNX Runtime, in an environment of its own: the probabilities of PrivateTest, and the throughput."""

import json

import numpy as np
import pytest

from mien.export.precision import write
from mien.models.onnx_model import OnnxModel
from tests.environments import ROOT, python_with, run

TOLERANCE = 0.005
"""Largest difference of a probability from the CPU provider's, in single precision."""

COMPARE = """
import json, sys, time
import numpy as np
from mien.models.onnx_model import OnnxModel
images, answers = np.load(sys.argv[1]), {}
for path in sys.argv[2:]:
    cpu, openvino = (OnnxModel(path, 1, device) for device in ("cpu", "openvino"))
    assert (cpu.device, openvino.device) == ("cpu", "openvino")
    expected, found = (model.calibration.probabilities(model.logits(images)) for model in (cpu, openvino))
    seconds = {}
    for _ in range(3):  # in turn, since the machine may be busy
        for model in (cpu, openvino):
            started = time.perf_counter()
            model.logits(images[:512])
            elapsed = time.perf_counter() - started
            seconds[model.device] = min(elapsed, seconds.get(model.device, elapsed))
    answers[path] = {
        "faces": len(images), "largest": float(abs(found - expected).max()),
        "same": float((found.argmax(1) == expected.argmax(1)).mean()),
        **{f"{device}_faces_per_s": round(512 / best) for device, best in seconds.items()},
    }
print(json.dumps(answers))
"""


@pytest.fixture(scope="module")
def openvino_python(tmp_path_factory):
    """The Python of an environment with onnxruntime-openvino in place of onnxruntime."""
    return python_with(tmp_path_factory.mktemp("openvino"), "--no-deps", "onnxruntime-openvino")


@pytest.mark.slow
def test_private_faces_get_the_probabilities_of_the_cpu(openvino_python, real_dataset, tmp_path):
    private = tmp_path / "private.npy"
    np.save(private, real_dataset.split("private").images)
    singles = [str(write(OnnxModel(name), tmp_path / f"{name}.onnx", "32").path) for name in ("small", "tiny")]
    done = run(openvino_python, "-c", COMPARE, private, *singles, "small")
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    print(answers)
    assert {answer["faces"] for answer in answers.values()} == {3589}
    assert max(answers[single]["largest"] for single in singles) <= TOLERANCE
    assert answers["small"]["same"] > 0.97  # 8-bit integers are rounded elsewhere


@pytest.mark.slow
def test_commands_use_openvino_where_it_is_named_and_where_it_is_the_best(openvino_python):
    photo = ROOT / "examples" / "astronaut.jpg"
    answers = {}
    for device in ("cpu", "openvino", "auto"):
        words = ["-m", "mien", "recognize", photo, "--json", "--device", device, "--verbose"]
        done = run(openvino_python, *words)
        assert done.returncode == 0, done.stderr
        used = "cpu" if device == "cpu" else "openvino"
        assert f"mien: small.onnx runs on {used}" in done.stderr.splitlines()
        ((face,),) = [picture["faces"] for picture in json.loads(done.stdout)]
        answers[device] = face
    assert answers["openvino"] == answers["auto"]
    assert answers["openvino"]["expression"] == answers["cpu"]["expression"] == "happy"
    assert answers["openvino"]["box"] == pytest.approx(answers["cpu"]["box"], abs=1)
    done = run(openvino_python, "-m", "mien", "recognize", photo, "--device", "cuda")
    assert done.stderr.endswith(
        "onnxruntime-gpu has it; run pip uninstall -y onnxruntime-openvino, then pip install onnxruntime-gpu\n"
    )


@pytest.mark.slow
def test_service_workers_run_on_openvino(openvino_python):
    code = """
import httpx, pathlib, sys
from mien.service import Settings, create_app
from tests.service.conftest import running, astronaut_form
with running(create_app(Settings(device="openvino", workers=1))) as client:
    print(client.get("/readyz").json()["device"])
    print(client.post("/v1/recognize", **astronaut_form()).json()["pictures"][0]["faces"][0]["expression"])
"""
    done = run(openvino_python, "-c", code)
    assert done.stdout.split() == ["openvino", "happy"], done.stderr
