"""Who may call the service, and the headers that all of its answers carry."""

from __future__ import annotations

import hmac
import ipaddress
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from fastapi.responses import JSONResponse
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
"""What a browser may call the machine that it runs on."""

HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
"""The first two isolate a page, which browsers ask for before they give WebAssembly threads."""

logger = logging.getLogger("mien")


@dataclass(frozen=True)
class Access:
    """What a caller must bring.

    Attributes:
        hosts: Names by which the service may be called, in lower case; None where it answers to all. Without this a web
            page could point a name of its own at 127.0.0.1 and so read answers (DNS rebinding).
        token: What callers must know, or None.
        guarded: How the paths begin that need the token.
    """

    hosts: frozenset[str] | None
    token: str | None
    guarded: tuple[str, ...]

    def refusal(self, scope: Scope) -> Response | None:
        """What a call gets that may not pass, or None where it may."""
        headers = Headers(scope=scope)
        host = hostname(headers.get("host", ""))
        if self.hosts is not None and host not in self.hosts:
            return sentence(
                421, f"this service is called {', '.join(sorted(self.hosts))}, got the host {host or 'none'}"
            )
        origin = headers.get("origin")
        if origin is not None and not _same(origin.partition("//")[2], headers.get("host", "")):
            return sentence(403, f"pages of {origin} may not call this service, only its own may")
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if self.token and path.startswith(self.guarded) and not self._knows(scope, headers):
            told = {"WWW-Authenticate": "Bearer"}
            return sentence(401, "this needs the service's token, as the header Authorization: Bearer TOKEN", told)
        return None

    def _knows(self, scope: Scope, headers: Headers) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        if scope["type"] == "websocket" and not scheme:  # a browser cannot give a WebSocket headers
            given = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        elif scheme.lower() != "bearer":
            return False
        return hmac.compare_digest(given.strip().encode(), (self.token or "").encode())


class Guard:
    """ASGI middleware around the whole service: it refuses, adds headers, and lets no error out but as a sentence.

    Args:
        app: What is guarded.
        access: Who may pass.
        tell: Called after each HTTP answer with the route's path, the status and the seconds that it took.
    """

    def __init__(self, app: ASGIApp, access: Access, tell: Callable[[str, int, float], object]) -> None:
        self._app, self._access, self._tell = app, access, tell

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0

        async def send_more(message: Message) -> None:
            nonlocal status
            if message["type"] in ("http.response.start", "websocket.http.response.start", "websocket.accept"):
                status = message.get("status", 101)
                MutableHeaders(raw=message.setdefault("headers", [])).update(HEADERS)
            await send(message)

        try:
            refused = self._access.refusal(scope)
            await (refused or self._app)(scope, receive, send_more)
        except ClientDisconnect:  # nobody is left to be answered
            pass
        except Exception:
            logger.exception("an error at %s", scope["path"])
            if scope["type"] == "http" and not status:
                await sentence(500, "the service failed at this, which its log tells more of")(
                    scope, receive, send_more
                )
        if scope["type"] == "http" and status:
            self._tell(getattr(scope.get("route"), "path", "other"), status, time.perf_counter() - started)


def sentence(status: int, text: str, headers: dict[str, str] | None = None) -> JSONResponse:
    """An answer that says why there is no other."""
    return JSONResponse({"error": text}, status, headers)


def hostname(authority: str) -> str:
    """`localhost:8000` -> `localhost`, `[::1]:8000` -> `::1`; empty where it is none."""
    try:
        return (urlsplit(f"//{authority}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _same(origin: str, called: str) -> bool:
    """Whether a page is of the host that was called.

    Of loopback the port counts as well, since other programs of this machine have pages there; elsewhere it does not,
    since a proxy may not pass it on.
    """
    host = hostname(called)
    return hostname(origin) == host and (host not in LOOPBACK or origin.lower() == called.lower())


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a service that is bound to that host."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def names_of(host: str) -> frozenset[str] | None:
    """The names by which a service bound to that host is called; None for one that is bound to all addresses."""
    try:
        if ipaddress.ip_address(host).is_unspecified:
            return None
    except ValueError:
        pass
    return LOOPBACK | {host.lower()}
