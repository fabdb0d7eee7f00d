"""The uvicorn server of `mien serve`: binds the socket, reports when it is ready, and shuts down gracefully."""

from __future__ import annotations

import asyncio
import functools
import logging
import math
import signal
import socket
from collections.abc import Callable
from types import FrameType
from typing import Any, cast

import uvicorn

from mien.errors import ConfigError, error_text, shortened
from mien.service.app import create_app
from mien.service.connections import ACCEPTED_AT_ONCE, Connections, LimitedHttp, LimitedWebSocket
from mien.service.memory import return_freed_memory
from mien.service.settings import Settings
from mien.service.state import ServiceState


def serve(settings: Settings, on_ready: Callable[[str], object]) -> None:
    """Runs a service until SIGTERM or Ctrl-C. Accepted requests are answered before it ends.

    Args:
        settings: Settings of the service.
        on_ready: Called with the address of the service once it accepts calls.

    Raises:
        ConfigError: The address cannot be bound, or the detector is unknown.
        WeightsError: The model or the detector is missing or damaged.
    """
    return_freed_memory()
    logging.getLogger("python_multipart").setLevel(logging.CRITICAL)  # or each damaged form would write to the log
    listener = _bind(settings.host, settings.port)
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    app = create_app(settings)
    connections = Connections(settings.limits)
    app.state.service.metrics.connections.set_function(lambda: len(connections))
    config = uvicorn.Config(
        app,
        log_level="warning",  # at lower levels uvicorn logs WebSocket addresses, which may hold the token
        http=cast(Any, functools.partial(LimitedHttp, connections=connections)),
        ws=cast(Any, functools.partial(LimitedWebSocket, connections=connections)),
        ws_max_size=min(settings.limits.frame_bytes, settings.limits.request_bytes),
        backlog=ACCEPTED_AT_ONCE,
        ws_per_message_deflate=False,  # pictures are compressed already
        ws_ping_interval=None,  # `idle_seconds` closes silent WebSockets, and simple clients answer no pings
        timeout_graceful_shutdown=math.ceil(settings.limits.seconds),
        server_header=False,
    )
    url = f"http://{host}:{listener.getsockname()[1]}"
    server = _Server(config, app.state.service, lambda: on_ready(url))

    def stop(number: int, frame: FrameType | None) -> None:
        server.should_exit = True

    # uvicorn re-raises a caught signal after its shutdown. These handlers make that a normal exit. They also catch a
    # signal that arrives before uvicorn installs its own handlers.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, stop)
    server.run([listener])


class _Server(uvicorn.Server):
    """A uvicorn server that still answers /readyz, with 503, while it finishes accepted requests."""

    def __init__(self, config: uvicorn.Config, state: ServiceState, on_ready: Callable[[], object]) -> None:
        super().__init__(config)
        self._state, self._on_ready = state, on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_ready()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._state.is_closing = True
        while self._state.active_requests and not self.force_exit:  # force_exit: a second Ctrl-C
            await asyncio.sleep(0.02)
        await super().shutdown(sockets)


def _bind(host: str, port: int) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)  # asyncio disables Nagle's delay only for a known protocol
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
    except (OSError, OverflowError, UnicodeError) as error:  # UnicodeError: the host is not a valid name
        raise ConfigError(
            f"the service cannot listen at {shortened(host)} port {port}: {error_text(error)}; choose another host or "
            "port"
        ) from None
    return listener
