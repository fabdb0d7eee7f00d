"""/v1/recognize: pictures as a form or as JSON, and bad requests."""

import base64
import json
import re
import shutil
import subprocess

import numpy as np
import pytest
from PIL import Image

from mien.models.zoo import shipped_models
from mien.service import schemas
from tests.linear_classifier import SIZE
from tests.service.conftest import (
    AS_JSON,
    ASTRONAUT,
    PICTURE,
    TOKEN,
    assert_error,
    astronaut_form,
    client_of,
    form,
    png_header,
    resized,
)

pytestmark = pytest.mark.process


def test_form_gets_the_faces_that_python_finds(client, astronaut_record):
    answer = client.post("/v1/recognize", **astronaut_form())
    assert answer.status_code == 200
    assert answer.json() == {"model": "small", "pictures": [astronaut_record]}


def test_several_pictures_are_answered_in_the_order_sent(client, astronaut_record):
    sent = [("astronaut.jpg", PICTURE), ("notes.jpg", b"not a picture"), ("small.webp", resized(300))]
    answer = client.post("/v1/recognize", **form(*sent))
    astronaut, notes, webp = answer.json()["pictures"]
    assert answer.status_code == 200
    assert astronaut == astronaut_record
    assert notes == schemas.EXAMPLE["pictures"][1]
    assert (webp["name"], webp["width"], webp["height"], len(webp["faces"])) == ("small.webp", 300, 300, 1)


def test_json_gets_the_faces_that_python_finds(client, astronaut_record):
    encoded = base64.b64encode(PICTURE).decode()
    answer = client.post("/v1/recognize", json={"pictures": [encoded, f"data:image/jpeg;base64,{encoded}"]})
    assert answer.status_code == 200
    assert answer.json()["pictures"] == [astronaut_record | {"name": f"picture {number}"} for number in (1, 2)]


