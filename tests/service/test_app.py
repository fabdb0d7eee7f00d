"""The service over real HTTP: the same faces as in Python, and a status and one sentence for everything else."""

import base64
import contextlib
import dataclasses
import hashlib
import io
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import uvicorn
from fastapi import FastAPI
from PIL import Image
from typer.main import get_command
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from mien import cli
from mien.detection.blazeface import MODEL
from mien.errors import ConfigError, WeightsError
from mien.labels import EXPRESSIONS, class_colours
from mien.models.onnx_model import OnnxModel
from mien.models.zoo import shipped_models
from mien.recognition import photo, records
from mien.recognition.recognizer import Recognizer
from mien.service import app as serve
from mien.service import messages
from mien.service.access import HEADERS, names_of
from mien.service.batching import Limits
from tests.hosting import run
from tests.waiting import LONG_S, until

ASTRONAUT = Path(__file__).parents[2] / "examples" / "astronaut.jpg"
PICTURE = ASTRONAUT.read_bytes()
AS_JSON = {"Content-Type": "application/json"}
SMALL = Limits(request_bytes=200_000, pixels=300_000, pictures=3, queue=64)


@contextmanager
def running(app):
    """Serves an application on a free loopback port -> a client of it."""
    host = run(app)
    try:
        with httpx.Client(base_url=host.url, timeout=LONG_S) as client:
            yield client
    finally:
        host.stop()


def client_of(**settings):
    return running(serve.create_app(serve.Settings(**settings)))


@pytest.fixture(scope="module")
def client():
    with client_of() as client:
        yield client


@pytest.fixture(scope="module")
def small():
    """A service of small limits."""
    with client_of(limits=SMALL, workers=1) as client:
        yield client


@pytest.fixture(scope="module")
def guarded():
    """A service with a token."""
    with client_of(token="open-sesame", workers=1) as client:
        yield client


@pytest.fixture(scope="module")
def expected():
    """The record of the astronaut that Python gives."""
    record = records.to_record("", photo.read(ASTRONAUT), Recognizer(threads=1)(ASTRONAUT))
    return {"name": "astronaut.jpg", **{key: record[key] for key in ("width", "height", "faces")}}


def form(*pictures):
    """One file a picture: (name, bytes)."""
    return {"files": [("pictures", picture) for picture in pictures]}


def face():
    return form(("astronaut.jpg", PICTURE))


def resized(side):
    stream = io.BytesIO()
    with Image.open(ASTRONAUT) as astronaut:
        astronaut.resize((side, side)).save(stream, "WEBP")
    return stream.getvalue()


def bomb(width, height):
    """A PNG of a few bytes whose header promises that many pixels."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def websocket(client, path="/v1/frames", **options):
    return connect(f"ws://127.0.0.1:{client.base_url.port}{path}", open_timeout=LONG_S, **options)


class Held:
    """Takes the place of a service's recogniser: says when it has pictures, and answers once it may go on."""

    def __init__(self, app):
        recognizer = app.state.service.batcher._recognizer
        self._together, recognizer.recognize_batch = recognizer.recognize_batch, self
        self.has_pictures, self.go = threading.Event(), threading.Event()

    def __call__(self, images_rgb):
        self.has_pictures.set()
        self.go.wait(2 * LONG_S)
        return self._together(images_rgb)


def in_halves(body, between):
    """A request of JSON whose second half is sent once `between()` returns."""
    half = len(body) // 2

    def parts():
        yield body[:half]
        between()
        yield body[half:]

    return {"content": parts(), "headers": AS_JSON}


def samples(client):
    """The lines of /metrics: name with labels -> value."""
    lines = client.get("/metrics").text.splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def assert_sentence(answer, status, *words):
    assert answer.status_code == status, answer.text
    assert answer.json().keys() == {"error"}
    assert "\n" not in answer.json()["error"]
    assert all(word in answer.json()["error"] for word in words), answer.text


def test_a_form_gets_what_python_gives(client, expected):
    answer = client.post("/v1/recognize", **face())
    assert answer.status_code == 200
    assert answer.json() == {"model": "small", "pictures": [expected]}


