"""Callers that send nothing, too little or too much to a real `mien serve`, and the room that others still have."""

import contextlib
import json
import signal
import socket
import sys
import time
from pathlib import Path

import httpx
import pytest
from websockets.exceptions import ConnectionClosed

from mien.models.zoo import shipped_models
from tests.hosting import serve_process
from tests.service.conftest import PICTURE, assert_error, astronaut_form, read_metrics, websocket
from tests.waiting import LONG_S, until

pytestmark = pytest.mark.process

HALF_HEADER = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: "
HALF_BODY = b"POST /v1/recognize HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 999\r\n"
HALF_BODY += b"Content-Type: application/json\r\n\r\n{"


@pytest.fixture(scope="module")
def small():
    """A client of a service with short times and room for 20 connections and 3 WebSockets."""
    options = ("--workers", "1", "--queue", "2", "--max-pictures", "1", "--batch", "1", "--max-connections", "20")
    times = ("--header-timeout", "4", "--idle-timeout", "8", "--timeout", "20")
    with serve_process(*options, *times) as (process, client):
        client.process = process
        yield client
        process.send_signal(signal.SIGTERM)
        assert process.wait(LONG_S) == 0
        assert process.stderr.read() == ""


def connect(client, sent=b""):
    """Opens a connection and sends some bytes."""
    connection = socket.create_connection(("127.0.0.1", client.base_url.port), LONG_S)
    connection.sendall(sent)
    return connection


def is_closed(connection):
    """Waits until the service closes a connection without an answer."""
    with contextlib.suppress(ConnectionError):
        return connection.recv(1) == b""
    return True


