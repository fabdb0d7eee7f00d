"""/v1/models, model files, and the page's files."""

import hashlib
import re

from mien.detection import face_check, yunet
from mien.labels import EXPRESSIONS, class_colours
from mien.models.onnx_model import OnnxModel
from mien.models.zoo import shipped_models


def test_models_lists_the_settings_of_each_model(client):
    answer = client.get("/v1/models").json()
    assert answer["default"] == "small"
    models = {each["name"]: each for each in answer["models"]}
    assert models.keys() == shipped_models().keys()
    model = OnnxModel("small")
    assert models["small"] == {
        "name": "small",
        "network": model.title,
        "classes": list(EXPRESSIONS),
        "colours": class_colours(EXPRESSIONS),
        "preprocessing": model.preprocessing.to_dict(),
        "calibration": model.calibration.to_dict(),
        "file": "/models/small.onnx",
    }


def test_model_files_are_served_with_revalidation(client):
    for path in (yunet.MODEL, face_check.MODEL, *shipped_models().values()):
        answer = client.get(f"/models/{path.name}")
        assert hashlib.sha256(answer.content).digest() == hashlib.sha256(path.read_bytes()).digest()
        assert answer.headers["Cache-Control"] == "no-cache"
        again = client.get(f"/models/{path.name}", headers={"If-None-Match": answer.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert client.head(f"/models/{path.name}").headers["Content-Length"] == str(path.stat().st_size)
    for name in ("large.onnx", "small.md", "..%2F..%2F__init__.py"):
        assert client.get(f"/models/{name}").status_code == 404


def test_page_files_are_served_with_revalidation(client):
    """Otherwise a browser could combine old and new files after an upgrade."""
    page = client.get("/")
    assert "<title>" in page.text
    for name in ("", *re.findall(r'(?:src|href)="([^":#]+)"', page.text)):
        answer = client.get(f"/{name}")
        assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-cache"), name
        again = client.get(f"/{name}", headers={"If-None-Match": answer.headers["ETag"]})
        assert (again.status_code, again.headers["Cache-Control"]) == (304, "no-cache")