def test_several_pictures_are_answered_in_the_order_sent(client, expected):
    sent = [("astronaut.jpg", PICTURE), ("notes.jpg", b"no picture at all"), ("small.webp", resized(300))]
    answer = client.post("/v1/recognize", **form(*sent))
    astronaut, notes, webp = answer.json()["pictures"]
    assert answer.status_code == 200
    assert astronaut == expected
    assert notes == messages.EXAMPLE["pictures"][1]
    assert (webp["name"], webp["width"], webp["height"], len(webp["faces"])) == ("small.webp", 300, 300, 1)


def test_json_gets_the_same(client, expected):
    encoded = base64.b64encode(PICTURE).decode()
    answer = client.post("/v1/recognize", json={"pictures": [encoded, f"data:image/jpeg;base64,{encoded}"]})
    assert answer.status_code == 200
    assert answer.json()["pictures"] == [expected | {"name": f"picture {number}"} for number in (1, 2)]


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


def test_another_model_and_detector(tmp_path):
    mine = tmp_path / "mine.onnx"
    mine.write_bytes(shipped_models()["small"].read_bytes())
    with client_of(model=str(mine), detector="none", token="open-sesame", workers=1) as client:
        knows = {"Authorization": "Bearer open-sesame"}
        answer = client.post("/v1/recognize", **face(), headers=knows).json()
        assert answer["model"] == "mine"
        assert answer["pictures"][0]["faces"][0]["box"] == [0, 0, 512, 512]
        listed = client.get("/v1/models", headers=knows).json()
        assert listed["default"] == "mine"
        assert [model["name"] for model in listed["models"]] == [*shipped_models(), "mine"]
        assert_sentence(client.get("/models/mine.onnx"), 401)
        assert client.get("/models/mine.onnx", headers=knows).content == mine.read_bytes()
        assert client.get("/models/small.onnx").status_code == 200


def test_the_answer_and_its_example_are_as_openapi_says(client):
    document = client.get("/openapi.json").json()
    described = document["paths"]["/v1/recognize"]["post"]["responses"]
    assert described["200"]["content"]["application/json"]["example"] == messages.EXAMPLE
    assert {"401", "413", "415", "422", "503", "504"} <= described.keys()
    messages.Answer.model_validate(messages.EXAMPLE)
    answer = client.post("/v1/recognize", **face()).json()
    messages.Answer.model_validate(answer)
    (real,), (example,) = answer["pictures"][0]["faces"], messages.ASTRONAUT["faces"]
    assert real["probabilities"] == pytest.approx(example["probabilities"], abs=0.01)
    assert real["box"] == pytest.approx(example["box"], abs=1)
    messages.Models.model_validate(client.get("/v1/models").json())
    sent = document["paths"]["/v1/recognize"]["post"]["requestBody"]["content"]["application/json"]["example"]
    assert client.post("/v1/recognize", json=sent).json()["pictures"][0]["faces"] == []
    page = client.get("/docs").text
    assert "openapi.json" in page
    parts = re.findall(r'(?:src|href)="([^"]+)"', page)
    assert [path.rpartition(".")[2] for path in parts] == ["css", "png", "js"]
    assert all(client.get(path).status_code == 200 for path in parts)  # of this host: it may have no other


