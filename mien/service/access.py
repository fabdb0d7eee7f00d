"""Access control: allowed hosts, origins and the token, and the security headers of every response."""

from __future__ import annotations

import hmac
import ipaddress
import logging
import re
import secrets
import time
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mien.errors import shortened
from mien.service.responses import error_response

LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})

HEADERS = {
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Embedder-Policy": "require-corp",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Content-Security-Policy": "frame-ancestors 'none'",  # the page's own policy is in its HTML, which cannot say this
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
"""Headers of every response. Browsers require the first two before they allow WebAssembly threads on the page."""

FAILURE = "the service failed at this request; its log has the details under the request id {}"
"""The error of status 500."""

request_id: ContextVar[str] = ContextVar("request_id", default="none")
"""Identifies the present request or WebSocket in the log and in the header X-Request-Id of its response."""
_AUTHORITY = re.compile(r"[^@/?#\\\s]+")
"""A host and a port without anything else: `evil.example@localhost` must not pass as localhost."""
_REQUEST_ID = re.compile(r"[\w.-]{1,64}", re.ASCII)

logger = logging.getLogger("mien")


@dataclass(frozen=True)
class Access:
    """The rules that every call must meet.

    Attributes:
        hosts: Allowed host names, in lower case; None allows all. Without this check, a web page could point its own
            domain name at 127.0.0.1 and read the service's responses (DNS rebinding).
        tokens: The tokens of protected paths, one of which a call must carry; empty protects none.
        protected_paths: Prefixes of the paths that need a token.
        origins: Origins of other sites whose pages may call, such as https://app.example.
    """

    hosts: frozenset[str] | None
    tokens: tuple[str, ...]
    protected_paths: tuple[str, ...]
    origins: tuple[str, ...] = ()

    def check(self, scope: Scope) -> Response | None:
        """Returns the error response for a call that breaks a rule, or None for an allowed call."""
        headers = Headers(scope=scope)
        called_host = headers.get("host", "")
        host = hostname(called_host)
        if self.hosts is not None and host not in self.hosts:
            expected = ", ".join(sorted(self.hosts))
            return error_response(421, f"the Host header must be one of {expected}, got {shortened(host) or 'none'}")
        origin = headers.get("origin")
        is_allowed = origin is None or origin in self.origins or _is_same_site(origin.partition("//")[2], called_host)
        if not is_allowed:
            return error_response(
                403,
                f"pages of {shortened(origin)} may not call this service; use its own page, or start it with "
                "--allow-origin",
            )
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if self.tokens and path.startswith(self.protected_paths) and not self._has_token(scope, headers):
            return error_response(
                401,
                "the token of this service is missing or wrong: send it in the header Authorization: Bearer TOKEN",
                {"WWW-Authenticate": "Bearer"},
            )
        return None

    def _has_token(self, scope: Scope, headers: Headers) -> bool:
        scheme, _, token = headers.get("authorization", "").partition(" ")
        if scope["type"] == "websocket" and not scheme:  # a browser cannot set headers of a WebSocket
            token = parse_qs(scope["query_string"].decode("latin-1")).get("token", [""])[0]
        elif scheme.lower() != "bearer":
            return False
        # All are compared, so that the time does not depend on which one matches.
        return sum(hmac.compare_digest(token.strip().encode(), each.encode()) for each in self.tokens) > 0


class Guard:
    """ASGI middleware around the whole service: checks access, adds headers and turns exceptions into error responses.

    Args:
        app: The application to protect.
        access: The rules that every call must meet.
        on_response: Called after each HTTP response with the path of its route, its status and its duration in
            seconds.
    """

    def __init__(self, app: ASGIApp, access: Access, on_response: Callable[[str, int, float], object]) -> None:
        self._app, self._access, self._on_response = app, access, on_response

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        started, status = time.perf_counter(), 0
        request_id.set(_request_id(Headers(scope=scope)))

        async def send_with_headers(message: Message) -> None:
            nonlocal status
            if message["type"] in ("http.response.start", "websocket.http.response.start", "websocket.accept"):
                status = message.get("status", 101)
                headers = MutableHeaders(raw=message.setdefault("headers", []))
                headers.update(HEADERS | {"X-Request-Id": request_id.get()})
            await send(message)

        try:
            responder = self._access.check(scope) or self._app
            await responder(scope, receive, send_with_headers)
        except ClientDisconnect:  # the caller is gone, so there is no one to answer
            pass
        except Exception:
            logger.exception("request %s: unexpected error at %s", request_id.get(), scope["path"])
            if scope["type"] == "http" and not status:
                response = error_response(500, FAILURE.format(request_id.get()))
                await response(scope, receive, send_with_headers)
        if scope["type"] == "http" and status:
            self._on_response(getattr(scope.get("route"), "path", "other"), status, time.perf_counter() - started)


def _request_id(headers: Headers) -> str:
    """Returns the id that a proxy has given to the request, if it is short and plain, or else a new one."""
    given = headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(8)


def hostname(authority: str) -> str:
    """Returns the host of `host:port` in lower case, `localhost:8000` -> `localhost`; empty for an invalid one."""
    if not _AUTHORITY.fullmatch(authority):
        return ""
    try:
        return (urlsplit(f"//{authority}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_same_site(origin: str, called_host: str) -> bool:
    """Returns whether the page that calls comes from the called host.

    On loopback, the port must match too, because other programs serve pages on this machine. Elsewhere it is ignored,
    because a proxy may not forward it.
    """
    host = hostname(called_host)
    return hostname(origin) == host and (host not in LOOPBACK_HOSTS or origin.lower() == called_host.lower())


def is_loopback(host: str) -> bool:
    """Returns whether only this machine reaches a service that listens on this host."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def allowed_hosts(host: str) -> frozenset[str] | None:
    """Returns the host names that callers of a service on this host may use; None, all of them, for 0.0.0.0 or ::."""
    try:
        if ipaddress.ip_address(host).is_unspecified:
            return None
    except ValueError:
        pass
    return LOOPBACK_HOSTS | {host.lower()}
