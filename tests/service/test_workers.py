"""A worker process that dies while others call: one error of status 500, and nothing that anybody else notices."""

import functools
import json
import os
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from mien.service import Settings, create_app, state
from tests.service.conftest import assert_error, astronaut_form, client_of, form, read_metrics, running, websocket
from tests.service.recognizers import GREEN, RED, ColourRecognizer
from tests.service.test_batching import png
from tests.waiting import until

pytestmark = pytest.mark.process


@pytest.fixture
def colours(tmp_path, monkeypatch):
    """A client of a service whose workers crash at a red picture and raise an error at a green one."""
    factory = functools.partial(ColourRecognizer, tmp_path)
    monkeypatch.setattr(state, "recognizer_factory", lambda model, detector, min_score, device: factory)
    with client_of(workers=2) as client:
        yield client


def test_picture_that_crashes_a_worker_gets_500_and_other_callers_notice_nothing(colours, caplog):
    gray, red = form(("gray.png", png("gray"))), form(("red.png", png(RED)))
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda n: colours.post("/v1/recognize", **(red if n % 8 == 3 else gray)), range(48)))
    assert [answer.status_code for answer in answers] == [500 if n % 8 == 3 else 200 for n in range(48)]
    for answer in answers[3::8]:
        request_id = answer.headers["X-Request-Id"]
        assert_error(answer, 500, request_id, "log")
        assert any(request_id in text and "SIGSEGV at red.png" in text for text in caplog.messages)
    assert len({answer.headers["X-Request-Id"] for answer in answers}) == 48
    assert colours.get("/readyz").status_code == 200


def test_error_in_a_worker_gets_500_and_the_worker_goes_on(colours, caplog):
    answer = colours.post("/v1/recognize", **form(("green.png", png(GREEN))), headers={"X-Request-Id": "proxy-7.1"})
    assert answer.headers["X-Request-Id"] == "proxy-7.1"
    assert_error(answer, 500, "proxy-7.1")
    assert any("proxy-7.1" in text and "ZeroDivisionError: green" in text for text in caplog.messages)
    assert not any("ended by signal" in text for text in caplog.messages)


def test_request_id_that_is_not_plain_is_replaced(colours):
    for given in ("two words", "x" * 65, "a\tb", ""):
        assert len(colours.get("/healthz", headers={"X-Request-Id": given}).headers["X-Request-Id"]) == 16


def test_frame_that_crashes_a_worker_gets_an_error_and_the_next_one_its_answer(colours):
    with websocket(colours) as frames:
        request_id = frames.response.headers["X-Request-Id"]
        frames.send(png(RED))
        frames.send(png("gray"))
        error, answer = json.loads(frames.recv()), json.loads(frames.recv())
    assert error["frame"] == 1
    assert request_id in error["error"]
    assert (answer["frame"], answer["faces"]) == (2, [])
    assert read_metrics(colours)['mien_requests_total{route="/v1/frames",status="500"}'] == 1


def test_killed_workers_are_replaced_while_real_pictures_come():
    app = create_app(Settings(workers=2))
    batcher = app.state.service.batcher
    with running(app) as client, ThreadPoolExecutor(8) as pool:
        answers = [pool.submit(client.post, "/v1/recognize", **astronaut_form()) for _ in range(32)]
        until(lambda: sum(answer.done() for answer in answers) > 4, "the first answers")
        os.kill(batcher.worker_pids[0], signal.SIGKILL)
        statuses = [answer.result().status_code for answer in answers]
    # A batch of one picture fails with its worker; the pictures of a larger batch are tried again.
    assert statuses.count(200) >= 31