@pytest.mark.parametrize(
    ("request_", "status", "words"),
    [
        (form(("notes.jpg", b"no picture")), 422, ["notes.jpg cannot be read as a picture", "JPEG, PNG"]),
        (form(("cut.jpg", PICTURE[:9000])), 422, ["cut.jpg cannot be read as a picture", "truncated"]),
        (form(("wide.png", bomb(600, 501))), 422, ["wide.png", "600 x 501 pixels and 300,000 are allowed"]),
        (form(("bomb.png", bomb(50_000, 50_000))), 422, ["bomb.png", "more than the 300,000 pixels"]),
        (form(*[(f"{number}.jpg", PICTURE[:100]) for number in range(4)]), 413, ["3 pictures, got 4"]),
        ({"json": {"pictures": ["AAAA"] * 4}}, 413, ["3 pictures, got 4"]),
        ({"content": bytes(200_001), "headers": AS_JSON}, 413, ["200,000 bytes"]),
        (
            {"content": iter([bytes(999)] * 300), "headers": AS_JSON},
            413,
            ["200,000 bytes"],
        ),
        (form(("big.jpg", PICTURE * 3)), 413, ["a request may have 200,000 bytes"]),
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
        ({"json": {"pictures": ["AAAA", "no base64"]}}, 422, ["picture 2 is not base64"]),
        ({"json": {"pictures": []}}, 422, ["one or more files named pictures"]),
        ({"files": [("other", ("a.jpg", PICTURE))]}, 422, ["one or more files named pictures"]),
        ({"files": [("pictures", (None, b"text"))]}, 422, ["must be a file"]),
        ({"content": b"x", "headers": {"Content-Type": "multipart/form-data"}}, 400, ["boundary"]),
        ({"content": b"x", "headers": {"Content-Type": "multipart/form-data; boundary=y"}}, 400, ["form"]),
    ],
)
def test_what_is_not_a_picture_within_the_limits_gets_its_status(small, request_, status, words):
    answer = small.post("/v1/recognize", **request_)
    assert_sentence(answer, status, *words)
    assert small.post("/v1/recognize", **face()).status_code == 200


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_pictures_are_posted(client, method):
    answer = client.request(method, "/v1/recognize")
    assert_sentence(answer, 405, f"{method} is not what /v1/recognize takes")
    assert answer.headers["Allow"] == "POST"


def test_a_request_has_only_so_much_time():
    app = serve.create_app(serve.Settings(limits=Limits(seconds=0.02), workers=1))
    held = Held(app)
    with running(app) as client:
        assert_sentence(client.post("/v1/recognize", **face()), 504, "0.02 s")
        name = 'mien_requests_total{route="/v1/recognize",status="504"}'
        slowly = in_halves(
            b'{"pictures": []}', lambda: until(lambda: samples(client).get(name) == 2, "an answer to the first half")
        )
        assert_sentence(client.post("/v1/recognize", **slowly), 504, "0.02 s")
        assert client.get("/healthz").status_code == 200
        held.go.set()


def test_stuck_workers_are_not_ready_and_do_not_keep_it_from_stopping():
    app = serve.create_app(serve.Settings(limits=Limits(seconds=0.2), workers=1))
    held = Held(app)

    def stuck():
        assert_sentence(client.post("/v1/recognize", **face()), 504, "0.2 s")  # perhaps before a worker has it
        return client.get("/readyz").status_code != 200

    with running(app) as client:
        assert client.get("/readyz").status_code == 200
        until(stuck, "the worker to be stuck")
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()) == (503, {"status": "the workers are stuck"})
        assert client.get("/healthz").status_code == 200
        told_s = time.monotonic()
    assert time.monotonic() - told_s < 10
    held.go.set()


def test_a_token_is_asked_for(guarded):
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"Authorization": "Basic open-sesame"}):
        for answer in (
            guarded.post("/v1/recognize", **face(), headers=headers),
            guarded.get("/v1/models", headers=headers),
        ):
            assert_sentence(answer, 401, "token")
            assert answer.headers["WWW-Authenticate"] == "Bearer"
    assert guarded.post("/v1/recognize?token=open-sesame", **face()).status_code == 401
    right = {"Authorization": "Bearer open-sesame"}
    assert guarded.post("/v1/recognize", **face(), headers=right).status_code == 200
    for path in ("/healthz", "/readyz", "/metrics", "/docs", "/openapi.json", "/", "/models/small.onnx"):
        assert guarded.get(path).status_code == 200, path


def test_a_websocket_is_asked_for_the_token_too(guarded):
    for path, headers in (
        ("/v1/frames?token=open-sesame", {}),
        ("/v1/frames", {"Authorization": "Bearer open-sesame"}),
    ):
        with websocket(guarded, path, additional_headers=headers) as frames:
            frames.send(PICTURE)
            assert json.loads(frames.recv())["frame"] == 1
    for path in ("/v1/frames", "/v1/frames?token=wrong", "/v1/frames?token="):
        with pytest.raises(InvalidStatus) as refused, websocket(guarded, path):
            pass
        assert refused.value.response.status_code == 401
        assert b"token" in refused.value.response.body


