"""The route /metrics."""

import pytest

from tests.service.conftest import PICTURE, form, read_metrics, websocket

pytestmark = pytest.mark.process


def test_metrics_count_requests_pictures_and_faces(limited_client):
    before = read_metrics(limited_client)
    limited_client.post("/v1/recognize", **form(("astronaut.jpg", PICTURE), ("notes.jpg", b"not a picture")))
    limited_client.post("/v1/recognize", content=b"")
    with websocket(limited_client) as frames:
        frames.send(PICTURE)
        frames.recv()
    limited_client.get("/nothing/here")
    assert limited_client.get("/metrics").headers["Content-Type"].startswith("text/plain; version=")
    after = read_metrics(limited_client)

    def increase(name):
        return after[name] - before.get(name, 0)

    assert increase('mien_requests_total{route="/v1/recognize",status="200"}') == 1
    assert increase('mien_requests_total{route="/v1/recognize",status="415"}') == 1
    assert increase('mien_requests_total{route="/v1/frames",status="200"}') == 1
    assert increase('mien_requests_total{route="other",status="404"}') == 1
    assert increase('mien_pictures_total{result="recognised"}') == 2
    assert increase('mien_pictures_total{result="unreadable"}') == 1
    assert increase("mien_faces_total") == 2
    assert increase("mien_batch_pictures_sum") == 3
    assert increase('mien_request_seconds_count{route="/v1/recognize"}') == 2
    assert after["mien_queue_pictures"] == 0