@pytest.mark.skipif(not shutil.which("curl"), reason="there is no curl")
def test_documented_curl_commands_send_large_pictures(client, tmp_path):
    """An argument of a command is limited to 128 KiB; a photograph is larger."""
    page = (ASTRONAUT.parents[1] / "docs" / "service.md").read_text(encoding="utf-8")
    (commands,) = [block for block in re.findall(r"```sh\n(.*?)```", page, re.DOTALL) if "curl" in block]
    with Image.open(ASTRONAUT) as astronaut:
        astronaut.resize((1500, 1500)).save(tmp_path / "photo.jpg", quality=95)
    assert (tmp_path / "photo.jpg").stat().st_size > 2**18
    (tmp_path / "another.png").write_bytes(resized(64))
    script = commands.replace("127.0.0.1:8000", f"127.0.0.1:{client.base_url.port}")
    done = subprocess.run(["sh", "-ec", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    decoder = json.JSONDecoder()
    form_answer, end = decoder.raw_decode(done.stdout)
    json_answer, _ = decoder.raw_decode(done.stdout, end)
    assert [picture["name"] for picture in form_answer["pictures"]] == ["photo.jpg", "another.png"]
    assert json_answer["pictures"][0]["faces"] == form_answer["pictures"][0]["faces"] != []


def test_lone_surrogate_in_a_file_name_is_replaced(client):
    head = 'Content-Disposition: form-data; name="pictures"; filename="\\ud800.jpg"'
    body = b"--b\r\n" + head.encode() + b"\r\n\r\n" + PICTURE + b"\r\n--b--\r\n"
    media_type = "multipart/form-data; boundary=b; charset=unicode_escape"
    answer = client.post("/v1/recognize", content=body, headers={"Content-Type": media_type})
    assert answer.status_code == 200
    assert answer.json()["pictures"][0]["name"] == "?.jpg"


def test_own_model_and_other_detector_are_used(tmp_path):
    mine = tmp_path / "mine.onnx"
    mine.write_bytes(shipped_models()["small"].read_bytes())
    with client_of(model=str(mine), detector="none", token="open-sesame", workers=1) as client:
        answer = client.post("/v1/recognize", **astronaut_form(), headers=TOKEN).json()
        assert answer["model"] == "mine"
        assert answer["pictures"][0]["faces"][0]["box"] == [0, 0, 512, 512]
        models = client.get("/v1/models", headers=TOKEN).json()
        assert models["default"] == "mine"
        assert [model["name"] for model in models["models"]] == [*shipped_models(), "mine"]
        assert_error(client.get("/models/mine.onnx"), 401)
        assert client.get("/models/mine.onnx", headers=TOKEN).content == mine.read_bytes()
        assert client.get("/models/small.onnx").status_code == 200


def test_lowest_score_of_a_face_is_a_setting():
    with client_of(min_score=1.0, workers=1) as client:
        assert client.post("/v1/recognize", **astronaut_form()).json()["pictures"][0]["faces"] == []


def test_model_with_three_classes_is_served(write_classifier):
    classes = ["bored", "engaged", "away"]
    path = write_classifier(np.zeros((SIZE**2, 3), np.float32), np.float32([0, 3, 0]), classes=classes)
    with client_of(model=path, workers=1) as client:
        answer = client.post("/v1/recognize", **astronaut_form()).json()
        schemas.Answer.model_validate(answer)
        (face,) = answer["pictures"][0]["faces"]
        assert list(face["probabilities"]) == classes
        assert face["expression"] == "engaged"
        models = {model["name"]: model for model in client.get("/v1/models").json()["models"]}
        assert models[path.stem]["classes"] == list(models[path.stem]["colours"]) == classes


@pytest.mark.parametrize(
    ("request_", "status", "words"),
    [
        (form(("notes.jpg", b"not a picture")), 422, ["notes.jpg cannot be read as a picture", "JPEG, PNG"]),
        (form(("cut.jpg", PICTURE[:9000])), 422, ["cut.jpg cannot be read as a picture", "truncated"]),
        (
            form(("wide.png", png_header(600, 501))),
            422,
            ["wide.png", "600 x 501 pixels and 300,000 are allowed", "--max-pixels 300600"],
        ),
        (
            form(("bomb.png", png_header(50_000, 50_000))),
            422,
            ["bomb.png", "000,000 pixels and 300,000 are allowed"],
        ),
        (form(*[(f"{number}.jpg", PICTURE[:100]) for number in range(4)]), 413, ["3 pictures, got 4"]),
        ({"json": {"pictures": ["AAAA"] * 4}}, 413, ["3 pictures, got 4"]),
        ({"content": bytes(200_001), "headers": AS_JSON}, 413, ["200,000 bytes"]),
        ({"content": iter([bytes(999)] * 300), "headers": AS_JSON}, 413, ["200,000 bytes"]),
        (form(("big.jpg", PICTURE * 3)), 413, ["a request may have 200,000 bytes", "--max-bytes"]),
        ({"content": PICTURE, "headers": {"Content-Type": "image/jpeg"}}, 415, ["multipart/form-data", "image/jpeg"]),
        ({"content": b""}, 415, ["no media type"]),
        ({"content": b"{", "headers": AS_JSON}, 400, ["not JSON"]),
        ({"content": b"[" * 9_000, "headers": AS_JSON}, 400, ["not JSON"]),
        (
            {"content": b'{"pictures": [], "more": [%s{}]}' % (b"{}," * 20_000), "headers": AS_JSON},
            422,
            ['{"pictures": ["BASE64", ...]}'],
        ),
        ({"content": b"\xff\xfe{", "headers": AS_JSON}, 400, ["not JSON"]),
        ({"json": ["AAAA"]}, 422, ['{"pictures": ["BASE64", ...]}']),
        ({"json": {"pictures": "AAAA"}}, 422, ['{"pictures": ["BASE64", ...]}']),
        ({"json": {"pictures": ["AAAA", "no base64!"]}}, 422, ["picture 2 is not base64"]),
        ({"json": {"pictures": ["http://127.0.0.1/photo.jpg"]}}, 422, ["picture 1 is not base64"]),
        ({"json": {"pictures": ["file:///etc/passwd"]}}, 422, ["picture 1 is not base64"]),
        ({"json": {"pictures": []}}, 422, ["one or more files named pictures"]),
        ({"files": [("other", ("a.jpg", PICTURE))]}, 422, ["one or more files named pictures"]),
        ({"files": [("pictures", (None, b"text"))]}, 422, ["must be a file"]),
        ({"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}, 400, ["boundary"]),
        ({"content": b"x", "headers": {"Content-Type": "multipart/form-data; boundary=y"}}, 400, ["form"]),
    ],
)
def test_bad_request_gets_status_and_sentence(limited_client, request_, status, words):
    answer = limited_client.post("/v1/recognize", **request_)
    assert_error(answer, status, *words)
    assert limited_client.post("/v1/recognize", **astronaut_form()).status_code == 200


def test_body_over_the_limit_closes_the_connection(limited_client):
    answer = limited_client.post("/v1/recognize", content=bytes(200_001), headers=AS_JSON)
    assert (answer.status_code, answer.headers["Connection"]) == (413, "close")


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_other_method_gets_405_and_allow_header(client, method):
    answer = client.request(method, "/v1/recognize")
    assert_error(answer, 405, f"/v1/recognize does not accept {method}")
    assert answer.headers["Allow"] == "OPTIONS, POST"


def test_options_names_the_allowed_methods(client):
    answer = client.options("/v1/recognize")
    assert (answer.status_code, answer.headers["Allow"]) == (204, "OPTIONS, POST")


def test_empty_base64_gets_422(client):
    assert_error(client.post("/v1/recognize", json={"pictures": [""]}), 422, "picture 1 is empty")