def test_other_names_and_other_sites_are_refused(client):
    for host in ("evil.example", "127.0.0.1.evil.example", "", "[bad"):
        assert_sentence(client.get("/healthz", headers={"Host": host}), 421, "localhost")
    for host in ("localhost", "LOCALHOST:1", "[::1]:8000"):
        assert client.get("/healthz", headers={"Host": host}).status_code == 200
    # The last is another program's page on this machine.
    for origin in ("https://evil.example", "null", "http://localhost.evil.example", "http://127.0.0.1:3"):
        assert_sentence(client.post("/v1/recognize", **face(), headers={"Origin": origin}), 403, origin)
        with pytest.raises(InvalidStatus) as refused, websocket(client, origin=origin):
            pass
        assert refused.value.response.status_code == 403
    with websocket(client, origin=f"http://127.0.0.1:{client.base_url.port}") as frames:
        frames.send(PICTURE)
        assert json.loads(frames.recv())["faces"]


def test_ones_own_model_of_a_shipped_name_needs_the_token(masked, tmp_path):
    own = tmp_path / "small.onnx"
    own.write_bytes(masked.read_bytes())
    with client_of(model=own, token="open-sesame", workers=1) as client:
        assert client.get("/models/small.onnx").status_code == 401
        assert client.get("/models/tiny.onnx").status_code == 200
        known = {"Authorization": "Bearer open-sesame"}
        assert client.get("/models/small.onnx", headers=known).content == own.read_bytes()


def test_a_name_of_halves_of_characters(client):
    head = 'Content-Disposition: form-data; name="pictures"; filename="\\ud800.jpg"'
    body = b"--b\r\n" + head.encode() + b"\r\n\r\n" + PICTURE + b"\r\n--b--\r\n"
    kind = "multipart/form-data; boundary=b; charset=unicode_escape"
    answer = client.post("/v1/recognize", content=body, headers={"Content-Type": kind})
    assert answer.status_code == 200
    assert answer.json()["pictures"][0]["name"] == "?.jpg"


def test_a_service_for_all_addresses_answers_to_every_name():
    assert names_of("0.0.0.0") is None
    assert names_of("::") is None
    assert "faces.example" in names_of("Faces.example")
    with client_of(host="0.0.0.0", token="open-sesame", workers=1) as client:
        assert client.get("/healthz", headers={"Host": "faces.example"}).status_code == 200
        ours = {"Host": "faces.example", "Authorization": "Bearer open-sesame"}
        assert client.get("/v1/models", headers=ours | {"Origin": "https://faces.example"}).status_code == 200
        assert client.get("/v1/models", headers=ours | {"Origin": "https://evil.example"}).status_code == 403


def test_only_so_many_may_send_frames():
    """Each may have half a frame in memory."""
    with client_of(limits=Limits(pictures=1, queue=1), workers=1, batch=1) as client, contextlib.ExitStack() as others:
        for _ in range(2):
            frames = others.enter_context(websocket(client))
            frames.send(PICTURE)
            assert json.loads(frames.recv(LONG_S))["faces"]
        with websocket(client) as third, pytest.raises(ConnectionClosed, match=r"1013.* 2 others send frames already"):
            third.recv(LONG_S)
        others.close()
        until(lambda: answered(client), "one of them to be gone")


def answered(client):
    """Whether a frame gets its answer."""
    with websocket(client) as frames, contextlib.suppress(ConnectionClosed):
        frames.send(PICTURE)
        return "faces" in json.loads(frames.recv(LONG_S))
    return False


def test_frames_are_answered_in_order(small, expected):
    sent = [resized(200), PICTURE, b"no picture", "text", PICTURE * 3, resized(320)]
    with websocket(small) as frames:
        for picture in sent:
            frames.send(picture)
        answers = [json.loads(frames.recv()) for _ in sent]
    assert [answer["frame"] for answer in answers] == [1, 2, 3, 4, 5, 6]
    assert [answer.get("width") for answer in answers] == [200, 512, None, None, None, 320]
    assert answers[1]["faces"] == expected["faces"]
    assert answers[1].keys() == {"frame", "width", "height", "faces"}
    assert "the frame cannot be read as a picture" in answers[2]["error"]
    assert "binary" in answers[3]["error"]
    assert "200,000 bytes" in answers[4]["error"]


