"""Connections that send nothing, too little or too much are closed, so that there is always room for other callers."""

from __future__ import annotations

import asyncio
import json
import math
import time
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from mien.service.settings import Limits

ACCEPTED_AT_ONCE = 64
"""Most connections that are accepted before any of them is counted (asyncio accepts as many as the backlog)."""
RESERVED_FILES = 2 * ACCEPTED_AT_ONCE
"""Open files that the service needs for other things than connections, and for those accepted at once."""
REFUSED_S = 1.0
"""Time for which a refused connection stays open, so that the caller can read why, seconds."""
MIN_IDLE_S = 1.0
"""A connection is not closed for others before it has been idle for so long, seconds."""
_INVALID_TEXT = 1007
"""The WebSocket close code for text that is not UTF-8 (RFC 6455)."""


class Connections:
    """All connections of the service, how long each has been idle, and their limits.

    A connection is idle while no request or frame of it is being answered. If a limit is reached, the connection that
    has been idle longest is closed to make room: of the same caller for the limit of a caller, of all callers for the
    other.

    Args:
        limits: `connections`, `caller_connections`, `header_seconds` and `seconds` apply here.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self._maximum = min(limits.connections, _file_limit() - RESERVED_FILES)
        self._callers: dict[Connection, str] = {}

    def __len__(self) -> int:
        return len(self._callers)

    def add(self, connection: Connection, caller: str) -> bool:
        """Adds a new connection, if there is room for it."""
        of_caller = [other for other, its_caller in self._callers.items() if its_caller == caller]
        if len(of_caller) >= self.limits.caller_connections and not _close_idle(of_caller):
            return False
        if len(self._callers) >= self._maximum and not _close_idle(list(self._callers)):
            return False
        self._callers[connection] = caller
        return True

    def remove(self, connection: Connection) -> None:
        """Removes a connection that is closed, if it was added."""
        self._callers.pop(connection, None)


class Connection(asyncio.Protocol):
    """What HTTP connections and WebSockets have in common: their place in Connections, and a limit for slow readers.

    It stands before uvicorn's protocol among the bases of a class, so that `super()` is that protocol.
    """

    transport: asyncio.Transport
    loop: asyncio.AbstractEventLoop
    connections_of_service: Connections
    idle_since_s: float | None = None
    """When the connection became idle; None while a request is being answered."""
    _write_timer: asyncio.TimerHandle | None = None

    def close_now(self) -> None:
        """Closes the connection and forgets it at once, so that a new one can take its place."""
        self.connections_of_service.remove(self)
        self.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self.connections_of_service.remove(self)
        self._end_writing_limit()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """See asyncio.Protocol; closes the connection unless the caller reads on within the time of a request."""
        super().pause_writing()
        self._write_timer = self.loop.call_later(self.connections_of_service.limits.seconds, self.close_now)

    def resume_writing(self) -> None:
        """See asyncio.Protocol; the caller has read enough."""
        super().resume_writing()
        self._end_writing_limit()

    def _end_writing_limit(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()


class LimitedHttp(Connection, H11Protocol):
    """An HTTP connection of uvicorn, with limits.

    Args:
        connections: All connections of the service.
        arguments: The arguments of uvicorn's protocols.
    """

    def __init__(self, *, connections: Connections, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.connections_of_service = connections
        self._header_timer: asyncio.TimerHandle | None = None
        self._is_refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See asyncio.Protocol."""
        super().connection_made(transport)
        if self.connections_of_service.add(self, self.client[0] if self.client else ""):
            self._update()
        else:
            self._refuse()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._end_header_limit()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        if self._is_refused:
            return
        super().data_received(data)
        self._update()

    def on_response_complete(self) -> None:
        """See H11Protocol."""
        super().on_response_complete()
        self._update()

    def handle_websocket_upgrade(self, event: Any) -> None:
        """See H11Protocol."""
        self.connections_of_service.remove(self)  # the WebSocket adds itself
        self._end_header_limit()
        super().handle_websocket_upgrade(event)

    def _refuse(self) -> None:
        """Answers that there is no room, and closes the connection once the caller has had time to read that.

        A connection that is closed while the caller's request is unread would be reset, and the answer lost.
        """
        self._is_refused = True
        self.transport.write(_REFUSAL)
        if self.transport.can_write_eof():
            self.transport.write_eof()
        self._header_timer = self.loop.call_later(REFUSED_S, self.transport.abort)

    def _update(self) -> None:
        """Notes whether the connection is idle, and limits the time for the headers of its next request."""
        is_idle = self.cycle is None or self.cycle.response_complete
        if not is_idle or self.transport.is_closing() or self.transport.get_protocol() is not self:
            self.idle_since_s = None
            self._end_header_limit()
        elif self.idle_since_s is None:
            self.idle_since_s = time.monotonic()
            seconds = self.connections_of_service.limits.header_seconds
            self._header_timer = self.loop.call_later(seconds, self.close_now)

    def _end_header_limit(self) -> None:
        if self._header_timer is not None:
            self._header_timer.cancel()
            self._header_timer = None


class LimitedWebSocket(Connection, WebSocketsSansIOProtocol):
    """A WebSocket of uvicorn, with limits. Its idle time is limited by `mien.service.frames`.

    Args:
        connections: All connections of the service.
        arguments: The arguments of uvicorn's protocols.
    """

    def __init__(self, *, connections: Connections, **arguments: Any) -> None:
        super().__init__(**arguments)
        self.connections_of_service = connections

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        super().connection_made(transport)
        self.connections_of_service.add(self, self.client[0] if self.client else "")
        self.idle_since_s = time.monotonic()

    async def send(self, message: Any) -> None:
        """See WebSocketsSansIOProtocol; the caller has its answer, or its WebSocket is being closed."""
        await super().send(message)
        self.idle_since_s = time.monotonic()

    def send_receive_event_to_app(self) -> None:
        """See WebSocketsSansIOProtocol, which logs a traceback for text that is not UTF-8."""
        if self.curr_msg_data_type == "text":
            try:
                b"".join(self.frames).decode()
            except UnicodeDecodeError:
                self.frames = []
                self.conn.send_close(_INVALID_TEXT, "the text is not UTF-8")
                self.handle_parser_exception()
                return
        self.idle_since_s = None
        super().send_receive_event_to_app()


def _close_idle(connections: list[Connection]) -> bool:
    """Closes the connection that has been idle longest; returns whether one was idle for MIN_IDLE_S."""
    idle = {each.idle_since_s: each for each in connections if each.idle_since_s is not None}
    since_s = min(idle, default=math.inf)
    if time.monotonic() - since_s < MIN_IDLE_S:
        return False
    idle[since_s].close_now()
    return True


def _file_limit() -> int:
    """Returns how many files this process may have open."""
    try:
        import resource
    except ImportError:  # Windows has no such limit
        return 2**31
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return soft if soft != resource.RLIM_INFINITY else 2**31


_BODY = json.dumps({"error": "too many connections are open: try again in a second"}).encode()
_REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: 1\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(_BODY), _BODY)
)
