"""The routes /healthz and /readyz."""

import pytest

from mien.service import Limits, Settings, create_app
from mien.service.worker import Picture
from tests.service.conftest import PICTURE, running
from tests.waiting import until

pytestmark = pytest.mark.process


def test_idle_service_is_alive_and_ready(client):
    alive, ready = client.get("/healthz"), client.get("/readyz")
    assert (alive.status_code, alive.json()) == (200, {"status": "alive"})
    assert (ready.status_code, ready.json()) == (200, {"status": "ready", "device": "cpu"})


def test_service_with_a_full_queue_is_not_ready(hold):
    app = create_app(Settings(limits=Limits(pictures=1, queue=1), workers=1, batch=1))
    batcher = app.state.service.batcher
    hold.begin()
    with running(app) as client:
        batcher.submit([Picture("with the worker", PICTURE)])
        until(lambda: hold.is_reached, "the worker to have the first picture")
        batcher.submit([Picture("in the queue", PICTURE)])
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()) == (503, {"status": "the queue is full"})
        hold.end()
        until(lambda: client.get("/readyz").status_code == 200, "the queue to be empty")


def test_service_that_shuts_down_is_not_ready():
    app = create_app(Settings(workers=1))
    with running(app) as client:
        app.state.service.is_closing = True
        answer = client.get("/readyz")
        assert (answer.status_code, answer.json()) == (503, {"status": "shutting down"})
        assert client.get("/healthz").status_code == 200
