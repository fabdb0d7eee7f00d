"""The WebSocket /v1/frames: one encoded picture per message, answered in order."""

from __future__ import annotations

import contextlib
import itertools
import json
import time
from collections.abc import Callable
from typing import Any

import anyio
from fastapi import APIRouter, HTTPException, WebSocket, WebSocketDisconnect
from starlette.types import Message

from mien.service.state import ServiceState
from mien.service.uploads import check_byte_count
from mien.service.worker import Picture

PATH = "/v1/frames"
GOING_AWAY = 1001
"""The WebSocket close code for a server that ends a connection it no longer needs (RFC 6455)."""
TRY_AGAIN_LATER = 1013
"""The WebSocket close code for an overloaded server (IANA WebSocket Close Code Number Registry)."""

router = APIRouter()


@router.websocket(PATH)
async def frames(websocket: WebSocket) -> None:
    """Answers each message, in order, until the caller leaves."""
    state: ServiceState = websocket.app.state.service
    await websocket.accept()
    with contextlib.suppress(WebSocketDisconnect), state.open_socket():  # the caller may leave before an answer
        if state.open_sockets > state.max_active and not state.close_idle_socket():  # each may hold half a frame
            reason = f"{state.max_active} other callers send frames already: try again later"
            await websocket.close(TRY_AGAIN_LATER, reason)
            return
        for number in itertools.count(1):
            message, reason = await _next_message(state, websocket)
            if reason:
                await websocket.close(GOING_AWAY, reason)
                return
            if message["type"] == "websocket.disconnect":
                return
            started, status = time.perf_counter(), 200
            try:
                with state.accept_request() as hold:
                    answer = await _recognize_frame(state, message.get("bytes"), hold)
                    del message  # the frame is not needed while the next one is awaited
                    await websocket.send_text(json.dumps({"frame": number, **answer}))
            except HTTPException as error:
                status = error.status_code
                await websocket.send_text(json.dumps({"frame": number, "error": error.detail}))
            state.metrics.count_response(PATH, status, time.perf_counter() - started)


async def _next_message(state: ServiceState, websocket: WebSocket) -> tuple[Message, str]:
    """Waits for a message. If none comes in time, or others need the place, the reason is not empty."""
    seconds = state.settings.limits.idle_seconds
    with state.idle_socket(seconds) as scope:
        return await websocket.receive(), ""
    if anyio.current_time() >= scope.deadline:
        return {}, f"no frame came for {seconds:g} s"
    return {}, "no frame came while others waited for a place: connect again to send one"


async def _recognize_frame(state: ServiceState, encoded: bytes | None, hold: Callable[[int], None]) -> dict[str, Any]:
    if encoded is None:
        raise HTTPException(415, "expected one encoded picture as a binary message, got a text message")
    limits = state.settings.limits
    limit, option = min((limits.frame_bytes, "--max-frame-bytes"), (limits.request_bytes, "--max-bytes"))
    check_byte_count(len(encoded), limit, "a picture", option)
    hold(len(encoded))
    (record,) = await state.recognize([Picture("the frame", encoded)])
    return {key: record[key] for key in ("width", "height", "faces")}