def test_a_caller_who_leaves_before_a_refusal_is_no_error(small, caplog):
    with websocket(small) as frames:
        for _ in range(20):
            frames.send(b"no picture")
    with websocket(small) as frames:  # the service goes on
        frames.send(PICTURE)
        assert "faces" in json.loads(frames.recv())
    assert not [record for record in caplog.records if record.exc_info]


def test_metrics_count(small):
    before = samples(small)
    small.post("/v1/recognize", **form(("astronaut.jpg", PICTURE), ("none.jpg", b"none")))
    small.post("/v1/recognize", content=b"")
    with websocket(small) as frames:
        frames.send(PICTURE)
        frames.recv()
    small.get("/nothing/here")
    after = samples(small)

    def more(name):
        return after[name] - before.get(name, 0)

    assert more('mien_requests_total{route="/v1/recognize",status="200"}') == 1
    assert more('mien_requests_total{route="/v1/recognize",status="415"}') == 1
    assert more('mien_requests_total{route="/v1/frames",status="200"}') == 1
    assert more('mien_requests_total{route="other",status="404"}') == 1
    assert more('mien_pictures_total{result="recognised"}') == 2
    assert more('mien_pictures_total{result="unreadable"}') == 1
    assert more("mien_faces_total") == 2
    assert more("mien_batch_pictures_sum") == 3
    assert more('mien_request_seconds_count{route="/v1/recognize"}') == 2
    assert after["mien_queue_pictures"] == 0


def test_models_say_what_a_page_needs(client):
    answer = client.get("/v1/models").json()
    assert answer["default"] == "small"
    described = {model["name"]: model for model in answer["models"]}
    assert described.keys() == shipped_models().keys()
    network = OnnxModel("small")
    assert described["small"] == {
        "name": "small",
        "network": network.title,
        "classes": list(EXPRESSIONS),
        "colours": class_colours(EXPRESSIONS),
        "preprocessing": network.preprocessing.to_dict(),
        "calibration": network.calibration.to_dict(),
        "file": "/models/small.onnx",
    }


def test_model_files_are_served_and_kept(client):
    for path in (MODEL, *shipped_models().values()):
        answer = client.get(f"/models/{path.name}")
        assert hashlib.sha256(answer.content).digest() == hashlib.sha256(path.read_bytes()).digest()
        assert answer.headers["Cache-Control"] == "no-cache"
        kept = client.get(f"/models/{path.name}", headers={"If-None-Match": answer.headers["ETag"]})
        assert (kept.status_code, kept.content) == (304, b"")
        assert client.head(f"/models/{path.name}").headers["Content-Length"] == str(path.stat().st_size)
    for name in ("large.onnx", "small.md", "..%2F..%2F__init__.py"):
        assert client.get(f"/models/{name}").status_code == 404


def test_the_pages_files_are_asked_for_again(client):
    """Or a browser would keep some of them for days after an upgrade, and fetch others anew."""
    page = client.get("/")
    assert "<title>" in page.text
    for name in ("", *re.findall(r'(?:src|href)="([^":#]+)"', page.text)):
        answer = client.get(f"/{name}")
        assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-cache"), name
        kept = client.get(f"/{name}", headers={"If-None-Match": answer.headers["ETag"]})
        assert (kept.status_code, kept.headers["Cache-Control"]) == (304, "no-cache")


