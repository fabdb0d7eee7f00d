"""/v1/models, model files, and the page's files."""

import gzip
import hashlib
import re
import socket

import pytest

from mien.detection import face_check, yunet
from mien.export.page import assets
from mien.labels import EXPRESSIONS, class_colours
from mien.models.onnx_model import OnnxModel
from mien.models.zoo import shipped_models
from tests.waiting import LONG_S

pytestmark = pytest.mark.process


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
        "sha256": hashlib.sha256(shipped_models()["small"].read_bytes()).hexdigest(),
        "bytes": shipped_models()["small"].stat().st_size,
    }
    assert [each["file"] for each in answer["detector"]] == ["/models/yunet.onnx", "/models/centerface.onnx"]


def test_model_files_are_served_with_revalidation(client):
    for path in (yunet.MODEL, face_check.MODEL, *shipped_models().values()):
        answer = client.get(f"/models/{path.name}")
        assert hashlib.sha256(answer.content).digest() == hashlib.sha256(path.read_bytes()).digest()
        assert answer.headers["Cache-Control"] == "no-cache"
        again = client.get(f"/models/{path.name}", headers={"If-None-Match": answer.headers["ETag"]})
        assert (again.status_code, again.content) == (304, b"")
        head = client.head(f"/models/{path.name}", headers={"Accept-Encoding": "identity"})
        assert head.headers["Content-Length"] == str(path.stat().st_size)
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


def test_model_file_with_its_digest_is_cached_for_ever(client):
    answer = client.get("/v1/models").json()
    for each in (*answer["models"], *answer["detector"]):
        current = client.get(each["file"], params={"sha256": each["sha256"]})
        assert current.headers["Cache-Control"] == "max-age=31536000, immutable"
        assert hashlib.sha256(current.content).hexdigest() == each["sha256"]
        earlier = client.get(each["file"], params={"sha256": "0" * 64})
        assert (earlier.status_code, earlier.headers["Cache-Control"]) == (200, "no-cache")


def test_page_index_is_revalidated_and_its_files_are_cached_for_ever(client):
    page = client.get("/")
    assert "<title>" in page.text
    assert page.headers["Cache-Control"] == "no-cache"
    again = client.get("/", headers={"If-None-Match": page.headers["ETag"]})
    assert (again.status_code, again.content, again.headers["Cache-Control"]) == (304, b"", "no-cache")
    names = re.findall(r'(?:src|href)="([^":#]+)"', page.text)
    assert len(names) > 10
    for name in names:
        answer = client.get(f"/{name}")
        assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "max-age=31536000, immutable"), name


@pytest.mark.parametrize(
    ("accepted", "encoding"),
    [
        ("gzip, deflate, br, zstd", "br"),
        ("gzip, deflate", "gzip"),
        ("br;q=0, GZIP;q=0.5", "gzip"),
        ("identity", None),
    ],
)
def test_wasm_is_sent_in_an_accepted_encoding(client, accepted, encoding):
    name = next(name for name in assets() if name.endswith(".wasm"))
    with client.stream("GET", f"/{name}", headers={"Accept-Encoding": accepted}) as answer:
        content = b"".join(answer.iter_raw())
    assert answer.headers.get("Content-Encoding") == encoding
    assert answer.headers["Content-Type"] == "application/wasm"
    assert answer.headers["Vary"] == "Accept-Encoding"
    assert int(answer.headers["Content-Length"]) == len(content)
    if encoding == "gzip":
        content = gzip.decompress(content)
    if encoding == "br":  # decoded by the browser in the tests of the page
        assert len(content) < 4_000_000
    else:
        assert content == assets()[name].read_bytes()


def test_first_visit_loads_at_most_8_mb(client):
    """What a browser loads on its first visit to the page, with compression."""
    listed = client.get("/v1/models").json()
    small = next(each for each in listed["models"] if each["name"] == "small")
    loaded = [name for name in assets() if not name.endswith((".br", "LICENSE", ".json"))]
    paths = ["/", "/v1/models", *(f"/{name}" for name in loaded), *(e["file"] for e in (small, *listed["detector"]))]
    headers = {"Accept-Encoding": "br, gzip"}
    sizes = {path: int(client.head(path, headers=headers).headers["Content-Length"]) for path in paths}
    assert sum(sizes.values()) <= 8_000_000, sizes
