"""Many callers, slow callers, and requests over the time limit."""

import socket
from concurrent.futures import ThreadPoolExecutor

import pytest

from mien.service import Limits, Settings, create_app
from tests.service.conftest import (
    assert_error,
    astronaut_form,
    client_of,
    form,
    read_metrics,
    resized,
    running,
    sent_in_halves,
)
from tests.waiting import LONG_S, until

pytestmark = pytest.mark.process


def test_concurrent_requests_are_batched_and_correct(hold):
    sides = [200 + 8 * number for number in range(8)]
    app = create_app(Settings(workers=1, limits=Limits(seconds=5 * LONG_S)))
    with running(app) as client, ThreadPoolExecutor(32) as pool:
        alone = {side: client.post("/v1/recognize", **form(("face.webp", resized(side)))).json() for side in sides}
        before = read_metrics(client)
        hold.begin()
        first, *others = [form(("face.webp", resized(side))) for side in sides * 4]
        answers = [pool.submit(client.post, "/v1/recognize", **first)]
        until(lambda: hold.is_reached, "the worker to have the first picture")
        answers += [pool.submit(client.post, "/v1/recognize", **each) for each in others]
        until(lambda: read_metrics(client)["mien_queue_pictures"] == 31, "all other pictures to be in the queue")
        hold.end()
        answers = [answer.result() for answer in answers]
        after = read_metrics(client)
    assert {answer.status_code for answer in answers} == {200}
    for answer, side in zip(answers, sides * 4, strict=True):
        (picture,), (lone,) = answer.json()["pictures"], alone[side]["pictures"]
        assert picture["width"] == side
        (face,), (expected,) = picture["faces"], lone["faces"]
        assert face["box"] == expected["box"]
        assert face["probabilities"] == pytest.approx(expected["probabilities"], abs=1e-5)
    assert after["mien_batch_pictures_sum"] - before["mien_batch_pictures_sum"] == 32
    assert (
        after["mien_batch_pictures_count"] - before["mien_batch_pictures_count"] == 1 + 8
    )  # the first alone, then 8 batches of 4


def test_overload_gets_503_and_retry_after(hold):
    limits = Limits(pictures=1, queue=4, seconds=5 * LONG_S)
    app = create_app(Settings(limits=limits, workers=1, batch=1))
    hold.begin()
    with running(app) as client, ThreadPoolExecutor(24) as pool:
        waiting = [pool.submit(client.post, "/v1/recognize", **astronaut_form()) for _ in range(24)]
        # Four wait and one is with the worker, if the worker took it before all others came.
        until(lambda: sum(answer.done() for answer in waiting) >= 19, "all other requests to be rejected")
        hold.end()
        answers = [answer.result() for answer in waiting]
        rejected = [answer for answer in answers if answer.status_code != 200]
        assert len(rejected) in (19, 20)
        for answer in rejected:
            assert_error(answer, 503, "try again")
            assert answer.headers["Retry-After"] == "1"
        assert client.get("/readyz").status_code == 200
        assert client.post("/v1/recognize", **astronaut_form()).status_code == 200


def test_unfinished_requests_count_as_active():
    head = b"POST /v1/recognize HTTP/1.1\r\nHost: localhost\r\n"
    head += b"Content-Type: application/json\r\nContent-Length: 99\r\n\r\n{"
    limits = Limits(pictures=1, queue=1, seconds=5 * LONG_S)  # the time limit must not end these requests
    with client_of(limits=limits, workers=1, batch=1) as client:
        address = ("127.0.0.1", client.base_url.port)
        with socket.create_connection(address) as one, socket.create_connection(address) as two:
            for connection in (one, two):
                connection.sendall(head)
            until(lambda: read_metrics(client)["mien_in_work"] == 2, "both requests to be accepted")
            assert_error(client.post("/v1/recognize", **astronaut_form()), 503, "2 requests")
        until(lambda: read_metrics(client)["mien_in_work"] == 0, "the service to notice the disconnects")
        assert client.post("/v1/recognize", **astronaut_form()).status_code == 200


def test_slow_request_gets_504(hold):
    app = create_app(Settings(limits=Limits(seconds=0.02), workers=1))
    hold.begin()
    with running(app) as client:
        assert_error(client.post("/v1/recognize", **astronaut_form()), 504, "0.02 s")
        name = 'mien_requests_total{route="/v1/recognize",status="504"}'

        def wait_for_answer():
            until(lambda: read_metrics(client).get(name) == 2, "an answer before the second half is sent")

        assert_error(client.post("/v1/recognize", **sent_in_halves(b"{}", wait_for_answer)), 504, "0.02 s")
        assert client.get("/healthz").status_code == 200