def test_every_answer_isolates_its_page_and_says_no_more_than_a_sentence(monkeypatch, tmp_path):
    (tmp_path / "index.html").write_text("<title>mien</title>")
    (tmp_path / "engine.wasm").write_bytes(b"\0asm")
    monkeypatch.setattr(serve, "PAGE", tmp_path)
    app = serve.create_app(serve.Settings(token="open-sesame", workers=1))
    monkeypatch.setattr(app.state.service, "name", None)  # nothing can be described then: a bug
    monkeypatch.setattr(type(app.state.service), "described", property(lambda self: 1 / 0))
    with running(app) as client:
        page = client.get("/")
        assert page.text == "<title>mien</title>"
        wasm = client.get("/engine.wasm")
        assert wasm.headers["Content-Type"] == "application/wasm"
        bug = client.get("/v1/models", headers={"Authorization": "Bearer open-sesame"})
        assert_sentence(bug, 500, "log")
        nothing, wrong = client.get("/nothing"), client.put("/healthz")
        assert_sentence(nothing, 404, "/nothing")
        assert_sentence(wrong, 405, "PUT")
        others = [client.get(path) for path in ("/v1/models", "/healthz", "/metrics", "/docs", "/models/small.onnx")]
        for answer in (page, wasm, bug, nothing, wrong, *others):
            assert {name: answer.headers[name] for name in HEADERS} == HEADERS


def test_it_can_be_mounted_in_another_application(expected):
    outer = FastAPI()
    outer.mount("/faces", serve.create_app(serve.Settings(token="open-sesame", workers=1)))
    with running(outer) as client:
        assert client.post("/faces/v1/recognize", **face()).status_code == 401
        answer = client.post("/faces/v1/recognize", **face(), headers={"Authorization": "Bearer open-sesame"})
        assert answer.json()["pictures"] == [expected]


def test_many_callers_at_once_are_all_right_and_batched():
    sides = [200 + 8 * number for number in range(8)]
    app = serve.create_app(serve.Settings(workers=1, limits=Limits(seconds=5 * LONG_S)))
    with running(app) as client, ThreadPoolExecutor(32) as pool:
        alone = {side: client.post("/v1/recognize", **form(("face.webp", resized(side)))).json() for side in sides}
        before = samples(client)
        held = Held(app)
        first, *others = [form(("face.webp", resized(side))) for side in sides * 4]
        answers = [pool.submit(client.post, "/v1/recognize", **first)]
        assert held.has_pictures.wait(LONG_S)
        answers += [pool.submit(client.post, "/v1/recognize", **each) for each in others]
        until(lambda: samples(client)["mien_queue_pictures"] == 31, "all other pictures to be in the queue")
        held.go.set()
        answers = [answer.result() for answer in answers]
        after = samples(client)
    assert {answer.status_code for answer in answers} == {200}
    for answer, side in zip(answers, sides * 4, strict=True):
        (picture,), (lone,) = answer.json()["pictures"], alone[side]["pictures"]
        assert picture["width"] == side
        (found,), (wanted,) = picture["faces"], lone["faces"]
        assert found["box"] == wanted["box"]
        assert found["probabilities"] == pytest.approx(wanted["probabilities"], abs=1e-5)
    assert after["mien_batch_pictures_sum"] - before["mien_batch_pictures_sum"] == 32
    assert after["mien_batch_pictures_count"] - before["mien_batch_pictures_count"] == 1 + 8  # of four each


def test_overload_is_said_and_nothing_breaks():
    limits = Limits(pictures=1, queue=4, seconds=5 * LONG_S)
    app = serve.create_app(serve.Settings(limits=limits, workers=1, batch=1))
    held = Held(app)
    with running(app) as client, ThreadPoolExecutor(24) as pool:
        waiting = [pool.submit(client.post, "/v1/recognize", **face()) for _ in range(24)]
        # Four wait and one is with the worker, unless it has taken that one only after the others came.
        until(lambda: sum(answer.done() for answer in waiting) >= 19, "all others to be refused")
        held.go.set()
        answers = [answer.result() for answer in waiting]
        refused = [answer for answer in answers if answer.status_code != 200]
        assert len(refused) in (19, 20)
        for answer in refused:
            assert_sentence(answer, 503, "try again")
            assert answer.headers["Retry-After"] == "1"
        assert client.get("/readyz").status_code == 200
        assert client.post("/v1/recognize", **face()).status_code == 200