@pytest.mark.parametrize("sent", [b"", HALF_HEADER, b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" + HALF_HEADER])
def test_connection_without_a_whole_header_is_closed(small, sent):
    with connect(small, sent) as connection:
        opened_s = time.monotonic()
        received = b""
        with contextlib.suppress(ConnectionError):
            while piece := connection.recv(4096):
                received += piece
        assert received.count(b"200 OK") == sent.count(b"GET") - sent.count(HALF_HEADER)
        assert time.monotonic() - opened_s > 0.5


def test_header_that_comes_letter_by_letter_is_cut_off(small):
    def is_cut_off():
        time.sleep(0.1)
        try:
            connection.sendall(b"G")
        except ConnectionError:
            return True
        return False

    with connect(small) as connection:
        until(is_cut_off, "the connection to be closed")


def test_more_idle_connections_than_allowed_leave_room_for_another_caller(small):
    with contextlib.ExitStack() as stack:
        for _ in range(60):
            stack.enter_context(connect(small, HALF_HEADER))
        time.sleep(1.1)
        with connect(small, b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n") as newcomer:
            assert newcomer.recv(4096).startswith(b"HTTP/1.1 200")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have one loopback address")
def test_connections_that_are_all_at_work_get_503_for_one_more():
    """The metrics come from another address: an idle connection of this one would give its place to the newcomer."""
    options = ("--workers", "1", "--max-caller-connections", "3")
    with serve_process(*options) as (_, client), contextlib.ExitStack() as stack:
        other = httpx.HTTPTransport(local_address="127.0.0.2")
        observer = stack.enter_context(httpx.Client(transport=other, base_url=client.base_url, timeout=LONG_S))
        for _ in range(3):
            stack.enter_context(connect(client, HALF_BODY))
        until(lambda: read_metrics(observer)["mien_in_work"] == 3, "three requests to be accepted")
        newcomer = stack.enter_context(connect(client))
        time.sleep(0.3)  # the refusal is on its way before the request is
        newcomer.sendall(HALF_BODY)
        answer = newcomer.recv(4096)
        assert newcomer.recv(4096) == b""
        assert answer.startswith(b"HTTP/1.1 503 ")
        assert json.loads(answer.partition(b"\r\n\r\n")[2]) == {
            "error": "too many connections are open: try again in a second"
        }


def test_caller_that_does_not_read_the_answer_is_cut_off():
    request = b"GET /models/small.onnx HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    with serve_process("--workers", "1", "--timeout", "1") as (_, client), connect(client, request * 10) as connection:
        until(lambda: read_metrics(client)["mien_connections"] == 1, "the connection to be closed")
        received = 0
        with contextlib.suppress(ConnectionError):
            while piece := connection.recv(2**20):
                received += len(piece)
        assert received < 10 * shipped_models()["small"].stat().st_size


def test_idle_websocket_is_closed_with_1001(small):
    with websocket(small) as frames:
        frames.send(PICTURE)
        assert json.loads(frames.recv(LONG_S))["faces"]
        with pytest.raises(ConnectionClosed, match=r"1001.* no frame came for 8 s"):
            frames.recv(LONG_S)


def test_idle_websocket_gives_its_place_to_a_new_one(small):
    with contextlib.ExitStack() as stack:
        first, *_ = [stack.enter_context(websocket(small)) for _ in range(3)]
        time.sleep(3.5)
        newcomer = stack.enter_context(websocket(small))
        newcomer.send(PICTURE)
        assert json.loads(newcomer.recv(LONG_S))["faces"]
        with pytest.raises(ConnectionClosed, match=r"1001.* others waited for a place"):
            first.recv(LONG_S)


def test_idle_websockets_of_a_caller_leave_room_for_its_requests():
    with (
        serve_process("--workers", "1", "--max-caller-connections", "3") as (_, client),
        contextlib.ExitStack() as stack,
    ):
        client.close()
        first, *others = [stack.enter_context(websocket(client)) for _ in range(3)]
        time.sleep(1.1)
        others[-1].send(PICTURE)
        assert json.loads(others[-1].recv(LONG_S))["faces"]
        with connect(client, b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n") as newcomer:
            assert newcomer.recv(4096).startswith(b"HTTP/1.1 200")
            with pytest.raises(ConnectionClosed):
                first.recv(LONG_S)
        others[-1].send(PICTURE)
        assert json.loads(others[-1].recv(LONG_S))["faces"]


def test_frame_over_the_limit_is_closed_with_1009_before_it_comes():
    with serve_process("--workers", "1", "--max-frame-bytes", "100000") as (_, client), websocket(client) as frames:
        frames.send(PICTURE[:50_000])
        assert "error" in json.loads(frames.recv(LONG_S))
        frames.send(bytes(100_001))
        with pytest.raises(ConnectionClosed, match="1009"):
            frames.recv(LONG_S)


def test_damaged_form_gets_400_and_logs_nothing(small):
    form = {"Content-Type": "multipart/form-data; boundary=x"}
    assert_error(small.post("/v1/recognize", content=b"[[[", headers=form), 400, "the form cannot be read")


def test_text_frame_that_is_not_utf8_is_closed_with_1007_and_logs_nothing(small):
    with websocket(small) as frames:
        frames.socket.sendall(b"\x81\x82" + bytes(4) + b"\xff\xfe")
        with pytest.raises(ConnectionClosed, match="1007"):
            frames.recv(LONG_S)


def test_bodies_of_all_callers_together_are_limited():
    options = ("--workers", "1", "--max-bytes", "300000", "--max-held-bytes", "300000")
    body = HALF_BODY.replace(b"999", b"290000") + bytes(250_000)
    with serve_process(*options) as (_, client), connect(client, body):
        until(lambda: read_metrics(client)["mien_held_bytes"] > 250_000, "the body to come")
        assert_error(client.post("/v1/recognize", **astronaut_form()), 503, "hold 250,", "try again")


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="only Linux tells the memory")
def test_metrics_have_the_memory_of_service_and_workers(small):
    lines = Path(f"/proc/{small.process.pid}/smaps_rollup").read_text().splitlines()
    alone = next(1024 * int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    assert alone + 20 * 2**20 < read_metrics(small)["mien_memory_bytes"] < alone + 2**30
