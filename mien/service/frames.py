"""The WebSocket /v1/frames: one encoded picture per message, answered in order."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from typing import Any

from fastapi import APIRouter, HTTPException, WebSocket, WebSocketDisconnect

from mien.service.state import ServiceState
from mien.service.uploads import check_byte_count
from mien.service.worker import Picture

PATH = "/v1/frames"
TRY_AGAIN_LATER = 1013
"""The WebSocket close code for an overloaded server (IANA WebSocket Close Code Number Registry)."""

router = APIRouter()


@router.websocket(PATH)
async def frames(websocket: WebSocket) -> None:
    """Answers each message, in order, until the caller leaves."""
    state: ServiceState = websocket.app.state.service
    await websocket.accept()
    with contextlib.suppress(WebSocketDisconnect), state.open_socket():  # the caller may leave before an answer
        if state.open_sockets > state.max_active:  # each may hold half a frame in memory
            reason = f"{state.max_active} other callers send frames already: try again later"
            await websocket.close(TRY_AGAIN_LATER, reason)
            return
        for number in itertools.count(1):
            message = await websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            started, status = time.perf_counter(), 200
            try:
                with state.accept_request():
                    answer = await _recognize_frame(state, message.get("bytes"))
                    await websocket.send_text(json.dumps({"frame": number, **answer}))
            except HTTPException as error:
                status = error.status_code
                await websocket.send_text(json.dumps({"frame": number, "error": error.detail}))
            state.metrics.count_response(PATH, status, time.perf_counter() - started)


async def _recognize_frame(state: ServiceState, encoded: bytes | None) -> dict[str, Any]:
    if encoded is None:
        raise HTTPException(415, "expected one encoded picture as a binary message, got a text message")
    check_byte_count(len(encoded), state.settings.limits.request_bytes, "a picture")
    (record,) = await state.recognize([Picture("the frame", encoded)])
    return {key: record[key] for key in ("width", "height", "faces")}