def test_callers_that_send_slowly_cannot_fill_memory():
    head = b"POST /v1/recognize HTTP/1.1\r\nHost: localhost\r\n"
    head += b"Content-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
    # Their time is not over before they are gone.
    with client_of(limits=Limits(pictures=1, queue=1, seconds=5 * LONG_S), workers=1, batch=1) as client:
        address = ("127.0.0.1", client.base_url.port)
        with socket.create_connection(address) as one, socket.create_connection(address) as two:
            for slow in (one, two):
                slow.sendall(head)
            until(lambda: samples(client)["mien_in_work"] == 2, "both to be accepted")
            assert_sentence(client.post("/v1/recognize", **face()), 503, "2 requests")
        until(lambda: samples(client)["mien_in_work"] == 0, "the service to see that their callers are gone")
        assert client.post("/v1/recognize", **face()).status_code == 200


@contextmanager
def command(*options, **environment):
    """`mien serve` in a process of its own -> the process and a client."""
    process = subprocess.Popen(
        [sys.executable, "-m", "mien", "serve", "--port", "0", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | environment,
    )
    try:
        url = re.search(r"http://\S+?(?=,)", process.stdout.readline())[0]
        with httpx.Client(base_url=url, timeout=LONG_S) as client:
            yield process, client
    finally:
        process.kill()
        process.communicate()


def test_the_cameras_page_is_opened_in_the_browser(tmp_path):
    browser, seen = tmp_path / "browser", tmp_path / "seen"
    stays_open = "while kill -0 $PPID 2> /dev/null; do sleep 0.1; done"  # as a browser that was not running before
    browser.write_text(f'#!/bin/sh\necho "$1" > "{seen}.part" && mv "{seen}.part" "{seen}"\n{stays_open}\n')
    browser.chmod(0o755)
    process = subprocess.Popen(
        [sys.executable, "-m", "mien", "camera"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"BROWSER": f"{browser} %s"},
    )
    try:
        page = re.search(r"http://127\.0\.0\.1:\d+/#camera", process.stdout.readline())[0]
        until(seen.exists, "the browser to be opened")
        assert seen.read_text().strip() == page
        assert "<title>" in httpx.get(page, timeout=LONG_S).text
        process.send_signal(signal.SIGINT)
        assert process.wait(LONG_S) == 0
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_finishes_what_it_accepted(number):
    last = threading.Event()
    body = json.dumps({"pictures": [base64.b64encode(PICTURE).decode()]}).encode()
    with (
        # No picture is recognised before the tenth is there, which is sent in two halves.
        command("--workers", "1", "--batch", "10", "--wait-ms", "600000", "--timeout", "600") as (process, client),
        ThreadPoolExecutor(9) as pool,
    ):
        with websocket(client) as frames:
            waiting = [pool.submit(client.post, "/v1/recognize", **face()) for _ in range(8)]
            frames.send(PICTURE)
            slowly = in_halves(body, lambda: last.wait(2 * LONG_S))
            waiting.append(pool.submit(client.post, "/v1/recognize", **slowly))
            until(lambda: samples(client)["mien_in_work"] == 10, "all ten to be accepted")
            process.send_signal(number)
            until(lambda: client.get("/readyz").status_code == 503, "the service to be told")
            assert client.post("/v1/recognize", **face()).status_code == 503
            assert not any(answer.done() for answer in waiting)
            last.set()
            assert json.loads(frames.recv(LONG_S))["faces"]
            assert [answer.result().status_code for answer in waiting] == [200] * 9
        assert process.wait(LONG_S) == 0
        assert process.stderr.read() == ""
        with pytest.raises(httpx.ConnectError):
            client.get("/healthz")


def test_it_can_be_told_to_stop_before_it_listens(monkeypatch):
    """As by a supervisor that changes its mind: no server would hear of it by itself yet."""
    run_server = uvicorn.Server.run

    def told(self, sockets):
        os.kill(os.getpid(), signal.SIGTERM)
        run_server(self, sockets)

    monkeypatch.setattr(uvicorn.Server, "run", told)
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    again = threading.Timer(LONG_S, os.kill, (os.getpid(), signal.SIGTERM))
    again.start()
    try:
        serve.serve(serve.Settings(port=0, workers=1), lambda url: None)
        assert again.is_alive()
    finally:
        again.cancel()
        for number, handler in before.items():
            signal.signal(number, handler)


def test_the_token_need_not_stand_in_the_process_list():
    with command("--workers", "1", "--max-pictures", "2", MIEN_TOKEN="open-sesame") as (_, client):
        assert client.get("/v1/models").status_code == 401
        knows = {"Authorization": "Bearer open-sesame"}
        assert client.get("/v1/models", headers=knows).status_code == 200
        many = form(*[("face.jpg", b"-")] * 3)
        assert_sentence(client.post("/v1/recognize", **many, headers=knows), 413, "2 pictures, got 3")


@pytest.fixture
def call(monkeypatch, capsys):
    """Calls `mien serve` in this process, which must end by itself -> exit code and the sentence."""

    def call(*options):
        monkeypatch.setattr(sys, "argv", ["mien", "serve", *map(str, options)])
        monkeypatch.delenv("MIEN_TOKEN", raising=False)
        with pytest.raises(SystemExit) as end:
            cli.main()
        return end.value.code, capsys.readouterr().err

    return call


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--host", "0.0.0.0"], ["0.0.0.0", "MIEN_TOKEN", "--no-token"]),
        (["--host", "faces.example"], ["faces.example", "MIEN_TOKEN"]),
        (["--host", "no-such-host.invalid", "--no-token"], ["cannot listen at no-such-host.invalid"]),
        (["--token", ""], ["visible ASCII"]),
        (["--token", "two words"], ["visible ASCII"]),
        (["--port", "0", "--model", "huge"], ["unknown model huge"]),
        (["--port", "0", "--detector", "eyes"], ["no detector eyes"]),
        (["--queue", "3"], ["raise the queue"]),
        (["--timeout", "0"], ["seconds must be above 0"]),
        (["--timeout", "inf"], ["seconds must be above 0 and finite"]),
    ],
)
def test_what_cannot_be_served_is_one_sentence(call, options, words):
    code, err = call(*options)
    assert code == 2
    assert err.startswith("mien: ")
    assert err.count("\n") == 1
    assert all(word in err for word in words), err


