"""The WebSocket /v1/frames."""

import contextlib
import json

import pytest
from websockets.exceptions import ConnectionClosed

from mien.service import Limits
from tests.service.conftest import PICTURE, client_of, resized, websocket
from tests.waiting import LONG_S, until

pytestmark = pytest.mark.process


def test_frames_are_answered_in_order(limited_client, astronaut_record):
    sent = [resized(200), PICTURE, b"not a picture", "text", PICTURE * 3, resized(310)]
    with websocket(limited_client) as frames:
        for picture in sent:
            frames.send(picture)
        answers = [json.loads(frames.recv()) for _ in sent]
    assert [answer["frame"] for answer in answers] == [1, 2, 3, 4, 5, 6]
    assert [answer.get("width") for answer in answers] == [200, 512, None, None, None, 310]
    assert answers[1]["faces"] == astronaut_record["faces"]
    assert answers[1].keys() == {"frame", "width", "height", "faces"}
    assert "the frame cannot be read as a picture" in answers[2]["error"]
    assert "binary" in answers[3]["error"]
    assert "200,000 bytes" in answers[4]["error"]


def test_caller_that_leaves_before_an_answer_logs_no_error(limited_client, caplog):
    with websocket(limited_client) as frames:
        for _ in range(20):
            frames.send(b"not a picture")
    with websocket(limited_client) as frames:  # the service still answers
        frames.send(PICTURE)
        assert "faces" in json.loads(frames.recv())
    assert not [record for record in caplog.records if record.exc_info]


def test_websocket_beyond_the_limit_is_closed_with_1013():
    with client_of(limits=Limits(pictures=1, queue=1), workers=1, batch=1) as client, contextlib.ExitStack() as others:
        for _ in range(2):
            frames = others.enter_context(websocket(client))
            frames.send(PICTURE)
            assert json.loads(frames.recv(LONG_S))["faces"]
        with (
            websocket(client) as third,
            pytest.raises(ConnectionClosed, match=r"1013.* 2 other callers"),
        ):
            third.recv(LONG_S)
        others.close()
        until(lambda: is_frame_answered(client), "a closed WebSocket to be noticed")


def is_frame_answered(client):
    """Returns whether a new WebSocket is accepted and its frame recognised."""
    with websocket(client) as frames, contextlib.suppress(ConnectionClosed):
        frames.send(PICTURE)
        return "faces" in json.loads(frames.recv(LONG_S))
    return False
