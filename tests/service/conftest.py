"""Clients of a running service, requests, and helpers for the tests of the service."""

import functools
import io
import struct
import zlib
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from PIL import Image
from websockets.sync.client import connect

from mien.recognition import photo, records
from mien.recognition.recognizer import Recognizer
from mien.service import Limits, Settings, create_app, state
from tests.hosting import run
from tests.service.recognizers import Hold, held_recognizer
from tests.waiting import LONG_S

ASTRONAUT = Path(__file__).parents[2] / "examples" / "astronaut.jpg"
PICTURE = ASTRONAUT.read_bytes()
AS_JSON = {"Content-Type": "application/json"}
TOKEN = {"Authorization": "Bearer open-sesame"}


@contextmanager
def running(app):
    """Serves an application on a free loopback port and yields a client of it."""
    host = run(app)
    try:
        with httpx.Client(base_url=host.url, timeout=LONG_S) as client:
            yield client
    finally:
        host.stop()


def client_of(**settings):
    """Serves a service with these settings and yields a client of it."""
    return running(create_app(Settings(**settings)))


@pytest.fixture(scope="module")
def client():
    """A client of a service with default settings."""
    with client_of() as client:
        yield client


@pytest.fixture(scope="module")
def limited_client():
    """A client of a service with low limits."""
    limits = Limits(request_bytes=200_000, pixels=300_000, pictures=3, queue=64)
    with client_of(limits=limits, workers=1) as client:
        yield client


@pytest.fixture(scope="module")
def token_client():
    """A client of a service that needs TOKEN; the client does not send it."""
    with client_of(token="open-sesame", workers=1) as client:
        yield client


@pytest.fixture(scope="module")
def astronaut_record():
    """The answer for the astronaut, as computed in Python."""
    record = records.to_record("", photo.read(ASTRONAUT), Recognizer(threads=1)(ASTRONAUT))
    return {"name": "astronaut.jpg", **{key: record[key] for key in ("width", "height", "faces")}}


@pytest.fixture
def hold(tmp_path, monkeypatch):
    """Lets a test hold the workers of the services that it creates."""
    factory = functools.partial(functools.partial, held_recognizer, tmp_path)
    monkeypatch.setattr(state, "recognizer_factory", factory)
    hold = Hold(tmp_path)
    yield hold
    hold.end()


def form(*pictures):
    """The arguments of a form with one file per (name, bytes)."""
    return {"files": [("pictures", picture) for picture in pictures]}


def astronaut_form():
    return form(("astronaut.jpg", PICTURE))


def resized(side):
    """The astronaut as a square WebP, side in pixels."""
    stream = io.BytesIO()
    with Image.open(ASTRONAUT) as astronaut:
        astronaut.resize((side, side)).save(stream, "WEBP")
    return stream.getvalue()


def png_header(width, height):
    """A PNG of a few bytes whose header announces this size."""

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


def websocket(client, path="/v1/frames", **options):
    return connect(f"ws://127.0.0.1:{client.base_url.port}{path}", open_timeout=LONG_S, **options)


def sent_in_halves(body, between):
    """The arguments of a JSON request whose second half is sent after `between()` has returned."""
    half = len(body) // 2

    def parts():
        yield body[:half]
        between()
        yield body[half:]

    return {"content": parts(), "headers": AS_JSON}


def read_metrics(client):
    """The samples of /metrics: name with labels -> value."""
    lines = client.get("/metrics").text.splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def assert_error(answer, status, *words):
    """Checks the status of an answer, and that its JSON is one error sentence that holds these words."""
    assert answer.status_code == status, answer.text
    assert answer.json().keys() == {"error"}
    assert "\n" not in answer.json()["error"]
    assert all(word in answer.json()["error"] for word in words), answer.text