def test_a_port_in_use_is_one_sentence(call):
    with socket.create_server(("127.0.0.1", 0)) as other:
        code, err = call("--port", other.getsockname()[1])
    assert code == 2
    assert re.fullmatch(
        r"mien: the service cannot listen at 127\.0\.0\.1 port \d+: .* in use; choose another port\n", err
    )


def test_settings_without_a_token_stay_on_this_machine():
    for host in ("127.0.0.1", "localhost", "::1", "127.0.0.53"):
        assert serve.Settings(host=host)
    with pytest.raises(ConfigError, match="other machines reach"):
        serve.Settings(host="192.0.2.1")
    assert serve.Settings(host="192.0.2.1", token="open-sesame")
    with pytest.raises(ConfigError, match="one worker or more"):
        serve.Settings(workers=0)
    with pytest.raises(WeightsError, match="unknown model"):
        serve.create_app(serve.Settings(model="huge"))


def test_the_command_has_the_defaults_of_python():
    given = {option.name: option.default for option in get_command(cli.app).commands["serve"].params}
    limits, settings = dataclasses.asdict(Limits()), dataclasses.asdict(serve.Settings())
    names = {"max_bytes": "request_bytes", "max_pixels": "pixels", "max_pictures": "pictures", "queue": "queue"}
    assert {name: given[name] for name in names} == {name: limits[of] for name, of in names.items()}
    assert given["timeout"] == limits["seconds"]
    for name in ("model", "detector", "host", "port", "token", "batch", "wait_ms"):
        assert given[name] == settings[name]


def test_old_import_path_still_works_with_a_warning():
    code = "import warnings; warnings.simplefilter('error'); from mien.deploy.serve import create_app"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "DeprecationWarning: mien.deploy.serve is deprecated" in done.stderr
    code = "from mien.deploy.serve import create_app; from mien.service import app; assert create_app is app.create_app"
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=False).returncode == 0
