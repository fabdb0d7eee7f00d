"""`mien serve` and `mien camera`."""

import base64
import dataclasses
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from typer.main import get_command

from mien import cli
from mien.service import Limits, Settings
from tests.cli.conftest import assert_sentence
from tests.hosting import serve_process
from tests.service.conftest import (
    PICTURE,
    TOKEN,
    assert_error,
    astronaut_form,
    form,
    read_metrics,
    sent_in_halves,
    websocket,
)
from tests.waiting import LONG_S, until

pytestmark = pytest.mark.process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_lets_accepted_requests_finish(number):
    may_finish = threading.Event()
    body = json.dumps({"pictures": [base64.b64encode(PICTURE).decode()]}).encode()
    with (
        # Workers wait for ten pictures. The tenth is sent in two halves.
        serve_process("--workers", "1", "--batch", "10", "--wait-ms", "600000", "--timeout", "600") as (
            process,
            client,
        ),
        ThreadPoolExecutor(9) as pool,
    ):
        with websocket(client) as frames:
            waiting = [pool.submit(client.post, "/v1/recognize", **astronaut_form()) for _ in range(8)]
            frames.send(PICTURE)
            halves = sent_in_halves(body, lambda: may_finish.wait(2 * LONG_S))
            waiting.append(pool.submit(client.post, "/v1/recognize", **halves))
            until(lambda: read_metrics(client)["mien_in_work"] == 10, "all ten requests to be accepted")
            process.send_signal(number)
            until(lambda: client.get("/readyz").status_code == 503, "the service to receive the signal")
            assert client.post("/v1/recognize", **astronaut_form()).status_code == 503
            assert not any(answer.done() for answer in waiting)
            may_finish.set()
            assert json.loads(frames.recv(LONG_S))["faces"]
            assert [answer.result().status_code for answer in waiting] == [200] * 9
        assert process.wait(LONG_S) == 0
        assert process.stderr.read() == ""
        with pytest.raises(httpx.ConnectError):
            client.get("/healthz")


def test_token_is_read_from_the_environment():
    with serve_process("--workers", "1", "--max-pictures", "2", MIEN_TOKEN="open-sesame") as (_, client):
        assert client.get("/v1/models").status_code == 401
        assert client.get("/v1/models", headers=TOKEN).status_code == 200
        many = form(*[("face.jpg", b"-")] * 3)
        assert_error(client.post("/v1/recognize", **many, headers=TOKEN), 413, "2 pictures, got 3")


def test_camera_opens_the_page_in_the_browser(tmp_path):
    browser, opened = tmp_path / "browser", tmp_path / "opened"
    stay_open = "while kill -0 $PPID 2> /dev/null; do sleep 0.1; done"  # some browsers block until they are closed
    browser.write_text(f'#!/bin/sh\necho "$1" > "{opened}.part" && mv "{opened}.part" "{opened}"\n{stay_open}\n')
    browser.chmod(0o755)
    process = subprocess.Popen(
        [sys.executable, "-m", "mien", "camera"],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"BROWSER": f"{browser} %s"},
    )
    try:
        page = re.search(r"http://127\.0\.0\.1:\d+/#camera", process.stdout.readline())[0]
        until(opened.exists, "the browser to be opened")
        assert opened.read_text().strip() == page
        assert "<title>" in httpx.get(page, timeout=LONG_S).text
        process.send_signal(signal.SIGINT)
        assert process.wait(LONG_S) == 0
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--host", "0.0.0.0"], ["0.0.0.0", "MIEN_TOKEN", "--no-token"]),
        (["--host", "faces.example"], ["faces.example", "MIEN_TOKEN"]),
        (["--host", "no-such-host.invalid", "--no-token"], ["cannot listen at no-such-host.invalid"]),
        (["--host", "x" * 200, "--no-token"], ["cannot listen at " + "x" * 80 + "..."]),
        (["--token", ""], ["visible ASCII"]),
        (["--token", "two words"], ["visible ASCII"]),
        (["--port", "0", "--model", "huge"], ["huge", "small"]),
        (["--port", "0", "--detector", "eyes"], ["eyes", "yunet"]),
        (["--port", "0", "--device", "cudo"], ["unknown device cudo", "cuda"]),
        (["--queue", "3"], ["raise the queue"]),
        (["--timeout", "0"], ["seconds must be above 0"]),
        (["--timeout", "inf"], ["seconds must be above 0 and finite"]),
    ],
)
def test_bad_option_gives_one_sentence(mien, monkeypatch, options, words):
    monkeypatch.delenv("MIEN_TOKEN", raising=False)
    code, _, err = mien("serve", *options)
    assert code == 2
    assert_sentence(err, *words)


def test_port_in_use_gives_one_sentence(mien, monkeypatch):
    monkeypatch.delenv("MIEN_TOKEN", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as other:
        code, _, err = mien("serve", "--port", other.getsockname()[1])
    assert code == 2
    assert_sentence(err, "the service cannot listen at 127.0.0.1 port", "in use; choose another host or port")


def test_options_have_the_defaults_of_settings():
    defaults = {option.name: option.default for option in get_command(cli.app).commands["serve"].params}
    limits, settings = dataclasses.asdict(Limits()), dataclasses.asdict(Settings())
    names = {"max_bytes": "request_bytes", "max_pixels": "pixels", "max_pictures": "pictures", "queue": "queue"}
    assert {name: defaults[name] for name in names} == {name: limits[of] for name, of in names.items()}
    assert defaults["timeout"] == limits["seconds"]
    for name in ("model", "detector", "device", "host", "port", "token", "batch", "wait_ms"):
        assert defaults[name] == settings[name]
