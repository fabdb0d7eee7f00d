"""The Gradio demo of the examples: its page answers, and a photograph comes back with a box around the face."""

import pytest

from tests.environments import ROOT, python_with, run

ASK = """
import importlib.util, sys
import gradio_client, numpy as np
from PIL import Image
spec = importlib.util.spec_from_file_location("gradio_demo", "examples/gradio_demo.py")
module = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
_, url, _ = module.demo.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")
client = gradio_client.Client(url, verbose=False)
(name,) = client.view_api(return_format="dict")["named_endpoints"]
answer = client.predict(gradio_client.handle_file(sys.argv[1]), api_name=name)
drawn, original = (np.asarray(Image.open(path).convert("RGB")).astype(int) for path in (answer, sys.argv[1]))
assert drawn.shape == original.shape
print((abs(drawn - original).max(axis=2) > 100).sum())
module.demo.close()
"""


@pytest.mark.slow
def test_demo_draws_a_box_around_the_face(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    python = python_with(tmp_path / "gradio", "gradio")
    done = run(
        python, "-c", ASK, ROOT / "examples" / "astronaut.jpg",
        GRADIO_ANALYTICS_ENABLED="False", GRADIO_TEMP_DIR=str(tmp_path / "files"), HF_HUB_OFFLINE="1",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) > 300  # the pixels of the box and of its label
