"""/v1/models, model files, and the page's files."""

import hashlib
import re
import socket

import pytest

from mien.detection import face_check, yunet
from mien.labels import EXPRESSIONS, class_colours
from mien.models.onnx_model import OnnxModel
from mien.models.zoo import shipped_models
from tests.waiting import LONG_S


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


@pytest.mark.parametrize("base", ["/", "/models/", "/docs/", "/static/", "//"])
@pytest.mark.parametrize("up", ["../", "..%2f", "%2e%2e/", "..%5c", "....//", "%252e%252e%252f", "..;/", "..\\"])
def test_path_that_leads_out_of_the_page_gets_no_file(client, base, up):
    for target in ("etc/passwd", "__init__.py", "export/page.py", "service/settings.py"):
        for depth in (1, 2, 12):
            answer = raw_get(client, f"{base}{up * depth}{target}")
            assert answer.split()[1] in (b"400", b"404"), (base, up, target)
            assert b"root:" not in answer
            assert b"import " not in answer


def raw_get(client, path):
    """Sends a path as it is: clients of HTTP would shorten it."""
    request = f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n"
    answer = b""
    with socket.create_connection(("127.0.0.1", client.base_url.port), LONG_S) as connection:
        connection.sendall(request.encode())
        while piece := connection.recv(4096):
            answer += piece
    return answer


def test_page_files_are_served_with_revalidation(client):
    """Otherwise a browser could combine old and new files after an upgrade."""
    page = client.get("/")
    assert "<title>" in page.text
    for name in ("", *re.findall(r'(?:src|href)="([^":#]+)"', page.text)):
        answer = client.get(f"/{name}")
        assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-cache"), name
        again = client.get(f"/{name}", headers={"If-None-Match": answer.headers["ETag"]})
        assert (again.status_code, again.headers["Cache-Control"]) == (304, "no-cache")
